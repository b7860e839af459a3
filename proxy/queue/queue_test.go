package queue_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/internal/mail"
	"postern/internal/testing/hoptest"
	"postern/proxy"
	"postern/proxy/queue"
	"postern/proxy/relay"
)

// TestMain is also the process that the crash test kills.
func TestMain(m *testing.M) {
	if dir := os.Getenv("QUEUE_TEST_DIR"); dir != "" {
		victim(dir, os.Getenv("QUEUE_TEST_HOP"), os.Getenv("QUEUE_TEST_RUN"))
		return
	}
	os.Exit(m.Run())
}

func newRelay(t testing.TB, hop string) *relay.Relay {
	r, err := relay.New(relay.Options{Routes: map[string]relay.Route{"in": {Hops: []relay.Hop{{Address: hop, TLS: relay.TLSNone}}}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func item(id string, to ...string) proxy.QueueItem {
	one := proxy.QueueItem{ID: id, Route: mail.RouteTo("in"), From: mail.Address{Local: "alice", Domain: "example.org"}, Why: "next hop down"}
	for _, local := range to {
		one.Recipients = append(one.Recipients, mail.Recipient{Address: mail.Address{Local: local, Domain: "corp.example"}})
	}
	return one
}

func letter(text string) mail.Copy {
	return mail.Copy{Top: []byte("Received: by us\r\n"), Message: mail.NewMessage([]byte("Subject: " + text + "\r\n\r\n.dot\r\n"))}
}

func open(t *testing.T, o queue.Options) *queue.Queue {
	t.Helper()
	if o.MinBackOff == 0 {
		o.MinBackOff = time.Hour
	}
	o.Rescan = 10 * time.Millisecond
	q, err := queue.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = q.Close(context.Background()) })
	return q
}

func put(t *testing.T, q *queue.Queue, one proxy.QueueItem) {
	t.Helper()
	if err := q.Put(t.Context(), one, letter(one.ID)); err != nil {
		t.Fatal(err)
	}
}

// until waits for something that happens in the background.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 2000 {
		if ok() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("never: %s", what)
}

func TestDeliveryStrikesOffEachRecipient(t *testing.T) {
	hop := hoptest.New(t, hoptest.Options{Replies: map[string]string{"RCPT TO:<full@": "452 4.2.2 Mailbox full", "RCPT TO:<gone@": "550 5.1.1 No such user"}})
	dir := t.TempDir()
	var mu sync.Mutex
	var reports []queue.Report
	q := open(t, queue.Options{Dir: dir, Relay: newRelay(t, hop.Addr()), Report: func(r queue.Report) error {
		mu.Lock()
		defer mu.Unlock()
		reports = append(reports, r)
		return nil
	}})
	put(t, q, item("ID1", "bob", "full", "gone"))
	until(t, "first attempt", func() bool {
		list, _ := q.List()
		return len(list) == 2 && list[0].Attempts == 1
	})
	list, _ := q.List()
	if r := list[0].Recipients; !r[0].Done || r[1].Done || !r[2].Done || r[1].Reply != "452 4.2.2 Mailbox full" {
		t.Errorf("recipients %+v", r)
	}
	if f := list[1]; f.Folder != "failed" || len(f.Recipients) != 1 || f.Recipients[0].Reply != "550 5.1.1 No such user" {
		t.Errorf("failed: %+v", f)
	}
	hop.Reply("RCPT TO:<full@", "")
	if err := queue.Request(dir, queue.VerbRetry, "ID1", "ann"); err != nil {
		t.Fatal(err)
	}
	until(t, "second attempt", func() bool { return q.Len() == 0 })
	var to []string
	for _, m := range hop.Messages() {
		to = append(to, m.To...)
		if string(m.Data) != "Received: by us\r\nSubject: ID1\r\n\r\n.dot\r\n" {
			t.Errorf("message %q", m.Data)
		}
	}
	if !slices.Equal(to, []string{"<bob@corp.example>", "<full@corp.example>"}) {
		t.Errorf("delivered to %q", to)
	}
	mu.Lock()
	if len(reports) != 1 || reports[0].Item.Recipients[0].Address.Local != "gone" || reports[0].Replies[0].Code != 550 {
		t.Errorf("reports %+v", reports)
	}
	mu.Unlock()

	// What failed can be tried again, and deleted.
	if err := q.Retry("ID1", "ann"); err != nil {
		t.Fatal(err)
	}
	until(t, "failed again", func() bool { list, _ := q.List(); return len(list) == 1 && list[0].Folder == "failed" })
	until(t, "deleted", func() bool { // the attempt may not have ended yet
		err := q.Delete("ID1", "ann")
		if err != nil && !errors.Is(err, queue.ErrBusy) {
			t.Fatal(err)
		}
		return err == nil
	})
	if list, err := q.List(); err != nil || len(list) != 0 {
		t.Errorf("left: %+v %v", list, err)
	}
	for _, err := range []error{q.Delete("ID1", "ann"), q.Retry("ID1", "ann"), q.Retry("../etc", "ann"), queue.Request(dir, queue.VerbDelete, "ID1", "ann")} {
		if !errors.Is(err, queue.ErrNotFound) && err == nil {
			t.Error("a message that is not there was found")
		}
	}
}

func TestTheSameIDIsOneMessage(t *testing.T) {
	hop := hoptest.New(t, hoptest.Options{})
	q := open(t, queue.Options{Dir: t.TempDir(), Relay: newRelay(t, hop.Addr())})
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for range 5 {
				put(t, q, item("ID1", "bob"))
			}
		})
	}
	wait.Wait()
	until(t, "delivery", func() bool { return q.Len() == 0 && len(hop.Messages()) > 0 })
	put(t, q, item("ID1", "bob"))
	put(t, q, item("ID2", "bob"))
	until(t, "second delivery", func() bool { return q.Len() == 0 && len(hop.Messages()) > 1 })
	if n := len(hop.Messages()); n != 2 {
		t.Errorf("%d messages, want 2", n)
	}
}

func TestHopDownThenUp(t *testing.T) {
	hop := hoptest.New(t, hoptest.Options{})
	address := hop.Addr()
	hop.Close()
	dir := t.TempDir()
	q := open(t, queue.Options{Dir: dir, Relay: newRelay(t, address)})
	for i := range 5 {
		put(t, q, item(fmt.Sprint("ID", i), "bob"))
	}
	until(t, "one was tried", func() bool { // for all: the hop is away
		list, _ := q.List()
		return slices.ContainsFunc(list, func(s queue.Status) bool { return s.Attempts > 0 })
	})
	hop = hoptest.New(t, hoptest.Options{Address: address})
	// One success shows that the hop is back: the others need not wait for their hour.
	if err := q.Retry("ID3", "ann"); err != nil {
		t.Fatal(err)
	}
	until(t, "all delivered", func() bool { return q.Len() == 0 })
	if n := len(hop.Messages()); n != 5 {
		t.Errorf("%d messages, want 5", n)
	}
}

func TestExpiry(t *testing.T) {
	hop := hoptest.New(t, hoptest.Options{Replies: map[string]string{"RCPT": "450 4.2.0 later"}})
	reports := make(chan queue.Report, 1)
	q := open(t, queue.Options{Dir: t.TempDir(), Relay: newRelay(t, hop.Addr()), Expiry: time.Nanosecond, Report: func(r queue.Report) error { reports <- r; return nil }})
	put(t, q, item("ID1", "bob"))
	r := <-reports
	until(t, "it is out of the queue", func() bool { return q.Len() == 0 })
	list, _ := q.List()
	if r.Folder != "expired" || len(list) != 1 || list[0].Folder != "expired" || list[0].Recipients[0].Reply != "450 4.2.0 later" {
		t.Errorf("report %+v, list %+v", r, list)
	}
}

func TestFilesOfOtherProcesses(t *testing.T) {
	hop := hoptest.New(t, hoptest.Options{})
	dir := t.TempDir()
	q := open(t, queue.Options{Dir: dir, Relay: newRelay(t, hop.Addr())})
	if err := os.WriteFile(filepath.Join(dir, "broken"), []byte("no json\nno mail"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := queue.WriteItem(dir, item("OTHER", "bob"), letter("x")); err != nil {
		t.Fatal(err)
	}
	until(t, "it is delivered", func() bool { return len(hop.Messages()) == 1 })
	list, err := q.List()
	if err != nil || !slices.ContainsFunc(list, func(s queue.Status) bool { return s.ID == "broken" && s.Why != "" }) {
		t.Errorf("list %+v %v", list, err)
	}
	if _, err := queue.New(queue.Options{Dir: dir}); err == nil {
		t.Error("a second queue delivers from the same folder")
	}
}

func TestStateThatCanNotBeWrittenStopsTheMessage(t *testing.T) {
	hop := hoptest.New(t, hoptest.Options{Replies: map[string]string{"RCPT TO:<full@": "452 4.2.2 Mailbox full"}})
	dir := t.TempDir()
	q := open(t, queue.Options{Dir: dir, Relay: newRelay(t, hop.Addr()), MinBackOff: 10 * time.Millisecond, MaxBackOff: 20 * time.Millisecond})
	if err := os.Rename(filepath.Join(dir, "state"), filepath.Join(dir, "moved")); err != nil {
		t.Fatal(err)
	}
	put(t, q, item("ID1", "bob", "full"))
	until(t, "first delivery", func() bool { return len(hop.Messages()) == 1 })
	time.Sleep(100 * time.Millisecond) // several attempts, if it made any
	if n := len(hop.Messages()); n != 1 {
		t.Errorf("bob has it %d times", n)
	}
	hop.Reply("RCPT TO:<full@", "")
	if err := os.Rename(filepath.Join(dir, "moved"), filepath.Join(dir, "state")); err != nil {
		t.Fatal(err)
	}
	until(t, "the rest", func() bool { return q.Len() == 0 })
	if m := hop.Messages(); len(m) != 2 || !slices.Equal(m[1].To, []string{"<full@corp.example>"}) {
		t.Errorf("messages %+v", m)
	}
}

func TestCloseKeepsWhatIsUnderWay(t *testing.T) {
	hop := hoptest.New(t, hoptest.Options{Replies: map[string]string{".": "HANG"}})
	dir := t.TempDir()
	q := open(t, queue.Options{Dir: dir, Relay: newRelay(t, hop.Addr())})
	put(t, q, item("ID1", "bob"))
	until(t, "it is on its way", func() bool { return slices.Contains(hop.Commands(), "DATA") })
	if err := q.Delete("ID1", "ann"); !errors.Is(err, queue.ErrBusy) {
		t.Errorf("Delete of a message on its way: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := q.Close(ctx); err != nil {
		t.Error(err)
	}
	hop.Reply(".", "")
	q = open(t, queue.Options{Dir: dir, Relay: newRelay(t, hop.Addr())})
	if err := q.Retry("ID1", "ann"); err != nil {
		t.Fatal(err)
	}
	until(t, "delivery", func() bool { return q.Len() == 0 && len(hop.Messages()) == 1 })
}

// victim puts messages and says so, one after the other, while its queue delivers them.
func victim(dir, hop, run string) {
	r, err := relay.New(relay.Options{Routes: map[string]relay.Route{"in": {Hops: []relay.Hop{{Address: hop, TLS: relay.TLSNone}}}}})
	if err != nil {
		panic(err)
	}
	q, err := queue.New(queue.Options{Dir: dir, Relay: r, Workers: 1, MinBackOff: time.Millisecond, MaxBackOff: time.Millisecond, Rescan: 5 * time.Millisecond})
	if err != nil {
		panic(err)
	}
	fmt.Println("up") // a busy machine takes its time until here
	for n := 0; ; n++ {
		id := fmt.Sprintf("R%s.%d", run, n)
		if err := q.Put(context.Background(), item(id, "bob", "carl"), letter(id)); err != nil {
			panic(err)
		}
		fmt.Println(id)
	}
}

func TestKilledAtAnyPointNothingIsLost(t *testing.T) {
	hop := hoptest.New(t, hoptest.Options{})
	dir := t.TempDir()
	acknowledged := map[string]bool{}
	const kills = 25
	random := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	for run := range kills {
		// Now and then a hop that takes one recipient only, so that states are written too.
		hop.Reply("RCPT TO:<carl@", []string{"", "450 4.2.0 later"}[run%2])
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "QUEUE_TEST_DIR="+dir, "QUEUE_TEST_HOP="+hop.Addr(), fmt.Sprint("QUEUE_TEST_RUN=", run))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		said := bufio.NewReader(out)
		_, _ = said.ReadString('\n')
		timer := time.AfterFunc(time.Duration(1+random.IntN(80))*time.Millisecond, func() { _ = cmd.Process.Kill() })
		text, _ := io.ReadAll(said)
		timer.Stop()
		_ = cmd.Wait()
		for line := range strings.Lines(string(text)) {
			if id, whole := strings.CutSuffix(line, "\n"); whole {
				acknowledged[id] = true
			}
		}
	}
	hop.Reply("RCPT TO:<carl@", "")
	q := open(t, queue.Options{Dir: dir, Relay: newRelay(t, hop.Addr()), MinBackOff: time.Millisecond, MaxBackOff: time.Millisecond})
	until(t, "all delivered", func() bool { return q.Len() == 0 })
	got := map[string]int{}
	for _, m := range hop.Messages() {
		if !strings.HasSuffix(string(m.Data), "\r\n\r\n.dot\r\n") {
			t.Errorf("half a message: %q", m.Data)
		}
		for _, to := range m.To {
			got[subject(m.Data)+to]++
		}
	}
	doubled := 0
	for id := range acknowledged {
		for _, to := range []string{"<bob@corp.example>", "<carl@corp.example>"} {
			switch n := got[id+to]; {
			case n == 0:
				t.Errorf("%s was acknowledged and never came to %s", id, to)
			case n > 1:
				doubled += n - 1
			}
		}
	}
	t.Logf("%d kills, %d acknowledged, %d doubled", kills, len(acknowledged), doubled)
	// One message with two recipients is on its way at once.
	if len(acknowledged) == 0 || doubled > 2*kills {
		t.Errorf("%d acknowledged, %d doubled in %d crashes", len(acknowledged), doubled, kills)
	}
}

func subject(data []byte) string {
	s := bufio.NewScanner(strings.NewReader(string(data)))
	for s.Scan() {
		if text, ok := strings.CutPrefix(s.Text(), "Subject: "); ok {
			return text
		}
	}
	return ""
}

// A running attempt does not swallow a request for another one.
func TestRetryOfABusyMessage(t *testing.T) {
	hop := hoptest.New(t, hoptest.Options{Replies: map[string]string{"RCPT": "AFTER 300ms 450 4.2.0 later"}})
	q := open(t, queue.Options{Dir: t.TempDir(), Relay: newRelay(t, hop.Addr())})
	put(t, q, item("ID1", "bob"))
	until(t, "the hop was asked", func() bool {
		return slices.ContainsFunc(hop.Commands(), func(line string) bool { return strings.HasPrefix(line, "RCPT") })
	})
	if err := q.Retry("ID1", "ann"); err != nil {
		t.Fatal(err)
	}
	hop.Reply("RCPT", "")
	until(t, "delivered", func() bool { return q.Len() == 0 })
}
