package imapd_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/internal/mail"
	"postern/internal/testing/dovecottest"
	"postern/proxy/access"
	"postern/proxy/frame"
	"postern/proxy/imapd"
	"postern/proxy/retrieval"
)

// scripted is a server behind the door that lets everybody in and answers the commands behind it by say.
func scripted(t *testing.T, say func(c net.Conn, tag, command string)) access.Backend {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				fmt.Fprint(c, "* OK [CAPABILITY IMAP4rev1] ready\r\n")
				in := bufio.NewScanner(c)
				for in.Scan() {
					tag, command, _ := strings.Cut(in.Text(), " ")
					switch {
					case strings.HasPrefix(command, "LOGIN"):
						fmt.Fprint(c, tag+" OK [CAPABILITY IMAP4rev1] in\r\n")
					case strings.HasPrefix(command, "SELECT"):
						fmt.Fprint(c, "* 3 EXISTS\r\n* OK [UIDVALIDITY 7] valid\r\n"+tag+" OK selected\r\n")
					default:
						say(c, tag, command)
					}
				}
			}()
		}
	}()
	return access.Backend{Address: l.Addr().String(), TLS: access.TLSNone}
}

// A server that is gone without a word is said goodbye for: RFC 9051 section 7.1.5.
func TestAServerThatDies(t *testing.T) {
	d := open(t, scripted(t, func(c net.Conn, _, _ string) { _ = c.Close() }), nil)
	c := dial(t, d.address, nil)
	c.send("a LOGIN bob secret\r\nb NOOP\r\n")
	if got := c.rest(); !strings.Contains(got, "* BYE [UNAVAILABLE]") {
		t.Errorf("%q", got)
	}
}

// A client that says no more may still listen: it gets its answers.
func TestAHalfClosedClientGetsItsAnswers(t *testing.T) {
	d := open(t, scripted(t, func(c net.Conn, tag, _ string) {
		time.Sleep(100 * time.Millisecond)
		fmt.Fprint(c, "* SEARCH 1 2 3\r\n"+tag+" OK done\r\n")
	}), nil)
	conn, err := net.Dial("tcp", d.address)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	c := &client{t: t, conn: conn}
	c.send("a LOGIN bob secret\r\nb SELECT INBOX\r\nc SEARCH ALL\r\n")
	_ = conn.(*net.TCPConn).CloseWrite()
	if got := c.rest(); !strings.Contains(got, "c OK done") {
		t.Errorf("%q", got)
	}
}

// RFC 2971 section 3.3: 30 pairs, values of 1,024 octets, before the login, too.
func TestALongID(t *testing.T) {
	d := open(t, scripted(t, nil), nil)
	c := dial(t, d.address, nil)
	c.send("a ID (" + strings.Repeat(`"name" "`+strings.Repeat("v", 1024)+`" `, 30) + ")\r\nb LOGOUT\r\n")
	if got := c.rest(); !strings.Contains(got, "a OK") || !strings.Contains(got, "b OK") {
		t.Errorf("%q", got)
	}
}

// A disk that is full is our fault: the command says NO, the session goes on, and the log says why.
func TestNoRoomToSpool(t *testing.T) {
	raw := "From: a@b.test\r\n\r\n" + strings.Repeat("hello hello\r\n", 100_000)
	d := open(t, scripted(t, func(c net.Conn, tag, command string) {
		switch {
		case strings.Contains(command, "BODY.PEEK[]"):
			fmt.Fprintf(c, "* 1 FETCH (UID 5 BODY[] {%d}\r\n%s)\r\n", len(raw), raw)
		case strings.Contains(command, "(UID)"):
			fmt.Fprint(c, "* 1 FETCH (UID 5)\r\n")
		}
		fmt.Fprint(c, tag+" OK done\r\n")
	}), func(o *imapd.Options, _ *access.Options, _ *frame.Options) {
		o.SpoolDir = filepath.Join(t.TempDir(), "gone")
	})
	c := dial(t, d.address, nil)
	c.send("a LOGIN bob secret\r\nb SELECT INBOX\r\nc UID FETCH 5 BODY.PEEK[]\r\nd UID FETCH 5 BODY.PEEK[1]\r\ne NOOP\r\n")
	got := c.until("e OK")
	if !strings.Contains(got, "c NO [UNAVAILABLE]") || !strings.Contains(got, "d NO [UNAVAILABLE]") || strings.Contains(got, "hello") {
		t.Errorf("%q", got)
	}
	if !strings.Contains(d.log.String(), "can't be spooled") {
		t.Error("the log does not say why")
	}
	d.log.mu.Lock()
	d.log.b.Reset() // it was looked at
	d.log.mu.Unlock()
}

// recalling is a verdicts that knows nothing of places, and masks from a moment on.
type recalling struct {
	*verdicts
	back bool
}

func (r *recalling) Known(context.Context, retrieval.Place) (retrieval.Ruling, bool) {
	return retrieval.Ruling{}, false
}

func (r *recalling) Judge(_ context.Context, _ *mail.Session, _ retrieval.Place, _ *mail.Message) retrieval.Ruling {
	r.mu.Lock()
	defer r.mu.Unlock()
	return retrieval.Ruling{Masked: r.back, ID: "X"}
}

// What a session found out for one command it asks anew for the next: a message may be called back meanwhile.
func TestARecallReachesAnOpenSession(t *testing.T) {
	v := dovecottest.Start(t, dovecottest.Options{})
	back := &recalling{}
	d := open(t, access.Backend{Address: v.IMAP, TLS: access.TLSNone}, func(o *imapd.Options, _ *access.Options, _ *frame.Options) {
		back.verdicts = o.VerdictCache.(*verdicts)
		o.VerdictCache = back
	})
	c := dial(t, d.address, nil)
	c.login("bob", dovecottest.Password)
	appendMessage(c, "INBOX", "From: a@b.test\r\nSubject: x\r\n\r\nEVIL text of some length\r\n")
	c.do("s", "SELECT INBOX")
	for _, part := range []string{"BODY.PEEK[1]", "BODY.PEEK[TEXT]<0.9>", "BODY.PEEK[]"} {
		if got := c.do("a", "UID FETCH 1 "+part); !strings.Contains(got, "EVIL") {
			t.Fatalf("%q", got)
		}
	}
	back.mu.Lock()
	back.back = true
	back.mu.Unlock()
	for _, part := range []string{"BODY.PEEK[1]", "BODY.PEEK[TEXT]<0.9>", "BODY.PEEK[]", "RFC822.TEXT"} {
		if got := c.do("b", "UID FETCH 1 "+part); strings.Contains(got, "EVIL") {
			t.Errorf("%s: %q", part, got)
		}
	}
}

// One account takes no more than its share: a session that wants the parts of many messages of many parts is told to ask
// for fewer, and what it asks for one by one it gets.
func TestTheShareOfASession(t *testing.T) {
	const messages = 60
	part := "--b\r\nContent-Type: text/plain\r\nX-Filler: " + strings.Repeat("x", 200) + "\r\n\r\nEVIL\r\n"
	raw := "From: a@b.test\r\nX-Mask: yes\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" + strings.Repeat(part, 900) + "--b--\r\n"
	d := open(t, scripted(t, func(c net.Conn, tag, command string) {
		var from, to int
		if n, _ := fmt.Sscanf(command, "UID FETCH %d:%d ", &from, &to); n == 1 {
			to = from
		}
		for i := from; i <= to && i > 0; i++ {
			switch {
			case strings.Contains(command, "BODY.PEEK[]"):
				fmt.Fprintf(c, "* %d FETCH (UID %d BODY[] {%d}\r\n%s)\r\n", i, i, len(raw), raw)
			case strings.Contains(command, "(UID)"):
				fmt.Fprintf(c, "* %d FETCH (UID %d)\r\n", i, i)
			default:
				fmt.Fprintf(c, "* %d FETCH (UID %d BODY[1] {6}\r\nEVIL\r\n)\r\n", i, i)
			}
		}
		fmt.Fprint(c, tag+" OK done\r\n")
	}), nil)
	c := dial(t, d.address, nil)
	c.send(fmt.Sprintf("a LOGIN bob secret\r\nb SELECT INBOX\r\nc UID FETCH 1:%d BODY.PEEK[1]\r\n", messages))
	if got := c.until("c "); !strings.Contains(got, "c NO [LIMIT]") {
		t.Errorf("%.300q", got)
	}
	for i := 1; i <= messages; i++ {
		c.send(fmt.Sprintf("d UID FETCH %d BODY.PEEK[1]\r\n", i))
		if got := c.until("d OK"); strings.Contains(got, "EVIL") || !strings.Contains(got, "BODY[1] {6}\r\nThis\r\n)") {
			t.Fatalf("%d: %.300q", i, got)
		}
	}
}
