package pop3d

import (
	"errors"
	"slices"
	"strings"

	"postern/proxy/access"
	"postern/proxy/sasl"
)

// Limits of lines, in octets without CRLF: RFC 2449 section 4 asks for 253 or more, and the tokens of OAuth are long.
const (
	maxLine       = 510
	maxSASLLine   = 64 << 10
	maxCredential = 1 << 10
)

// authorization reads and answers one command of the AUTHORIZATION state: RFC 1939 section 4. Nothing of it reaches a
// backend but the user's name and password, written anew.
func (s *session) authorization() {
	line, ok := s.line(maxSASLLine)
	if !ok {
		return
	}
	word, rest, _ := strings.Cut(line, " ")
	verb := strings.ToUpper(word)
	if len(line) > maxLine && verb != "AUTH" {
		s.observe("LINE_LIMIT", "")
		s.bye(replyLongLine, "line too long")
		return
	}
	if rest == "" && s.obeyBare(verb) {
		return
	}

	switch verb {
	case "USER":
		s.userCommand(rest)
	case "PASS":
		s.passCommand(rest)
	case "AUTH":
		s.auth(rest)
	case "APOP": // it takes the password's plain text on our side
		s.refuse(replyNoAPOP)
	default:
		s.unknown(word)
	}
}

// unknown refuses a command that is none. HTTP is spoken by a browser that was led here (ALPACA).
func (s *session) unknown(word string) {
	if isHTTP(word) {
		s.observe("HTTP_COMMAND", word)
		s.Finish("spoke HTTP")
		return
	}
	s.refuse(replyUnknown)
}

// obeyBare does what a command without arguments says. It says no if there is no such command.
func (s *session) obeyBare(verb string) bool {
	switch verb {
	case "CAPA":
		s.out.Say(capabilities(s.offers()))
	case "QUIT":
		s.bye(replyBye, "quit")
	case "STLS":
		s.startTLS()
	case "UTF8": // RFC 6856 section 2.1
		s.utf8 = true
		s.out.Say(replyUTF8)
	default:
		return false
	}

	return true
}

func isHTTP(word string) bool {
	return slices.Contains([]string{"GET", "POST", "PUT", "HEAD", "CONNECT", "OPTIONS", "DELETE", "PATCH", "TRACE", "PRI"}, word)
}

// offers are our capabilities before the login: RFC 2449 section 6.
func (s *session) offers() []string {
	all := []string{"TOP", "UIDL", "PIPELINING", "RESP-CODES", "AUTH-RESP-CODE", "UTF8"}
	if s.opt.TLS != nil && s.Mail.TLS == nil {
		all = append(all, "STLS")
	}
	if s.mayLogIn() {
		all = append(all, "USER", "SASL "+strings.Join(s.gate.Mechanisms(), " "))
	}
	return all
}

func (s *session) mayLogIn() bool { return s.Mail.TLS != nil || s.opt.AuthInClear }

// startTLS is STLS: RFC 2595 section 4.
//
// Nothing that came in the clear may count behind it. Who sends more before the handshake is either attacked or attacks.
func (s *session) startTLS() {
	switch {
	case s.opt.TLS == nil || s.Mail.TLS != nil:
		s.refuse(replyNoTLS)
		return
	case s.In.Buffered() > 0:
		s.observe("STARTTLS_INJECTION", "")
		s.Finish("input between STLS and the handshake")
		return
	}
	s.out.Say(replyBeginTLS)
	if err := s.out.Flush(); err != nil {
		s.Finish("connection lost")
		return
	}
	s.In.Close()
	s.user, s.utf8 = "", false
	s.handshake()
}

// userCommand and passCommand are USER and PASS: RFC 1939 section 7.
func (s *session) userCommand(name string) {
	switch {
	case name == "":
		s.refuse(replySyntax)
	case !s.mayLogIn():
		s.refuse(replyTLSFirst)
	default:
		s.user = name
		s.out.Say(replyUser)
	}
}

func (s *session) passCommand(password string) {
	if s.user == "" {
		s.refuse(replyUserFirst)
		return
	}
	a := access.Attempt{Mechanism: "USER", User: s.user, Password: password}
	s.user = ""
	s.enter(a)
}

// enter admits the user or refuses the login.
func (s *session) enter(a access.Attempt) {
	_ = s.out.Flush() // what was said before; the next read tells of an error
	err := s.gate.Login(s.Ctx, a, s.openBackend)
	switch {
	case err == nil && s.back != nil:
		s.In.Cap, s.In.Idle, s.bad = noCap(), s.opt.Idle, 0
		s.out.Say(replyLoggedIn)
		return
	case errors.Is(err, access.ErrUnavailable) || err == nil:
		s.out.Say(replyAuthAway)
	default:
		s.out.Say(replyAuthFailed)
	}
	s.leaveBackend() // it may have admitted the user, and another check refused
	if s.logins++; s.logins >= s.opt.MaxLogins {
		s.bye(replyTooManyBad, "too many failed logins")
	}
}

// auth is AUTH: RFC 5034.
func (s *session) auth(rest string) {
	x := sasl.Begin(rest)
	switch {
	case x.Mechanism == "" && s.mayLogIn(): // RFC 1734 as it was before CAPA: the list of mechanisms
		s.out.Say(capabilities(s.gate.Mechanisms()))
		return
	case !s.mayLogIn():
		s.refuse(replyTLSFirst)
		return
	case !slices.Contains(s.gate.Mechanisms(), x.Mechanism):
		s.refuse(replyNoMechanism)
		return
	}
	x.Challenge, x.MaxOctets = s.challenge, maxCredential
	found, err := x.Credentials()
	switch {
	case err == nil:
		s.enter(access.SASL(x.Mechanism, found))
	case errors.Is(err, sasl.ErrCancelled):
		s.refuse(replyCancelled)
	case sasl.Unreadable(err):
		s.observe("SASL_GARBAGE", x.Mechanism)
		s.refuse(replyGarbage)
	}
}

var errOver = errors.New("the session ended")

// challenge sends a challenge and reads the client's line.
func (s *session) challenge(text string) (string, error) {
	s.out.Say("+ " + text + "\r\n")
	line, ok := s.line(maxSASLLine)
	if !ok {
		return "", errOver
	}
	return line, nil
}

// credential says whether a text can be a name or a password at all: no protocol behind us takes these octets.
func credential(text string) bool {
	return len(text) <= maxCredential && !strings.ContainsAny(text, "\x00\r\n")
}
