package views

import (
	"encoding/base64"
	"strings"
)

// decodeQuoted decodes quoted-printable, and leaves as it is what is none.
func decodeQuoted(text string) string {
	if !strings.Contains(text, "=") && !blankAtLineEnd(text) {
		return text
	}
	b := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case ' ', '\t':
			j := i + blanks(text[i:])
			if !atLineEnd(text, j) {
				b = append(b, text[i:j]...)
			}
			i = j - 1
		case '=':
			octet, n := quotedOctet(text[i:])
			b = append(b, octet...)
			i += n - 1
		default:
			b = append(b, c)
		}
	}
	return string(b)
}

// blankAtLineEnd says whether white space stands at the end of a line that quoted-printable takes off.
func blankAtLineEnd(text string) bool {
	return strings.Contains(text, " \n") || strings.Contains(text, "\t\n") || strings.Contains(text, " \r\n")
}

// blanks counts the blanks and tabs at the front.
func blanks(text string) (n int) {
	for n < len(text) && (text[n] == ' ' || text[n] == '\t') {
		n++
	}
	return n
}

// quotedOctet gives what stands for an = at the front and what follows it: nothing for a soft line break, an octet, or the
// mark itself.
func quotedOctet(text string) (octet string, size int) {
	// white space between the mark and the line end goes first
	if j := 1 + blanks(text[1:]); atLineEnd(text, j) {
		return "", j + strings.IndexByte(text[j:], '\n') + 1
	}
	if len(text) > 2 && hexValue(text[1]) >= 0 && hexValue(text[2]) >= 0 {
		return string([]byte{byte(hexValue(text[1])<<4 | hexValue(text[2]))}), 3
	}
	return "=", 1
}

func atLineEnd(text string, i int) bool {
	return i < len(text) && (text[i] == '\n' || text[i] == '\r' && i+1 < len(text) && text[i+1] == '\n')
}

func hexValue(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// decodeBase64 decodes base64 with whatever stands in it.
func decodeBase64(text string) string {
	clean, pure := base64Octets(text)
	end := len(clean)
	for end > 0 && clean[end-1] == '=' {
		end--
	}
	filler := byte('/') // a padding character within the text counts as the last digit
	if pure && len(clean)%4 == 0 && len(clean) >= 2 {
		filler = 'A'
	}
	clean = clean[:end]
	for i, c := range clean {
		if c == '=' {
			clean[i] = filler
		}
	}
	if len(clean)%4 == 1 {
		clean = clean[:len(clean)-1]
	}
	out := make([]byte, base64.RawStdEncoding.DecodedLen(len(clean)))
	n, _ := base64.RawStdEncoding.Decode(out, clean)
	return string(out[:n])
}

// base64Octets gives the octets of base64 and its padding. Pure says that there are no others but white space.
func base64Octets(text string) (clean []byte, pure bool) {
	clean = make([]byte, 0, len(text))
	pure = true
	for i := range len(text) {
		c := text[i]
		if isSpace(c) {
			continue
		}
		if base64Value(c) < 0 && c != '=' {
			pure = false
			continue
		}
		clean = append(clean, c)
	}
	return clean, pure
}

func base64Value(c byte) int {
	switch {
	case c >= 'A' && c <= 'Z':
		return int(c - 'A')
	case c >= 'a' && c <= 'z':
		return int(c-'a') + 26
	case c >= '0' && c <= '9':
		return int(c-'0') + 52
	case c == '+':
		return 62
	case c == '/':
		return 63
	}
	return -1
}

// decodeField decodes the encoded words (RFC 2047) in a field's value and makes it UTF-8. Fields that have none by their
// grammar stay as they are.
func decodeField(text, name string) string {
	if text == "" {
		return ""
	}
	if strings.ContainsAny(text, "\r\n") {
		text = strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", ""), "\n", "")
	}
	if !isASCII(text) {
		text, _ = toUTF8(text, "UTF-8", false)
	}
	if !strings.Contains(text, "=?") || structural(name) {
		return text
	}
	return decodeWords(joinWords(text))
}

// structural says whether a field holds no encoded words.
func structural(name string) bool {
	name = strings.ToLower(name)
	switch strings.TrimPrefix(name, "resent-") {
	case "message-id", "date":
		return true
	}
	switch name {
	case "received", "mime-version", "references", "in-reply-to":
		return true
	}
	return strings.HasPrefix(name, "list-")
}

// encodedWord reads an encoded word at the front of a text.
func encodedWord(text string) (charset string, quoted bool, data string, size int) {
	if !strings.HasPrefix(text, "=?") {
		return
	}
	i := 2
	for i < len(text) && (isWordByte(text[i]) || text[i] == '*' || text[i] == '-') {
		i++
	}
	if i == 2 || !isEncoding(text[i:]) {
		return
	}
	end := strings.IndexByte(text[i+3:], '?')
	if end < 0 || !strings.HasPrefix(text[i+3+end:], "?=") {
		return
	}
	return text[2:i], text[i+1]|0x20 == 'q', text[i+3 : i+3+end], i + 3 + end + 2
}

// isEncoding says whether the encoding of an encoded word and the marks around it stand at the front (RFC 2047 section 2).
func isEncoding(text string) bool {
	return len(text) >= 3 && text[0] == '?' && text[2] == '?' && strings.IndexByte("bqBQ", text[1]) >= 0
}

// joinWords takes out the white space between encoded words.
func joinWords(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); {
		_, _, _, n := encodedWord(text[i:])
		if n == 0 {
			b.WriteByte(text[i])
			i++
			continue
		}
		b.WriteString(text[i : i+n])
		i += n
		j := i
		for j < len(text) && isSpace(text[j]) {
			j++
		}
		if _, _, _, m := encodedWord(text[j:]); m > 0 {
			i = j
		}
	}
	return b.String()
}

// decodeWords decodes encoded words; the octets of neighbours in one charset are joined before the charset is applied.
func decodeWords(text string) string {
	var out strings.Builder
	var octets strings.Builder
	current := ""
	flush := func() {
		if current == "" {
			out.WriteString(octets.String())
		} else {
			name, _, _ := strings.Cut(current, "*")
			decoded, _ := toUTF8(octets.String(), name, true)
			out.WriteString(decoded)
		}
		octets.Reset()
	}
	for i := 0; i < len(text); {
		charset, quoted, data, n := encodedWord(text[i:])
		charset = strings.ToLower(charset)
		if n == 0 {
			n = max(1, strings.IndexByte(text[i:], '='))
			if strings.IndexByte(text[i:], '=') < 0 {
				n = len(text) - i
			}
			data = text[i : i+n]
		} else if quoted {
			data = decodeQuoted(strings.ReplaceAll(data, "_", "=20"))
		} else {
			data = decodeBase64(data)
		}
		if charset != current {
			flush()
			current = charset
		}
		octets.WriteString(data)
		i += n
	}
	flush()
	return out.String()
}

func isASCII(text string) bool {
	for i := range len(text) {
		if text[i] >= 0x80 {
			return false
		}
	}
	return true
}
