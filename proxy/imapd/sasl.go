package imapd

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf16"

	"postern/proxy/access"
	"postern/proxy/imapd/wire"
	"postern/proxy/line"
	"postern/proxy/sasl"
)

// mechanisms are the SASL mechanisms that are offered.
func (s *session) mechanisms() []string {
	return append(s.gate.Mechanisms(), s.gate.OpaqueMechanisms()...)
}

// authenticate is the AUTHENTICATE command: RFC 9051 section 6.2.2, with the first response of RFC 4959.
func (s *session) authenticate(c *wire.Command) {
	rest, plain := c.Rest()
	x := sasl.Begin(rest)
	switch {
	case !plain || strings.ContainsAny(rest, `()"`) || strings.Contains(x.Initial, " "):
		s.readFailed(&wire.Syntax{Tag: c.Tag, Text: "Error in IMAP command: Invalid arguments."})
		return
	case !s.mayLogIn():
		s.say(loginInClear(c.Tag))
		return
	case !slices.Contains(s.mechanisms(), x.Mechanism):
		s.say(no(c.Tag, "Unsupported authentication mechanism."))
		s.countBad()
		return
	case slices.Contains(s.gate.OpaqueMechanisms(), x.Mechanism):
		s.authenticateOpaque(c.Tag, x)
		return
	}
	x.Challenge, x.MaxOctets = s.challenge, maxCredential
	found, err := x.Credentials()
	switch {
	case err == nil:
		s.enter(c.Tag, access.SASL(x.Mechanism, found))
	case errors.Is(err, sasl.ErrCancelled):
		s.say(bad(c.Tag, "Authentication aborted by client."))
		s.countBad()
	case sasl.Unreadable(err):
		s.observe("SASL_GARBAGE", x.Mechanism)
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

// challenge sends a challenge and reads the client's line.
func (s *session) challenge(text string) (string, error) {
	s.say("+ " + text + "\r\n")
	line, err := s.In.Line(line.Rules{Limit: maxSASLLine})
	return string(line), err
}

// authenticateOpaque lets the lines of a mechanism pass whose meaning only the backend knows.
func (s *session) authenticateOpaque(tag string, x *sasl.Exchange) {
	cancelled := false
	err := s.gate.Opaque(s.Ctx, x.Mechanism, func(ctx context.Context, b *access.Backend) (string, error) {
		back, err := s.connect(ctx, b)
		if err != nil {
			return "", err
		}
		user := ""
		err = back.relay(x, func(challenge string) (string, error) {
			line, err := s.challenge(challenge)
			if err == nil { // "*", which cancels, is no base64 either
				blob, bad := sasl.Decode(line)
				user, err = ntlmUser([]byte(blob), user), bad
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
	within := at >= 0 && at <= len(blob) && n <= len(blob)-at
	if !within || n > 512 {
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
