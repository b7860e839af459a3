package proxy

import (
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
	"time"

	"postern/filters"
	"postern/internal/mail"
	"postern/policy"
)

// top writes the header fields that go on top of a copy: Received (RFC 5321 section 4.4), Authentication-Results
// (RFC 8601) and our own. Text from outside comes in only as tokens.
func (x *Transaction) top(v policy.Verdict, to []mail.Recipient) []byte {
	b := x.received(to)
	if x.outside(to) {
		// the verdict on our own users' mail, and their login names, are not disclosed to outsiders
		return b
	}
	b = append(b, mail.FormatAuthResults(x.g.Hostname, x.authResults())...)
	b = append(b, x.why(v)...)
	b = append(b, x.notes()...)
	if v.Disposition == policy.Tag {
		b = append(b, "X-Spam-Flag: YES\r\n"...)
	}
	return b
}

// outside reports whether a copy of our own users' mail goes to other domains.
func (x *Transaction) outside(to []mail.Recipient) bool {
	return x.tx.Session.Outbound() && slices.ContainsFunc(to, func(r mail.Recipient) bool {
		_, local := x.setup.Route(r.Address.ASCIIDomain())
		return !local
	})
}

// notes name the scanners that did not judge a message because their servers are down.
func (x *Transaction) notes() []byte {
	var b []byte
	for _, f := range x.tx.Findings {
		if name, ok := f.Value.(filters.Away); ok && f.Symbol == filters.Failed {
			b = fmt.Appendf(b, "%s-Note: judged without %s, whose server is away\r\n", x.g.headerName(), name)
		}
	}
	return b
}

// why is our own field: id, verdict, score, symbols, folded at 78 characters (RFC 5322 section 2.1.1).
func (x *Transaction) why(v policy.Verdict) []byte {
	b := fmt.Appendf(nil, "%s: %s %s %.1f", x.g.headerName(), x.tx.ID, v.Disposition, v.Score)
	line := len(b)
	for _, r := range v.Reasons {
		word := fmt.Sprintf("%s(%.1f)", mail.TraceToken(r.Symbol), r.Score)
		if line+1+len(word) > 78 {
			b, line = append(b, "\r\n\t"...), 8
		} else {
			b = append(b, ' ')
		}
		b = append(b, word...)
		line += 1 + len(word)
	}
	return append(b, "\r\n"...)
}

// received is the trace field of RFC 5321 section 4.4 with the words of RFC 3848 behind "with". The recipient is named
// only when there is one, so that none learns of the others.
func (x *Transaction) received(to []mail.Recipient) []byte {
	s := x.tx.Session
	b := []byte(s.TraceFrom())
	if s.TLS != nil {
		b = fmt.Appendf(b, "\t(using %s with cipher %s)\r\n", tls.VersionName(s.TLS.Version), tls.CipherSuiteName(s.TLS.CipherSuite))
	}
	b = fmt.Appendf(b, "\tby %s (Postern) with %s id %s", x.g.Hostname, x.protocol(), x.tx.ID)
	if len(to) == 1 && !to[0].Address.NeedsUTF8() {
		b = fmt.Appendf(b, "\r\n\tfor %s", to[0].Address.Path())
	}
	return fmt.Appendf(b, ";\r\n\t%s\r\n", x.started.Format(time.RFC1123Z))
}

// protocol is the word of RFC 3848 and, for SMTPUTF8, of RFC 6531 section 4.3.
func (x *Transaction) protocol() string {
	s := x.tx.Session
	name := "SMTP"
	switch {
	case x.tx.Params.UTF8:
		name = "UTF8SMTP"
	case s.ESMTP:
		name = "ESMTP"
	}
	if s.TLS != nil && name != "SMTP" {
		name += "S"
	}
	if s.User != "" && name != "SMTP" {
		name += "A"
	}
	return name
}

func (g *Gateway) headerName() string {
	if g.HeaderName == "" {
		return "X-Postern"
	}
	return g.HeaderName
}

// authResults collects the filters' results for Authentication-Results.
func (x *Transaction) authResults() []mail.AuthResult {
	var all []mail.AuthResult
	if u := x.tx.Session.User; u != "" {
		all = append(all, mail.AuthResult{Method: mail.MethodAuth, Result: mail.AuthPass, Props: []mail.AuthProp{{Type: "smtp", Property: "auth", Value: u}}})
	}
	for _, f := range x.tx.AllFindings() {
		if r, ok := f.Value.(mail.AuthResulter); ok {
			all = append(all, r.AuthResults()...)
		}
	}
	return all
}

// omit finds the fields of the message that only the gateway may set: results under our own authserv-id (RFC 8601
// section 5), our own field, and those the settings name.
func (x *Transaction) omit(tagged bool) []mail.Span {
	var spans []mail.Span
	subject, hasSubject := x.subject()
	for _, f := range x.tx.Message.Header().Fields {
		gone := f.Is(x.g.headerName()) || f.Is(x.g.headerName()+"-Note") ||
			f.Is("Authentication-Results") && x.g.claimed(f.Value()) ||
			matchesAny(x.g.Strip, f.Name) ||
			tagged && x.g.SubjectTag != "" && hasSubject && f.Offset == subject.Offset
		if gone {
			spans = append(spans, mail.Span{From: int64(f.Offset), To: int64(f.Offset + len(f.Raw))})
		}
	}
	return spans
}

// claimed reports whether results could pass for ours. An encoded word has no meaning in an authserv-id (RFC 2047
// section 5), and no honest server writes one there: a reader that decodes every field would show the name in it.
func (g *Gateway) claimed(value string) bool {
	id, _, _ := strings.Cut(value, ";")
	return strings.Contains(id, "=?") || mail.ClaimsAuthservID(value, g.Hostname)
}

func (x *Transaction) subject() (mail.Field, bool) {
	all := x.tx.Message.Header().All("Subject")
	if len(all) == 0 {
		return mail.Field{}, false
	}
	return all[0], true
}

func matchesAny(patterns []string, name string) bool {
	for _, p := range patterns {
		prefix, wild := strings.CutSuffix(p, "*")
		if wild && len(name) >= len(prefix) && strings.EqualFold(name[:len(prefix)], prefix) || strings.EqualFold(p, name) {
			return true
		}
	}
	return false
}
