package htmltext

import (
	"strings"
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
	if d.none || d.clear || d.flat && d.clipped || d.away {
		d.gone = true
	}
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
		d.declare(name, asciiLower(strings.TrimSpace(value)))
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
	case "color":
		if value != "inherit" {
			d.ink = parseColor(value)
		}
	case "background-color", "background":
		d.back(value)
	case "background-image":
		if value != "none" {
			d.ground = unknown
		}
	default:
		d.box(name, value)
	}
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
		gone = strings.HasPrefix(value, "inset(50%") || strings.HasPrefix(value, "inset(100%") || strings.HasPrefix(value, "circle(0")
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
	case unit == "em" || unit == "rem" || unit == "ex":
		d.tiny = n <= 0.1 || d.tiny && unit != "rem"
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
	i, sign := 0, 1.0
	if i < len(value) && (value[i] == '-' || value[i] == '+') {
		if value[i] == '-' {
			sign = -1
		}
		i++
	}
	scale := 0.0
	for ; i < len(value); i++ {
		c := value[i]
		switch {
		case c >= '0' && c <= '9':
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
	return sign * n, strings.TrimSpace(value[i:]), ok
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

func parseColor(value string) color {
	value = asciiLower(strings.TrimSpace(value))
	switch value {
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
		if v[i] = hexDigit(digits[i]); v[i] < 0 {
			return unknown
		}
	}
	switch len(digits) {
	case 4, 8:
		if len(digits) == 4 && v[3] == 0 || len(digits) == 8 && v[6] == 0 {
			return transparent
		}
		if len(digits) == 8 {
			break
		}
		fallthrough
	case 3:
		return rgb(v[0]*17, v[1]*17, v[2]*17)
	case 6:
	default:
		return unknown
	}
	return rgb(v[0]<<4|v[1], v[2]<<4|v[3], v[4]<<4|v[5])
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

func hexDigit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
