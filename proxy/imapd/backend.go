package imapd

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"postern/proxy/access"
	"postern/proxy/imapd/wire"
	"postern/proxy/line"
	"postern/proxy/sasl"
)

const (
	// maxBackendLine and maxUntagged bound what it may say meanwhile.
	maxBackendLine = 64 << 10
	maxUntagged    = 100
)

// misconduct is what a server must not say.
type misconduct string

func (m misconduct) Error() string { return string(m) }

// backend is the connection to the server that holds the mail.
type backend struct {
	conn         net.Conn
	in           *line.Reader
	out          *outlet
	name         string
	capabilities capabilities // nil if not known, and after the login
	known        atomic.Pointer[features]
	buffers      *line.Buffers
	tags         int
	code         string // that of the last tagged answer
}

// origin is the client for whom a backend is asked; its zero value is nobody, for a look at whether the server is there.
type origin struct {
	client netip.Addr
	port   uint16
	local  netip.AddrPort
	id     string
}

func (s *session) origin() origin {
	return origin{s.Mail.Client, s.clientPort, s.Mail.Local, s.Mail.ID}
}

// openBackend connects and logs in: access.Enter.
func (s *session) openBackend(ctx context.Context, b *access.Backend, as access.Attempt) error {
	if s.back != nil {
		s.back.close()
		s.back = nil
	}
	back, err := s.connect(ctx, b)
	if err != nil {
		return err
	}
	if err := back.login(as); err != nil {
		s.misbehaved(err)
		back.close()
		return err
	}
	s.back = back
	return nil
}

// connect opens a connection up to the point where a login may be sent.
func (s *session) connect(ctx context.Context, b *access.Backend) (*backend, error) {
	back, err := connect(ctx, b, s.origin(), access.LoginDeadline(ctx), &s.server.buffers)
	if err != nil {
		s.misbehaved(err)
	}
	return back, err
}

// misbehaved notes what a server must not say.
func (s *session) misbehaved(err error) {
	if m, ok := errors.AsType[misconduct](err); ok {
		s.observe("BACKEND_MISCONDUCT", string(m))
	}
}

// connect opens a connection up to the point where a login may be sent.
func connect(ctx context.Context, b *access.Backend, from origin, until time.Time, buffers *line.Buffers) (*backend, error) {
	c, err := b.Dial(ctx)
	if err != nil {
		return nil, err
	}
	// behind a transparent door one name may stand for many servers, each with UIDs of its own
	back := &backend{name: b.Name + "@" + b.Address, buffers: buffers}
	back.attach(c, until)
	if err := back.prepare(ctx, b, from); err != nil {
		back.close()
		return nil, err
	}
	return back, nil
}

func (k *backend) attach(c net.Conn, until time.Time) {
	k.conn, k.in, k.out = c, line.NewReader(c, k.buffers), newOutlet(c, k.buffers)
	k.in.Cap, k.in.Before = until, k.out.flush
}

func (k *backend) close() {
	_ = k.conn.Close() // it may be closed already
	k.in.Close()
}

// prepare is all before the login: greeting, STARTTLS, capabilities, and who the client is.
func (k *backend) prepare(ctx context.Context, b *access.Backend, from origin) error {
	if err := k.greeted(); err != nil {
		return err
	}
	if b.TLS == access.TLSStartTLS {
		if err := k.startTLS(ctx, b); err != nil {
			return err
		}
	}
	if k.capabilities == nil {
		if _, err := k.command("CAPABILITY"); err != nil {
			return err
		}
	}
	if b.Forward && from.client.IsValid() && k.has("ID") {
		if _, err := k.command("ID " + from.words()); err != nil {
			return err
		}
	}

	return nil
}

// greeted reads the greeting.
func (k *backend) greeted() error {
	idle := k.in.Idle
	k.in.Idle = access.GreetingTime
	text, err := k.in.Line(line.Rules{Limit: maxBackendLine})
	k.in.Idle = idle
	if err != nil {
		return fmt.Errorf("greeting: %w", err)
	}
	r, good := wire.ParseResponse(append(text, '\r', '\n'))
	switch {
	case good && r.Tag == "*" && r.Name == "OK":
		k.learn(text[min(r.Body, len(text)):])
		return nil
	case good && r.Tag == "*" && r.Name == "BYE":
		return errors.New("the server says BYE")
	}

	// PREAUTH is the way to make a client skip TLS and the login: RFC 9051 section 11.3.
	return misconduct("no greeting with OK")
}

// startTLS secures the connection, or there is none.
//
// RFC 9051 section 6.2.1: whatever was learnt before it is forgotten, and what came with the answer is an injection.
func (k *backend) startTLS(ctx context.Context, b *access.Backend) error {
	status, err := k.command("STARTTLS")
	if err != nil {
		return err
	}
	if status != "OK" {
		return errors.New("the server refuses STARTTLS")
	}
	if k.in.Buffered() > 0 {
		return misconduct("octets behind the answer to STARTTLS")
	}
	until := k.in.Cap
	k.in.Close()
	_ = k.conn.SetDeadline(until) // if it fails so does the handshake
	c, err := b.StartTLS(ctx, k.conn)
	if err != nil {
		return err
	}
	_ = c.SetDeadline(time.Time{}) // the reader and the outlet set theirs
	k.attach(c, until)
	k.capabilities = nil
	return nil
}

func (k *backend) has(capability string) bool { return k.capabilities.has(capability) }

// learn takes the capabilities out of a response code.
func (k *backend) learn(text []byte) {
	if name, args, good := wire.Code(text); good && name == "CAPABILITY" {
		k.capabilities = strings.Fields(args)
	}
}

// command sends a command of ours and reads its answer: "OK", "NO" or "BAD".
func (k *backend) command(text string) (status string, err error) {
	tag := k.tag()
	if err := k.out.send([]byte(tag + " " + text + "\r\n")); err != nil {
		return "", err
	}
	status, _, err = k.answer(tag)
	if err == nil && status == "+" {
		err = misconduct("a continuation that nobody asked for")
	}
	return status, err
}

func (k *backend) tag() string {
	k.tags++
	return "P" + strconv.Itoa(k.tags)
}

// answer reads up to the tagged answer, or up to a continuation: status is "+" then, and text what it says.
func (k *backend) answer(tag string) (status, text string, err error) {
	for range maxUntagged {
		line, err := k.in.Line(line.Rules{Limit: maxBackendLine})
		if err != nil {
			return "", "", err
		}
		r, good := wire.ParseResponse(append(line, '\r', '\n'))
		if !good {
			return "", "", misconduct("a line that is no response")
		}
		rest := line[min(r.Body, len(line)):]
		switch {
		case r.Tag == "+":
			return "+", strings.TrimPrefix(string(rest), " "), nil
		case r.Tag == tag && wire.IsCompletion(r.Name):
			k.learn(rest)
			k.code, _, _ = wire.Code(rest)
			return r.Name, string(rest), nil
		case r.Tag != "*":
			return "", "", misconduct("a tag that is not ours")
		}
		if err := k.untagged(r.Name, rest); err != nil {
			return "", "", err
		}
	}
	return "", "", misconduct("too many responses before the login")
}

// untagged takes what the server says before the answer.
func (k *backend) untagged(name string, rest []byte) error {
	switch name {
	case "CAPABILITY":
		k.capabilities = strings.Fields(string(rest))
	case "BYE":
		return errors.New("the server says BYE")
	case "PREAUTH":
		return misconduct("PREAUTH")
	}
	return nil
}

// exchange sends a line and reads the answer to it.
func (k *backend) exchange(tag, line string) (status, text string, err error) {
	if err := k.out.send([]byte(line + "\r\n")); err != nil {
		return "", "", err
	}
	return k.answer(tag)
}

// login logs in.
func (k *backend) login(as access.Attempt) error {
	before := k.capabilities
	k.capabilities = nil
	var status string
	var err error
	mechanism := strings.TrimPrefix(as.Mechanism, "SASL ")
	plain := before.has("AUTH=PLAIN")
	ir := before.has("SASL-IR")
	forbidden := before.has("LOGINDISABLED")
	switch {
	case as.Token != "":
		status, err = k.sasl(mechanism, []byte(as.Token), ir)
	case plain && (as.Authzid != "" || mechanism != "LOGIN" || forbidden || as.Mechanism != "LOGIN"):
		status, err = k.sasl("PLAIN", []byte(as.Authzid+"\x00"+as.User+"\x00"+as.Password), ir)
	case as.Authzid != "":
		return errors.New("the server does not offer AUTH=PLAIN, which an authorization id takes")
	case forbidden:
		return errors.New("the server forbids LOGIN")
	default:
		status, err = k.loginCommand(as, before.has("LITERAL+"))
	}
	if err != nil {
		return err
	}
	return k.let(status)
}

// let ends the login, one way or the other.
func (k *backend) let(status string) error {
	if status != "OK" {
		return k.refused()
	}
	if k.capabilities != nil {
		k.feature(k.capabilities)
	}
	k.in.Cap = time.Time{}
	return nil
}

// refused says what a login that failed failed of. RFC 5530 section 3: UNAVAILABLE and SERVERBUG say nothing of the password;
// with INUSE and LIMIT the server is up, and another one would be no help.
func (k *backend) refused() error {
	switch k.code {
	case "UNAVAILABLE", "SERVERBUG":
		return fmt.Errorf("the server can't check logins just now: %s", k.code)
	case "INUSE", "LIMIT":
		return fmt.Errorf("%w: the server can't let the user in just now: %s", access.ErrUnavailable, k.code)
	}
	return access.ErrPassword
}

// sasl sends one response: at once if the server takes it so (RFC 4959), else when it is asked.
func (k *backend) sasl(mechanism string, response []byte, ir bool) (string, error) {
	tag, coded := k.tag(), base64.StdEncoding.EncodeToString(response)
	line := tag + " AUTHENTICATE " + mechanism
	if ir {
		line += " " + coded
	}
	status, _, err := k.exchange(tag, line)
	if err == nil && status == "+" && !ir {
		status, _, err = k.exchange(tag, coded)
	}
	if err == nil && status == "+" { // RFC 7628 section 3.2.3: an error in detail; the answer to it ends the exchange
		status, _, err = k.exchange(tag, "*")
	}
	if err == nil && status == "+" {
		err = misconduct("an endless SASL exchange")
	}
	return status, err
}

// loginCommand sends LOGIN, its arguments written anew: RFC 9051 section 6.2.3.
func (k *backend) loginCommand(as access.Attempt, plus bool) (string, error) {
	tag := k.tag()
	line := []byte(tag + " LOGIN")
	for _, arg := range []string{as.User, as.Password} {
		line = append(line, ' ')
		if wire.Quotable(arg) {
			line = append(line, wire.Quote(arg)...)
			continue
		}
		line = append(line, wire.Literal{Size: int64(len(arg)), Plus: plus}.Head()...)
		if !plus {
			if err := k.out.send(line); err != nil {
				return "", err
			}
			if status, _, err := k.answer(tag); err != nil || status != "+" {
				return status, err
			}
			line = line[:0]
		}
		line = append(line, arg...)
	}
	if err := k.out.send(append(line, "\r\n"...)); err != nil {
		return "", err
	}
	status, _, err := k.answer(tag)
	if err == nil && status == "+" {
		err = misconduct("a continuation that nobody asked for")
	}
	return status, err
}

// checkInitial checks an initial response. RFC 4959 section 3: "=" is an empty one.
func checkInitial(response string) error {
	if response == "=" {
		return nil
	}
	_, err := sasl.Decode(response)
	return err
}

// relay lets an exchange pass. next gives the client's line to a challenge.
func (k *backend) relay(x *sasl.Exchange, next func(challenge string) (string, error)) error {
	before := k.capabilities
	k.capabilities = nil
	tag := k.tag()
	line := tag + " AUTHENTICATE " + x.Mechanism
	ir := before.has("SASL-IR")
	if x.HasInitial {
		if err := checkInitial(x.Initial); err != nil {
			return err
		}
		if ir {
			line += " " + x.Initial
		}
	}
	for range 20 { // no mechanism takes more
		status, challenge, err := k.exchange(tag, line)
		switch {
		case err != nil:
			return err
		case status != "+":
			return k.let(status)
		case x.HasInitial && !ir:
			line, ir = x.Initial, true
			continue
		}
		if _, err := sasl.Decode(challenge); err != nil {
			return misconduct("a challenge that is not base64")
		}
		if line, err = next(challenge); err != nil {
			return err
		}
	}
	return misconduct("an endless SASL exchange")
}

// features are what the door itself makes use of.
type features struct {
	literalPlus  bool   // it takes literals without being asked: RFC 7888
	literalMinus bool   // it takes small ones so
	lister       string // the command that tells the mailboxes for junk and trash, "" if there is none
}

// feature takes the capabilities that hold after the login.
func (k *backend) feature(c capabilities) {
	f := &features{literalPlus: c.has("LITERAL+"), literalMinus: c.has("LITERAL-")}
	switch {
	case c.has("SPECIAL-USE") && (c.has("LIST-EXTENDED") || c.has("IMAP4REV2")):
		f.lister = `LIST (SPECIAL-USE) "" "*"`
	case c.has("SPECIAL-USE"):
		f.lister = `LIST "" "*"`
	case c.has("XLIST"):
		f.lister = `XLIST "" "*"`
	}
	k.known.Store(f)
}

// plus says whether the server takes a literal of that size without being asked. As long as nobody knows, it is asked.
func (k *backend) plus(size int64) bool {
	f := k.known.Load()
	return f != nil && (f.literalPlus || f.literalMinus && size <= 4096)
}

// features gives what the server can do. One that did not say so with the login is asked now. All commands must be
// completed.
func (s *session) features() (features, error) {
	if s.back.known.Load() == nil {
		if err := s.ask("CAPABILITY", &own{features: true}); err != nil {
			return features{}, err
		}
	}
	if f := s.back.known.Load(); f != nil {
		return *f, nil
	}
	return features{}, nil
}

// words tell the backend who the client is, as Dovecot knows them.
func (o origin) words() string {
	pairs := []string{
		"x-originating-ip", o.client.String(), "x-originating-port", strconv.Itoa(int(o.port)),
		"x-connected-ip", o.local.Addr().Unmap().String(), "x-connected-port", strconv.Itoa(int(o.local.Port())),
		"x-session-id", o.id, "x-proxy-ttl", "5",
	}
	var b bytes.Buffer
	for i, p := range pairs {
		b.WriteString(map[bool]string{true: "(", false: " "}[i == 0])
		b.WriteString(wire.Quote(p))
	}
	return b.String() + ")"
}
