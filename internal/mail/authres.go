package mail

import (
	"strings"
)

// AuthResult is one resinfo of an Authentication-Results field: RFC 8601 section 2.2.
type AuthResult struct {
	Method AuthMethod
	Result AuthVerdict
	// Reason is free text, "" for none.
	Reason string
	Props  []AuthProp
}

// AuthProp is a propspec: ptype.property=pvalue.
type AuthProp struct{ Type, Property, Value string }

// AuthResulter is a Finding's value that has something to say in Authentication-Results.
type AuthResulter interface {
	AuthResults() []AuthResult
}

// FormatAuthResults writes a whole Authentication-Results field, CRLF included. Whatever stands in the values, they
// can't end their token, their line or the field: RFC 8601 section 2.2, RFC 5322 section 3.2.4.
func FormatAuthResults(authservID string, results []AuthResult) []byte {
	b := append([]byte("Authentication-Results: "), authservID...)
	if len(results) == 0 {
		return append(b, "; none\r\n"...)
	}
	for _, r := range results {
		b = append(b, ";\r\n\t"...)
		b = append(appendToken(b, string(r.Method)), '=')
		b = appendToken(b, string(r.Result))
		if r.Reason != "" {
			b = appendQuoted(append(b, " reason="...), r.Reason)
		}
		for _, p := range r.Props {
			b = append(b, ' ')
			b = append(appendToken(b, p.Type), '.')
			b = append(appendToken(b, p.Property), '=')
			b = appendPvalue(b, p.Value)
		}
	}
	return append(b, "\r\n"...)
}

// appendToken writes only letters, digits, hyphens and underscores: all that our own keywords are made of.
func appendToken(b []byte, text string) []byte {
	for i := range len(text) {
		c := text[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' {
			b = append(b, c)
		}
	}
	return b
}

// appendPvalue writes a value bare where that is safe, else as a quoted string.
func appendPvalue(b []byte, value string) []byte {
	const limit = 320
	if len(value) > limit {
		value = value[:limit]
	}
	for i := range len(value) {
		c := value[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9') && strings.IndexByte("-_.@:+/=", c) < 0 {
			return appendQuoted(b, value)
		}
	}
	if value == "" {
		return append(b, '"', '"')
	}
	return append(b, value...)
}

func appendQuoted(b []byte, text string) []byte {
	const limit = 320
	if len(text) > limit {
		text = text[:limit]
	}
	b = append(b, '"')
	for i := range len(text) {
		c := text[i]
		switch {
		case c < ' ' || c == 0x7f:
			b = append(b, '?')
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}

// AuthservID reads the authserv-id from the value of an Authentication-Results field, with comments, folds and quotes
// taken away, in lower case and without a trailing dot, so that no disguise of our own id gets past.
func AuthservID(value string) string {
	rest := skipCFWS(value)
	var id strings.Builder
	if strings.HasPrefix(rest, `"`) {
		for i := 1; i < len(rest) && rest[i] != '"'; i++ {
			if rest[i] == '\\' && i+1 < len(rest) {
				i++
			}
			id.WriteByte(rest[i])
		}
	} else {
		for i := 0; i < len(rest) && !strings.ContainsRune(" \t\r\n;(\"", rune(rest[i])); i++ {
			id.WriteByte(rest[i])
		}
	}
	return strings.TrimSuffix(strings.ToLower(strings.TrimSpace(id.String())), ".")
}

// skipCFWS drops white space and comments (RFC 5322 section 3.2.2) from the front.
func skipCFWS(text string) string {
	depth := 0
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && depth > 0:
			i++
		case c == '(':
			depth++
		case c == ')' && depth > 0:
			depth--
		case depth > 0 || c == ' ' || c == '\t' || c == '\r' || c == '\n':
		default:
			return text[i:]
		}
	}
	return ""
}

// ClaimsAuthservID says whether the value of an Authentication-Results field could pass for one of this authserv-id: it
// bears it, or it can't be read without doubt and the id stands somewhere in it, in pieces perhaps. Some reader will see it.
func ClaimsAuthservID(value, id string) bool {
	id = strings.TrimSuffix(strings.ToLower(id), ".")
	if AuthservID(value) == id {
		return true
	}
	if read, _, err := ParseAuthResults(value); err == nil && ValidDomain(read) && ASCIIDomain(read) == read {
		return false
	}
	var all, bare strings.Builder // with what stands in comments, and without
	depth := 0
	for i := range len(value) {
		switch c := value[i]; {
		case c == '(':
			depth++
		case c == ')' && depth > 0:
			depth--
		case strings.IndexByte(" \t\r\n\"\\", c) < 0:
			all.WriteByte(c)
			if depth == 0 {
				bare.WriteByte(c)
			}
		}
	}
	return strings.Contains(strings.ToLower(all.String()), id) || strings.Contains(strings.ToLower(bare.String()), id)
}
