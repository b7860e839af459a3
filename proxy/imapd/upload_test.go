package imapd_test

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"postern/internal/mail"
	"postern/proxy/access"
	"postern/proxy/imapd"
	"postern/proxy/imapd/dovecottest"
	"postern/proxy/listen"
)

// uploads keeps what clients upload.
type uploads struct {
	mu  sync.Mutex
	all []string
}

func (u *uploads) Upload(s *mail.Session, mailbox string) io.WriteCloser {
	return &upload{of: u, name: s.User + " " + mailbox}
}

type upload struct {
	bytes.Buffer
	of   *uploads
	name string
}

func (u *upload) Close() error {
	u.of.mu.Lock()
	defer u.of.mu.Unlock()
	u.of.all = append(u.of.all, u.name+" "+u.String())
	return nil
}

// Who watches uploads sees the octets of each message, and where it goes.
func TestUploadsAreSeen(t *testing.T) {
	v := dovecottest.Start(t, dovecottest.Options{})
	seen := &uploads{}
	d := open(t, access.Backend{Address: v.IMAP, TLS: access.TLSNone}, func(o *imapd.Options, _ *access.Options, _ *listen.Options) { o.Uploads = seen })
	c := dial(t, d.address, nil)
	c.login("bob", dovecottest.Password)
	large := strings.Repeat("x", 1<<20)
	appendMessage(c, "\"Junk\"", "A: b\r\n\r\n"+large)
	c.send("a APPEND {5+}\r\ninbox (\\Seen) {9+}\r\nA: b\r\n\r\nx {9+}\r\nA: b\r\n\r\ny\r\n")
	c.until("a OK")
	want := []string{"bob Junk A: b\r\n\r\n" + large, "bob INBOX A: b\r\n\r\nx", "bob INBOX A: b\r\n\r\ny"}
	seen.mu.Lock()
	defer seen.mu.Unlock()
	if fmt.Sprint(seen.all) != fmt.Sprint(want) {
		t.Errorf("%.200q", seen.all)
	}
}

// More commands at once than may be under way, whose answers are not read meanwhile.
func TestManyCommandsAtOnce(t *testing.T) {
	v := dovecottest.Start(t, dovecottest.Options{})
	d := open(t, access.Backend{Address: v.IMAP, TLS: access.TLSNone}, nil)
	c := dial(t, d.address, nil)
	c.login("bob", dovecottest.Password)
	c.send(strings.Repeat("a NOOP\r\n", 3000) + "b NOOP\r\n")
	if got := strings.Count(c.until("b OK"), "a OK"); got != 3000 {
		t.Errorf("%d answers", got)
	}
}

// What is known of a message goes with its copies.
func TestCopiesCarryTheRuling(t *testing.T) {
	v := dovecottest.Start(t, dovecottest.Options{})
	d := open(t, access.Backend{Address: v.IMAP, TLS: access.TLSNone}, nil)
	c := dial(t, d.address, nil)
	c.login("bob", dovecottest.Password)
	for range 3 {
		appendMessage(c, "INBOX", compound(marker, true))
	}
	c.do("s", "SELECT INBOX")
	c.do("a", "UID FETCH 1:* BODY.PEEK[]")
	c.do("b", "COPY 1:2 Junk")
	c.do("c", "UID MOVE 3 Junk")
	c.do("d", "SELECT Junk")
	before := d.desk.judged
	if got := c.do("e", "FETCH 1:* (BODY.PEEK[] BODY.PEEK[1.1])"); strings.Contains(got, marker) || strings.Count(got, notice) < 3 {
		t.Errorf("%.500q", got)
	}
	if d.desk.judged != before || before != 3 || len(d.desk.carried) != 6 {
		t.Errorf("judged %d times, then %d; %d carried", before, d.desk.judged-before, len(d.desk.carried))
	}
}
