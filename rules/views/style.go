package views

import (
	"math"
	"strconv"
	"strings"
)

// style is how text within an element looks.
type style struct {
	tag, fg, bg         string
	size                int
	display, visibility string
}

// styleAttributes says whether an attribute of an element changes its look.
func styleAttributes(tag, name string) bool {
	switch tag {
	case "basefont", "font":
		return oneOf(" color face size ", name)
	case "body":
		return oneOf(" text bgcolor link alink vlink background ", name)
	case "marquee":
		return oneOf(" bgcolor background ", name)
	case "table", "td", "tr":
		return oneOf(" bgcolor style ", name)
	case "span", "p", "div", "a":
		return name == "style"
	}
	return false
}

// style follows a tag.
func (p *Page) style(t *token) {
	tag := t.name
	if tag == "th" {
		tag = "td"
	}
	if t.kind == tokenEnd {
		p.closeStyle(tag)
		return
	}
	if size, ok := t.get("size"); tag == "basefont" && ok {
		if n, sign, ok := leadingNumber(size); ok && sign == 0 {
			p.baseFont = n
			return
		}
	}
	if tag == "td" || tag == "tr" {
		p.closeTable(tag)
	}
	look := p.look(tag, t.attrs)
	if len(p.styles) < 2000 {
		p.styles = append(p.styles, look)
	}
}

// look is the style of what an element opens.
func (p *Page) look(tag string, attrs []attribute) style {
	outer := p.outer()
	look := outer
	look.tag = tag
	switch tag {
	case "big":
		look.size++
		return look
	case "small":
		look.size--
		return look
	}
	for _, a := range attrs {
		if styleAttributes(tag, a.name) {
			look.attribute(a, outer, p.baseFont)
			p.numbers["max_size"] = max(p.numbers["max_size"], float64(look.size))
			p.numbers["min_size"] = min(p.numbers["min_size"], float64(look.size))
		}
	}
	return look
}

// outer is the look of what is open.
func (p *Page) outer() style {
	if len(p.styles) == 0 {
		return style{fg: "", bg: ""}
	}
	return p.styles[len(p.styles)-1]
}

// closeStyle ends the style of an element; that of the body goes on.
func (p *Page) closeStyle(tag string) {
	if tag == "body" {
		return
	}
	for i := len(p.styles) - 1; i >= 0; i-- {
		if p.styles[i].tag == tag {
			p.styles = p.styles[:i]
			return
		}
	}
}

// closeTable closes cells and rows that were left open.
func (p *Page) closeTable(tag string) {
	found := false
	for _, s := range p.styles {
		found = found || s.tag == tag
	}
	for found && len(p.styles) > 0 {
		top := p.styles[len(p.styles)-1].tag
		if row := tag == "tr" && top == "tr"; !row && top != "font" && top != "td" {
			return
		}
		p.styles = p.styles[:len(p.styles)-1]
	}
}

// leadingNumber reads a number at the front of a text; sign is that before it, 0 for none.
func leadingNumber(text string) (n int, sign byte, ok bool) {
	text = strings.TrimLeft(text, " \t\n\r\f\v")
	if text != "" && (text[0] == '+' || text[0] == '-') {
		sign, text = text[0], text[1:]
	}
	end := 0
	for end < len(text) && end < 9 && text[end] >= '0' && text[end] <= '9' {
		end++
	}
	n, err := strconv.Atoi(text[:end])
	if sign == '-' {
		n = -n
	}
	return n, sign, err == nil
}

// attribute applies one attribute.
func (s *style) attribute(a attribute, outer style, baseFont int) {
	switch a.name {
	case "text", "color":
		s.fg = colorOf(a.value)
	case "size":
		if n, sign, ok := leadingNumber(a.value); ok {
			s.size = n
			if sign != 0 {
				s.size += baseFont
			}
		}
	case "style":
		for _, one := range strings.Split(a.value, ";") {
			s.declare(one)
		}
		if s.bg == "transparent" {
			s.bg = outer.bg
		}
		if s.fg == "transparent" {
			s.fg = s.bg
		}
	}
}

// declare applies one declaration of a style.
func (s *style) declare(text string) {
	text = trimSpace(text)
	name, value, ok := strings.Cut(text, ":")
	value = trimSpace(value)
	if !ok || value == "" {
		return
	}
	switch strings.ToLower(name) {
	case "color":
		setColor(&s.fg, value)
		return
	case "background-color":
		setColor(&s.bg, value)
		return
	}
	switch strings.TrimRight(name, " \t\n\r\f\v") {
	case "background":
		if name == "background" {
			s.background(value)
		}
	case "display":
		s.display = value
	case "visibility":
		s.visibility = value
	}
}

// background takes the first color of a background.
func (s *style) background(value string) {
	for _, one := range backgroundTokens(strings.ToLower(value)) {
		if c := colorOf(one); c != "invalid" {
			s.bg = c
			return
		}
	}
}

func setColor(to *string, value string) {
	value = strings.ToLower(value)
	if before, ok := strings.CutSuffix(value, "important"); ok {
		if before = strings.TrimRight(before, " \t\n\r\f\v"); strings.HasSuffix(before, "!") {
			value = strings.TrimRight(strings.TrimSuffix(before, "!"), " \t\n\r\f\v")
		}
	}
	switch {
	case strings.Contains(value, "rgb"):
		*to = clampedRGB(value)
	case value == "inherit":
	case value == "transparent":
		*to = value
	default:
		*to = colorOf(value)
	}
}

func lastSix(text string) string { return text[max(0, len(text)-6):] }

// invisible says whether text can't be seen here.
func (p *Page) invisible() bool {
	s := p.outer()
	if lastSix(s.fg) == lastSix(s.bg) {
		p.numbers["font_low_contrast"] = 1
		return true
	}
	r1, g1, b1, ok1 := channels(s.fg)
	r2, g2, b2, ok2 := channels(s.bg)
	if ok1 && ok2 {
		r, g, b := 0.2126*(r1-r2), 0.7152*(g1-g2), 0.0722*(b1-b2)
		if math.Sqrt(r*r+g*g+b*b) < 12 {
			p.numbers["font_low_contrast"] = 1
			return true
		}
	}
	if s.fg == "invalid" || s.bg == "invalid" {
		p.numbers["font_invalid_color"] = 1
		return true
	}
	return s.size <= 1 || strings.EqualFold(s.display, "none") || strings.EqualFold(s.visibility, "hidden")
}
