package views

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"

	"postern/internal/mail/charset"
)

// toUTF8 makes octets in a declared charset UTF-8: what is UTF-8 is that whatever it says, then the declared charset is
// tried, then Windows-1252. Wide says that characters were decoded, so that white space of all scripts counts as such.
// Insist takes the declared charset with all its faults.
func toUTF8(text, declared string, insist bool) (decoded string, wide bool) {
	ascii := isASCII(text)
	name := strings.ToLower(declared)
	if ascii && asciiLike(name) {
		return text, false
	}
	if !ascii && !insist && utf8.ValidString(text) {
		return text, true
	}
	if out, ok := decodeDeclared(text, name, insist, ascii); ok {
		return out, true
	}
	if ascii {
		return text, false
	}
	if text == "" {
		return "", false
	}
	return windows1252(text), true
}

// asciiLike says whether octets of ASCII in this charset are ASCII.
func asciiLike(name string) bool {
	switch name {
	case "us-ascii", "ascii", "iso646-us", "ansi_x3.4-1968", "ansi_x3.4-1986", "utf-8", "utf8", "big5", "gbk", "gb18030", "gb-18030", "gb 18030", "gb18030-2000":
		return true
	}
	for _, front := range []string{"iso-8859", "iso8859", "iso 8859", "windows-", "koi8-", "euc-"} {
		if rest, ok := strings.CutPrefix(name, front); ok {
			return len(rest) <= 4 && !strings.Contains(rest, "-i")
		}
	}
	return false
}

func decodeDeclared(text, name string, insist, ascii bool) (string, bool) {
	switch name {
	case "us-ascii", "ascii":
		return asciiOnly(text), insist
	case "utf-8", "utf8":
		if insist {
			return strings.ToValidUTF8(text, "\ufffd"), true
		}
		return text, utf8.ValidString(text) && !ascii
	case "iso-8859-1", "iso8859-1", "windows-1252", "cp1252":
		if !insist && hasUndefined1252(text) {
			return "", false
		}
		return windows1252(text), true
	case "utf-7", "unicode-1-1-utf-7":
		return charset.FromUTF7([]byte(text)), true
	}
	if isUTF16(name) {
		return utf16(text)
	}
	return decodeOther(text, name, insist)
}

func isUTF16(name string) bool {
	return strings.HasPrefix(name, "utf-16") || strings.HasPrefix(name, "utf16")
}

// decodeOther reads octets in a charset that a table is needed for.
func decodeOther(text, name string, insist bool) (string, bool) {
	dec := decoderOf(name)
	if dec == nil {
		return "", false
	}
	if !insist && strictPairs(name) && !eucPairs(text) {
		return "", false
	}
	out, err := dec.String(text)
	if err != nil || !insist && strings.Contains(out, "\ufffd") {
		return "", false
	}
	return out, true
}

// asciiOnly replaces what is not ASCII.
func asciiOnly(text string) string {
	var b strings.Builder
	for i := range len(text) {
		if text[i] < 0x80 {
			b.WriteByte(text[i])
		} else {
			b.WriteRune('\ufffd')
		}
	}
	return b.String()
}

func hasUndefined1252(text string) bool {
	for i := range len(text) {
		switch text[i] {
		case 0x81, 0x8d, 0x8f, 0x90, 0x9d:
			return true
		}
	}
	return false
}

// windows1252 reads octets as Windows-1252; what is not defined there is a replacement character.
func windows1252(text string) string {
	var b strings.Builder
	b.Grow(len(text) + len(text)/8)
	for i := range len(text) {
		switch c := text[i]; c {
		case 0x81, 0x8d, 0x8f, 0x90, 0x9d:
			b.WriteRune('\ufffd')
		default:
			b.WriteRune(charmap.Windows1252.DecodeByte(c))
		}
	}
	return b.String()
}

// utf16 guesses the order of the octets by where the zeros are.
func utf16(text string) (string, bool) {
	if strings.HasPrefix(text, "\xff\xfe") || strings.HasPrefix(text, "\xfe\xff") || len(text)%2 != 0 {
		return "", false
	}
	even, odd := 0, 0
	for i := 0; i+1 < len(text); i += 2 {
		even += int(text[i]>>4) + int(text[i]&15)
		odd += int(text[i+1]>>4) + int(text[i+1]&15)
	}
	order := unicode.LittleEndian
	if odd > even {
		order = unicode.BigEndian
	}
	out, err := unicode.UTF16(order, unicode.IgnoreBOM).NewDecoder().String(text)
	return out, err == nil && !strings.Contains(out, "\ufffd")
}

// strictPairs are charsets whose octets above 127 come in pairs of such.
func strictPairs(name string) bool { return name == "gb2312" || name == "euc-kr" || name == "euc-cn" }

func eucPairs(text string) bool {
	for i := 0; i < len(text); i++ {
		if text[i] < 0x80 {
			continue
		}
		if text[i] < 0xa1 || i+1 >= len(text) || text[i+1] < 0xa1 {
			return false
		}
		i++
	}
	return true
}

// decoderOf gives the decoder of a charset by name, nil for an unknown one.
func decoderOf(name string) *encoding.Decoder { return charset.Decoder(charset.Name(name), nil) }
