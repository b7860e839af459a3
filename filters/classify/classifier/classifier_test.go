package classifier

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"postern/filters"
	"postern/filters/classify/lessonlog"
	"postern/internal/mail"
)

// letter is the n-th message of a kind: of 60 words of one of two vocabularies, which have half of their words in common.
func letter(n int, spam bool) []byte {
	r := rand.New(rand.NewPCG(uint64(n), 1))
	var b bytes.Buffer
	fmt.Fprintf(&b, "From: a%d@b.example\r\nSubject: letter %d\r\n\r\n", n, n)
	for range 60 {
		k := r.IntN(200)
		if spam {
			k += 100
		}
		fmt.Fprintf(&b, "word%c%c ", 'a'+k/26, 'a'+k%26)
	}

	return append(b.Bytes(), "\r\n"...)
}

func sum(raw []byte) string {
	s := sha256.Sum256(raw)

	return hex.EncodeToString(s[:])
}

// world is a classifier in a folder, and its clock.
type world struct {
	*Classifier
	t    *testing.T
	dir  string
	time time.Time
}

func open(t *testing.T, dir string, r lessonlog.Rules) *world {
	t.Helper()
	w := &world{t: t, dir: dir, time: time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)}
	book, err := lessonlog.Open(filepath.Join(dir, "classifier.db"))
	if err != nil {
		t.Fatal(err)
	}
	w.Classifier, err = Open(context.Background(), Options{Book: book, Hostname: "mx.corp.example", HeaderName: "X-Postern",
		Snapshot: filepath.Join(dir, "classifier.model"), Rules: r, Now: func() time.Time { return w.time }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = book.Close() })

	return w
}

func rules() lessonlog.Rules { return lessonlog.Rules{Quorum: 2, Daily: 1000} }

// says teaches that somebody says something of a message.
func (w *world) says(by string, raw []byte, spam, trusted bool) {
	w.t.Helper()
	l := lesson(raw, spam)
	l.By, l.Trusted = by, trusted
	if err := w.Teach(context.Background(), message(raw), l); err != nil {
		w.t.Fatal(err)
	}
	w.catchUp()
}

func message(raw []byte) *mail.Message { return mail.NewMessage(raw) }

// lesson is an admin's.
func lesson(raw []byte, spam bool) filters.Lesson {
	return filters.Lesson{Spam: spam, SHA256: sum(raw), By: "admin", Way: "move", Trusted: true}
}

func (w *world) catchUp() {
	w.t.Helper()
	if err := w.Now(context.Background()); err != nil {
		w.t.Fatal(err)
	}
}

// octets are all that the classifier knows.
func (w *world) octets() []byte {
	w.t.Helper()
	w.catchUp()
	var b bytes.Buffer
	if _, err := w.model.WriteTo(&b); err != nil {
		w.t.Fatal(err)
	}

	return b.Bytes()
}

func (w *world) odds(raw []byte) float64 {
	w.t.Helper()
	m := mail.NewMessage(raw)
	defer m.Close()

	return w.Judge(&mail.Transaction{Session: &mail.Session{}, Message: m}).Odds
}

func (w *world) status() Status {
	w.t.Helper()
	s, err := w.Status(context.Background())
	if err != nil {
		w.t.Fatal(err)
	}

	return s
}

func (w *world) teachMany(from, to int) {
	for n := from; n < to; n++ {
		w.says("admin", letter(n, n%2 == 0), n%2 == 0, true)
	}
}

// Forgotten lessons leave no trace: the weights are those of one who never learned them, bit by bit. So do those that were
// rolled back.
func TestForgetAndRollBack(t *testing.T) {
	all, some := open(t, t.TempDir(), rules()), open(t, t.TempDir(), rules())
	var forget []string
	for n := range 60 {
		raw := letter(n, n%2 == 0)
		all.says("admin", raw, n%2 == 0, true)
		if n%3 == 0 {
			forget = append(forget, sum(raw))
			continue
		}
		some.says("admin", raw, n%2 == 0, true)
	}
	if bytes.Equal(all.octets(), some.octets()) {
		t.Fatal("a third of the lessons makes no difference")
	}
	if err := all.Forget(context.Background(), forget, ""); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(all.octets(), some.octets()) {
		t.Error("forgotten lessons leave a trace")
	}

	before, at := all.octets(), all.status().Event
	all.teachMany(100, 120)
	if bytes.Equal(before, all.octets()) {
		t.Fatal("20 lessons make no difference")
	}
	if err := all.RollBack(context.Background(), at, "admin"); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(before, all.octets()) {
		t.Error("a roll-back leaves a trace")
	}
	// a roll-back can itself be rolled back
	last := all.status().Event
	if err := all.RollBack(context.Background(), last-1, "admin"); err != nil {
		t.Fatal(err)
	}
	if s := all.status(); s.Ham+s.Spam != 60 {
		t.Errorf("%+v, want 60 lessons", s)
	}
	if err := all.RollBack(context.Background(), 1e6, "admin"); err == nil {
		t.Error("rolled back to an event that never was")
	}
}

// A restart changes nothing, with a snapshot, without one, with one that is damaged, of another log, or older than the log.
func TestRestart(t *testing.T) {
	dir := t.TempDir()
	w := open(t, dir, rules())
	w.teachMany(0, 30)
	if err := w.Save(); err != nil {
		t.Fatal(err)
	}
	w.teachMany(30, 50)
	want := w.octets()
	snapshot := filepath.Join(dir, "classifier.model")
	good, err := os.ReadFile(snapshot)
	if err != nil {
		t.Fatal(err)
	}
	damaged := bytes.Clone(good)
	damaged[len(damaged)/3] ^= 4
	other := open(t, t.TempDir(), rules())
	other.teachMany(200, 230)
	if err := other.Save(); err != nil {
		t.Fatal(err)
	}
	foreign, err := os.ReadFile(filepath.Join(other.dir, "classifier.model"))
	if err != nil {
		t.Fatal(err)
	}
	for name, octets := range map[string][]byte{"good": good, "none": nil, "damaged": damaged, "short": good[:len(good)/2], "empty": {}, "foreign": foreign} {
		if err := os.Remove(snapshot); err != nil {
			t.Fatal(err)
		}
		if octets != nil {
			if err := os.WriteFile(snapshot, octets, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		again := open(t, dir, rules())
		if !bytes.Equal(again.octets(), want) {
			t.Errorf("%s: it knows something else after a restart", name)
		}
		again.saved = -1
		if err := again.Save(); err != nil {
			t.Error(err)
		}
	}
}

// What one user says waits for another who says the same, of the message or of one that is nearly the same; an admin's word
// decides at once.
func TestQuorum(t *testing.T) {
	w := open(t, t.TempDir(), rules())
	raw := letter(1, true)
	w.says("ann", raw, true, false)
	w.says("ann", raw, true, false)
	if s := w.status(); s.Spam != 0 || s.Waiting != 1 {
		t.Errorf("one user: %+v", s)
	}
	w.says("ann@corp.example", raw, true, false) // the same, by another door
	if s := w.status(); s.Spam != 0 || s.Waiting != 1 {
		t.Errorf("one user under two names: %+v", s)
	}
	w.says("ben", raw, true, false)
	if s := w.status(); s.Spam != 1 || s.Waiting != 0 {
		t.Errorf("two users: %+v", s)
	}
	// a wave: the same text with another subject for each
	for n, by := range []string{"ann", "ben"} {
		w.says(by, bytes.Replace(letter(2, true), []byte("letter 2"), fmt.Appendf(nil, "letter x%d", n), 1), true, false)
	}
	if s := w.status(); s.Spam != 3 || s.Waiting != 0 {
		t.Errorf("two of a wave: %+v", s)
	}
	w.says("ann", letter(3, false), false, false)
	w.says("ben", letter(4, false), false, false)
	if s := w.status(); s.Ham != 0 || s.Waiting != 2 {
		t.Errorf("two that are not alike: %+v", s)
	}
	// the admin knows better
	w.says("admin", raw, false, true)
	if s := w.status(); s.Spam != 2 || s.Ham != 1 {
		t.Errorf("an admin's word: %+v", s)
	}
}

// One user's lessons beyond the measure of a day are in the log and count nothing.
func TestDailyMeasure(t *testing.T) {
	w := open(t, t.TempDir(), lessonlog.Rules{Quorum: 1, Daily: 5})
	for n := range 8 {
		w.says("ann", letter(n, true), true, false)
	}
	if s := w.status(); s.Spam != 5 {
		t.Errorf("%+v", s)
	}
	w.time = w.time.Add(24 * time.Hour)
	w.says("ann", letter(9, true), true, false)
	if s := w.status(); s.Spam != 6 {
		t.Errorf("a day later: %+v", s)
	}
}

// Users who call honest mail spam, by themselves or by a program, lose their batch once it makes spam of mail that an admin
// confirmed.
func TestPoison(t *testing.T) {
	w := open(t, t.TempDir(), lessonlog.Rules{Quorum: 1, Daily: 1000})
	w.teachMany(0, 120)
	honest := letter(1001, false)
	if odds := w.odds(honest); odds > -1 {
		t.Fatalf("odds %.2f for honest mail", odds)
	}
	before := w.octets()
	const lies = 300
	for n := range lies {
		w.says("mallory", letter(2001+2*n, false), true, false)
	}
	if odds := w.odds(honest); odds > 1 {
		t.Errorf("odds %.2f for honest mail, after %d lies", odds, lies)
	}
	if s := w.status(); s.Spam >= 60+lies {
		t.Errorf("nothing is rolled back: %+v", s)
	}
	// what an admin taught meanwhile holds
	w.says("admin", letter(3000, true), true, true)
	if bytes.Equal(before, w.octets()) {
		t.Error("the admin's lesson is lost")
	}
}

// A copy from a mailbox, with all that we and the server behind us wrote on top of it, is the message that came in.
func TestOriginal(t *testing.T) {
	const came = "From: a@b.example\r\nSubject: x\r\n\r\nhello there\r\n"
	session := &mail.Session{Helo: "out.b.example"}
	ours := "Received: from out.b.example ([192.0.2.1])\r\n\tby mx.corp.example (Postern) with ESMTP id 01M.1\r\n\tfor <a@corp.example>;\r\n\tMon, 2 Mar 2026 12:00:00 +0000\r\n" +
		"Authentication-Results: mx.corp.example; spf=pass smtp.mailfrom=b.example\r\nX-Postern: 01M.1 accept 0.0\r\n"
	copied := "Return-Path: <a@b.example>\r\nReceived: from mx.corp.example by store.corp.example with LMTP; Mon, 2 Mar 2026 12:00:01 +0000\r\n" + ours + came
	w := open(t, t.TempDir(), rules())
	o, err := w.original(mail.NewMessage([]byte(copied)))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := o.message.Head(1 << 20)
	if err != nil || string(raw) != came {
		t.Errorf("%q, %v", raw, err)
	}
	if want := "Received: from out.b.example ([192.0.2.1])\r\n"; o.trace != want || len(o.facts) != 1 || o.facts[0] != "spf=pass" {
		t.Errorf("%q %q", o.trace, o.facts)
	}
	session.Client = mustAddr(t, "192.0.2.1")
	if session.TraceFrom() != o.trace {
		t.Errorf("%q at the door, %q in the copy", session.TraceFrom(), o.trace)
	}
	whole, err := w.original(mail.NewMessage([]byte(came)))
	if raw, _ := whole.message.Head(1 << 20); err != nil || string(raw) != came || whole.trace != "" {
		t.Errorf("%q, %v", raw, err)
	}
}

func mustAddr(t *testing.T, text string) netip.Addr {
	t.Helper()
	a, err := netip.ParseAddr(text)
	if err != nil {
		t.Fatal(err)
	}

	return a
}

// Mail is judged while lessons come in from several sides.
func TestJudgedWhileItLearns(t *testing.T) {
	w := open(t, t.TempDir(), rules())
	var all sync.WaitGroup
	for k := range 3 {
		all.Go(func() {
			for n := range 8 {
				raw := letter(100*k+n, n%2 == 0)
				w.Taught(context.Background(), message(raw), lesson(raw, n%2 == 0))
			}
		})
		all.Go(func() {
			for n := range 20 {
				w.odds(letter(1000+n, false))
			}
		})
	}
	all.Wait()
	w.catchUp()
	if s := w.status(); s.Ham+s.Spam != 24 {
		t.Errorf("%+v, want 24 lessons", s)
	}
}
