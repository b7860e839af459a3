package views

import (
	"math"
	"strings"
)

// test notes what single tags show.
func (p *Page) test(t *token) {
	switch t.name {
	case "font":
		p.note("font_face_bad", t, "face", badFace)
	case "img":
		if p.Inside["a"] > 0 {
			p.anchorText("<img>\n")
		}
		p.imageSize(t)
	case "form":
		p.note("form_action_mailto", t, "action", mailsForm)
	case "object", "embed":
		p.numbers["embeds"] = 1
	case "a":
		href, _ := t.get("href")
		p.lastAnchor = p.canon(href)
		u := p.uri(p.lastAnchor)
		u.Anchors = append(u.Anchors, "")
		p.Anchors = append(p.Anchors, "")
	case "title":
		p.Titles = append(p.Titles, "")
	case "meta":
		p.metaCharset(t)
	}
}

// note sets a measure if an attribute is there and its value is suspect.
func (p *Page) note(measure string, t *token, attribute string, suspect func(string) bool) {
	if value, ok := t.get(attribute); ok && suspect(value) {
		p.numbers[measure] = 1
	}
}

func badFace(face string) bool { return !properFace(face) }

func mailsForm(action string) bool { return strings.Contains(strings.ToLower(action), "mailto:") }

func (p *Page) metaCharset(t *token) {
	equiv, _ := t.get("http-equiv")
	content, _ := t.get("content")
	if !strings.Contains(strings.ToLower(equiv), "content-type") {
		return
	}
	i := findParam(content, "charset", 0)
	if i < 0 {
		return
	}
	name := content[i:]
	if name != "" && isQuote(name[0]) {
		name = name[1:]
	}
	if end := strings.IndexAny(name, `"'`); end >= 0 {
		name = name[:end]
	}
	if name != "" {
		p.Charsets = strings.TrimPrefix(p.Charsets+" "+name, " ")
	}
}

// imageSize adds up the areas of images; what gives no sensible number is 200.
func (p *Page) imageSize(t *token) {
	width, hasWidth := t.get("width")
	height, hasHeight := t.get("height")
	if hasWidth && hasHeight {
		p.numbers["image_area"] += side(width, 8) * side(height, 6)
	}
}

func side(text string, percent float64) float64 {
	text = strings.TrimSuffix(text, "\n")
	digits, relative := strings.CutSuffix(text, "%")
	n := 0.0
	for i := range len(digits) {
		if digits[i] < '0' || digits[i] > '9' {
			return 200
		}
		n = n*10 + float64(digits[i]-'0')
	}
	if relative {
		n *= percent
	}
	if n <= 0 || digits == "" || math.IsInf(n, 0) {
		return 200
	}
	return n
}

// properFace says whether a font's names are such: words of letters, apart by commas.
func properFace(face string) bool {
	face = strings.TrimSuffix(strings.TrimSuffix(face, "\n"), ";")
	for i, name := range strings.Split(face, ",") {
		first := i == 0
		if !properFaceName(bareFaceName(name, first), first) {
			return false
		}
	}
	return true
}

// bareFaceName takes off what may stand around the name of a font: quotes, a digit behind it, a full stop before the first.
func bareFaceName(name string, first bool) string {
	name = strings.TrimLeft(name, " \t\n\r\f\v")
	switch {
	case name == "":
	case isQuote(name[0]), first && name[0] == '.':
		name = name[1:]
	}
	name = strings.TrimSuffix(strings.TrimSuffix(name, `"`), "'")
	if n := len(name); n > 0 && isDigit(name[n-1]) {
		name = name[:n-1]
	}
	return name
}

func properFaceName(name string, first bool) bool {
	if len(name) < 2 || !isLetter(name[len(name)-1]) {
		return false
	}
	if !isLetter(name[0]) && !(first && name[0] == ' ') {
		return false
	}
	for i := range len(name) {
		if c := name[i]; !isLetter(c) && c != ' ' && c != '-' {
			return false
		}
	}
	return true
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }
