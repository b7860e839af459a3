package unpack

import (
	"bytes"
	"encoding/hex"
	"regexp"
	"strconv"
	"strings"

	"postern/internal/mail/ascii"
	"postern/internal/mimeview/unpack/filetype"
)

// A page that smuggles makes a file out of its script: no gateway sees it travel. Its words are looked for as a script
// engine reads them, without the disguise that its writer can put on them.

var (
	// makers build a file out of script, givers hand it to the person.
	makers = []string{"new blob(", "blob([", "atob(", "uint8array", "fromcharcode", "new file(", "charcodeat("}
	givers = []string{"createobjecturl", "mssaveoropenblob", "mssaveblob", ".download", "download=", "'download'", "\"download\"", "navigator.share(", "showsavefilepicker(", "saveas("}
	// decoders and sinks: a page that writes itself out of a text that nobody can read
	decoders = []string{"atob(", "unescape(", "decodeuricomponent(", "fromcharcode", "charcodeat("}
	sinks    = []string{"document.write", "eval(", "new function(", "innerhtml", "location.replace(", "location.href", "srcdoc"}
)

var (
	scriptEscape = regexp.MustCompile(`\\x[0-9a-f]{2}|\\u[0-9a-f]{4}|\\u\{[0-9a-f]{1,6}\}`)
	joined       = regexp.MustCompile("['\"`]\\s*\\+\\s*['\"`]")
	byName       = regexp.MustCompile("\\[\\s*['\"`]([a-z0-9]{2,32})['\"`]\\s*\\]")
)

const (
	maxScript  = 8 << 20 // octets whose disguise is taken off
	longSecret = 1000    // octets of one text that has no blank and no sense
)

// smuggled says how a page makes a file, or itself, out of its script; "" if it doesn't.
func smuggled(b []byte) string {
	text := undisguised(b[:min(len(b), maxScript)])
	if made, given := firstOf(text, makers), firstOf(text, givers); made != "" && given != "" {
		return made + " " + given
	}
	decoder, sink := firstOf(text, decoders), firstOf(text, sinks)
	if decoder != "" && sink != "" && longest(b) >= longSecret {
		return "a page written out of an encoded text: " + decoder + " " + sink
	}
	return ""
}

// undisguised is a script in lower case, with its escapes undone, texts that were cut in pieces joined, and a["b"] as a.b.
func undisguised(b []byte) []byte {
	text := bytes.ToLower(b)
	if bytes.Contains(text, []byte(`\x`)) || bytes.Contains(text, []byte(`\u`)) {
		text = bytes.ToLower(scriptEscape.ReplaceAllFunc(text, func(m []byte) []byte {
			v, err := strconv.ParseUint(strings.Trim(string(m[2:]), "{}"), 16, 32)
			if err != nil || v > 0x7e || v < ' ' {
				return m
			}
			return []byte{byte(v)}
		}))
	}
	if bytes.IndexByte(text, '+') >= 0 {
		text = joined.ReplaceAll(text, nil)
	}
	if bytes.IndexByte(text, '[') >= 0 {
		text = byName.ReplaceAll(text, []byte(".$1"))
	}
	return text
}

func firstOf(text []byte, words []string) string {
	for _, w := range words {
		if bytes.Contains(text, []byte(w)) {
			return w
		}
	}
	return ""
}

// longest is the length of the longest text in quotes that is nothing but digits of some code.
func longest(b []byte) (limit int) {
	literals(b, func(text []byte) { limit = max(limit, len(text)) })
	return limit
}

// literals gives the texts in quotes of 100 octets and more that could be base64, hexadecimal or percent code.
func literals(b []byte, each func([]byte)) {
	for len(b) > 0 {
		i := bytes.IndexAny(b, "\"'`")
		if i < 0 {
			return
		}
		b = b[i+1:]
		end := 0
		for end < len(b) && codeOctet(b[end]) {
			end++
		}
		if end >= 100 && end < len(b) && strings.IndexByte("\"'`", b[end]) >= 0 {
			each(b[:end])
		}
		b = b[end:]
	}
}

func codeOctet(c byte) bool {
	return c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' || strings.IndexByte("+/=-_%\\,|.~!*\r\n", c) >= 0
}

// scriptData decodes what scripts hold and gives what turns out to be a file.
func scriptData(o *Object, b []byte) (found []entry) {
	add := func(how string, packed int, content []byte) {
		t := filetype.Detect(content, nil)[0]
		switch t.Class {
		case filetype.Text, filetype.Other, filetype.Image:
			if !bytes.HasPrefix(content, []byte(eicar)) {
				return
			}
		}
		o.flag(HTMLSmuggling, how+" "+t.Name)
		found = append(found, entry{names: []string{"script-data"}, r: bytes.NewReader(content), packed: int64(packed)})
	}
	literals(b, func(text []byte) {
		if len(found) > maxDecoys {
			return
		}
		add("base64", len(text), lenientBase64(text))
		if content := make([]byte, len(text)/2); len(text)%2 == 0 {
			if _, err := hex.Decode(content, text); err == nil {
				add("hexadecimal", len(text), content)
			}
		}
	})
	numbers(b, func(packed int, content []byte) {
		if len(found) <= maxDecoys {
			add("numbers", packed, content)
		}
	})
	return found
}

// numbers gives the lists of 64 numbers and more that are octets: [77,90,144,...].
func numbers(b []byte, each func(packed int, content []byte)) {
	for {
		i := bytes.IndexAny(b, "[(")
		if i < 0 {
			return
		}
		b = b[i+1:]
		content, at := octetList(b)
		if len(content) >= 64 {
			each(at, content)
		}
		b = b[at:]
	}
}

// octetList reads decimal numbers up to 255 with commas between them, and says how long they are written.
func octetList(b []byte) (content []byte, at int) {
	value, digits := 0, 0
list:
	for ; at < len(b) && value <= 255 && digits <= 3; at++ {
		switch c := b[at]; {
		case ascii.IsDigit(c):
			value, digits = value*10+int(c-'0'), digits+1
		case c == ',' && digits > 0:
			content = append(content, byte(value))
			value, digits = 0, 0
		case c > ' ':
			break list
		}
	}
	if digits > 0 && value <= 255 {
		content = append(content, byte(value))
	}
	return content, at
}
