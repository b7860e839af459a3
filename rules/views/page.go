package views

import (
	"strings"
	"unicode/utf8"
)

// Page is what a part in HTML holds.
type Page struct {
	// Inside has each tag that was met, with how often it is still open.
	Inside map[string]int
	// Comments, Scripts, Titles and Anchors are their texts.
	Comments, Scripts, Titles, Anchors []string
	// URIs are the links in order.
	URIs []*PageURI
	// Charsets are those of meta elements, apart by spaces.
	Charsets string
	// Truncated says that a link was too long.
	Truncated bool

	numbers map[string]float64
	byURI   map[string]*PageURI

	chunks                 []chunk
	styles                 []style
	baseFont               int
	baseHref               string
	lastAnchor             string
	tags, elements         int
	tagsSeen, elementsSeen int
	closedExtra            int
	obfuscation            int
	backhair               map[[2]int]bool
	wide                   bool
}

// PageURI is a link in HTML: the elements it stands in and the texts of its anchors.
type PageURI struct {
	URI     string
	Types   []string
	Anchors []string
}

type chunk struct {
	text                  string
	whitespace, invisible bool
}

// Number is a measure of the page by its name in html_test and html_range.
func (p *Page) Number(name string) (float64, bool) {
	n, ok := p.numbers[name]
	return n, ok
}

// Texts are the texts of a kind by its name in html_text_match.
func (p *Page) Texts(name string) []string {
	switch name {
	case "comment":
		return p.Comments
	case "script":
		return p.Scripts
	case "title":
		return p.Titles
	case "anchor":
		return p.Anchors
	}
	return nil
}

// readPage reads HTML. Wide says that its characters were decoded.
func readPage(source string, wide bool, octets int) (p *Page, text string) {
	p = &Page{Inside: map[string]int{}, numbers: map[string]float64{}, byURI: map[string]*PageURI{}, backhair: map[[2]int]bool{}, wide: wide, baseFont: 3}
	p.styles = []style{{tag: "default", fg: "#000000", bg: "#ffffff", size: 3}}
	p.numbers["html"], p.numbers["min_size"], p.numbers["max_size"], p.numbers["image_area"] = 1, 3, 3, 0
	p.numbers["length"] = float64(utf8.RuneCountInString(source))
	z := &tokenizer{text: prepareHTML(source)}
	for {
		t, ok := z.next()
		if !ok {
			break
		}
		p.take(&t)
	}
	var b strings.Builder
	for _, c := range p.chunks {
		b.WriteString(c.text)
	}
	text = b.String()
	p.sum(text, octets)
	return p, text
}

// prepareHTML takes away what the text is not read with: named no-break spaces, curly quotes, slashes that end a tag.
func prepareHTML(text string) string {
	if strings.Contains(text, "&nbsp;") {
		text = strings.ReplaceAll(text, "&nbsp;", " ")
	}
	if strings.Contains(text, "/>") {
		text = unslash(text)
	}
	if strings.Contains(text, "\u201c") || strings.Contains(text, "\u201d") {
		text = strings.NewReplacer("\u201c", `"`, "\u201d", `"`).Replace(text)
	}
	return text
}

// unslash makes <br/> a <br>.
func unslash(text string) string {
	var b strings.Builder
	for {
		i := strings.Index(text, "/>")
		if i < 0 {
			break
		}
		j := i
		for j > 0 && isSpace(text[j-1]) {
			j--
		}
		k := j
		for k > 0 && isWordByte(text[k-1]) {
			k--
		}
		if k > 0 && k < j && text[k-1] == '<' {
			b.WriteString(text[:j])
			b.WriteByte('>')
		} else {
			b.WriteString(text[:i+2])
		}
		text = text[i+2:]
	}
	b.WriteString(text)
	return b.String()
}

// sum makes the measures that the whole page has.
func (p *Page) sum(text string, octets int) {
	n := p.numbers
	if p.tags > 0 {
		n["closed_extra_ratio"] = float64(p.closedExtra) / float64(p.tags)
		if p.elements > 0 {
			n["bad_tag_ratio"] = float64(p.tags-p.elements) / float64(p.tags)
		}
		if p.obfuscation > 0 {
			n["obfuscation_ratio"] = float64(p.obfuscation) / float64(p.tags)
		}
	}
	if p.tagsSeen > 0 && p.elementsSeen > 0 {
		n["non_element_ratio"] = float64(p.tagsSeen-p.elementsSeen) / float64(p.tagsSeen)
	}
	if len(p.backhair) > 0 {
		n["backhair_count"] = float64(len(p.backhair))
	}
	length, spaces := 0, 0
	for _, r := range text {
		length++
		if p.countsAsSpace(r) {
			spaces++
		}
	}
	n["html_length"], n["non_space_len"] = float64(length), float64(length-spaces)
	if octets > 0 {
		n["ratio"] = float64(octets-length) / float64(octets)
	}
}

// countsAsSpace says whether the measures of a page take a character for white space.
func (p *Page) countsAsSpace(r rune) bool {
	if p.wide {
		return spaceRune(r)
	}
	return r < 0x80 && r != '\f' && isSpace(byte(r))
}

// spaceRune is Perl's \s for characters.
func spaceRune(r rune) bool {
	switch {
	case r < 0x80:
		return isSpace(byte(r))
	case r == 0x85, r == 0xa0, r == 0x1680, r >= 0x2000 && r <= 0x200a, r == 0x2028, r == 0x2029, r == 0x202f, r == 0x205f, r == 0x3000:
		return true
	}
	return false
}

func (p *Page) take(t *token) {
	switch t.kind {
	case tokenText:
		p.takeText(t.text)
	case tokenStart, tokenEnd:
		p.takeTag(t)
	case tokenComment:
		p.Comments = append(p.Comments, t.text)
	case tokenDeclaration:
		p.elements++
		p.tags++
		p.Inside["!doctype"] = 0
	}
}

func (p *Page) takeTag(t *token) {
	known, office := oneOf(knownElements, t.name), officeTag(t.name)
	p.count(t, known || office)
	if office || !known && !oneOf(trickElements, t.name) {
		return
	}
	if oneOf(styledElements, t.name) {
		p.style(t)
	}
	if oneOf(whitespaceElements, t.name) {
		p.whitespace(t.name)
	}
	if t.kind == tokenStart {
		if oneOf(linkElements, t.name) {
			p.linkOf(t)
		}
		p.test(t)
	}
}

// count counts a tag, and follows how often it is open.
func (p *Page) count(t *token, element bool) {
	open, met := p.Inside[t.name]
	p.tags++
	if element {
		p.elements++
	}
	if !met {
		p.tagsSeen++
		if element {
			p.elementsSeen++
		}
	}
	if t.kind == tokenStart {
		open++
	} else if open--; open < 0 {
		open = 0
		p.closedExtra++
	}
	p.Inside[t.name] = open
}

func (p *Page) whitespace(name string) {
	switch name {
	case "br", "div":
		p.show("\n", true, false)
	case "p", "hr", "blockquote", "pre", "listing", "plaintext", "xmp", "title":
		p.show("\n\n", true, false)
	default:
		p.show(" ", true, false)
	}
}

// show adds text to what is seen.
func (p *Page) show(text string, whitespace, invisible bool) {
	var last *chunk
	if len(p.chunks) > 0 {
		last = &p.chunks[len(p.chunks)-1]
	}
	if whitespace {
		if last != nil && !last.whitespace && !last.invisible {
			last.text = strings.TrimSuffix(last.text, " ")
		}
	} else {
		text = squeeze(text)
		if last != nil && !invisible && last.whitespace {
			text = strings.TrimPrefix(text, " ")
		}
	}
	p.chunks = append(p.chunks, chunk{text, whitespace, invisible})
}

// squeeze makes runs of white space one space.
func squeeze(text string) string {
	if squeezed(text) {
		return text
	}
	b := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		if !isSpace(text[i]) {
			b = append(b, text[i])
		} else if i == 0 || !isSpace(text[i-1]) {
			b = append(b, ' ')
		}
	}
	return string(b)
}

// squeezed says whether all white space is single spaces.
func squeezed(text string) bool {
	for i := range len(text) {
		if !isSpace(text[i]) {
			continue
		}
		if text[i] != ' ' || i > 0 && isSpace(text[i-1]) {
			return false
		}
	}
	return true
}

func (p *Page) takeText(text string) {
	p.wide = p.wide || beyondLatin1(text)
	if p.Inside["script"] > 0 {
		p.Scripts = append(p.Scripts, text)
		return
	}
	if p.Inside["style"] > 0 {
		return
	}
	if p.Inside["a"] > 0 {
		p.anchorText(text)
	}
	if p.Inside["title"] > 0 && len(p.Titles) > 0 {
		p.Titles[len(p.Titles)-1] += text
	}
	invisible := !blank(text) && p.invisible()
	if len(p.chunks) > 0 {
		p.obfuscated(p.chunks[len(p.chunks)-1].text, text)
	}
	p.show(text, false, invisible)
}

func beyondLatin1(text string) bool {
	for _, r := range text {
		if r > 0xff {
			return true
		}
	}
	return false
}

func (p *Page) anchorText(text string) {
	u := p.uri(p.lastAnchor)
	if len(u.Anchors) == 0 {
		u.Anchors = append(u.Anchors, "")
	}
	u.Anchors[len(u.Anchors)-1] += text
	if len(p.Anchors) == 0 {
		p.Anchors = append(p.Anchors, "")
	}
	p.Anchors[len(p.Anchors)-1] += text
}

// solid says whether a character is neither white space nor ASCII punctuation.
func (p *Page) solid(r rune) bool {
	switch {
	case r < 0x80 && isSpace(byte(r)), r >= 0x21 && r <= 0x2f, r >= 0x3a && r <= 0x40, r >= 0x5b && r <= 0x60, r >= 0x7b && r <= 0x7e:
		return false
	case p.wide && spaceRune(r):
		return false
	}
	return true
}

// obfuscated notes words that are cut by a tag.
func (p *Page) obfuscated(before, text string) {
	start, front := p.wordBefore(before)
	if start == 0 {
		return
	}
	end, rest := p.wordAfter(text)
	if end == 0 {
		return
	}
	p.obfuscation++
	joined := strings.HasSuffix(front, "_") || strings.HasPrefix(rest, "_")
	if start <= maxHair && end <= maxHair && !joined {
		p.backhair[[2]int{start, end}] = true
	}
}

// maxHair is how long the piece of a word beside a tag may be to count as one.
const maxHair = 7

// wordBefore counts the characters of the word that a text ends with, up to two more than count, and gives what stands
// before them.
func (p *Page) wordBefore(text string) (length int, front string) {
	for text != "" && length <= maxHair+1 {
		r, n := utf8.DecodeLastRuneInString(text)
		if !p.solid(r) {
			break
		}
		length++
		text = text[:len(text)-n]
	}
	return length, text
}

// wordAfter is the same for the word that a text begins with.
func (p *Page) wordAfter(text string) (length int, rest string) {
	for text != "" && length <= maxHair+1 {
		r, n := utf8.DecodeRuneInString(text)
		if !p.solid(r) {
			break
		}
		length++
		text = text[n:]
	}
	return length, text
}
