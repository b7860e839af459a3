package recipients

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/internal/mail"
	"postern/internal/state"
)

type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }

func newRecipients(t *testing.T, o Options) (*Recipients, *clock) {
	t.Helper()
	c := &clock{time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)}
	s, err := state.NewMemory(state.MemoryOptions{Now: c.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	o.State, o.Now, o.Log, o.Known, o.Unknown = s, c.Now, slog.New(slog.DiscardHandler), time.Hour, 10*time.Minute
	r, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return r, c
}

func address(t *testing.T, text string) mail.Address {
	t.Helper()
	a, err := mail.ParseAddress(text)
	if err != nil {
		t.Fatal(text, err)
	}
	return a
}

// asks wants a refusal, or "" for the next hop's word.
func (r *Recipients) asks(t *testing.T, text, want string) {
	t.Helper()
	said, ok := r.Ask(t.Context(), mail.RouteTo("default"), address(t, text))
	if ok != (want != "") || ok && said.String() != want {
		t.Errorf("%s: %v %s, want %q", text, ok, said, want)
	}
}

func TestAListRefusesWhoIsNotInIt(t *testing.T) {
	file := filepath.Join(t.TempDir(), "list")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("# people\nAnn@Example.com # the boss\n\n@all.example\n")
	r, c := newRecipients(t, Options{List: file})
	r.asks(t, "ann@example.com", "")
	r.asks(t, "ANN@EXAMPLE.COM", "")
	r.asks(t, "ann+news@example.com", "")
	r.asks(t, "anyone@all.example", "")
	r.asks(t, "postmaster@example.com", "")
	r.asks(t, "ben@example.com", "550 5.1.1 No such user here: ben@example.com")
	r.asks(t, "+@example.com", "550 5.1.1 No such user here: +@example.com")
	write("ann@example.com\nben@example.com\n")
	c.now = c.now.Add(11 * time.Second)
	r.asks(t, "ben@example.com", "")
	write("ann@example.com\nben@@example.com\n") // a slip leaves the old list in force
	c.now = c.now.Add(11 * time.Second)
	r.asks(t, "ben@example.com", "")
	if _, err := New(Options{List: file, Now: c.Now}); err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("the slip is not named: %v", err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	c.now = c.now.Add(11 * time.Second)
	r.asks(t, "ben@example.com", "")
	r.asks(t, "cleo@example.com", "550 5.1.1 No such user here: cleo@example.com")
}

func TestWhatTheHopSaidIsRemembered(t *testing.T) {
	r, c := newRecipients(t, Options{})
	told := func(to, said string) {
		code := 0
		enhanced, text := "", ""
		_, _ = fmt.Sscanf(said, "%d %s", &code, &enhanced)
		text = strings.SplitN(said, " ", 3)[2]
		r.Told(t.Context(), mail.RouteTo("default"), address(t, to), mail.Reply{Code: code, Enhanced: enhanced, Text: text})
	}
	told("nosuch@example.com", "550 5.1.1 Who is that?")
	told("later@example.com", "450 4.1.1 Ask me later")
	told("spam@example.com", "550 5.7.1 We don't like you")
	told("full@example.com", "552 5.2.2 Mailbox full")
	told("long@example.com", "550 5.1.1 "+strings.Repeat("x", 10_000))
	r.asks(t, "NoSuch@example.com", "550 5.1.1 Who is that?")
	r.asks(t, "later@example.com", "")
	r.asks(t, "spam@example.com", "")
	r.asks(t, "full@example.com", "")
	r.asks(t, "long@example.com", "550 5.1.1 "+strings.Repeat("x", 300))
	if _, ok := r.Ask(t.Context(), mail.RouteTo("other"), address(t, "nosuch@example.com")); ok {
		t.Error("another route's word counts")
	}
	c.now = c.now.Add(10*time.Minute + time.Second) // a mailbox may be new
	r.asks(t, "nosuch@example.com", "")
}

// directory is one in memory that counts the questions.
type directory struct {
	has   map[string]bool
	err   error
	asked int
}

func (d *directory) Has(_ context.Context, a mail.Address) (bool, error) {
	d.asked++
	return d.has[a.Key()], d.err
}

func TestADirectoryIsAskedOnceForEachAddress(t *testing.T) {
	d := &directory{has: map[string]bool{"ann@example.com": true}}
	r, c := newRecipients(t, Options{Directory: d})
	for range 100 {
		r.asks(t, "ann@example.com", "")
		r.asks(t, "ben@example.com", "550 5.1.1 No such user here: ben@example.com")
	}
	if d.asked != 2 {
		t.Errorf("asked %d times", d.asked)
	}
	c.now = c.now.Add(2 * time.Hour)
	d.err = errors.New("down")
	r.asks(t, "ann@example.com", "") // the next hop is asked
	r.asks(t, "ben@example.com", "")
}

// A directory that is down, slow or speaks nonsense costs no mail: no client waits longer than the time-out.
func TestAHostileDirectory(t *testing.T) {
	BoundLDAP()
	for name, speak := range map[string]func(net.Conn){
		"silent":  func(c net.Conn) { _, _ = io.Copy(io.Discard, c) },
		"closes":  func(net.Conn) {},
		"garbage": func(c net.Conn) { _, _ = c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")) },
		"giant": func(c net.Conn) {
			_, _ = c.Write([]byte{0x30, 0x84, 0x7f, 0xff, 0xff, 0xff})
			_, _ = io.Copy(io.Discard, c)
		},
		"endless": func(c net.Conn) {
			for {
				if _, err := c.Write([]byte(strings.Repeat("\x30\x80", 4096))); err != nil {
					return
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					go func() { speak(c); _ = c.Close() }()
				}
			}()
			d := &LDAP{URL: "ldap://" + l.Addr().String(), BaseDN: "dc=x", Filter: "(mail={address})", Timeout: 300 * time.Millisecond}
			defer d.Close()
			start := time.Now()
			for range 5 {
				if _, err := d.Has(t.Context(), address(t, "ann@example.com")); err == nil {
					t.Error("it has an answer")
				}
			}
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}
