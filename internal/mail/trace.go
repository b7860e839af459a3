package mail

import (
	"fmt"
	"net/netip"
	"strings"
)

// TraceFrom is the first line of the trace field that we write for a connection, CRLF included: RFC 5321 section 4.4. Text
// from outside comes in only as tokens.
func (s *Session) TraceFrom() string {
	name := ""
	if s.ClientName != "" {
		name = TraceToken(s.ClientName) + " "
	}

	return fmt.Sprintf("Received: from %s (%s[%s])\r\n", TraceToken(s.Helo), name, traceLiteral(s.Client))
}

// traceLiteral is an address literal: RFC 5321 section 4.1.3.
func traceLiteral(a netip.Addr) string {
	switch {
	case !a.IsValid():
		return "unknown"
	case a.Is6() && !a.Is4In6():
		return "IPv6:" + a.WithZone("").String()
	}

	return a.Unmap().String()
}

// TraceToken keeps the characters of a text that can't end a comment, a token or the line of a trace field.
func TraceToken(text string) string {
	const limit = 255
	if len(text) > limit {
		text = text[:limit]
	}
	if text == "" {
		return "unknown"
	}
	return strings.Map(func(r rune) rune {
		if r > ' ' && r < 0x7f && !strings.ContainsRune("()<>;\"\\,@", r) {
			return r
		}
		return '?'
	}, text)
}
