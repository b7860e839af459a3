package htmltext

import (
	"strings"

	"postern/internal/mail/ascii"
)

// look is how the text of an element is shown, as far as it matters for being seen.
type look struct {
	gone      bool  // not shown at all, and nothing within it is
	invisible bool  // visibility: hidden, which an inner element may lift
	tiny      bool  // letters of a pixel or none, which an inner element may lift
	ink       color // of the letters; what is behind them
	ground    color
}

// hides says whether text that looks so can't be seen. Without a colour given the ground is white.
func (l look) hides() bool {
	unseen := l.gone || l.invisible || l.tiny
	if unseen || l.ink == transparent {
		return true
	}
	ground := l.ground
	if ground == unset {
		ground = rgb(255, 255, 255)
	}
	return l.ink.near(ground)
}

// styleSheet has the declarations of the style elements by their selectors: names, .classes and #ids, alone or behind a
// name. Other selectors, and rules for some screens only (@media), are left out: what is hidden by them counts as shown.
type styleSheet map[string]string

// marked is the key that is there if a declaration of the sheet is marked as important.
const marked = "!"

// Bounds of a sheet.
const (
	maxSheet   = 128 << 10
	maxRules   = 1000
	maxClasses = 16
)

func (s styleSheet) add(text string) {
	text = withoutComments(text[:min(len(text), maxSheet)])
	for text != "" && len(s) < maxRules {
		selectors, rest, ok := strings.Cut(text, "{")
		if !ok {
			return
		}
		if i := strings.LastIndexByte(selectors, ';'); i >= 0 { // an @import or @charset before it
			selectors = selectors[i+1:]
		}
		selectors = strings.TrimSpace(strings.ReplaceAll(strings.ReplaceAll(selectors, "<!--", ""), "-->", ""))
		if strings.HasPrefix(selectors, "@") {
			text = behindBlock(rest)
			continue
		}
		block, after, _ := strings.Cut(rest, "}")
		text = after
		if strings.IndexByte(block, '!') >= 0 {
			s[marked] = marked
		}
		if !concerns(block) {
			continue
		}
		for selector := range strings.SplitSeq(selectors, ",") {
			s.rule(strings.TrimSpace(selector), block)
		}
	}
}

// rule keeps the declarations for one selector.
func (s styleSheet) rule(selector, block string) {
	if !isSimple(selector) || len(s) >= maxRules {
		return
	}
	name, _, _ := strings.Cut(strings.ReplaceAll(selector, "#", "."), ".")
	key := ascii.Lower(name) + selector[len(name):]
	if len(s[key]) < 1000 {
		s[key] += block + ";"
	}
}

// isSimple says whether a selector names an element, one class or one id, and nothing around it.
func isSimple(selector string) bool {
	if selector == "" || len(selector) >= 100 || strings.ContainsAny(selector, " >+~:[") {
		return false
	}
	return strings.Count(selector, ".")+strings.Count(selector, "#") <= 1
}

// behindBlock is what follows a block whose opening brace has been read.
func behindBlock(text string) string {
	depth := 1
	for i := range len(text) {
		switch text[i] {
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return text[i+1:]
			}
		}
	}
	return ""
}

func withoutComments(text string) string {
	if !strings.Contains(text, "/*") {
		return text
	}
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(text, "/*")
		b.WriteString(before)
		if !ok {
			return b.String()
		}
		if _, text, ok = strings.Cut(rest, "*/"); !ok {
			return b.String()
		}
	}
}

// concerns says whether a style may hide something.
func concerns(style string) bool {
	for declaration := range strings.SplitSeq(style, ";") {
		name, _, _ := strings.Cut(declaration, ":")
		if propertyOf(name) != "" {
			return true
		}
	}
	return false
}

// propertyOf gives the name of a property that matters, "" for others.
func propertyOf(name string) string {
	name = strings.TrimSpace(name)
	if len(name) < 3 || len(name) > 24 {
		return ""
	}
	if strings.IndexByte(name, '\\') >= 0 {
		name = unescape(name)
	}
	name = ascii.Lower(name)
	switch name {
	case "display", "visibility", "font-size", "font", "opacity", "text-indent", "color", "background", "background-color", "background-image",
		"max-height", "max-width", "height", "width", "overflow", "position", "left", "top", "right", "bottom", "margin-left", "margin-top", "clip",
		"clip-path", "transform", "content-visibility":
		return name
	}
	return ""
}

// unescape reads the escapes of CSS: a backslash and up to six hexadecimal digits, or any other character.
func unescape(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' {
			b.WriteByte(text[i])
			continue
		}
		r, n := rune(0), 0
		for n < 6 && i+1+n < len(text) && ascii.HexValue(text[i+1+n]) >= 0 {
			r = r<<4 | rune(ascii.HexValue(text[i+1+n]))
			n++
		}
		if n == 0 {
			continue
		}
		if i += n; i+1 < len(text) && text[i+1] == ' ' {
			i++
		}
		b.WriteRune(r)
	}
	return b.String()
}

// styled is all that the look of an element depends on besides the style sheet.
type styled struct {
	outer                           look
	name, style, class, id          string
	bgcolor, ink                    string
	hidden, picture, colored, inked bool
}

// maxLooks bounds how many looks are kept.
const maxLooks = 200

// lookOf is the look of the element whose start tag was read. A page has few different ones.
func (r *reader) lookOf(name string) look {
	ownLook := name == "a" || name == "template"
	if !ownLook && len(r.styles) == 0 && len(r.attrs) == 0 {
		return r.look()
	}

	e := styled{outer: r.look(), name: name}
	for _, a := range r.attrs {
		e.attribute(a.key, a.value)
	}

	found, ok := r.looks[e]
	if ok {
		return found
	}
	found = r.styles.of(e)
	if r.looks == nil {
		r.looks = map[styled]look{}
	}
	if len(r.looks) < maxLooks && len(e.style)+len(e.class)+len(e.id) < 1000 {
		r.looks[e] = found
	}

	return found
}

// attribute notes what an attribute says of the element's look.
func (e *styled) attribute(key, value string) {
	switch key {
	case "hidden":
		e.hidden = true
	case "style":
		e.style = value
	case "class":
		e.class = value
	case "id":
		e.id = value
	case "bgcolor":
		e.bgcolor, e.colored, e.picture = value, true, false
	case "background":
		e.picture = true
	case "color", "text":
		if e.name == "font" || e.name == "body" {
			e.ink, e.inked = value, true
		}
	}
}

// of is the look of an element.
func (s styleSheet) of(e styled) look {
	d := drawing{look: e.outer}
	if e.name == "a" {
		d.ink = unknown // links have a colour of their own
	}
	d.gone = d.gone || e.hidden || e.name == "template"
	if e.colored {
		d.ground = parseColor(e.bgcolor)
	}
	if e.picture {
		d.ground = unknown
	}
	if e.inked {
		d.ink = parseColor(e.ink)
	}
	s.draw(&d, e, false)
	if important := strings.IndexByte(e.style, '!') >= 0 || s[marked] != ""; important {
		s.draw(&d, e, true)
	}
	return d.done()
}

// draw applies the rules of the sheet and the element's own declarations: those with !important, or the others.
func (s styleSheet) draw(d *drawing, e styled, important bool) {
	if len(s) > 0 {
		s.rules(d, e.name, e.class, e.id, important)
	}
	d.draw(e.style, important)
}

// rules draws by the sheet, the less special selectors first.
func (s styleSheet) rules(d *drawing, name, class, id string, important bool) {
	d.draw(s["*"], important)
	d.draw(s[name], important)
	var key [160]byte
	n := 0
	for c := range strings.FieldsSeq(class) {
		if n++; n > maxClasses || len(c) > 100 {
			break
		}
		d.draw(s[string(append(append(key[:0], '.'), c...))], important)
		d.draw(s[string(append(append(append(key[:0], name...), '.'), c...))], important)
	}
	if id != "" && len(id) < 100 {
		d.draw(s[string(append(append(key[:0], '#'), id...))], important)
		d.draw(s[string(append(append(append(key[:0], name...), '#'), id...))], important)
	}
}
