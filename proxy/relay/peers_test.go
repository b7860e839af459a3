package relay_test

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"postern/internal/testing/hoptest"
	"postern/proxy/relay"
)

// serve runs another project's server until the test ends.
func serve(t *testing.T, run func(net.Listener) error, stop func() error) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	wait.Go(func() { _ = run(l) }) // it ends with an error by design
	t.Cleanup(func() {
		_ = stop() // the test is over
		wait.Wait()
	})
	return l.Addr().String()
}

type mailbox struct {
	mu   sync.Mutex
	text []string
}

func (m *mailbox) NewSession(*smtp.Conn) (smtp.Session, error) { return m, nil }
func (m *mailbox) Mail(string, *smtp.MailOptions) error        { return nil }
func (m *mailbox) Reset()                                      {}
func (m *mailbox) Logout() error                               { return nil }
func (m *mailbox) Rcpt(to string, _ *smtp.RcptOptions) error {
	if strings.HasPrefix(to, "nobody@") {
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "No such user"}
	}
	return nil
}

func (m *mailbox) Data(r io.Reader) error {
	text, err := io.ReadAll(r)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.text = append(m.text, string(text))
	return err
}

// Another project's server, SMTP and LMTP, in clear and with TLS, understands us.
func TestWithGoSMTP(t *testing.T) {
	config, ca := hoptest.Certificate(t, time.Hour, "127.0.0.1")
	for _, c := range []struct {
		protocol relay.Protocol
		policy   relay.TLSPolicy
	}{{relay.SMTP, relay.TLSNone}, {relay.SMTP, relay.TLSRequired}, {relay.LMTP, relay.TLSNone}} {
		box := &mailbox{}
		s := smtp.NewServer(box)
		s.Domain, s.LMTP, s.EnableDSN, s.EnableSMTPUTF8 = "go.test", c.protocol == relay.LMTP, true, true
		if c.policy == relay.TLSRequired {
			s.TLSConfig = config
		}
		address := serve(t, s.Serve, s.Close)
		r := newRelay(t, relay.Timeouts{}, relay.Route{Protocol: c.protocol, Hops: []relay.Hop{{Address: address, TLS: c.policy, CAFile: ca}}})
		for range 2 {
			asked, sent := pass(t, r, envelope(t), letter(".dot\r\nend"), "bob@corp.example", "nobody@corp.example", "carl@corp.example")
			wantReply(t, asked[0], "250 2.0.0")
			wantReply(t, asked[1], "550 5.1.1 No such user")
			if len(sent) != 2 {
				t.Fatalf("replies %v", sent)
			}
			wantReply(t, sent[1], "250 2.0.0")
		}
		box.mu.Lock()
		want := "X-Top: 1\r\nSubject: hi\r\n\r\n.dot\r\nend\r\n"
		if len(box.text) < 2 || box.text[0] != want || box.text[1] != want {
			t.Errorf("%s: got %q", c.protocol, box.text)
		}
		box.mu.Unlock()
	}
}
