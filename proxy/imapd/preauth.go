package imapd

import (
	"errors"
	"strings"

	"postern/proxy/access"
	"postern/proxy/imapd/wire"
)

// Limits before the login. A first response of SASL may come on the command line, and OAuth's are long.
const (
	maxPreAuthLine = 8 << 10
	// RFC 2971 section 3.3: 30 pairs, a field of 30 octets and a value of 1,024 each, of which each may be escaped.
	maxIDLine         = 30*(2*30+2*1024+6) + 64
	maxSASLLine       = 64 << 10
	maxPreAuthLiteral = 1 << 10
	maxCredential     = maxPreAuthLiteral
)

func preAuthLimits() wire.Limits {
	return wire.Limits{Text: maxPreAuthLine, Extend: longLine, Literal: maxPreAuthLiteral, Literals: 2, Depth: 1}
}

// longLine is how long a line may be that begins so, 0 for no longer than others.
func longLine(prefix []byte) int {
	fields := strings.SplitN(string(prefix[:min(len(prefix), 256)]), " ", 3)
	switch {
	case len(fields) < 3:
	case strings.EqualFold(fields[1], "AUTHENTICATE"):
		return maxSASLLine
	case strings.EqualFold(fields[1], "ID"):
		return maxIDLine
	}
	return 0
}

// offers are our capabilities before the login: what holds before it, and no more.
func (s *session) offers() []string {
	all := []string{"IMAP4rev1", "LITERAL+", "SASL-IR", "ID"}
	if s.opt.TLS != nil && s.Mail.TLS == nil {
		all = append(all, "STARTTLS")
	}
	if !s.mayLogIn() {
		return append(all, "LOGINDISABLED")
	}
	for _, m := range s.mechanisms() {
		all = append(all, "AUTH="+m)
	}
	return all
}

func (s *session) mayLogIn() bool { return s.Mail.TLS != nil || s.opt.AuthInClear }

// preAuth reads and answers one command before the login. Nothing of it reaches a backend but the user's name and
// password, written anew.
func (s *session) preAuth() {
	s.In.Rest()
	s.Await(true)
	c, err := wire.ReadCommand(s.In, preAuthLimits())
	s.Await(false)
	for err == nil && c.Literal != nil && !s.Ended() {
		err = s.gather(c)
	}
	switch {
	case errors.Is(err, errRefusedLiteral) || s.Ended():
	case err != nil && s.spokeHTTP(err):
		s.Finish("spoke HTTP")
	case err != nil:
		s.readFailed(err)
	default:
		s.obey(c)
	}
}

// obey does what a client may ask before the login: RFC 9051 sections 6.1 and 6.2.
func (s *session) obey(c *wire.Command) {
	rest, plain := c.Rest()
	verb := c.Verb
	if c.UID {
		verb = "" // UID stands before commands of the selected state only
	}
	if plain && rest == "" && s.obeyBare(c, verb) {
		return
	}

	switch verb {
	case "ID":
		s.preAuthID(c)
	case "LOGIN":
		s.login(c)
	case "AUTHENTICATE":
		s.authenticate(c)
	default:
		s.readFailed(&wire.Syntax{Tag: c.Tag, Text: "Error in IMAP command: Unknown command."})
	}
}

// obeyBare does what a command without arguments asks. It says no if there is no such command.
func (s *session) obeyBare(c *wire.Command, verb string) bool {
	switch verb {
	case "CAPABILITY":
		s.say(untaggedCapability(s.offers()) + ok(c.Tag, "Capability completed."))
	case "NOOP":
		s.say(ok(c.Tag, "NOOP completed."))
	case "LOGOUT":
		s.bye(byeLogout+ok(c.Tag, "Logout completed."), "logout")
	case "STARTTLS":
		if s.opt.TLS == nil || s.Mail.TLS != nil {
			return false
		}
		s.startTLS(c.Tag)
	default:
		return false
	}

	return true
}

// RFC 2971 section 3.1. Who we are is nobody's business before the login.
func (s *session) preAuthID(c *wire.Command) {
	if _, good := parseID(c.Args()); !good {
		s.readFailed(&wire.Syntax{Tag: c.Tag, Text: "Error in IMAP command: Invalid arguments."})
		return
	}
	s.say("* ID NIL\r\n" + ok(c.Tag, "ID completed."))
}

// startTLS begins the handshake.
//
// RFC 9051 section 6.2.1: nothing that came in the clear may count behind it. Who sends more before the handshake is
// either attacked or attacks.
func (s *session) startTLS(tag string) {
	if s.In.Buffered() > 0 {
		s.observe("STARTTLS_INJECTION", "")
		s.Finish("input between STARTTLS and the handshake")
		return
	}
	s.say(ok(tag, "Begin TLS negotiation now."))
	if err := s.out.flush(); err != nil {
		s.Finish("connection lost")
		return
	}
	s.In.Close()
	s.handshake()
}

// spokeHTTP says whether what can't be understood is the first line of HTTP: a browser was led here (ALPACA).
func (s *session) spokeHTTP(err error) bool {
	syntax, isSyntax := errors.AsType[*wire.Syntax](err)
	if !isSyntax {
		return false
	}
	switch strings.ToUpper(syntax.Tag) {
	case "GET", "POST", "PUT", "HEAD", "CONNECT", "OPTIONS", "DELETE", "PATCH", "TRACE", "PRI":
		s.observe("HTTP_COMMAND", syntax.Tag)
		return true
	}
	return false
}

// login is the LOGIN command: RFC 9051 section 6.2.3.
func (s *session) login(c *wire.Command) {
	args := c.Args()
	user, good := args.AString()
	password, good2 := args.AString()
	switch {
	case !good || !good2 || args.Next().Kind != wire.End || !credential(user) || !credential(password) || user == "":
		s.readFailed(&wire.Syntax{Tag: c.Tag, Text: "Error in IMAP command: Invalid arguments."})
	case !s.mayLogIn():
		s.say(loginInClear(c.Tag))
	default:
		s.enter(c.Tag, access.Attempt{Mechanism: "LOGIN", User: user, Password: password})
	}
}

// credential says whether a text can be a name or a password at all: no protocol behind us takes these octets.
func credential(text string) bool {
	return len(text) <= maxCredential && !strings.ContainsAny(text, "\x00\r\n")
}

// enter admits the user or refuses the login.
func (s *session) enter(tag string, a access.Attempt) {
	_ = s.out.flush() // what was said before; the next read tells of an error
	s.settled(tag, s.gate.Login(s.Ctx, a, s.openBackend))
}

// settled answers a login.
func (s *session) settled(tag string, err error) {
	switch {
	case err == nil && s.back != nil:
		s.say(loggedIn(tag, s.back.capabilities))
		s.back.capabilities = nil // thousands of sessions need not keep it
		return
	case errors.Is(err, access.ErrUnavailable) || err == nil:
		s.say(loginAway(tag))
	default:
		s.say(loginRefused(tag))
	}
	if s.back != nil { // the backend admitted the user, and another check refused
		s.back.close()
		s.back = nil
	}
	if s.logins++; s.logins >= s.opt.MaxLogins {
		s.bye(byeBadCommands, "too many failed logins")
	}
}
