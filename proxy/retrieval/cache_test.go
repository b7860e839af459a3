package retrieval_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postern/filters"
	"postern/internal/mail"
	"postern/internal/state"
	"postern/policy"
	"postern/policy/records/ledger"
	"postern/proxy/retrieval"
	"postern/proxy/retrieval/seal"
)

// office is a verdicts with all around it.
type office struct {
	verdicts *retrieval.VerdictCache
	judged   atomic.Int64
	judge    func(ctx context.Context, tx *mail.Transaction) policy.Verdict
	epoch    string
	now      time.Time
	back     map[string]string // hash or Message-ID to why
	unread   error             // of Ready

	mu      sync.Mutex
	records []ledger.Transaction
}

func (o *office) Recalled(_ context.Context, sum, messageID string) (string, bool) {
	for _, key := range []string{sum, messageID} {
		if why, ok := o.back[key]; ok {
			return why, true
		}
	}
	return "", false
}

func (o *office) Ready(context.Context) error { return o.unread }

func (o *office) Transaction(t ledger.Transaction) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.records = append(o.records, t)
}

func sealKey() []byte { return []byte("0123456789abcdef0123456789abcdef") }

func open(t *testing.T, change func(*retrieval.Options)) *office {
	t.Helper()
	o := &office{epoch: "1", now: time.Unix(1800000000, 0), back: map[string]string{}}
	memory, err := state.NewMemory(state.MemoryOptions{Now: func() time.Time { return o.now }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = memory.Close() })
	o.judge = func(_ context.Context, tx *mail.Transaction) policy.Verdict {
		raw, _ := tx.Message.Head(tx.Message.Size())
		if strings.Contains(string(raw), "evil") {
			tx.Findings = append(tx.Findings, mail.Finding{Symbol: "EVIL", Evidence: "evil"})
			return policy.Verdict{Disposition: policy.Reject, Decisive: "EVIL is not let in", PolicyVersion: "p1"}
		}
		return policy.Verdict{Disposition: policy.Accept, PolicyVersion: "p1"}
	}
	opt := retrieval.Options{
		Judge: func(ctx context.Context, tx *mail.Transaction) policy.Verdict {
			o.judged.Add(1)
			return o.judge(ctx, tx)
		},
		State: memory, Recalls: o, Ledger: o, SealKey: sealKey(), Epoch: func() string { return o.epoch }, Now: func() time.Time { return o.now },
	}
	if change != nil {
		change(&opt)
	}
	o.verdicts = retrieval.New(opt)
	return o
}

func session() *mail.Session {
	return &mail.Session{ID: "01HXYZ0123456789", Door: "imaps", User: "c@d.example", Client: netip.MustParseAddr("192.0.2.7")}
}

func place(uid uint32) retrieval.Place {
	return retrieval.Place{Backend: "default", User: "c@d.example", Mailbox: "INBOX", UIDValidity: 7, UID: uid}
}

const good = "From: a@b.example\r\nMessage-ID: <1@b.example>\r\nSubject: hi\r\n\r\nhello\r\n"
const bad = "From: a@b.example\r\nMessage-ID: <2@b.example>\r\nSubject: hi\r\n\r\nevil\r\n"

// ask judges a message and says how often the judge was asked for it.
func (o *office) ask(p retrieval.Place, raw string) (r retrieval.Ruling, asked int64) {
	before := o.judged.Load()
	m := mail.NewMessage([]byte(raw))
	defer m.Close()
	r = o.verdicts.Judge(context.Background(), session(), p, m)
	return r, o.judged.Load() - before
}

func TestBadIsMaskedAndRemembered(t *testing.T) {
	o := open(t, nil)
	r, asked := o.ask(place(1), bad)
	if !r.Masked || asked != 1 || r.ID == "" || r.Why != "EVIL is not let in" || r.SHA256 != sha256.Sum256([]byte(bad)) {
		t.Fatalf("%+v, asked %d", r, asked)
	}
	if known, ok := o.verdicts.Known(context.Background(), place(1)); !ok || known != r {
		t.Errorf("known by place: %+v %v", known, ok)
	}
	if again, asked := o.ask(place(2), bad); asked != 0 || again != r {
		t.Errorf("known by content: %+v, asked %d", again, asked)
	}
	if clean, asked := o.ask(place(3), good); clean.Masked || asked != 1 {
		t.Errorf("%+v", clean)
	}
	for _, p := range []retrieval.Place{place(4), {Backend: "other", User: "c@d.example", Mailbox: "INBOX", UIDValidity: 7, UID: 1},
		{Backend: "default", User: "x@d.example", Mailbox: "INBOX", UIDValidity: 7, UID: 1},
		{Backend: "default", User: "c@d.example", Mailbox: "INBOX", UIDValidity: 8, UID: 1}, {}} {
		if _, ok := o.verdicts.Known(context.Background(), p); ok {
			t.Errorf("%+v is known", p)
		}
	}
	o.verdicts.Carry(context.Background(), place(1), place(9))
	if known, ok := o.verdicts.Known(context.Background(), place(9)); !ok || known != r {
		t.Error("not carried")
	}
}

func TestRecordsSayWhatWasJudgedAndFetched(t *testing.T) {
	o := open(t, nil)
	r, _ := o.ask(place(1), bad)
	for range 3 {
		o.verdicts.Fetched(context.Background(), session(), place(1), r)
	}
	if len(o.records) != 2 {
		t.Fatalf("%d records", len(o.records))
	}
	j, f := o.records[0], o.records[1]
	if j.ID != r.ID || j.ConnID != session().ID || j.HeaderFrom != "a@b.example" || j.MessageID != "<2@b.example>" || j.Outbound ||
		j.SHA256 != hex.EncodeToString(r.SHA256[:]) || len(j.Facts.Findings) != 1 || j.Recipients[0].Address != "c@d.example" ||
		j.Recipients[0].Disposition != policy.Reject || j.Client != session().Client || j.Facts.User != "" || j.Facts.Client.IsValid() {
		t.Errorf("judged: %+v %+v", j, j.Facts)
	}
	if !mail.ValidID(f.ID) || f.ConnID != session().ID || f.Recipients[0].Fate != "fetched, masked" || !strings.Contains(f.Reply, r.ID) {
		t.Errorf("fetched: %+v", f)
	}
}

func TestAFetchedRecordIsBoundedPerSession(t *testing.T) {
	o := open(t, nil)
	for i := range 3000 {
		o.verdicts.Fetched(context.Background(), session(), place(1), retrieval.Ruling{SHA256: sha256.Sum256([]byte(fmt.Sprint(i)))})
	}
	if len(o.records) != 1000 {
		t.Errorf("%d records", len(o.records))
	}
}

func TestJudgedAgainInAnotherEpochAndAfterTheTimeOfTrust(t *testing.T) {
	o := open(t, nil)
	o.ask(place(1), bad)
	o.epoch = "2"
	if _, ok := o.verdicts.Known(context.Background(), place(1)); ok {
		t.Error("known in another epoch")
	}
	if _, asked := o.ask(place(1), bad); asked != 1 {
		t.Error("not judged again")
	}
	o.now = o.now.Add(23 * time.Hour)
	if _, asked := o.ask(place(2), bad); asked != 0 {
		t.Error("judged again within the time of trust")
	}
	o.now = o.now.Add(2 * time.Hour)
	for uid := range uint32(2) {
		if _, ok := o.verdicts.Known(context.Background(), place(uid+1)); ok {
			t.Error("known for longer than the time of trust, by way of another place")
		}
	}
	if _, asked := o.ask(place(1), bad); asked != 1 {
		t.Error("not judged again")
	}
}

func TestCalledBack(t *testing.T) {
	sum := sha256.Sum256([]byte(good))
	for name, key := range map[string]string{"by hash": hex.EncodeToString(sum[:]), "by Message-ID": "<1@b.example>"} {
		o := open(t, nil)
		if r, _ := o.ask(place(1), good); r.Masked {
			t.Fatal("masked")
		}
		o.back[key] = "a late find"
		if r, ok := o.verdicts.Known(context.Background(), place(1)); !ok || !r.Masked || r.Why != "a late find" {
			t.Errorf("%s: known as %+v %v", name, r, ok)
		}
		o.epoch = "2" // and also where the judgement itself is too old
		if r, ok := o.verdicts.Known(context.Background(), place(1)); !ok || !r.Masked {
			t.Errorf("%s: in another epoch known as %+v %v", name, r, ok)
		}
		if r, asked := o.ask(place(2), good); !r.Masked || asked != 0 || r.ID == "" {
			t.Errorf("%s: %+v, asked %d", name, r, asked)
		}
		delete(o.back, key)
		if r, ok := o.verdicts.Known(context.Background(), place(2)); ok {
			t.Errorf("%s: no longer called back, and known as %+v", name, r)
		}
		if r, _ := o.ask(place(2), good); r.Masked {
			t.Errorf("%s: no longer called back, and masked", name)
		}
	}
}

// What came in is not what lies in the mailbox, octet by octet, and it may have no Message-ID: its seal says which it was,
// however old it is.
// As long as nobody can say what was called back, nothing is shown, and nothing masked: not even what was judged before.
func TestWhatWasCalledBackIsNotKnown(t *testing.T) {
	o := open(t, nil)
	o.ask(place(1), good)
	o.unread = errors.New("the database does not answer")
	if _, ok := o.verdicts.Known(context.Background(), place(1)); ok {
		t.Error("it is known to be shown")
	}
	for _, raw := range []string{good, bad} {
		if r, asked := o.ask(place(2), raw); !r.Later || !r.Masked || asked != 0 {
			t.Errorf("%+v, asked %d", r, asked)
		}
	}
	o.unread = nil
	if r, _ := o.ask(place(2), good); r.Later || r.Masked {
		t.Errorf("it is back: %+v", r)
	}
}

func TestCalledBackByItsSeal(t *testing.T) {
	const nameless = "Subject: x\r\n\r\nhello\r\n"
	for name, age := range map[string]time.Duration{"fresh": time.Hour, "old": 1000 * time.Hour} {
		o := open(t, nil)
		raw := "Return-Path: <a@b.example>\r\n" + string(seal.Field(sealKey(), "01HSMTP.1", "1", o.now.Add(-age), sha256.Sum256([]byte(nameless)))) + nameless
		if r, _ := o.ask(place(1), raw); r.Masked {
			t.Fatal("masked")
		}
		o.back["01HSMTP.1"] = "a late find"
		if r, ok := o.verdicts.Known(context.Background(), place(1)); !ok || !r.Masked {
			t.Errorf("%s: known as %+v %v", name, r, ok)
		}
		if r, _ := o.ask(place(2), raw); !r.Masked || r.Why != "a late find" {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func TestTheSMTPDoorsSealIsTaken(t *testing.T) {
	sealed := func(o *office, epoch string, at time.Time, raw string) string {
		return "Return-Path: <a@b.example>\r\n" + string(seal.Field(sealKey(), "01HSMTP.1", epoch, at, sha256.Sum256([]byte(raw)))) + raw
	}
	o := open(t, nil)
	r, asked := o.ask(place(1), sealed(o, "1", o.now.Add(-time.Hour), bad)) // it would be judged bad
	if r.Masked || asked != 0 || r.ID != "01HSMTP.1" {
		t.Errorf("%+v, asked %d", r, asked)
	}
	o.now = o.now.Add(23*time.Hour + time.Minute)
	if _, ok := o.verdicts.Known(context.Background(), place(1)); ok {
		t.Error("trusted for longer than the seal")
	}
	for name, text := range map[string]string{
		"another epoch": sealed(o, "2", o.now, bad), "too old": sealed(o, "1", o.now.Add(-25*time.Hour), bad),
		"from tomorrow": sealed(o, "1", o.now.Add(time.Hour), bad), "changed": sealed(o, "1", o.now, bad) + "evil\r\n",
		"a subject above": "Subject: x\r\n" + sealed(o, "1", o.now, bad),
	} {
		if r, asked := o.ask(place(1), text); asked != 1 || !r.Masked {
			t.Errorf("%s: %+v, asked %d", name, r, asked)
		}
	}
}

func TestOurFailureIsNoVerdictAndNotRemembered(t *testing.T) {
	for name, judge := range map[string]func(context.Context, *mail.Transaction) policy.Verdict{
		"panic": func(context.Context, *mail.Transaction) policy.Verdict { panic("boom") },
		"defer": func(context.Context, *mail.Transaction) policy.Verdict {
			return policy.Verdict{Disposition: policy.Defer, Decisive: "a filter failed"}
		},
		"late": func(ctx context.Context, _ *mail.Transaction) policy.Verdict {
			<-ctx.Done()
			return policy.Verdict{}
		},
	} {
		o := open(t, func(opt *retrieval.Options) { opt.Timeout = 20 * time.Millisecond })
		well := o.judge
		o.judge = judge
		if r, _ := o.ask(place(1), good); !r.Later || !r.Masked || r.Why == "" || r.ID == "" {
			t.Errorf("%s: %+v", name, r)
		}
		if _, ok := o.verdicts.Known(context.Background(), place(1)); ok {
			t.Errorf("%s: remembered", name)
		}
		o.judge = well
		if r, asked := o.ask(place(1), good); r.Masked || r.Later || asked != 1 {
			t.Errorf("%s: then %+v, asked %d", name, r, asked)
		}
	}
}

func TestWhatPassesWithAFailedFilterIsNotRemembered(t *testing.T) {
	o := open(t, nil)
	o.judge = func(_ context.Context, tx *mail.Transaction) policy.Verdict {
		tx.Findings = append(tx.Findings, mail.Finding{Symbol: filters.Failed, Value: "antivirus"})
		return policy.Verdict{PolicyVersion: "p1"}
	}
	for range 2 {
		if r, asked := o.ask(place(1), good); r.Masked || asked != 1 {
			t.Errorf("%+v, asked %d", r, asked)
		}
	}
}

func TestNotJudgedInTime(t *testing.T) {
	for _, what := range []string{"later", "pass", "", "mask"} {
		o := open(t, func(opt *retrieval.Options) { opt.Timeout, opt.OnTimeout = 20*time.Millisecond, what })
		o.judge = func(ctx context.Context, _ *mail.Transaction) policy.Verdict { <-ctx.Done(); return policy.Verdict{} }
		if r, _ := o.ask(place(1), good); r.Masked == (what == "pass") || r.Later != r.Masked {
			t.Errorf("%q: %+v", what, r)
		}
		o.judge = func(ctx context.Context, _ *mail.Transaction) policy.Verdict {
			<-ctx.Done()
			return policy.Verdict{Disposition: policy.Reject, Decisive: "found in time"}
		}
		if r, _ := o.ask(place(1), good); !r.Masked || r.Later || r.Why != "found in time" {
			t.Errorf("%q: %+v", what, r)
		}
	}
	o := open(t, func(opt *retrieval.Options) { opt.Timeout = time.Millisecond })
	never := make(chan struct{})
	defer close(never)
	o.judge = func(context.Context, *mail.Transaction) policy.Verdict { <-never; return policy.Verdict{} }
	if r, _ := o.ask(place(1), good); !r.Later {
		t.Errorf("a judge that does not come back: %+v", r)
	}
}

func TestTheMaskBeginsWhereTheSettingsSay(t *testing.T) {
	for from, want := range map[policy.Disposition]bool{policy.Accept: false, policy.Tag: true, policy.Quarantine: false, policy.Reject: false} {
		o := open(t, func(opt *retrieval.Options) { opt.Mask = from })
		o.judge = func(context.Context, *mail.Transaction) policy.Verdict {
			return policy.Verdict{Disposition: policy.Tag}
		}
		if r, _ := o.ask(place(1), good); r.Masked != want {
			t.Errorf("tagged, masked from %s on: %v", from, r.Masked)
		}
	}
}

func TestManyAtOnce(t *testing.T) {
	o := open(t, nil)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for n := range 50 {
				raw := good
				if n%2 == 1 {
					raw = bad
				}
				r, _ := o.ask(place(uint32(n+1)), raw)
				if r.Masked != (raw == bad) {
					t.Errorf("%d: %+v", i, r)
				}
				o.verdicts.Fetched(context.Background(), session(), place(uint32(n+1)), r)
				o.verdicts.Known(context.Background(), place(uint32(n+1)))
			}
		})
	}
	all.Wait()
}
