package eval

import (
	"regexp"
	"slices"
	"strings"

	"postern/rules/views"
)

func mimeFunctions() map[string]Func {
	return map[string]Func{
		"check_for_mime": func(c *Context, args []string) float64 { return truth(c.mime().counts[arg(args, 0)] != 0) },
		"check_for_mime_html": func(c *Context, _ []string) float64 {
			return truth(htmlMessage(c) || c.mime().counts["mime_body_html_count"] > 0)
		},
		"check_for_mime_html_only": func(c *Context, _ []string) float64 {
			n := c.mime().counts
			return truth(htmlMessage(c) || n["mime_body_html_count"] > 0 && n["mime_body_text_count"] == 0)
		},
		"check_mime_multipart_ratio": func(c *Context, args []string) float64 {
			r := c.mime().ratio
			return truth(r >= number(arg(args, 0)) && r < number(arg(args, 1)))
		},
		"check_msg_parse_flags":        func(c *Context, args []string) float64 { return truth(c.Message.Flag(arg(args, 0))) },
		"check_for_ascii_text_illegal": func(c *Context, _ []string) float64 { return truth(c.mime().counts["mime_ascii_text_illegal"] > 0) },
		"check_abundant_unicode_ratio": func(c *Context, args []string) float64 { return truth(c.mime().unicode >= number(arg(args, 0))) },
		"check_for_faraway_charset":    farawayCharset, "check_for_uppercase": uppercase, "check_ma_non_text": alternativeNoText,
		"check_base64_length": base64Length,
		"check_qp_ratio":      func(c *Context, args []string) float64 { return truth(c.mime().quoted >= number(arg(args, 0))) },
		"check_body_8bits":    body8bits,
	}
}

func htmlMessage(c *Context) bool {
	t := c.text("Content-Type")
	return len(t) >= 9 && strings.EqualFold(t[:9], "text/html")
}

// mimeCounts is what the parts of a message show.
type mimeCounts struct {
	counts                 map[string]int
	ratio, unicode, quoted float64
	charsets               []string

	alternative      bool
	bytes            []partBytes
	quotedAll, coded int
	plain, codes     int
}

type partBytes struct {
	kind    string
	counted bool
	n       int
}

var (
	asciiNames   = regexp.MustCompile(`us-ascii|ansi_x3\.4-1968|iso-ir-6|ansi_x3\.4-1986|iso_646\.irv:1991|ascii|iso646-us|us|ibm367|cp367|csascii`)
	isoName      = regexp.MustCompile(`(?i)iso-\S+-\S+\b`)
	isoGood      = regexp.MustCompile(`iso-(?:8859-\d{1,2}|2022-(?:jp|kr))\b`)
	quotedPlain  = regexp.MustCompile(`=(?:09|3[0-9ABCEF]|[2456][0-9A-F]|7[0-9A-E])`)
	quotedEnd    = regexp.MustCompile(`((?:=09|=20)+)\s*$`)
	codePoint    = regexp.MustCompile(`&#x[0-9A-F]{4};`)
	illegalASCII = "\x00\r"
)

func (c *Context) mime() *mimeCounts {
	return once(c, "mime", func() *mimeCounts {
		m := &mimeCounts{counts: map[string]int{}, ratio: 1}
		for _, p := range c.Message.Tree().Find(false, nil) {
			m.part(c, p)
		}
		if m.quotedAll > 0 {
			m.quoted = float64(m.coded) / float64(m.quotedAll)
			m.counts["mime_qp_count"] = m.coded
		}
		if m.plain > 0 {
			m.unicode = float64(m.codes) / float64(m.plain)
		}
		if m.alternative {
			m.alternativeRatio()
			m.counts["mime_multipart_alternative"] = 1
		}
		if c.Message.Unbounded() {
			m.counts["mime_missing_boundary"] = 1
		}
		return m
	})
}

// part looks at one part.
func (m *mimeCounts) part(c *Context, p *views.Part) {
	kind, charset := p.DeclaredType()
	charset = strings.ToLower(charset)
	m.alternative = m.alternative || kind == "multipart/alternative"
	encoding := p.Encoding()
	disposition, _ := p.Last("content-disposition")
	disposition = strings.ToLower(disposition)
	m.header(c, kind, encoding, disposition, charset)
	if !p.Leaf() {
		return
	}
	attached := strings.Contains(disposition, "attachment")
	b := partBytes{kind: kind, counted: !attached}
	lines := p.Lines()
	if m.alternative && b.readable() {
		for _, l := range lines {
			b.n += len(l)
		}
	}
	m.bytes = append(m.bytes, b)
	if encoding == "quoted-printable" {
		for _, l := range lines {
			m.quotedLine(l)
		}
	}
	if kind == "text/plain" {
		m.plainLines(lines, encoding, charset == "us-ascii" || !p.HasCharset())
	}
}

// readable says whether a part is shown, as plain text or HTML.
func (b partBytes) readable() bool {
	return b.counted && (b.kind == "text/plain" || b.kind == "text/html")
}

// plainLines looks at the lines of plain text.
func (m *mimeCounts) plainLines(lines []string, encoding string, ascii bool) {
	bare := encoding == "" || encoding == "7bit" || encoding == "8bit"
	for _, l := range lines {
		if ascii && (strings.ContainsAny(l, illegalASCII) || !asciiOnly(l)) {
			m.counts["mime_ascii_text_illegal"]++
		}
		if bare {
			codes := 0
			if strings.Contains(l, "&#x") {
				codes = len(codePoint.FindAllString(l, -1))
			}
			m.codes += codes
			m.plain += len(l) - 8*codes
		}
	}
}

func (m *mimeCounts) quotedLine(l string) {
	if strings.HasPrefix(l, "SPAM: ") {
		return
	}
	if len(l) > 79 {
		m.counts["mime_qp_long_line"] = 1
	}
	m.quotedAll += len(l)
	if !strings.Contains(l, "=") {
		return
	}
	if n := len(quotedPlain.FindAllString(l, -1)); n > 0 {
		m.coded += n
		if t := quotedEnd.FindStringSubmatch(l); t != nil {
			m.coded -= len(t[1]) / 3
		}
	}
}

// header looks at the fields of a part.
func (m *mimeCounts) header(c *Context, kind, encoding, disposition, charset string) {
	switch {
	case kind == "text/html":
		m.counts["mime_body_html_count"]++
	case strings.HasPrefix(kind, "text"):
		m.counts["mime_body_text_count"]++
	}
	switch {
	case strings.Contains(encoding, "base64"):
		m.counts["mime_base64_count"]++
	case strings.Contains(encoding, "quoted-printable"):
		m.counts["mime_qp_count"]++
	}
	if strings.Contains(disposition, "attachment") {
		m.counts["mime_attachment"]++
	}
	if strings.HasPrefix(kind, "text") && strings.Contains(encoding, "base64") && needlessBase64(disposition, charset) {
		m.counts["mime_base64_encoded_text"] = 1
	}
	m.charset(c, charset)
}

// needlessBase64 says whether text has no reason for base64: it is of ASCII and no file.
func needlessBase64(disposition, charset string) bool {
	if strings.HasPrefix(disposition, "attachment") || strings.HasPrefix(disposition, "inline") {
		return false
	}
	return charset == "" || asciiNames.MatchString(charset)
}

// charset looks at a declared charset.
func (m *mimeCounts) charset(c *Context, charset string) {
	if isoName.MatchString(charset) && !isoGood.MatchString(charset) {
		m.counts["mime_bad_iso_charset"] = 1
	}
	if strings.ContainsFunc(charset, func(r rune) bool { return r >= 'a' && r <= 'z' }) {
		m.charsets = append(m.charsets, charset)
		if !c.anyLocale() && !c.localCharset(charset) {
			m.counts["mime_faraway_charset"] = 1
		}
	}
}

// alternativeRatio is that of the last plain text to the last HTML.
func (m *mimeCounts) alternativeRatio() {
	text, html := m.lastOf("text/plain"), m.lastOf("text/html")
	if text >= 0 && html > 0 {
		m.ratio = float64(text) / float64(html)
	}
}

// lastOf is the length of the last part of a type that counts, -1 for none.
func (m *mimeCounts) lastOf(kind string) int {
	for _, b := range slices.Backward(m.bytes) {
		if b.counted && b.kind == kind {
			return b.n
		}
	}
	return -1
}

// fieldCharset is the charset in a Content-Type as it is written.
func fieldCharset(value string) (string, bool) {
	i := strings.Index(strings.ToLower(value), "charset=")
	if i < 0 {
		return "", false
	}
	value = value[i+len("charset="):]
	if value != "" && (value[0] == '"' || value[0] == '\'') {
		if end := strings.IndexByte(value[1:], value[0]); end > 0 {
			return value[1 : 1+end], true
		}
	}
	if f := strings.Fields(value); len(f) > 0 {
		return f[0], true
	}
	return "", false
}

func highBits(text string) bool {
	high := 0
	for i := range len(text) {
		if text[i] >= 0x80 {
			high++
		}
	}
	return len(text)-high <= high && high > 3
}

func farawayCharset(c *Context, _ []string) float64 {
	name, ok := fieldCharset(c.text("Content-Type"))
	return truth(ok && !c.anyLocale() && !c.localCharset(name) && highBits(strings.Join(c.Message.Body(), "\n")))
}

func body8bits(c *Context, _ []string) float64 {
	if c.anyLocale() {
		return 0
	}
	for _, line := range c.Message.Body() {
		if !asciiOnly(line) {
			return 1
		}
	}
	return 0
}

var (
	spacedWords = regexp.MustCompile(`\S\s+\S`)
	encodedText = regexp.MustCompile(`^(?:[A-Za-z0-9+/=]{60,76} ){2}`)
	shiftedJIS  = regexp.MustCompile(`(?s)\x1b\$B.*\x1b\(B`)
)

// uppercase gives how much of the letters and digits are capitals.
func uppercase(c *Context, args []string) float64 {
	share := once(c, "uppercase", func() float64 {
		names := c.mime().charsets
		if name, ok := fieldCharset(c.text("Content-Type")); ok {
			names = append([]string{name}, names...)
		}
		for _, n := range names {
			if capsCharset(n) {
				return 0
			}
		}
		length, lower, upper := 0, 0, 0
		for _, line := range c.Message.Body() {
			if !spacedWords.MatchString(line) || encodedText.MatchString(line) {
				continue
			}
			line = shiftedJIS.ReplaceAllString(line, "")
			low, up := countCases(line)
			length, lower, upper = length+len(line), lower+low, upper+up
		}
		if length < 200 || upper+lower == 0 {
			return 0
		}
		return float64(upper) / float64(upper+lower) * 100
	})
	return truth(share > number(arg(args, 0)) && share <= number(arg(args, 1)))
}

// countCases counts small letters and digits, and capitals.
func countCases(text string) (lower, upper int) {
	for i := range len(text) {
		switch b := text[i]; {
		case b >= 'a' && b <= 'z' || b >= '0' && b <= '9':
			lower++
		case b >= 'A' && b <= 'Z':
			upper++
		}
	}
	return lower, upper
}

func alternativeNoText(c *Context, _ []string) float64 {
	for _, p := range c.Message.Tree().Find(false, func(t string) bool { return t == "multipart/alternative" }) {
		for _, x := range p.Parts {
			if x.Leaf() && x.Type != "application/rtf" && !strings.HasPrefix(x.Type, "text/") {
				return 1
			}
		}
	}
	return 0
}

func base64Length(c *Context, args []string) float64 {
	longest := once(c, "base64", func() int {
		n := 0
		for _, p := range c.Message.Tree().Find(true, nil) {
			if kind, _ := p.DeclaredType(); kind == "application/ics" || p.Encoding() != "base64" {
				continue
			}
			for _, l := range p.Lines() {
				n = max(n, len(l))
			}
		}
		return n
	})
	if most := arg(args, 1); most != "" && float64(longest) > number(most) {
		return 0
	}
	return truth(float64(longest) >= number(arg(args, 0)))
}
