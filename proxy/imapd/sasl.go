package imapd

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf16"

	"postern/proxy/access"
	"postern/proxy/imapd/wire"
)

// mechanisms are the SASL mechanisms that are offered.
func (s *session) mechanisms() []string {
	all := []string{"PLAIN", "LOGIN"}
	if s.visit.Tokens() {
		all = append(all, "XOAUTH2", "OAUTHBEARER")
	}
	return append(all, s.visit.OpaqueMechanisms()...)
}

var (
	errCancelled = errors.New("the client cancelled the exchange")
	errGarbage   = errors.New("credentials that can't be read")
)

// authenticate is the AUTHENTICATE command: RFC 9051 section 6.2.2, with the first response of RFC 4959.
func (s *session) authenticate(c *wire.Command) {
	rest, plain := c.Rest()
	name, first, hasFirst := strings.Cut(rest, " ")
	name = strings.ToUpper(name)
	switch {
	case !plain || strings.ContainsAny(rest, `()"`) || strings.Contains(first, " "):
		s.readFailed(&wire.Syntax{Tag: c.Tag, Text: "Error in IMAP command: Invalid arguments."})
		return
	case !s.mayLogIn():
		s.say(loginInClear(c.Tag))
		return
	case !slices.Contains(s.mechanisms(), name):
		s.say(no(c.Tag, "Unsupported authentication mechanism."))
		s.countBad()
		return
	case slices.Contains(s.visit.OpaqueMechanisms(), name):
		s.authenticateOpaque(c.Tag, name, first, hasFirst)
		return
	}
	a, err := s.credentials(name, first, hasFirst)
	switch {
	case err == nil:
		s.enter(c.Tag, a)
	case errors.Is(err, errCancelled):
		s.say(bad(c.Tag, "Authentication aborted by client."))
		s.countBad()
	case errors.Is(err, errGarbage):
		s.observe("SASL_GARBAGE", name)
		s.say(bad(c.Tag, "Invalid base64 data or credentials in AUTHENTICATE."))
		s.countBad()
	default:
		s.readFailed(err)
	}
}

func (s *session) countBad() {
	if s.bad++; s.bad >= s.badLimit() {
		s.observe("TOO_MANY_BAD_COMMANDS", fmt.Sprint(s.bad))
		s.bye(byeBadCommands, "too many bad commands")
	}
}

// credentials asks for what the mechanism needs.
func (s *session) credentials(name, first string, hasFirst bool) (access.Attempt, error) {
	a := access.Attempt{Mechanism: "SASL " + name}
	var response []byte
	var err error
	prompt := ""
	if name == "LOGIN" {
		prompt = "Username:"
	}
	if hasFirst {
		response, err = decode(strings.TrimPrefix(first, "=")) // RFC 4959 section 3: "=" is an empty one
	} else {
		response, err = s.challenge(prompt)
	}
	if err != nil {
		return a, err
	}
	switch name {
	case "PLAIN":
		// RFC 4616 section 2: [authzid] NUL authcid NUL passwd
		fields := strings.Split(string(response), "\x00")
		if len(fields) != 3 {
			return a, errGarbage
		}
		a.Authzid, a.User, a.Password = fields[0], fields[1], fields[2]
	case "LOGIN":
		a.User = string(response)
		if response, err = s.challenge("Password:"); err != nil {
			return a, err
		}
		a.Password = string(response)
	default:
		a.Token, a.User = string(response), tokenUser(name, string(response))
	}
	if a.User == "" || !credential(a.User) || !credential(a.Authzid) || !credential(a.Password) {
		return a, errGarbage
	}
	return a, nil
}

// tokenUser finds the user in a response of XOAUTH2, user=NAME^A…, or of OAUTHBEARER (RFC 7628 section 3.1), n,a=NAME,^A….
func tokenUser(mechanism, response string) string {
	if mechanism == "XOAUTH2" {
		user, _, _ := strings.Cut(response, "\x01")
		user, ok := strings.CutPrefix(user, "user=")
		if !ok {
			return ""
		}
		return user
	}
	header, _, _ := strings.Cut(response, "\x01")
	fields := strings.Split(header, ",")
	if len(fields) != 3 {
		return ""
	}
	user, ok := strings.CutPrefix(fields[1], "a=")
	if !ok {
		return ""
	}
	// RFC 5801 section 4: saslname
	return strings.NewReplacer("=2C", ",", "=3D", "=").Replace(user)
}

// challenge sends a challenge and reads the response.
func (s *session) challenge(text string) ([]byte, error) {
	s.say("+ " + base64.StdEncoding.EncodeToString([]byte(text)) + "\r\n")
	line, err := s.saslLine()
	if err != nil {
		return nil, err
	}
	return decode(line)
}

// saslLine reads one line of the exchange. "*" ends it: RFC 9051 section 6.2.2.
func (s *session) saslLine() (string, error) {
	line, err := s.in.Line(maxSASLLine, nil)
	if err != nil {
		return "", err
	}
	if string(line) == "*" {
		return "", errCancelled
	}
	return string(line), nil
}

func decode(text string) ([]byte, error) {
	b, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || strings.ContainsAny(text, "\r\n") {
		return nil, errGarbage
	}
	return b, nil
}

// authenticateOpaque lets the lines of a mechanism pass whose meaning only the backend knows.
func (s *session) authenticateOpaque(tag, name, first string, hasFirst bool) {
	cancelled := false
	err := s.visit.Opaque(s.ctx, name, func(ctx context.Context, b *access.Backend) (string, error) {
		back, err := s.connect(ctx, b)
		if err != nil {
			return "", err
		}
		user := ""
		err = back.relay(name, first, hasFirst, func(challenge string) (string, error) {
			s.say("+ " + challenge + "\r\n")
			line, err := s.saslLine()
			if err == nil {
				blob, bad := decode(line)
				user, err = ntlmUser(blob, user), bad
			}
			cancelled = cancelled || err != nil
			return line, err
		})
		if err != nil {
			back.close()
			if cancelled {
				err = access.ErrPassword // it is an attempt that failed, and no fault of the backend's
			}
			return user, err
		}
		s.back = back
		return user, nil
	})
	s.settled(tag, err)
}

// ntlmUser finds the name in a type 3 message of NTLM, with its domain in front as in CORP\bob: MS-NLMP section 2.2.1.3.
func ntlmUser(blob []byte, before string) string {
	const head = 64
	if len(blob) < head || string(blob[:8]) != "NTLMSSP\x00" || binary.LittleEndian.Uint32(blob[8:]) != 3 {
		return before
	}
	domain, good := ntlmText(blob, 28)
	name, good2 := ntlmText(blob, 36)
	switch {
	case !good || !good2:
		return before
	case domain == "" || name == "":
		return name
	}
	return domain + `\` + name // two domains may have a bob each
}

// ntlmText reads the text whose length and offset stand at a place.
func ntlmText(blob []byte, field int) (text string, ok bool) {
	n, at := int(binary.LittleEndian.Uint16(blob[field:])), int(binary.LittleEndian.Uint32(blob[field+4:]))
	if at < 0 || at > len(blob) || n > len(blob)-at || n > 512 {
		return "", false
	}
	octets := blob[at : at+n]
	if binary.LittleEndian.Uint32(blob[60:])&1 == 0 { // not in Unicode
		return string(octets), true
	}
	units := make([]uint16, n/2)
	for i := range units {
		units[i] = binary.LittleEndian.Uint16(octets[2*i:])
	}
	return string(utf16.Decode(units)), true
}
