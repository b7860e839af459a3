// Package charset reads octets in the charsets that mail names, as mail readers do: an unknown name or none means UTF-8 where
// the octets can be that, and Windows-1252 where they can't. It never fails.
package charset

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/encoding/unicode/utf32"
)

// Name gives the one spelling of a charset's name that the rest of this package knows.
func Name(name string) string {
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

// Decoder is the decoder of a charset whose name is as Name gives it; nil for UTF-7, US-ASCII and unknown charsets. raw
// helps where the name leaves the order of octets open.
func Decoder(name string, raw []byte) *encoding.Decoder {
	switch name {
	case "", "us-ascii", "utf-7":
		return nil
	case "hz-gb-2312":
		return simplifiedchinese.HZGB2312.NewDecoder()
	case "utf-16", "utf-16le", "utf-16be":
		return byOrder(name, raw).NewDecoder()
	case "utf-32", "utf-32be":
		return utf32.UTF32(utf32.BigEndian, utf32.UseBOM).NewDecoder()
	case "utf-32le":
		return utf32.UTF32(utf32.LittleEndian, utf32.UseBOM).NewDecoder()
	}
	if e := ebcdic(name); e != nil {
		return e.NewDecoder()
	}
	if e := registered(name); e != nil {
		return e.NewDecoder()
	}

	return nil
}

// registered finds a charset that browsers know, or else one that IANA lists, such as the code pages of DOS.
func registered(name string) encoding.Encoding {
	if e, err := htmlindex.Get(name); err == nil && e != encoding.Replacement {
		return e
	}
	e, err := ianaindex.MIME.Encoding(name)
	if err != nil {
		return nil
	}

	return e
}

// ebcdic are the code pages of mainframes, in which no octet of plain English is what it is in ASCII. Browsers know none, yet
// mail readers in Java do. Those of other countries differ in signs and accents: letters and digits stand where they do in 037.
func ebcdic(name string) encoding.Encoding {
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

// byOrder goes by RFC 2781 section 4.3: big-endian where nothing says otherwise. Much that is labelled UTF-16 alone is
// little-endian, which its zeros show.
func byOrder(name string, raw []byte) encoding.Encoding {
	end := unicode.Endianness(unicode.BigEndian)
	if name == "utf-16le" || name == "utf-16" && ZerosAt(raw, 1) > ZerosAt(raw, 0) {
		end = unicode.LittleEndian
	}

	return unicode.UTF16(end, unicode.UseBOM)
}

// Looked is how many octets tell what charset a text is in.
const Looked = 8 << 10

// ZerosAt counts the zeros at every second octet of the front, the first of them at from.
func ZerosAt(raw []byte, from int) (n int) {
	for i := from; i < min(len(raw), Looked); i += 2 {
		if raw[i] == 0 {
			n++
		}
	}

	return n
}

// ToUTF8 reads octets in a charset. Where it is unknown or not given, they are UTF-8 if they can be, else Latin-1 as
// browsers read it.
func ToUTF8(raw []byte, name string) string {
	name = Name(name)

	switch name {
	case "utf-7":
		return FromUTF7(raw)
	case "utf-8":
		return strings.ToValidUTF8(string(bytes.TrimPrefix(raw, []byte("\xEF\xBB\xBF"))), "\uFFFD")
	}

	if d := Decoder(name, raw); d != nil {
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
