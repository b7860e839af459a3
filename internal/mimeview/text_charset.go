package mimeview

import (
	"bytes"
	stdbase64 "encoding/base64"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/net/html/charset"
	charsets "golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"
	unicodes "golang.org/x/text/encoding/unicode"
	"golang.org/x/text/encoding/unicode/utf32"
)

// reading is a text in one charset.
type reading struct{ charset, text string }

// maxReadings is how many charsets a part is read in.
const maxReadings = 4

// textReadings are the texts that readers may see in octets: first by the declared charset, then by a byte order mark, by what
// the page says of itself, by what else is declared, and by how the octets look. Each text is there once. A text is at most
// three times as long as its octets.
func textReadings(raw []byte, declared string, html bool, besides []string) []reading {
	declared = normalCharset(declared)
	all := []reading{{declared, toUTF8(raw, declared)}}
	if len(besides) == 0 && plainASCII(raw) {
		if html && bytes.IndexByte(raw, '+') < 0 || !html && !bytes.Contains(raw, []byte("+A")) {
			return all
		}
	}
	add := func(name string) {
		if name == "" || len(all) == maxReadings || name == declared {
			return
		}
		text := toUTF8(raw, name)
		for _, r := range all {
			if r.text == text {
				return
			}
		}
		all = append(all, reading{name, text})
	}
	add(byMark(raw))
	for _, name := range besides {
		add(normalCharset(name))
	}
	if html {
		// https://html.spec.whatwg.org/multipage/parsing.html#prescan-a-byte-stream-to-determine-its-encoding
		head := raw[:min(len(raw), 1024)]
		if _, name, sure := charset.DetermineEncoding(head, ""); sure || bytes.Contains(bytes.ToLower(head), []byte("charset")) {
			add(name)
		}
	}
	for _, name := range byLooks(raw, declared, all[0].text) {
		add(name)
	}
	return all
}

func plainASCII(raw []byte) bool {
	for _, c := range raw {
		if c >= utf8.RuneSelf || c == 0 || c == 0x1B || c == '~' {
			return false
		}
	}
	return true
}

func normalCharset(name string) string {
	name = strings.ToLower(strings.Trim(name, " \t\"'"))
	switch name {
	case "utf8", "unicode-1-1-utf-8":
		return "utf-8"
	case "ascii", "ansi_x3.4-1968", "unknown-8bit", "x-unknown":
		return "us-ascii"
	case "utf7", "unicode-1-1-utf-7", "x-unicode-1-1-utf-7", "csutf7", "utf-7-imap":
		return "utf-7"
	case "hz", "hz-gb2312", "hz-gb-2312":
		return "hz-gb-2312"
	case "utf16", "ucs-2", "iso-10646-ucs-2", "unicode", "csunicode":
		return "utf-16"
	case "utf32", "ucs-4", "iso-10646-ucs-4":
		return "utf-32"
	}
	return name
}

// decoderOf is the decoder of a charset, nil for one that nobody knows.
func decoderOf(name string, raw []byte) *charsets.Decoder {
	switch name {
	case "", "us-ascii":
		return nil
	case "hz-gb-2312":
		return simplifiedchinese.HZGB2312.NewDecoder()
	case "utf-16", "utf-16le", "utf-16be":
		end := unicodes.Endianness(unicodes.BigEndian) // RFC 2781 section 4.3
		if name == "utf-16le" || name == "utf-16" && zerosAt(raw, 1) > zerosAt(raw, 0) {
			end = unicodes.LittleEndian
		}
		return unicodes.UTF16(end, unicodes.UseBOM).NewDecoder()
	case "utf-32", "utf-32be":
		return utf32.UTF32(utf32.BigEndian, utf32.UseBOM).NewDecoder()
	case "utf-32le":
		return utf32.UTF32(utf32.LittleEndian, utf32.UseBOM).NewDecoder()
	}
	if e := ebcdic(name); e != nil {
		return e.NewDecoder()
	}
	e, err := htmlindex.Get(name)
	if err != nil || e == charsets.Replacement { // what browsers don't know, as the code pages of DOS
		if e, err = ianaindex.MIME.Encoding(name); err != nil || e == nil {
			return nil
		}
	}
	return e.NewDecoder()
}

// ebcdic are the code pages of mainframes, in which no octet of plain English is what it is in ASCII. Browsers know none, yet
// mail readers in Java do. Those of other countries differ in signs and accents: letters and digits stand where they do in 037.
func ebcdic(name string) charsets.Encoding {
	number := strings.TrimLeft(strings.TrimPrefix(strings.TrimPrefix(strings.TrimPrefix(strings.TrimPrefix(name, "cs"), "ibm"), "cp"), "-"), "-_0")
	switch number {
	case "37", "273", "277", "278", "280", "284", "285", "297", "500", "870", "871", "1026":
		return charmap.CodePage037
	case "1140", "1141", "1142", "1143", "1144", "1145", "1146", "1147", "1148", "1149", "1140+euro":
		return charmap.CodePage1140
	case "1047":
		return charmap.CodePage1047
	}
	if strings.HasPrefix(name, "ebcdic") {
		return charmap.CodePage037
	}
	return nil
}

// toUTF8 reads octets in a charset. Where it is unknown or not given, they are UTF-8 if they can be, else Latin-1 as
// browsers read it.
func toUTF8(raw []byte, name string) string {
	name = normalCharset(name)
	switch {
	case name == "utf-7":
		return fromUTF7(raw)
	case name == "utf-8":
		return strings.ToValidUTF8(string(bytes.TrimPrefix(raw, []byte("\xEF\xBB\xBF"))), "\uFFFD")
	}
	if d := decoderOf(name, raw); d != nil {
		if text, err := d.Bytes(raw); err == nil {
			return string(text)
		}
	}
	if utf8.Valid(raw) {
		return string(raw)
	}
	text, err := charmap.Windows1252.NewDecoder().Bytes(raw)
	if err != nil {
		return strings.ToValidUTF8(string(raw), "\uFFFD")
	}
	return string(text)
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

// looked is how many octets tell what charset a text is in.
const looked = 8 << 10

// byLooks names the charsets that octets seem to be in where nothing that is said of them fits.
func byLooks(raw []byte, declared, text string) []string {
	whole := raw
	raw = raw[:min(len(raw), looked)]
	even, odd := zerosAt(raw, 0), zerosAt(raw, 1)
	switch n := len(raw); {
	case odd*5 > n && even*20 < n:
		return []string{"utf-16le"}
	case even*5 > n && odd*20 < n:
		return []string{"utf-16be"}
	case bytes.Contains(whole, []byte("\x1B$B")) || bytes.Contains(whole, []byte("\x1B$@")):
		return []string{"iso-2022-jp"} // RFC 1468
	case bytes.Contains(whole, []byte("~{")) && bytes.Contains(whole, []byte("~}")):
		return []string{"hz-gb-2312"} // RFC 1843
	case hasUTF7(whole):
		return []string{"utf-7"}
	}
	if declared != "" && declared != "us-ascii" && decoderOf(declared, raw) != nil && strings.Count(text[:min(len(text), looked)], "\uFFFD")*10 < len(raw) {
		return nil
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

func zerosAt(raw []byte, from int) (n int) {
	for i := from; i < min(len(raw), looked); i += 2 {
		if raw[i] == 0 {
			n++
		}
	}
	return n
}

// manyHigh guesses at octets above 127 that are no Latin text and no UTF-8: an Asian charset without errors in it, and a
// Cyrillic one, which has more small letters than capital ones.
func manyHigh(raw []byte) (names []string) {
	for _, try := range []struct {
		name    string
		e       charsets.Encoding
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
		wide, right, wrong := 0, 0, 0
		for _, r := range string(text) {
			switch {
			case r == utf8.RuneError:
				wrong++
			case unicode.In(r, try.letters...):
				right++
				wide++
			case r >= utf8.RuneSelf:
				wide++
			}
		}
		if wrong <= 1 && right*try.per > wide && inPairs(raw) {
			names = append(names, try.name)
			break
		}
	}
	var koi, windows int
	for _, c := range raw {
		if c >= 0xC0 && c <= 0xDF {
			koi++
		} else if c >= 0xE0 {
			windows++
		}
	}
	if koi > windows {
		return append(names, "koi8-r")
	}
	return append(names, "windows-1251")
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
		end := from
		for end < len(raw) && end < from+400 && inBase64(raw[end]) {
			end++
		}
		text := fromUTF7(raw[from-2 : end])
		from = end
		if end < len(raw) && raw[end] == '-' && len(text) > 0 || len(text) > 4 {
			if text[0] < utf8.RuneSelf && utf8.ValidString(text) && !strings.ContainsRune(text, utf8.RuneError) && text[0] != '+' && text[0] >= ' ' {
				return true
			}
		}
	}
}

func inBase64(c byte) bool { return isLetter(c) || c >= '0' && c <= '9' || c == '+' || c == '/' }

// fromUTF7 reads UTF-7 (RFC 2152). What is no such thing stays as it is.
func fromUTF7(raw []byte) string {
	var b strings.Builder
	b.Grow(len(raw))
	var units []uint16
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		if c != '+' {
			if c < utf8.RuneSelf {
				b.WriteByte(c)
			} else {
				b.WriteRune(rune(c))
			}
			continue
		}
		end := i + 1
		for end < len(raw) && inBase64(raw[end]) {
			end++
		}
		if end == i+1 {
			b.WriteByte('+')
			if end < len(raw) && raw[end] == '-' {
				i = end
			}
			continue
		}
		coded := raw[i+1 : end]
		if len(coded)%4 == 1 {
			coded = coded[:len(coded)-1]
		}
		octets, err := stdbase64.RawStdEncoding.DecodeString(string(coded))
		if err != nil {
			b.Write(raw[i:end])
		} else {
			units = units[:0]
			for j := 0; j+1 < len(octets); j += 2 {
				units = append(units, uint16(octets[j])<<8|uint16(octets[j+1]))
			}
			for _, r := range utf16.Decode(units) {
				b.WriteRune(r)
			}
		}
		i = end - 1
		if end < len(raw) && raw[end] == '-' {
			i = end
		}
	}
	return b.String()
}

func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }
