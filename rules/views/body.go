package views

import (
	"strings"
	"unicode/utf8"
)

// rendering is the text of a part as it is shown. Wide says that its characters were decoded; else each is one octet.
type rendering struct {
	html bool
	text string
	wide bool
}

// render gives the text of a part, nil for what shows none.
func (p *Part) render() *rendering {
	if p.rendered != nil {
		return p.rendered
	}
	kind := p.Effective()
	if kind != "text/plain" && kind != "text/html" || !p.Leaf() {
		return nil
	}
	charset := p.Charset
	if !p.Declared {
		charset = "us-ascii"
	}
	octets := p.Decode()
	text, wide := toUTF8(octets, charset, false)
	r := &rendering{text: text, wide: wide}
	if octets != "" && kind == "text/html" {
		r.html = true
		p.page, r.text = readPage(text, wide, len(octets))
		r.wide = p.page.wide
	}
	p.rendered = r
	return r
}

// Rendered is the text of a part as it is shown. HTML says that it comes of HTML; ok is false for what shows none.
func (p *Part) Rendered() (text string, html, ok bool) {
	r := p.render()
	if r == nil {
		return "", false, false
	}
	return r.text, r.html, true
}

// Page is what a part in HTML holds, nil for another.
func (p *Part) Page() *Page {
	p.render()
	return p.page
}

// Pages are what the parts in HTML hold.
func (m *Message) Pages() []*Page {
	m.Body()
	return m.pages
}

// Body gives the decoded Subject and behind it the paragraphs of all parts as they are shown: white space in them made one
// space, cut at 2 KiB.
func (m *Message) Body() []string {
	if m.bodyDone {
		return m.body
	}
	m.bodyDone = true
	var b strings.Builder
	wide := false
	for _, p := range m.Tree().Find(true, nil) {
		if b.Len() > 0 {
			b.WriteByte('\n')
		}
		r := p.render()
		if r == nil {
			continue
		}
		if p.page != nil {
			m.pages = append(m.pages, p.page)
		}
		wide = wide || r.wide
		b.WriteString(cutText(r.text, bodyPartSize, "\n", " "))
	}
	text := paragraphs(b.String(), wide)
	if !wide {
		text = toOctets(text)
	}
	subject := "\n"
	if s, ok := m.root.Last("subject"); ok {
		subject = s + "\n"
	}
	m.body = shortLines(subject + text)
	return m.body
}

// cutText cuts a text that is longer than a number of characters, within 1 KiB behind them at the first of some marks.
func cutText(text string, size int, marks ...string) string {
	if len(text) <= size {
		return text
	}
	at := 0
	for n := 0; n < size && at < len(text); n++ {
		_, w := utf8.DecodeRuneInString(text[at:])
		at += w
	}
	for _, mark := range marks {
		if i := strings.Index(text[at:], mark); i >= 0 && utf8.RuneCountInString(text[at:at+i]) <= 1024 {
			return text[:at+i+1]
		}
	}
	return text[:at]
}

// paragraphs makes empty lines line ends and all other white space one space.
func paragraphs(text string, wide bool) string {
	b := make([]byte, 0, len(text))
	for i := 0; i < len(text); {
		c := text[i]
		if c < utf8.RuneSelf && !isSpace(c) && c != 0 {
			b = append(b, c)
			i++
			continue
		}
		if c == 0 {
			b = append(b, '\n')
			i++
			continue
		}
		end, first, last := spaceRun(text, i, wide)
		if end == i {
			_, n := utf8.DecodeRuneInString(text[i:])
			b = append(b, text[i:i+n]...)
			i += n
			continue
		}
		if first == last {
			b = append(b, ' ')
		} else {
			if first > i {
				b = append(b, ' ')
			}
			b = append(b, '\n')
			if last+1 < end {
				b = append(b, ' ')
			}
		}
		i = end
	}
	return string(b)
}

// spaceRun gives the end of the white space from i on, and where its first and its last line ends are.
func spaceRun(text string, i int, wide bool) (end, first, last int) {
	first, last = -1, -1
	for i < len(text) {
		r, n := rune(text[i]), 1
		if r >= utf8.RuneSelf {
			r, n = utf8.DecodeRuneInString(text[i:])
			if !wide {
				break
			}
		}
		if !spaceRune(r) {
			break
		}
		if r == '\n' {
			if first < 0 {
				first = i
			}
			last = i
		}
		i += n
	}
	return i, first, last
}

// toOctets makes characters below 256 octets.
func toOctets(text string) string {
	if isASCII(text) {
		return text
	}
	b := make([]byte, 0, len(text))
	for _, r := range text {
		b = append(b, byte(r))
	}
	return string(b)
}

// shortLines cuts a text in lines, and lines at 2 KiB, at a space where there is one.
func shortLines(text string) []string {
	var all []string
	for _, line := range splitLines(text) {
		for len(line) > maxLine {
			n := strings.LastIndexByte(line[:maxLine+1], ' ') + 1
			if n == 0 {
				n = maxLine
			}
			all = append(all, line[:n])
			line = line[n:]
		}
		all = append(all, line)
	}
	return all
}

// Raw gives the decoded text parts, HTML with its tags, in chunks of 2 to 4 KiB.
func (m *Message) Raw() []string {
	if m.rawDone {
		return m.raw
	}
	m.rawDone = true
	for _, p := range m.Tree().Find(true, nil) {
		kind := p.Effective()
		if !strings.HasPrefix(kind, "text") && !strings.HasPrefix(kind, "message") || p.Type == "text/calendar" {
			continue
		}
		m.raw = append(m.raw, Chunks(cutOctets(p.Decode()))...)
	}
	return m.raw
}

// cutOctets cuts a part that is too long.
func cutOctets(text string) string {
	if len(text) <= rawPartSize {
		return text
	}
	for _, mark := range []byte("\n> ") {
		if i := strings.IndexByte(text[rawPartSize:], mark); i >= 0 && i <= 1024 {
			return text[:rawPartSize+i+1]
		}
	}
	return text[:rawPartSize]
}

// Chunks cuts a text in pieces of 2 to 4 KiB: at a line end, a closing bracket or a space.
func Chunks(text string) []string {
	var all []string
	for len(text) > 2*maxLine {
		at := maxLine
		for _, mark := range []byte("\n> ") {
			if i := strings.IndexByte(text[maxLine:2*maxLine], mark); i >= 0 {
				at = maxLine + i
				break
			}
		}
		all = append(all, text[:at+1])
		text = text[at+1:]
	}
	if text != "" || len(all) == 0 {
		all = append(all, text)
	}
	return all
}
