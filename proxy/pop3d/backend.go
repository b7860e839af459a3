package pop3d

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"postern/internal/mail"
	"postern/proxy/access"
	"postern/proxy/line"
)

const (
	// maxStatus is the longest status line of a backend, maxCapabilities the longest list, in octets.
	maxStatus       = 4 << 10
	maxCapabilities = 64 << 10
)

func noCap() time.Time { return time.Time{} }

// backend is the connection to the server that holds the mail.
type backend struct {
	conn         net.Conn
	in           *line.Reader
	out          *line.Writer
	name         string
	capabilities []string // upper case
	buffers      *line.Buffers
}

// openBackend connects and logs in: access.Enter.
func (s *session) openBackend(ctx context.Context, b *access.Backend, as access.Attempt) error {
	s.leaveBackend()
	c, err := b.Dial(ctx)
	if err != nil {
		return err
	}
	// behind a transparent door one name may stand for many servers, each with ids of its own
	k := &backend{name: b.Name + "@" + b.Address, buffers: &s.server.buffers}
	k.attach(c, access.LoginDeadline(ctx))
	if err = k.prepare(ctx, b, s.Mail); err == nil {
		err = k.enter(s.utf8, as)
	}
	if err != nil {
		s.misbehaved(err)
		k.close()
		return err
	}
	k.in.Cap, k.in.Idle, k.in.Now = noCap(), s.opt.Stall, s.opt.Now
	k.in.Before = func() error { return errors.Join(k.out.Flush(), s.out.Flush()) }
	s.back = k
	s.Behind(k.conn)
	return nil
}

func (s *session) leaveBackend() {
	if s.back != nil {
		s.back.close()
		s.back = nil
	}
}

// misbehaved notes what a server must not say.
func (s *session) misbehaved(err error) {
	if m, ok := errors.AsType[misconduct](err); ok {
		s.observe("BACKEND_MISCONDUCT", string(m))
	}
}

func (k *backend) attach(c net.Conn, until time.Time) {
	k.conn, k.in, k.out = c, line.NewReader(c, k.buffers), line.NewWriter(c, k.buffers)
	k.in.Cap, k.in.Before = until, k.out.Flush
}

func (k *backend) close() {
	_ = k.conn.Close() // it may be closed already
	_ = k.out.Flush()  // gives the buffer back
	k.in.Close()
}

// has says whether the server has a capability.
func (k *backend) has(name string) bool {
	return slices.ContainsFunc(k.capabilities, func(c string) bool { return c == name || strings.HasPrefix(c, name+" ") })
}

// prepare is all before the login: greeting, STLS, capabilities, and who the client is.
func (k *backend) prepare(ctx context.Context, b *access.Backend, client *mail.Session) error {
	idle := k.in.Idle
	k.in.Idle = access.GreetingTime
	line, good, err := k.status()
	k.in.Idle = idle
	switch {
	case err != nil:
		return fmt.Errorf("greeting: %w", err)
	case !good:
		return errors.New("the server greets with -ERR")
	}
	if b.TLS == access.TLSStartTLS {
		if err := k.startTLS(ctx, b); err != nil {
			return err
		}
	}
	if b.Forward && client != nil && strings.Contains(line, "[XCLIENT]") { // Dovecot's greeting to those whose word it takes
		if _, err := k.command(fmt.Sprintf("XCLIENT ADDR=%s PORT=%d SESSION=%s TTL=5", client.Client, client.Peer.Port(), client.ID)); err != nil {
			return err
		}
	}
	return k.learn()
}

// enter logs in, in UTF-8 if the client speaks it.
func (k *backend) enter(utf8 bool, as access.Attempt) error {
	if utf8 && k.has("UTF8") { // RFC 6856 section 2.1: before the login, and a server that has no such mail needs none
		if _, err := k.command("UTF8"); err != nil {
			return err
		}
	}
	return k.login(as)
}

// Probe looks whether a backend is there: greeting, TLS with its certificate, capabilities. Nobody logs in.
func Probe(ctx context.Context, b *access.Backend) error {
	c, err := b.Dial(ctx)
	if err != nil {
		return err
	}
	k := &backend{name: b.Name, buffers: &line.Buffers{}}
	k.attach(c, access.LoginDeadline(ctx))
	defer k.close()
	if err := k.prepare(ctx, b, nil); err != nil {
		return err
	}
	k.out.Say("QUIT\r\n") // for its log
	return nil
}

// startTLS secures the connection, or there is none.
//
// RFC 2595 section 4: whatever was learnt before it is forgotten, and what came with the answer is an injection.
func (k *backend) startTLS(ctx context.Context, b *access.Backend) error {
	ok, err := k.command("STLS")
	switch {
	case err != nil:
		return err
	case !ok:
		return errors.New("the server refuses STLS")
	case k.in.Buffered() > 0:
		return misconduct("octets between STLS and the handshake")
	}
	until := k.in.Cap
	k.in.Close()
	if err := k.conn.SetDeadline(noCap()); err != nil {
		return err
	}
	secured, err := b.StartTLS(ctx, k.conn)
	if err != nil {
		return err
	}
	k.attach(secured, until)
	return nil
}

// learn asks for the capabilities: RFC 2449 section 5. A server that knows no CAPA has none.
func (k *backend) learn() error {
	ok, err := k.command("CAPA")
	if err != nil || !ok {
		return err
	}
	lines := response{in: k.in, limit: maxCapabilities}
	for {
		line, more, err := lines.text()
		if err != nil || !more {
			return err
		}
		k.capabilities = append(k.capabilities, strings.ToUpper(strings.TrimSpace(string(line))))
	}
}

// status reads a status line: good is +OK.
func (k *backend) status() (status string, good bool, err error) {
	b, err := k.in.Line(line.Rules{Limit: maxStatus})
	switch {
	case errors.Is(err, line.ErrLimit) || errors.Is(err, line.ErrBare):
		return "", false, misconduct("a status line that is none: " + err.Error())
	case err != nil:
		return "", false, err
	}
	status = string(b)
	word, _, _ := strings.Cut(status, " ")
	switch word {
	case "+OK":
		return status, true, nil
	case "-ERR":
		return status, false, nil
	}
	return "", false, misconduct("a line that is no status")
}

// command sends a line and reads the status.
func (k *backend) command(line string) (ok bool, err error) {
	k.out.Say(line + "\r\n")
	_, ok, err = k.status()
	return ok, err
}

// login logs in with what the server takes.
func (k *backend) login(as access.Attempt) error {
	mechanism := strings.TrimPrefix(as.Mechanism, "SASL ")
	switch {
	case as.Token != "":
		return k.sasl(mechanism, as.Token)
	case as.Authzid != "" || k.offersPlain():
		return k.sasl("PLAIN", as.Authzid+"\x00"+as.User+"\x00"+as.Password)
	case !credential(as.User) || !credential(as.Password):
		return access.ErrPassword
	}
	k.out.Say("USER " + as.User + "\r\n")
	line, ok, err := k.status()
	if err == nil && ok {
		k.out.Say("PASS " + as.Password + "\r\n")
		line, ok, err = k.status()
	}
	return verdict(line, ok, err)
}

func (k *backend) offersPlain() bool {
	return slices.ContainsFunc(k.capabilities, func(c string) bool {
		words := strings.Fields(c)
		return len(words) > 1 && words[0] == "SASL" && slices.Contains(words, "PLAIN")
	})
}

// sasl sends one response when it is asked for it: RFC 5034 section 4.
func (k *backend) sasl(mechanism, response string) error {
	k.out.Say("AUTH " + mechanism + "\r\n")
	for _, answer := range []string{base64.StdEncoding.EncodeToString([]byte(response)), "*"} {
		b, err := k.in.Line(line.Rules{Limit: maxStatus})
		if err != nil {
			return err
		}
		if line := string(b); line != "+" && !strings.HasPrefix(line, "+ ") {
			return verdict(line, strings.HasPrefix(line, "+OK"), nil)
		}
		// a second challenge is an error in detail (RFC 7628 section 3.2.3); the answer to it ends the exchange
		k.out.Say(answer + "\r\n")
	}
	return verdict(k.status())
}

// verdict makes an error of the answer to a login. RFC 3206: SYS says that it is not the password's fault; so does IN-USE
// of RFC 2449 section 8.1.1.
func verdict(line string, ok bool, err error) error {
	switch {
	case err != nil || ok:
		return err
	case !strings.HasPrefix(line, "-ERR"):
		return misconduct("a line that is no status")
	}
	upper := strings.ToUpper(line)
	switch {
	case strings.Contains(upper, "[SYS/"):
		return errors.New("the server can't let the user in just now")
	case strings.Contains(upper, "[IN-USE]"), strings.Contains(upper, "[LOGIN-DELAY]"): // the server is up, and another one would be no help
		return fmt.Errorf("%w: the server can't let the user in just now", access.ErrUnavailable)
	}
	return access.ErrPassword
}
