package rules

import (
	"io"
	"strings"
	"unicode/utf8"

	"postern/internal/mail"
	"postern/internal/mimeview"
)

// How much text is looked at, in octets. What is behind is the business of other filters.
const (
	maxBodyText = 128 << 10
	maxRawText  = 256 << 10
	maxFullText = 256 << 10
	maxHeader   = 64 << 10
	maxEvidence = 80
)

// Input is what rules look at.
type Input struct {
	View *mimeview.View
	// EnvelopeFrom is the reverse-path without brackets.
	EnvelopeFrom string
}

// headerSpec says which header fields a rule looks at and what of them.
type headerSpec struct {
	name               string
	exists             bool
	raw, addr, display bool
	unset              string
}

// Match gives the rules that hold for a message, in file order.
func (s *Set) Match(in Input) []Hit {
	m := &matcher{set: s, in: in, header: in.View.Message().Header(), values: map[string]*outcome{}, headers: map[headerSpec]*scanText{}}
	var hits []Hit
	for _, r := range s.rules {
		if r.hidden() || r.off() {
			continue
		}
		if o := m.run(r); o.value != 0 {
			hits = append(hits, Hit{Rule: r.name, Evidence: o.evidence, Count: max(1, int(o.value))})
		}
	}
	return hits
}

// matcher is the work on one message.
type matcher struct {
	set     *Set
	in      Input
	header  *mail.Header
	values  map[string]*outcome
	headers map[headerSpec]*scanText

	body, raw, uri, full *scanText
}

type outcome struct {
	value    float64
	evidence string
}

// scanText is text that rules look at: pieces, each of which a rule sees by itself.
type scanText struct {
	pieces []string
	// seen says which literals stand in each piece; nil if nobody has looked.
	seen []bits
}

// newScanText maps octets above 127 to the characters of the same number, so that an expression sees octets.
func newScanText(pieces []string, l *literals) *scanText {
	t := &scanText{pieces: pieces}
	for i, p := range pieces {
		pieces[i] = octets(p)
		if l != nil {
			t.seen = append(t.seen, l.scan(p))
		}
	}
	return t
}

// may says whether an expression can match a piece at all.
func (t *scanText) may(p *pattern, piece int) bool {
	return t.seen == nil || p.needs.met(t.seen[piece])
}

func octets(text string) string {
	i := 0
	for i < len(text) && text[i] < utf8.RuneSelf {
		i++
	}
	if i == len(text) {
		return text
	}
	var b strings.Builder
	b.Grow(len(text) + len(text)/4)
	b.WriteString(text[:i])
	for ; i < len(text); i++ {
		b.WriteRune(rune(text[i]))
	}
	return b.String()
}

// back turns evidence into what the message has.
func back(text string) string {
	var b []byte
	for _, r := range text {
		b = append(b, byte(r))
	}
	return strings.ToValidUTF8(string(b), "?")
}

func (m *matcher) value(name string) float64 {
	r := m.set.byName[name]
	if r == nil || r.off() { // a score of 0 switches a rule off for others, too
		return 0
	}
	return m.run(r).value
}

func (m *matcher) run(r *rule) outcome {
	if o := m.values[r.name]; o != nil {
		return *o
	}
	o := &outcome{}
	m.values[r.name] = o
	switch r.kind {
	case kindMeta:
		o.value = r.meta.value(m.value)
		return *o
	case kindHeader:
		if r.header.exists {
			o.value = truth(m.header.Count(r.header.name) > 0)
			return *o
		}
	}
	text := m.text(r)
	count, evidence := r.pattern.find(text, r)
	if r.negate {
		count, evidence = 1-min(count, 1), ""
	}
	o.value, o.evidence = float64(count), evidence
	return *o
}

// find counts the matches, up to the rule's limit.
func (p *pattern) find(t *scanText, r *rule) (count int, evidence string) {
	for i, piece := range t.pieces {
		if !t.may(p, i) {
			continue
		}
		if !r.multiple {
			if at := p.re.FindStringIndex(piece); at != nil {
				return 1, clip(piece[at[0]:at[1]])
			}
			continue
		}
		for _, at := range p.re.FindAllStringIndex(piece, r.maxHits-count) {
			if count++; count == 1 {
				evidence = clip(piece[at[0]:at[1]])
			}
		}
		if count >= r.maxHits {
			break
		}
	}
	return count, evidence
}

func clip(text string) string {
	text = back(text)
	if len(text) > maxEvidence {
		text = strings.ToValidUTF8(text[:maxEvidence], "") + "..."
	}
	return strings.TrimSpace(text)
}

// text gives what a rule looks at, made when it is first needed.
func (m *matcher) text(r *rule) *scanText {
	switch r.kind {
	case kindHeader:
		t := m.headers[r.header]
		if t == nil {
			t = newScanText([]string{m.headerText(r.header)}, nil)
			m.headers[r.header] = t
		}
		return t
	case kindBody:
		if m.body == nil {
			m.body = newScanText(m.paragraphs(), m.set.literals[kindBody])
		}
		return m.body
	case kindRaw:
		if m.raw == nil {
			m.raw = newScanText(m.rawChunks(), m.set.literals[kindRaw])
		}
		return m.raw
	case kindURI:
		if m.uri == nil {
			m.uri = newScanText(append([]string(nil), m.in.View.URLs()...), m.set.literals[kindURI])
		}
		return m.uri
	}
	if m.full == nil {
		head := make([]byte, min(maxFullText, m.in.View.Message().Size()))
		n, err := m.in.View.Message().ReadAt(head, 0)
		if err != nil && err != io.EOF {
			n = 0
		}
		m.full = newScanText([]string{string(head[:n])}, m.set.literals[kindFull])
	}
	return m.full
}

// paragraphs is the text of the message: the Subject as a line of its own, then the paragraphs of all text parts, white
// space in each made one space. Behind these stand the paragraphs that read differently for a reader that follows no
// styles, and for one that takes letters by their looks.
func (m *matcher) paragraphs() []string {
	all := []string{m.in.View.Subject() + "\n"}
	left := maxBodyText
	take := func(text string) {
		text = text[:min(len(text), left)]
		left -= len(text)
		all = appendParagraphs(all, text)
	}
	hidden := false
	for _, p := range m.in.View.Parts() {
		take(p.Text)
		hidden = hidden || p.Hidden != ""
	}
	seen := map[string]bool{}
	if hidden {
		for _, p := range all {
			seen[p] = true
		}
		left = maxBodyText
		shown := len(all)
		for _, p := range m.in.View.Parts() {
			if p.Hidden != "" {
				take(p.Unstyled)
			}
		}
		all = append(all[:shown], unseen(all[shown:], seen)...)
	}
	return append(all, folded(all)...)
}

// unseen leaves out the paragraphs that are there already.
func unseen(paragraphs []string, seen map[string]bool) []string {
	kept := paragraphs[:0]
	for _, p := range paragraphs {
		if !seen[p] {
			seen[p] = true
			kept = append(kept, p)
		}
	}
	return kept
}

// folded are the paragraphs that fold to another text.
func folded(paragraphs []string) (all []string) {
	for _, p := range paragraphs {
		if text := mimeview.Fold(p); text != p {
			all = append(all, text)
		}
	}
	return all
}

// appendParagraphs cuts text at empty lines, and where a paragraph gets longer than 2 KiB at the next line.
func appendParagraphs(all []string, text string) []string {
	b := make([]byte, 0, 1024)
	flush := func() {
		if len(b) > 0 {
			all = append(all, string(append(b, '\n')))
			b = b[:0]
		}
	}
	for line := range strings.Lines(text) {
		before := len(b)
		space := before > 0
		for i := range len(line) {
			c := line[i]
			if c == ' ' || c >= '\t' && c <= '\r' {
				space = len(b) > 0
				continue
			}
			if space {
				b = append(b, ' ')
				space = false
			}
			b = append(b, c)
		}
		if len(b) == before || len(b) > 2048 {
			flush()
		}
	}
	flush()
	return all
}

// rawChunks is the text of the parts as it was decoded, HTML with its tags, in pieces of 4 KiB at most, cut at line
// ends where there are some.
func (m *matcher) rawChunks() []string {
	var all []string
	left := maxRawText
	for _, p := range m.in.View.Parts() {
		text := strings.ReplaceAll(string(p.Body[:min(len(p.Body), left)]), "\r\n", "\n")
		left -= len(text)
		for len(text) > 0 {
			n := min(len(text), 4096)
			if n < len(text) {
				if i := strings.LastIndexByte(text[2048:n], '\n'); i >= 0 {
					n = 2048 + i + 1
				}
			}
			all = append(all, text[:n])
			text = text[n:]
		}
	}
	return all
}

// headerText is the value of the fields a rule names. A field that is missing is empty; each value ends in a line end.
func (m *matcher) headerText(h headerSpec) string {
	var b strings.Builder
	add := func(f mail.Field, named bool) {
		if b.Len() > maxHeader {
			return
		}
		value := f.Value()
		if named {
			b.WriteString(f.Name + ": ")
		}
		switch {
		case h.raw:
			value = strings.ReplaceAll(string(f.Raw[f.ValueAt:]), "\r\n", "\n")
			b.WriteString(value)
			return
		case h.addr || h.display:
			value = mailboxPart(value, h.addr)
		default:
			value = mimeview.DecodeValue(value)
		}
		b.WriteString(value + "\n")
	}
	names := []string{h.name}
	switch h.name {
	case "ALL":
		for _, f := range m.header.Fields {
			add(f, true)
		}
		return b.String()
	case "EnvelopeFrom":
		return m.in.EnvelopeFrom + "\n"
	case "ToCc":
		names = []string{"To", "Cc"}
	case "MESSAGEID":
		names = []string{"Message-Id", "Resent-Message-Id", "X-Message-Id"}
	}
	for _, name := range names {
		for _, f := range m.header.All(name) {
			add(f, false)
		}
	}
	if b.Len() == 0 {
		return h.unset
	}
	return b.String()
}

// mailboxPart is the address or the name of the first mailbox.
func mailboxPart(value string, address bool) string {
	boxes, _, err := mail.ParseFrom(value)
	if err != nil || len(boxes) == 0 {
		before, rest, ok := strings.Cut(value, "<")
		inner, _, _ := strings.Cut(rest, ">")
		switch {
		case address && ok:
			return inner
		case address || !ok:
			return value
		}
		return mimeview.DecodeValue(strings.Trim(before, ` "`))
	}
	if address {
		return boxes[0].Address.String()
	}
	return mimeview.DecodeValue(boxes[0].Name)
}
