package wire

import (
	"encoding/base64"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// MailboxName decodes the name of a mailbox: modified UTF-7, RFC 3501 section 5.1.3. What is not of that form is given as
// it is, which may be UTF-8 (RFC 6855).
func MailboxName(name string) string {
	var out strings.Builder
	for rest := name; rest != ""; {
		plain, coded, shifted := strings.Cut(rest, "&")
		out.WriteString(plain)
		if !shifted {
			break
		}
		code, behind, closed := strings.Cut(coded, "-")
		text, ok := "&", closed
		if code != "" {
			text, ok = fromUTF7(code)
		}
		if !closed || !ok {
			return name
		}
		out.WriteString(text)
		rest = behind
	}
	return out.String()
}

// fromUTF7 reads what stands between "&" and "-": base64 of UTF-16, with "," for "/" and no padding.
func fromUTF7(code string) (string, bool) {
	raw, err := base64.RawStdEncoding.DecodeString(strings.ReplaceAll(code, ",", "/"))
	if err != nil || len(raw)%2 != 0 || strings.ContainsRune(code, '/') {
		return "", false
	}
	units := make([]uint16, len(raw)/2)
	for i := range units {
		units[i] = uint16(raw[2*i])<<8 | uint16(raw[2*i+1])
	}
	runes := utf16.Decode(units)
	for _, r := range runes {
		if r == utf8.RuneError {
			return "", false
		}
	}
	return string(runes), true
}
