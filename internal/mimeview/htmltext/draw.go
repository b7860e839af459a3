package htmltext

import (
	"strings"

	"postern/internal/mail/ascii"
)

// drawing is the look of an element while its declarations are read.
type drawing struct {
	look
	none       bool // display: none, which a later declaration may lift
	clipped    bool // overflow: hidden
	flat       bool // no height or no width
	positioned bool
	away       bool // far outside of the screen
	clear      bool // opacity: 0
}

// farAway is how many pixels off the edge nobody scrolls to.
const farAway = 500

func (d *drawing) done() look {
	noRoom := d.flat && d.clipped
	d.gone = d.gone || d.none || d.clear || noRoom || d.away
	return d.look
}

// draw reads the declarations of a style, those that are marked important or those that are not.
func (d *drawing) draw(style string, important bool) {
	if style == "" {
		return
	}
	style = withoutComments(style)
	for declaration := range strings.SplitSeq(style, ";") {
		name, value, ok := strings.Cut(declaration, ":")
		if !ok {
			continue
		}
		if name = propertyOf(name); name == "" {
			continue
		}
		value, mark, marked := strings.Cut(value, "!")
		if marked = marked && strings.EqualFold(strings.TrimSpace(mark), "important"); marked != important {
			continue
		}
		if strings.IndexByte(value, '\\') >= 0 {
			value = unescape(value)
		}
		d.declare(name, ascii.Lower(strings.TrimSpace(value)))
	}
}

func (d *drawing) declare(name, value string) {
	switch name {
	case "display":
		d.none = value == "none"
	case "visibility":
		d.invisible = value == "hidden" || value == "collapse"
	case "content-visibility":
		d.none = d.none || value == "hidden"
	case "opacity":
		n, _, ok := length(value)
		d.clear = ok && n <= 0.05
	case "font-size":
		d.size(value)
	case "font":
		d.font(value)
	case "color", "background-color", "background", "background-image":
		d.paint(name, value)
	default:
		d.box(name, value)
	}
}

// paint reads what says which colours an element has.
func (d *drawing) paint(name, value string) {
	switch {
	case name == "color":
		if value != "inherit" {
			d.ink = parseColor(value)
		}
	case name != "background-image":
		d.back(value)
	case value != "none":
		d.ground = unknown
	}
}

// clipsAll says whether a shape has no area.
func clipsAll(shape string) bool {
	return strings.HasPrefix(shape, "inset(50%") || strings.HasPrefix(shape, "inset(100%") || strings.HasPrefix(shape, "circle(0")
}

// box reads what says where an element is and how large.
func (d *drawing) box(name, value string) {
	gone := false
	switch name {
	case "max-height", "max-width", "height", "width":
		d.flat = d.flat || noSize(value)
	case "overflow":
		d.clipped = value == "hidden" || value == "clip"
	case "position":
		d.positioned = value == "absolute" || value == "fixed"
	case "left", "top", "right", "bottom", "text-indent", "margin-left", "margin-top":
		gone = isFar(value)
	case "clip":
		gone = emptyRect(value)
	case "clip-path":
		gone = clipsAll(value)
	case "transform":
		gone = strings.Contains(value, "scale(0)") || strings.Contains(value, "scale(0,")
	}
	d.away = d.away || gone
}

func isPixels(unit string) bool { return unit == "" || unit == "px" || unit == "pt" }

// noSize holds for a height or width in which nothing can be seen.
func noSize(value string) bool {
	n, unit, ok := length(value)

	return ok && (n == 0 || n <= 1 && isPixels(unit))
}

// isFar holds for an offset beyond the edge that nobody scrolls to.
func isFar(value string) bool {
	n, unit, ok := length(value)
	if !ok {
		return false
	}

	switch unit {
	case "", "px", "pt":
		return n <= -farAway
	case "em", "rem":
		return n <= -30
	case "%", "vw", "vh":
		return n <= -100
	}

	return false
}

// emptyRect holds for a rectangle of no more than a pixel: https://www.w3.org/TR/css-masking-1/#clip-property
func emptyRect(value string) bool {
	inner := strings.ReplaceAll(strings.TrimSuffix(strings.TrimPrefix(value, "rect("), ")"), ",", " ")
	if inner == value {
		return false
	}

	for field := range strings.FieldsSeq(inner) {
		if n, _, ok := length(field); !ok || n > 1 {
			return false
		}
	}

	return true
}

// size reads a font size. Up to a pixel nobody can read it.
func (d *drawing) size(value string) {
	n, unit, ok := length(value)
	switch {
	case !ok:
		d.tiny = d.tiny && (value == "" || value == "inherit")
	case unit == "rem":
		d.tiny = n <= 0.1
	case unit == "em" || unit == "ex":
		d.tiny = n <= 0.1 || d.tiny
	case unit == "%":
		d.tiny = n <= 10 || d.tiny
	default:
		d.tiny = n <= 1
	}
}

// font reads the size out of "bold 0/0 serif".
func (d *drawing) font(value string) {
	for field := range strings.FieldsSeq(value) {
		size, _, _ := strings.Cut(field, "/")
		if n, unit, ok := length(size); ok && (n < 100 || unit != "") { // 100 to 900 is a weight
			d.size(size)
			return
		}
	}
}

func (d *drawing) back(value string) {
	if strings.Contains(value, "url(") || strings.Contains(value, "gradient(") {
		d.ground = unknown
		return
	}
	if open := strings.IndexByte(value, '('); open >= 0 { // rgb(1, 2, 3)
		if end := strings.IndexByte(value, ')'); end > open {
			d.ground = groundOf(parseColor(value[:end+1]), d.ground)
		}
		return
	}
	first, _, _ := strings.Cut(value, " ")
	d.ground = groundOf(parseColor(first), d.ground)
}

func groundOf(c, outer color) color {
	if c == transparent {
		return outer
	}
	return c
}

// length reads "12px": a number and its unit.
func length(value string) (n float64, unit string, ok bool) {
	sign, digits := 1.0, strings.TrimPrefix(value, "+")
	if inner, minus := strings.CutPrefix(value, "-"); minus {
		sign, digits = -1, inner
	}
	n, unit, ok = decimal(digits)
	return sign * n, unit, ok
}

// decimal reads a number without a sign, and what stands behind it.
func decimal(value string) (n float64, rest string, ok bool) {
	i, scale := 0, 0.0
	for ; i < len(value); i++ {
		c := value[i]
		switch {
		case ascii.IsDigit(c):
			ok = true
			if scale == 0 {
				n = n*10 + float64(c-'0')
			} else {
				n += float64(c-'0') * scale
				scale /= 10
			}
			continue
		case c == '.' && scale == 0:
			scale = 0.1
			continue
		}
		break
	}
	return n, strings.TrimSpace(value[i:]), ok
}

// color is of letters or of what is behind them.
type color int32

const (
	unset       color = 0
	unknown     color = -1 // a picture, a name we don't know
	transparent color = -2
)

func rgb(r, g, b int) color { return color(1<<24 | r<<16 | g<<8 | b) }

// near says that two colours can hardly be told apart.
func (c color) near(other color) bool {
	if c <= 0 || other <= 0 {
		return false
	}
	sum := 0
	for shift := 0; shift <= 16; shift += 8 {
		diff := int(c>>shift&255) - int(other>>shift&255)
		sum += max(diff, -diff)
	}
	return sum <= 48
}

// namedColor knows the names that mail uses; unset for others.
func namedColor(name string) color {
	switch name {
	case "white", "snow", "ivory":
		return rgb(255, 255, 255)
	case "black":
		return rgb(0, 0, 0)
	case "red":
		return rgb(255, 0, 0)
	case "blue":
		return rgb(0, 0, 255)
	case "green":
		return rgb(0, 128, 0)
	case "yellow":
		return rgb(255, 255, 0)
	case "gray", "grey":
		return rgb(128, 128, 128)
	case "silver":
		return rgb(192, 192, 192)
	case "whitesmoke":
		return rgb(245, 245, 245)
	case "transparent":
		return transparent
	}
	return unset
}

func parseColor(value string) color {
	value = ascii.Lower(strings.TrimSpace(value))
	if named := namedColor(value); named != unset {
		return named
	}
	if inner, ok := strings.CutPrefix(value, "rgb"); ok {
		return parseRGB(inner)
	}
	return parseHex(strings.TrimPrefix(value, "#"))
}

func parseHex(digits string) color {
	var v [8]int
	if len(digits) > 8 || len(digits) < 3 {
		return unknown
	}
	for i := range len(digits) {
		if v[i] = ascii.HexValue(digits[i]); v[i] < 0 {
			return unknown
		}
	}
	short, long := rgb(v[0]*17, v[1]*17, v[2]*17), rgb(v[0]<<4|v[1], v[2]<<4|v[3], v[4]<<4|v[5])
	switch len(digits) { // the fourth part is how opaque it is
	case 3:
		return short
	case 4:
		return unlessClear(short, v[3])
	case 6:
		return long
	case 8:
		return unlessClear(long, v[6])
	}
	return unknown
}

func unlessClear(c color, opacity int) color {
	if opacity == 0 {
		return transparent
	}
	return c
}

// parseRGB reads what follows "rgb": "(1, 2, 3)" or "a(1 2 3 / 0)".
func parseRGB(text string) color {
	text = strings.Trim(strings.TrimPrefix(text, "a"), "()")
	var v [4]float64
	v[3] = 1
	n := 0
	for field := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == ',' || r == ' ' || r == '/' }) {
		x, unit, ok := length(field)
		if !ok || n == 4 {
			return unknown
		}
		if unit == "%" {
			x *= 2.55
		}
		v[n] = min(x, 255)
		n++
	}
	switch {
	case n < 3:
		return unknown
	case v[3] <= 0.05:
		return transparent
	}
	return rgb(int(max(v[0], 0)), int(max(v[1], 0)), int(max(v[2], 0)))
}
