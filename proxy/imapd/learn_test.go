package imapd_test

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/internal/mail"
	"postern/internal/state"
	"postern/internal/testing/dovecottest"
	"postern/policy"
	"postern/policy/records/lessons"
	"postern/proxy/access"
	"postern/proxy/frame"
	"postern/proxy/imapd"
)

// learner writes down what it is taught, in one line each: what, how, the place, the subject.
type learner struct {
	mu  sync.Mutex
	all []string
}

func (l *learner) note(what string, s lessons.Lesson, m *mail.Message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	raw, err := io.ReadAll(m.Open())
	if err != nil || int64(len(raw)) != m.Size() {
		panic("a message that can't be read")
	}
	l.all = append(l.all, fmt.Sprintf("%s %s %s by %s: %s", what, s.How, s.Place, s.User, m.Header().Get("Subject")))
}

func word(spam bool) string { return map[bool]string{true: "spam", false: "ham"}[spam] }

func (l *learner) Learn(_ context.Context, s lessons.Lesson, m *mail.Message) {
	l.note(word(s.Spam), s, m)
}
func (l *learner) TakeBack(_ context.Context, s lessons.Lesson, m *mail.Message) {
	l.note("not "+word(s.Spam), s, m)
}
func (l *learner) Pass(_ context.Context, user, why string, n int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, fmt.Sprintf("%d %s by %s", n, why, user))
}

// take gives what was learnt since the last call; it waits for n notes, and a moment for what should not come.
func (l *learner) take(n int) []string {
	for range 500 {
		l.mu.Lock()
		got := len(l.all)
		l.mu.Unlock()
		if got >= n && n > 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
		if n == 0 {
			time.Sleep(150 * time.Millisecond)
			break
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	all := l.all
	l.all = nil
	return all
}

const specialUse = `
namespace inbox {
  inbox = yes
  separator = /
  mailbox Junk {
    special_use =
  }
  mailbox "Unwanted things" {
    auto = create
    special_use = \Junk
  }
  mailbox Gone {
    auto = create
    special_use = \Trash
  }
  mailbox Work {
    auto = create
  }
  mailbox Spam {
    auto = create
  }
}
`

// What users say by moves, copies, uploads and flags becomes lessons, with a real server.
func TestLessons(t *testing.T) {
	v := dovecottest.Start(t, dovecottest.Options{Extra: specialUse})
	l := &learner{}
	d := open(t, access.Backend{Address: v.IMAP, TLS: access.TLSNone}, func(o *imapd.Options, _ *access.Options, _ *frame.Options) { o.Learner = l })
	c := dial(t, d.address, nil)
	c.login("bob", dovecottest.Password)
	c.until0("a", `LIST "" "*"`)
	for n := range 9 {
		appendMessage(c, "INBOX", fmt.Sprintf("Subject: %d\r\n%s\r\nHello\r\n", n+1, map[bool]string{true: "X-Mask: yes\r\n"}[n+1 == 3]))
	}
	if got := l.take(9); len(got) != 9 || got[0] != "not spam append INBOX by bob: 1" { // asked for, nothing taken
		t.Fatalf("%q", got)
	}
	for _, step := range []struct {
		do   string
		want []string
	}{
		{"SELECT INBOX", nil},
		{`COPY 1 "Unwanted things"`, []string{"spam copy Unwanted things by bob: 1"}},
		{`UID MOVE 2:3 {15+}` + "\r\nUnwanted things", []string{"spam move Unwanted things by bob: 2", "spam move Unwanted things by bob: 3"}},
		{"COPY 1 Spam", nil}, // the server named the folder for junk: this is another one
		{"COPY 1 Gone", nil},
		{"COPY 99 \"Unwanted things\"", nil},
		{"UID COPY 777 \"Unwanted things\"", nil},
		{`COPY 1 Nowhere`, nil},
		{`STORE 2 +FLAGS ($Junk)`, []string{"spam flag INBOX by bob: 4"}},
		{`STORE 2 +FLAGS.SILENT ($Junk \Seen)`, nil},
		{`STORE 2 +FLAGS (NonJunk)`, []string{"not spam flag INBOX by bob: 4"}},
		{`UID STORE 4 -FLAGS $Junk`, []string{"ham flag INBOX by bob: 4"}},
		{`UID STORE 4 FLAGS ($Junk)`, []string{"spam flag INBOX by bob: 4"}},
		{`STORE 2 -FLAGS ($Junk)`, []string{"not spam flag INBOX by bob: 4"}},
		{`STORE 2 +FLAGS ($Junk $NotJunk)`, nil},
		{`STORE 2 +FLAGS (\Flagged)`, nil},
		{"SELECT \"Unwanted things\"", nil},
		{"MOVE 1 INBOX", []string{"ham move INBOX by bob: 1"}},
		{"UID COPY 2:3 Work", []string{"ham copy Work by bob: 2", "release wanted copy Work by bob: 3"}},
		{"MOVE 1 Gone", nil},
		{"MOVE 1 \"Unwanted things\"", nil},
	} {
		c.until0("x", step.do)
		got := l.take(len(step.want))
		for i := range got { // a wish is no lesson
			got[i] = strings.Replace(got[i], "ham release wanted", "release wanted copy", 1)
		}
		if !slices.Equal(got, step.want) {
			t.Errorf("%s: %q, want %q", step.do, got, step.want)
		}
	}
	if got := c.do("z", "UID FETCH 1:* (UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])"); strings.Count(got, "FETCH") != 1 {
		t.Errorf("%q", got)
	}
}

// until0 does a command and fails if the client hears of a message that it did not ask for.
func (c *client) until0(tag, command string) {
	c.t.Helper()
	if got := c.do(tag, command); strings.Contains(got, "BODY[") {
		c.t.Errorf("%s: %q", command, got)
	}
}

// An upload to junk is spam, elsewhere it takes that back; one that is put together from parts is none. Of a large move the
// front teaches and the rest is counted.
func TestUploadsAndBulk(t *testing.T) {
	v := dovecottest.Start(t, dovecottest.Options{})
	l := &learner{}
	d := open(t, access.Backend{Address: v.IMAP, TLS: access.TLSNone}, func(o *imapd.Options, _ *access.Options, _ *frame.Options) { o.Learner = l })
	c := dial(t, d.address, nil)
	c.login("bob", dovecottest.Password)
	large := strings.Repeat("x", 1<<20)
	appendMessage(c, "\"Junk\"", "Subject: 1\r\n\r\n"+large)
	c.send("a APPEND {5+}\r\ninbox (\\Seen) {16+}\r\nSubject: 2\r\n\r\nxx {16+}\r\nSubject: 3\r\n\r\nyy\r\n")
	c.until("a OK")
	c.send("b APPEND Junk CATENATE (TEXT {16+}\r\nSubject: 4\r\n\r\nxx)\r\n")
	c.until("b OK")
	want := []string{"spam append Junk by bob: 1", "not spam append INBOX by bob: 2", "not spam append INBOX by bob: 3"}
	if got := l.take(3); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	for range 10 {
		c.send("a APPEND INBOX" + strings.Repeat(" {16+}\r\nSubject: 2\r\n\r\nxx", 100) + "\r\n")
		c.until("a OK")
	}
	l.take(50 * 10)
	c.do("s", "SELECT INBOX")
	c.until0("b", "UID MOVE 1:* Junk")
	got := l.take(51)
	if len(got) != 51 || got[0] != "952 bulk by bob" || got[50] != "spam move Junk by bob: 2" {
		t.Errorf("%d: %.300q", len(got), got)
	}
	if got := c.do("s", "STATUS Junk (MESSAGES)"); !strings.Contains(got, "MESSAGES 1004") {
		t.Errorf("%q", got)
	}
}

// A session whose login is in doubt teaches nothing, and its record says so.
func TestDoubtedLoginsTeachNothing(t *testing.T) {
	v := dovecottest.Start(t, dovecottest.Options{})
	l := &learner{}
	s, err := state.NewMemory(state.MemoryOptions{})
	if err != nil {
		t.Fatal(err)
	}
	d := open(t, access.Backend{Address: v.IMAP, TLS: access.TLSNone}, func(o *imapd.Options, gate *access.Options, _ *frame.Options) {
		o.Learner, gate.State = l, s
	})
	s.Put(t.Context(), state.Key("login-any", "bob"), []byte{1}, time.Hour)
	c := dial(t, d.address, nil)
	c.login("bob", dovecottest.Password)
	appendMessage(c, "INBOX", "Subject: 1\r\n\r\nx")
	appendMessage(c, "Junk", "Subject: 1\r\n\r\nx")
	c.do("a", "SELECT INBOX")
	c.do("b", "MOVE 1 Junk")
	c.do("c", "LOGOUT")
	if got, want := l.take(2), []string{"1 login by bob", "1 login by bob"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if r := d.records.wait(t, 1); !slices.ContainsFunc(r.Findings, func(f policy.Reason) bool { return f.Symbol == "LESSONS_IGNORED" }) {
		t.Errorf("%+v", r.Findings)
	}
}
