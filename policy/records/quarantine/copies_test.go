package quarantine

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"postern/internal/mail"
)

func address(local string) mail.Address { return mail.Address{Local: local, Domain: "example.com"} }

// holdFor holds a message for some people at example.com.
func holdFor(t *testing.T, q *Quarantine, n int, people ...string) string {
	t.Helper()
	item, content := sample(n)
	item.Recipients = nil
	for _, p := range people {
		item.Recipients = append(item.Recipients, mail.Recipient{Address: address(p), Notify: []string{"NEVER"}})
	}
	if err := q.Hold(t.Context(), item, content); err != nil {
		t.Fatal(err)
	}
	return item.ID
}

// states lists the states of a message's copies: "ann released, ben held".
func states(t *testing.T, q *Quarantine, id string) string {
	t.Helper()
	item, m, err := q.Get(t.Context(), id)
	if err != nil {
		return err.Error()
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	var all []string
	for _, s := range item.Standings {
		all = append(all, s.Address.Local+" "+string(s.State))
	}
	return strings.Join(all, ", ")
}

func TestEachRecipientsCopy(t *testing.T) {
	dir := t.TempDir()
	q := open(t, dir)
	id := holdFor(t, q, 1, "ann", "ben", "eva")
	r := claim(t, q, id, "ann", address("ANN"))
	if len(r.Recipients) != 1 || r.Recipients[0].Address != address("ann") || r.Recipients[0].Notify[0] != "NEVER" || r.QueueID() != id+"-r" {
		t.Errorf("%+v", r)
	}
	if err := q.DeleteCopies(t.Context(), id, "ben", address("ben")); err != nil {
		t.Error(err)
	}
	if err := q.Finish(t.Context(), r); err != nil {
		t.Error(err)
	}
	if got := states(t, q, id); got != "ann released, ben deleted, eva held" {
		t.Error(got)
	}
	for _, again := range []string{"ann", "ben"} {
		_, err := q.Claim(t.Context(), id, "x", address(again))
		if deleted := again == "ben"; errors.Is(err, ErrDeleted) != deleted || errors.Is(err, ErrTaken) == deleted {
			t.Errorf("%s: %v", again, err)
		}
		if err := q.DeleteCopies(t.Context(), id, "x", address(again)); err == nil {
			t.Errorf("%s: deleted", again)
		}
	}
	if _, err := q.Claim(t.Context(), id, "x", address("stranger")); !errors.Is(err, ErrUnknown) {
		t.Errorf("who is no recipient learns that there is such a message: %v", err)
	}
	if _, err := q.Claim(t.Context(), id, "x", address("eva"), address("ann")); !errors.Is(err, ErrTaken) {
		t.Errorf("not all of those named are held: %v", err)
	}
	for who, want := range map[string]string{"ann": "", "ben": "", "eva": "1"} {
		if got := ids(t, q, Filter{Recipient: who + "@example.com"}); got != want {
			t.Errorf("%s sees %q, want %q", who, got, want)
		}
	}
	last := claim(t, q, id, "admin")
	if len(last.Recipients) != 1 || last.Recipients[0].Address != address("eva") || last.QueueID() != id+"-r2" {
		t.Errorf("%+v", last)
	}
	if err := q.Finish(t.Context(), last); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(q.leftFolder(id), id)); err != nil {
		t.Error("all copies have left, and it is among the held ones: ", err)
	}
}

func TestTheBodyGoesWithTheLastCopy(t *testing.T) {
	dir := t.TempDir()
	q := open(t, dir)
	id := holdFor(t, q, 1, "ann", "ben")
	for i, who := range []string{"ann", "ben"} {
		if _, err := os.Stat(filepath.Join(q.folder(id), id)); err != nil {
			t.Errorf("%d copies left: %v", 2-i, err)
		}
		if err := q.DeleteCopies(t.Context(), id, who, address(who)); err != nil {
			t.Error(err)
		}
	}
	left, err := filepath.Glob(filepath.Join(dir, shard(id), "*"))
	hidden, _ := filepath.Glob(filepath.Join(dir, shard(id), ".*"))
	if err != nil || len(left)+len(hidden) > 0 {
		t.Errorf("left: %q %q, %v", left, hidden, err)
	}
	if _, err := q.item(t.Context(), id); !errors.Is(err, ErrUnknown) {
		t.Error(err)
	}
}

func TestReleaseToAnotherAddress(t *testing.T) {
	q := open(t, t.TempDir())
	id := holdFor(t, q, 1, "ann")
	analyst := mail.Address{Local: "lab", Domain: "example.net"}
	r, err := q.ClaimTo(t.Context(), id, "admin", analyst)
	if err != nil || !r.Forward || len(r.Recipients) != 1 || r.Recipients[0].Address != analyst {
		t.Fatalf("%+v, %v", r, err)
	}
	if err := q.Return(t.Context(), r); err != nil {
		t.Error(err)
	}
	if r, err = q.ClaimTo(t.Context(), id, "admin", analyst); err != nil {
		t.Fatal(err)
	}
	if err := q.Finish(t.Context(), r); err != nil {
		t.Error(err)
	}
	if _, err := q.ClaimTo(t.Context(), id, "admin", analyst); !errors.Is(err, ErrTaken) {
		t.Errorf("it got it twice: %v", err)
	}
	if got := states(t, q, id); got != "ann held, lab released" {
		t.Error(got)
	}
	if got := ids(t, q, Filter{Recipient: analyst.String(), State: AnyState}); got != "" {
		t.Errorf("the mail is told to be the analyst's own: %q", got)
	}
	if r := claim(t, q, id, "ann"); len(r.Recipients) != 1 || r.Recipients[0].Address != address("ann") {
		t.Errorf("%+v", r)
	}
}

// What was done to some copies outlasts the index, whether it was finished or not.
func TestCopiesOutlastTheIndex(t *testing.T) {
	dir := t.TempDir()
	q, err := Open(dir, quiet())
	if err != nil {
		t.Fatal(err)
	}
	id := holdFor(t, q, 1, "ann", "ben", "eva", "kim")
	if err := q.Finish(t.Context(), claim(t, q, id, "ann", address("ann"))); err != nil {
		t.Fatal(err)
	}
	claim(t, q, id, "ben", address("ben"))
	if err := q.DeleteCopies(t.Context(), id, "eva", address("eva")); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(q.Close(), os.Remove(filepath.Join(dir, "index.db"))); err != nil {
		t.Fatal(err)
	}
	q = open(t, dir)
	if got := states(t, q, id); got != "ann released, ben releasing, eva deleted, kim held" {
		t.Error(got)
	}
	open, err := q.Unfinished(t.Context())
	if err != nil || len(open) != 1 || open[0].Number != 2 || open[0].QueueID() != id+"-r2" || open[0].Recipients[0].Address != address("ben") {
		t.Errorf("%+v, %v", open, err)
	}
}

// A crash between the file and the index: the file is right.
func TestTheFileGoesBeforeTheIndex(t *testing.T) {
	dir := t.TempDir()
	q, err := Open(dir, quiet())
	if err != nil {
		t.Fatal(err)
	}
	claimed, done := holdFor(t, q, 1, "ann", "ben"), holdFor(t, q, 2, "ann")
	at := time.Date(2026, 5, 3, 13, 0, 0, 0, time.UTC)
	err = errors.Join(
		q.writeState(claimed, []Standing{{Address: address("ann"), State: Releasing, By: "ann", At: at, Release: 1}, {Address: address("ben"), State: Held}}),
		q.writeState(done, []Standing{{Address: address("ann"), State: Released, By: "ann", At: at, Release: 1}}), q.Close())
	if err != nil {
		t.Fatal(err)
	}
	q = open(t, dir)
	if got := states(t, q, claimed); got != "ann releasing, ben held" {
		t.Error(got)
	}
	if got := states(t, q, done); got != "ann released" {
		t.Error(got)
	}
	if got := ids(t, q, Filter{}); got != "1" {
		t.Errorf("held: %q", got)
	}
}

// A state that can't be read costs no mail: the copies are held.
func TestDamagedState(t *testing.T) {
	dir := t.TempDir()
	q, err := Open(dir, quiet())
	if err != nil {
		t.Fatal(err)
	}
	id := holdFor(t, q, 1, "ann", "ben")
	claim(t, q, id, "ann", address("ann"))
	if err := errors.Join(os.WriteFile(q.statePath(id), []byte("[{"), 0o600), q.Close(), os.Remove(filepath.Join(dir, "index.db"))); err != nil {
		t.Fatal(err)
	}
	q = open(t, dir)
	if got := states(t, q, id); got != "ann held, ben held" {
		t.Error(got)
	}
}

// An index that the version before wrote is taken over, with what was being released.
func TestOlderIndex(t *testing.T) {
	dir := t.TempDir()
	q, err := Open(dir, quiet())
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for n := range 3 {
		all = append(all, hold(t, q, n))
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	older(t, filepath.Join(dir, "index.db"), all, all[1])
	q = open(t, dir)
	if got := ids(t, q, Filter{Sender: "example.org"}); got != "20" {
		t.Errorf("held: %q", got)
	}
	open, err := q.Unfinished(t.Context())
	if err != nil || len(open) != 1 || open[0].Item != all[1] || open[0].QueueID() != all[1]+"-r" || open[0].By != "ann" {
		t.Errorf("%+v, %v", open, err)
	}
	if list, err := q.ListCampaigns(t.Context(), Filter{}); err != nil || len(list) != 1 || list[0].Messages != 2 {
		t.Errorf("%+v, %v", list, err)
	}
}

// TestMain is also the other process of TestTwoProcesses.
func TestMain(m *testing.M) {
	if dir := os.Getenv("POSTERN_TEST_CLAIM"); dir != "" {
		if err := claimer(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if dir := os.Getenv("POSTERN_TEST_CRASH"); dir != "" {
		crash(dir)
	}
	os.Exit(m.Run())
}

// claimAll claims a recipient's copies of all messages that a filter finds.
func claimAll(q *Quarantine, f Filter, whose mail.Address) (all []Release, err error) {
	items, err := q.List(context.Background(), f)
	for _, item := range items {
		r, cerr := q.Claim(context.Background(), item.ID, whose.Local, whose)
		if err = errors.Join(err, cerr); cerr == nil {
			all = append(all, r)
		}
	}
	return all, err
}

// crash claims ann's copy of all that is held, and dies before it is on any queue.
func crash(dir string) {
	q, err := Open(dir, quiet())
	if err == nil {
		_, err = claimAll(q, Filter{Recipient: "ann@example.com"}, address("ann"))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

// Whoever dies between claim and finish leaves a release that the next start finishes, under the same id, with the
// octets that were held; the other copies are still there.
func TestKilledBetweenClaimAndFinish(t *testing.T) {
	dir := t.TempDir()
	q := open(t, dir)
	id := holdFor(t, q, 1, "ann", "ben")
	other := exec.CommandContext(t.Context(), os.Args[0])
	other.Env = append(os.Environ(), "POSTERN_TEST_CRASH="+dir)
	if out, err := other.CombinedOutput(); err == nil || other.ProcessState.Exited() {
		t.Fatalf("it did not die: %v\n%s", err, out)
	}
	q = open(t, dir)
	left, err := q.Unfinished(t.Context())
	if err != nil || len(left) != 1 || left[0].QueueID() != id+"-r" || len(left[0].Recipients) != 1 || left[0].Recipients[0].Address != address("ann") {
		t.Fatalf("%+v, %v", left, err)
	}
	_, content := sample(1)
	var want, got bytes.Buffer
	if _, err := content.WriteTo(&want); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(q.Export(t.Context(), id, &got), q.Finish(t.Context(), left[0])); err != nil || !bytes.Equal(got.Bytes(), want.Bytes()) {
		t.Errorf("%q, %v", got.Bytes(), err)
	}
	item, err := q.Find(t.Context(), id)
	held, own := item.HeldFor([]mail.Address{address("ann"), address("BEN"), address("eva")})
	if err != nil || !own || len(held) != 1 || held[0] != address("ben") {
		t.Errorf("%v %v, %v", held, own, err)
	}
	if _, own := item.HeldFor([]mail.Address{address("eva")}); own {
		t.Error("eva has a copy")
	}
}

// claimer waits for ids and claims each ten times at once for one recipient, saying for each how often it won.
func claimer(dir string) error {
	q, err := Open(dir, quiet())
	if err != nil {
		return err
	}
	fmt.Println("ready")
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		fmt.Println(race(q, in.Text()))
	}
	return q.Close()
}

func race(q *Quarantine, id string) string {
	var won atomic.Int64
	var failed atomic.Value
	var all sync.WaitGroup
	for i := range 10 {
		all.Go(func() {
			r, err := q.Claim(context.Background(), id, fmt.Sprint(os.Getpid(), "-", i), address("ann"))
			if err == nil {
				won.Add(1)
				err = q.Finish(context.Background(), r)
			} else if errors.Is(err, ErrTaken) {
				err = nil
			}
			if err != nil {
				failed.Store(err.Error())
			}
		})
	}
	all.Wait()
	if f := failed.Load(); f != nil {
		return f.(string)
	}
	return fmt.Sprint(won.Load())
}

// Twenty at once in two processes, for one recipient of a message: one of them gets it.
func TestTwoProcesses(t *testing.T) {
	dir := t.TempDir()
	q := open(t, dir)
	var all []string
	for n := range 10 {
		all = append(all, holdFor(t, q, n, "ann", "ben"))
	}
	other := exec.CommandContext(t.Context(), os.Args[0])
	other.Env = append(os.Environ(), "POSTERN_TEST_CLAIM="+dir)
	other.Stderr = os.Stderr
	in, err := other.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := other.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() || lines.Text() != "ready" {
		t.Fatal(lines.Text())
	}
	for _, id := range all {
		fmt.Fprintln(in, id)
		here := race(q, id)
		if !lines.Scan() {
			t.Fatal("the other process has gone")
		}
		if both := []string{here, lines.Text()}; !slices.Contains(both, "1") || !slices.Contains(both, "0") {
			t.Errorf("%s: won here and there: %v", id, both)
		}
		if got := states(t, q, id); got != "ann released, ben held" {
			t.Errorf("%s: %s", id, got)
		}
	}
	if err := errors.Join(in.Close(), other.Wait()); err != nil {
		t.Error(err)
	}
}

func TestCampaigns(t *testing.T) {
	q := open(t, t.TempDir())
	for n := range 5 {
		holdFor(t, q, n, "ann", "ben")
	}
	item, content := sample(7)
	item.Subject = "lunch"
	if err := q.Hold(t.Context(), item, content); err != nil {
		t.Fatal(err)
	}
	list, err := q.ListCampaigns(t.Context(), Filter{})
	if err != nil || len(list) != 1 || list[0].Messages != 5 || list[0].Recipients != 10 || list[0].Subject != "cheap pills 4" {
		t.Fatalf("%+v, %v", list, err)
	}
	mine := Filter{Campaign: list[0].Key, Recipients: []mail.Address{address("ben")}}
	releases, err := claimAll(q, mine, address("ben"))
	if err != nil || len(releases) != 5 {
		t.Fatalf("%d, %v", len(releases), err)
	}
	for _, r := range releases {
		if len(r.Recipients) != 1 || r.Recipients[0].Address != address("ben") {
			t.Errorf("%+v", r)
		}
		if err := q.Finish(t.Context(), r); err != nil {
			t.Error(err)
		}
	}
	if again, err := claimAll(q, mine, address("ben")); err != nil || len(again) > 0 {
		t.Errorf("%+v, %v", again, err)
	}
	rest, err := q.List(t.Context(), Filter{Campaign: list[0].Key})
	if err != nil || len(rest) != 5 {
		t.Fatalf("%d are left, %v", len(rest), err)
	}
	for _, item := range rest {
		if err := q.DeleteCopies(t.Context(), item.ID, "admin", address("ann")); err != nil {
			t.Error(err)
		}
	}
	if got := ids(t, q, Filter{}); got != "7" {
		t.Errorf("held: %q", got)
	}
}

// Pages have no gap and no item twice.
func TestPages(t *testing.T) {
	q := open(t, t.TempDir())
	for n := range 7 {
		item, content := sample(n)
		item.Time = item.Time.Truncate(3 * time.Second) // some at the same moment
		if err := q.Hold(t.Context(), item, content); err != nil {
			t.Fatal(err)
		}
	}
	got, f := "", Filter{Limit: 2}
	for range 10 {
		items, next, err := q.Page(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range items {
			got += string(i.ID[15])
		}
		if f.After = next; next == "" {
			break
		}
	}
	if len(got) != 7 || strings.Count("0123456", "") != 8 || !slices.Equal(sorted(got), sorted("0123456")) {
		t.Errorf("%q", got)
	}
	for _, bad := range []string{"x", "1", "1_../x", "1_" + strings.Repeat("A", 70)} {
		if _, _, err := q.Page(t.Context(), Filter{After: bad}); !errors.Is(err, ErrCursor) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func sorted(text string) []byte {
	b := []byte(text)
	slices.Sort(b)
	return b
}

func TestExportGivesTheOctets(t *testing.T) {
	q := open(t, t.TempDir())
	id := hold(t, q, 1)
	_, content := sample(1)
	var want, got bytes.Buffer
	if _, err := content.WriteTo(&want); err != nil {
		t.Fatal(err)
	}
	if err := q.Export(t.Context(), id, &got); err != nil || !bytes.Equal(got.Bytes(), want.Bytes()) {
		t.Errorf("%q, %v", got.Bytes(), err)
	}
}
