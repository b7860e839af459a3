package folders_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-imap/v2/imapserver/imapmemserver"

	"postern/internal/mail"
	"postern/proxy/access"
	"postern/proxy/retrieval/folders"
	"postern/proxy/retrieval/mailbox"
)

type literal struct{ *strings.Reader }

func (l literal) Size() int64 { return l.Reader.Size() }

// shelf is a server with one user, who has a mailbox Spam.
type shelf struct {
	t      *testing.T
	user   *imapmemserver.User
	folder folders.Folder
}

func newShelf(t *testing.T) *shelf {
	t.Helper()
	memory, user := imapmemserver.New(), imapmemserver.NewUser("postern", "secret")
	memory.AddUser(user)
	server := imapserver.New(&imapserver.Options{Caps: imap.CapSet{imap.CapIMAP4rev1: {}}, InsecureAuth: true,
		NewSession: func(*imapserver.Conn) (imapserver.Session, *imapserver.GreetingData, error) {
			return memory.NewSession(), nil, nil
		}})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(l) }() // until it is closed
	t.Cleanup(func() { _ = server.Close() })
	s := &shelf{t, user, folders.Folder{Name: "Spam", Login: mailbox.Login{User: "postern", Password: "secret"},
		Servers: []access.Backend{{Address: "127.0.0.1:1", TLS: access.TLSNone}, {Address: l.Addr().String(), TLS: access.TLSNone}}}}
	s.create()

	return s
}

func (s *shelf) create() {
	s.t.Helper()
	if err := s.user.Create("Spam", nil); err != nil {
		s.t.Fatal(err)
	}
}

func (s *shelf) put(subject string, flags ...imap.Flag) {
	s.t.Helper()
	if _, err := s.user.Append("Spam", literal{strings.NewReader("Subject: " + subject + "\r\n\r\n" + strings.Repeat("x", 200) + "\r\n")}, &imap.AppendOptions{Flags: flags}); err != nil {
		s.t.Fatal(err)
	}
}

// read reads behind a place, and says which subjects there were.
func (s *shelf) read(from folders.Place, want string) folders.Place {
	s.t.Helper()
	var got []string
	at, err := folders.Read(context.Background(), s.folder, from, 100, func(m *mail.Message) error {
		if m.Size() > 100 {
			s.t.Errorf("%d octets, 100 are the limit", m.Size())
		}
		got = append(got, m.Header().Get("Subject"))
		return nil
	})
	if err != nil || strings.Join(got, " ") != want {
		s.t.Errorf("read %q, %v, want %q", got, err, want)
	}

	return at
}

// Each message is read once, the first server that answers is asked, what is deleted is left out, and a mailbox that was made anew
// is read from the start.
func TestRead(t *testing.T) {
	s := newShelf(t)
	s.put("one")
	s.put("gone", imap.FlagDeleted)
	s.put("two")
	at := s.read(folders.Place{}, "one two")
	at = s.read(at, "")
	s.put("three")
	at = s.read(at, "three")
	if err := s.user.Delete("Spam"); err != nil {
		t.Fatal(err)
	}
	s.create()
	s.put("new")
	s.read(at, "new")
}

// What could not be taught is read again the next time, and what was is not.
func TestTakeFails(t *testing.T) {
	s := newShelf(t)
	for n := range 3 {
		s.put(fmt.Sprint(n))
	}
	full, taken := errors.New("disk full"), 0
	at, err := folders.Read(context.Background(), s.folder, folders.Place{}, 100, func(*mail.Message) error {
		if taken++; taken == 2 {
			return full
		}
		return nil
	})
	if !errors.Is(err, full) {
		t.Fatal(err)
	}
	s.read(at, "1 2")
}

// A login that fails and a mailbox that is missing are errors that say so, and change no place.
func TestNoMailbox(t *testing.T) {
	s := newShelf(t)
	place := folders.Place{UIDValidity: 7, UID: 9}
	for what, f := range map[string]folders.Folder{
		"login as postern": {Name: "Spam", Servers: s.folder.Servers, Login: mailbox.Login{User: "postern", Password: "wrong"}},
		`mailbox "Ham"`:    {Name: "Ham", Servers: s.folder.Servers, Login: s.folder.Login},
		"no IMAP server":   {Name: "Spam", Login: s.folder.Login},
	} {
		at, err := folders.Read(context.Background(), f, place, 100, func(*mail.Message) error { return nil })
		if err == nil || !strings.Contains(err.Error(), what) || strings.Contains(err.Error(), "wrong") || at != place {
			t.Errorf("%s: %v, %v", what, at, err)
		}
	}
}
