package pop3d

import (
	"encoding/base64"
	"errors"
	"slices"
	"strings"

	"postern/proxy/access"
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
	switch {
	case len(line) > maxLine && verb != "AUTH":
		s.observe("LINE_LIMIT", "")
		s.bye(replyLongLine, "line too long")
	case verb == "CAPA" && rest == "":
		s.out.say(capabilities(s.offers()))
	case verb == "QUIT" && rest == "":
		s.bye(replyBye, "quit")
	case verb == "STLS" && rest == "":
		s.startTLS()
	case verb == "UTF8" && rest == "": // RFC 6856 section 2.1
		s.utf8 = true
		s.out.say(replyUTF8)
	case verb == "USER":
		s.userCommand(rest)
	case verb == "PASS":
		s.passCommand(rest)
	case verb == "AUTH":
		s.auth(rest)
	case verb == "APOP": // it takes the password's plain text on our side
		s.refuse(replyNoAPOP)
	case isHTTP(word): // a browser was led here (ALPACA)
		s.observe("HTTP_COMMAND", word)
		s.finish("spoke HTTP")
	default:
		s.refuse(replyUnknown)
	}
}

func isHTTP(word string) bool {
	return slices.Contains([]string{"GET", "POST", "PUT", "HEAD", "CONNECT", "OPTIONS", "DELETE", "PATCH", "TRACE", "PRI"}, word)
}

// offers are our capabilities before the login: RFC 2449 section 6.
func (s *session) offers() []string {
	all := []string{"TOP", "UIDL", "PIPELINING", "RESP-CODES", "AUTH-RESP-CODE", "UTF8"}
	if s.opt.TLS != nil && s.mail.TLS == nil {
		all = append(all, "STLS")
	}
	if s.mayLogIn() {
		all = append(all, "USER", "SASL "+strings.Join(s.mechanisms(), " "))
	}
	return all
}

func (s *session) mayLogIn() bool { return s.mail.TLS != nil || s.opt.AuthInClear }

func (s *session) mechanisms() []string {
	all := []string{"PLAIN", "LOGIN"}
	if s.visit.Tokens() {
		all = append(all, "XOAUTH2", "OAUTHBEARER")
	}
	return all
}

// startTLS is STLS: RFC 2595 section 4.
//
// Nothing that came in the clear may count behind it. Who sends more before the handshake is either attacked or attacks.
func (s *session) startTLS() {
	switch {
	case s.opt.TLS == nil || s.mail.TLS != nil:
		s.refuse(replyNoTLS)
		return
	case s.in.Buffered() > 0:
		s.observe("STARTTLS_INJECTION", "")
		s.finish("input between STLS and the handshake")
		return
	}
	s.out.say(replyBeginTLS)
	if err := s.out.flush(); err != nil {
		s.finish("connection lost")
		return
	}
	s.in.Close()
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
		s.out.say(replyUser)
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

// enter lets the user in, or refuses him.
func (s *session) enter(a access.Attempt) {
	_ = s.out.flush() // what was said before; the next read tells of an error
	err := s.visit.Login(s.ctx, a, s.openBackend)
	switch {
	case err == nil && s.back != nil:
		s.in.Cap, s.in.Idle, s.bad = noCap(), s.opt.Idle, 0
		s.out.say(replyLoggedIn)
		return
	case errors.Is(err, access.ErrUnavailable) || err == nil:
		s.out.say(replyAuthAway)
	default:
		s.out.say(replyAuthFailed)
	}
	s.leaveBackend() // it may have let him in, and somebody else did not
	if s.logins++; s.logins >= s.opt.MaxLogins {
		s.bye(replyTooManyBad, "too many failed logins")
	}
}

var (
	errCancelled = errors.New("the client cancelled the exchange")
	errGarbage   = errors.New("credentials that can't be read")
	errOver      = errors.New("the session ended")
)

// auth is AUTH: RFC 5034.
func (s *session) auth(rest string) {
	name, first, hasFirst := strings.Cut(rest, " ")
	name = strings.ToUpper(name)
	switch {
	case name == "" && s.mayLogIn(): // RFC 1734 as it was before CAPA: the list of mechanisms
		s.out.say(capabilities(s.mechanisms()))
		return
	case !s.mayLogIn():
		s.refuse(replyTLSFirst)
		return
	case !slices.Contains(s.mechanisms(), name):
		s.refuse(replyNoMechanism)
		return
	}
	a, err := s.credentials(name, first, hasFirst)
	switch {
	case err == nil:
		s.enter(a)
	case errors.Is(err, errCancelled):
		s.refuse(replyCancelled)
	case errors.Is(err, errGarbage):
		s.observe("SASL_GARBAGE", name)
		s.refuse(replyGarbage)
	}
}

// credentials asks for what the mechanism needs.
func (s *session) credentials(name, first string, hasFirst bool) (access.Attempt, error) {
	a := access.Attempt{Mechanism: "SASL " + name}
	prompt := ""
	if name == "LOGIN" {
		prompt = "Username:"
	}
	response, err := decode(strings.TrimPrefix(first, "=")) // RFC 5034 section 4: "=" is an empty one
	if !hasFirst {
		response, err = s.ask(prompt)
	}
	if err != nil {
		return a, err
	}
	switch name {
	case "PLAIN":
		// RFC 4616 section 2: [authzid] NUL authcid NUL passwd
		fields := strings.Split(response, "\x00")
		if len(fields) != 3 {
			return a, errGarbage
		}
		a.Authzid, a.User, a.Password = fields[0], fields[1], fields[2]
	case "LOGIN":
		a.User = response
		if a.Password, err = s.ask("Password:"); err != nil {
			return a, err
		}
	default:
		a.Token, a.User = response, tokenUser(name, response)
	}
	if !credential(a.User) || !credential(a.Authzid) || !credential(a.Password) || a.User == "" {
		return a, errGarbage
	}
	return a, nil
}

// credential says whether a text can be a name or a password at all: no protocol behind us takes these octets.
func credential(text string) bool {
	return len(text) <= maxCredential && !strings.ContainsAny(text, "\x00\r\n")
}

// tokenUser finds the user in a response of XOAUTH2, user=NAME^A…, or of OAUTHBEARER (RFC 7628 section 3.1), n,a=NAME,^A….
func tokenUser(mechanism, response string) string {
	header, _, _ := strings.Cut(response, "\x01")
	if mechanism == "XOAUTH2" {
		user, ok := strings.CutPrefix(header, "user=")
		if !ok {
			return ""
		}
		return user
	}
	fields := strings.Split(header, ",")
	if len(fields) != 3 {
		return ""
	}
	user, ok := strings.CutPrefix(fields[1], "a=")
	if !ok {
		return ""
	}
	return strings.NewReplacer("=2C", ",", "=3D", "=").Replace(user) // RFC 5801 section 4: saslname
}

// ask sends a challenge and reads the response. "*" ends the exchange: RFC 5034 section 4.
func (s *session) ask(challenge string) (string, error) {
	s.out.say("+ " + base64.StdEncoding.EncodeToString([]byte(challenge)) + "\r\n")
	line, ok := s.line(maxSASLLine)
	switch {
	case !ok:
		return "", errOver
	case line == "*":
		return "", errCancelled
	}
	return decode(line)
}

func decode(text string) (string, error) {
	b, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return "", errGarbage
	}
	return string(b), nil
}
