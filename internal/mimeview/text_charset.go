package mimeview

import (
	"bytes"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/html/charset"
	textenc "golang.org/x/text/encoding"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"

	charsets "postern/internal/mail/charset"
)

// reading is a text in one charset.
type reading struct{ charset, text string }

// maxReadings is how many charsets a part is read in.
const maxReadings = 4

// otherCharsets names those that readers may take instead of the declared one.
func otherCharsets(raw []byte, declared reading, html bool, besides []string) []string {
	names := []string{byMark(raw)}
	for _, name := range besides {
		names = append(names, charsets.Name(name))
	}
	if html {
		names = append(names, byPage(raw))
	}
	return append(names, byLooks(raw, declared.charset, declared.text)...)
}

// textReadings are the texts that readers may see in octets: first by the declared charset, then by a byte order mark, by what
// the page says of itself, by what else is declared, and by how the octets look. Each text is there once. A text is at most
// three times as long as its octets.
func textReadings(raw []byte, declared string, html bool, besides []string) []reading {
	declared = charsets.Name(declared)
	all := []reading{{declared, charsets.ToUTF8(raw, declared)}}
	if len(besides) == 0 && plainASCII(raw) && !maybeUTF7(raw, html) {
		return all
	}

	for _, name := range otherCharsets(raw, all[0], html, besides) {
		if name == "" || len(all) == maxReadings || name == declared {
			continue
		}
		text := charsets.ToUTF8(raw, name)
		if !slices.ContainsFunc(all, func(r reading) bool { return r.text == text }) {
			all = append(all, reading{name, text})
		}
	}

	return all
}

// maybeUTF7 says whether ASCII may be UTF-7 (RFC 2152); a page may begin any tag in it.
func maybeUTF7(raw []byte, html bool) bool {
	if html {
		return bytes.IndexByte(raw, '+') >= 0
	}

	return bytes.Contains(raw, []byte("+A"))
}

// byPage names the charset that a page says it is in:
// https://html.spec.whatwg.org/multipage/parsing.html#prescan-a-byte-stream-to-determine-its-encoding
func byPage(raw []byte) string {
	head := raw[:min(len(raw), 1024)]
	_, name, sure := charset.DetermineEncoding(head, "")
	if sure || bytes.Contains(bytes.ToLower(head), []byte("charset")) {
		return name
	}

	return ""
}

func plainASCII(raw []byte) bool {
	for _, c := range raw {
		shifts := c == 0x1B || c == '~' // ISO 2022 and HZ
		if c >= utf8.RuneSelf || c == 0 || shifts {
			return false
		}
	}
	return true
}

// byMark names the charset that a byte order mark stands for.
func byMark(raw []byte) string {
	switch {
	case bytes.HasPrefix(raw, []byte("\xEF\xBB\xBF")):
		return "utf-8"
	case bytes.HasPrefix(raw, []byte("\xFF\xFE\x00\x00")):
		return "utf-32le"
	case bytes.HasPrefix(raw, []byte("\x00\x00\xFE\xFF")):
		return "utf-32be"
	case bytes.HasPrefix(raw, []byte("\xFF\xFE")):
		return "utf-16le"
	case bytes.HasPrefix(raw, []byte("\xFE\xFF")):
		return "utf-16be"
	}
	return ""
}

// byLooks names the charsets that octets seem to be in where nothing that is said of them fits.
func byLooks(raw []byte, declared, text string) []string {
	if name := byShape(raw); name != "" {
		return []string{name}
	}

	raw = raw[:min(len(raw), charsets.Looked)]
	if declared != "" && declared != "us-ascii" && charsets.Decoder(declared, raw) != nil {
		bad := strings.Count(text[:min(len(text), charsets.Looked)], "\uFFFD")
		if bad*10 < len(raw) {
			return nil
		}
	}

	high := 0
	for _, c := range raw {
		if c >= utf8.RuneSelf {
			high++
		}
	}
	if high*4 < len(raw) || utf8.Valid(raw[:len(raw)-min(len(raw), 3)]) {
		return nil
	}

	return manyHigh(raw)
}

// byShape names the charset whose shape octets have: zeros at every other place, or the escapes of a seven-bit charset.
func byShape(whole []byte) string {
	raw := whole[:min(len(whole), charsets.Looked)]
	even, odd := charsets.ZerosAt(raw, 0), charsets.ZerosAt(raw, 1)

	switch n := len(raw); {
	case odd*5 > n && even*20 < n:
		return "utf-16le"
	case even*5 > n && odd*20 < n:
		return "utf-16be"
	case bytes.Contains(whole, []byte("\x1B$B")) || bytes.Contains(whole, []byte("\x1B$@")):
		return "iso-2022-jp" // RFC 1468
	case bytes.Contains(whole, []byte("~{")) && bytes.Contains(whole, []byte("~}")):
		return "hz-gb-2312" // RFC 1843
	case hasUTF7(whole):
		return "utf-7"
	}

	return ""
}

// manyHigh guesses at octets above 127 that are no Latin text and no UTF-8: an Asian charset without errors in it, and a
// Cyrillic one, which has more small letters than capital ones.
func manyHigh(raw []byte) (names []string) {
	for _, try := range []struct {
		name    string
		e       textenc.Encoding
		letters []*unicode.RangeTable
		per     int // one in so many is such a letter
	}{
		{"shift_jis", japanese.ShiftJIS, []*unicode.RangeTable{unicode.Hiragana, unicode.Katakana}, 4},
		{"euc-jp", japanese.EUCJP, []*unicode.RangeTable{unicode.Hiragana, unicode.Katakana}, 4},
		{"euc-kr", korean.EUCKR, []*unicode.RangeTable{unicode.Hangul}, 2},
		{"gb18030", simplifiedchinese.GB18030, []*unicode.RangeTable{unicode.Han}, 2},
		{"big5", traditionalchinese.Big5, []*unicode.RangeTable{unicode.Han}, 2},
	} {
		text, _ := try.e.NewDecoder().Bytes(raw) // with errors as U+FFFD
		wide, right, wrong := countLetters(string(text), try.letters)
		if wrong <= 1 && right*try.per > wide && inPairs(raw) {
			names = append(names, try.name)
			break
		}
	}
	return append(names, cyrillic(raw))
}

// countLetters counts the letters beyond ASCII, those of a script among them, and the errors of the decoder.
func countLetters(text string, script []*unicode.RangeTable) (wide, right, wrong int) {
	for _, r := range text {
		switch {
		case r == utf8.RuneError:
			wrong++
		case unicode.In(r, script...):
			right++
			wide++
		case r >= utf8.RuneSelf:
			wide++
		}
	}
	return wide, right, wrong
}

// cyrillic tells KOI8-R from Windows-1251 by where the small letters lie.
func cyrillic(raw []byte) string {
	var koi, windows int
	for _, c := range raw {
		if c >= 0xC0 && c <= 0xDF {
			koi++
		} else if c >= 0xE0 {
			windows++
		}
	}
	if koi > windows {
		return "koi8-r"
	}
	return "windows-1251"
}

// inPairs says that runs of octets above 127 come in even lengths, as two for a letter do, mostly.
func inPairs(raw []byte) bool {
	even, odd, run := 0, 0, 0
	for _, c := range raw {
		if c >= utf8.RuneSelf {
			run++
			continue
		}
		switch {
		case run == 0:
		case run%2 == 0:
			even++
		default:
			odd++
		}
		run = 0
	}
	return even >= odd
}

// hasUTF7 says that a Latin letter or a sign stands there as UTF-7 writes it: "+A", a letter up to H, and so on.
func hasUTF7(raw []byte) bool {
	for from := 0; ; {
		i := bytes.Index(raw[from:], []byte("+A"))
		if i < 0 {
			return false
		}
		from += i + 2
		end := from + base64Run(raw[from:])
		text := charsets.FromUTF7(raw[from-2 : end])
		from = end
		closed := end < len(raw) && raw[end] == '-' && len(text) > 0
		if (closed || len(text) > 4) && isHiddenASCII(text) {
			return true
		}
	}
}

// base64Run is how many octets in front are of base64, as far as they are looked at.
func base64Run(b []byte) (n int) {
	for n < min(len(b), 400) && charsets.InBase64(b[n]) {
		n++
	}
	return n
}

// isHiddenASCII says whether what was decoded begins with a letter or sign of ASCII, which needs no UTF-7, and has no errors.
func isHiddenASCII(text string) bool {
	if text[0] < ' ' || text[0] >= utf8.RuneSelf || text[0] == '+' {
		return false
	}
	return utf8.ValidString(text) && !strings.ContainsRune(text, utf8.RuneError)
}
