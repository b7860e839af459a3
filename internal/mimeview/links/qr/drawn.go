package qr

import (
	"fmt"
	"image"
	"strings"
	"unicode/utf8"
)

// Bounds of a code that is drawn in characters or cells.
const (
	minDrawn  = 6   // lines of Braille patterns of the smallest code
	minMarks  = 5   // of the first line of a drawing
	maxLines  = 90  // of a drawing
	maxColumn = 160 // cells of a line
	maxCells  = 185 // of a row: the largest code, and room around it
	maxTries  = 2   // drawings of a text that are read
	quiet     = 4   // modules of light around a code: ISO/IEC 18004 section 5.3.8
	side      = 3   // pixels of a cell
)

// ReadCells gives the text of a code whose modules are the cells of a table, "" if it is none.
func ReadCells(rows [][]bool) (text string, err error) {
	rows = rows[:min(len(rows), maxCells)]
	width := 0
	for _, row := range rows {
		width = max(width, min(len(row), maxCells))
	}
	c := newCanvas((width+2*quiet)*side, (len(rows)+2*quiet)*side)
	for y, row := range rows {
		for x, dark := range row[:min(len(row), maxCells)] {
			if dark {
				c.fill((x+quiet)*side, (y+quiet)*side, side, side)
			}
		}
	}

	return c.read()
}

// ReadDrawn gives the text of a code that is drawn in a text by block characters (Unicode 2580 to 259F, 2588 twice for a
// module), squares, Braille patterns or number signs; "" if there is none. It looks at each octet a fixed number of times.
func ReadDrawn(text string) (found string, err error) {
	if !mayDraw(text) {
		return "", nil
	}
	var block []string
	tries := 0
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		marks, others := count(line)
		belongs := marks >= minMarks || len(block) > 0 && others == 0
		if belongs && len(block) < maxLines {
			block = append(block, line)
			continue
		}
		if len(block) >= minDrawn && tries < maxTries {
			tries++
			if found, err = readBlock(block); found != "" {
				return found, err
			}
		}
		block = block[:0]
	}
	if len(block) >= minDrawn && tries < maxTries {
		return readBlock(block)
	}

	return "", err
}

// mayDraw says whether a text has what codes are drawn with.
func mayDraw(text string) bool {
	for _, mark := range []string{"\xe2\x96", "⬛", "\xe2\xa1", "\xe2\xa2", "\xe2\xa3", "######"} { // the first octets of blocks and Braille patterns
		if strings.Contains(text, mark) {
			return true
		}
	}
	return false
}

// count tells the marks of a line from what is no part of a drawing.
func count(line string) (marks, others int) {
	for _, r := range line {
		switch _, bits := glyph(r); {
		case bits != 0:
			marks++
		case r > ' ' && r < 0x2000 && r != '\u00a0': // what is wide and light is blank in a drawing
			others++
		}
	}
	return marks, others
}

// glyph is what a character draws: how many cells of two pixels it is wide, and its dots from the upper left, two in each
// of four lines for one cell.
func glyph(r rune) (width int, bits uint8) {
	switch r {
	case '█', '■', '▓', '#', '@', '▉', '▊':
		return 1, 0xff
	case '⬛', '◼':
		return 2, 0xff
	case '⬜', '◻', '\u3000':
		return 2, 0
	case '▀':
		return 1, 0x0f
	case '▄':
		return 1, 0xf0
	case '▌':
		return 1, 0x55
	case '▐':
		return 1, 0xaa
	}
	switch {
	case r >= firstQuadrant && r <= lastQuadrant:
		return 1, [...]uint8{0x50, 0xa0, 0x05, 0xf5, 0xa5, 0x5f, 0xaf, 0x0a, 0x5a, 0xfa}[r-firstQuadrant]
	case r >= 0x2800 && r <= 0x28ff:
		return 1, braille(uint8(r - 0x2800))
	}

	return 1, 0
}

// The characters that fill some quarters of their cell.
const firstQuadrant, lastQuadrant = '▖', '▟'

// braille puts the dots of a pattern in the order of lines: dots 1, 2, 3, 7 are the left ones, 4, 5, 6, 8 the right ones.
func braille(dots uint8) (bits uint8) {
	for i, at := range [8]uint8{0, 2, 4, 1, 3, 5, 6, 7} {
		bits |= dots >> i & 1 << at
	}
	return bits
}

// dot is how many pixels the side of a dot has.
const dot = 2

func readBlock(lines []string) (string, error) {
	width := 0
	for _, l := range lines {
		width = max(width, min(2*utf8.RuneCountInString(l), maxColumn))
	}
	const margin = 2 * quiet
	c := newCanvas((2*width+2*margin)*dot, (4*len(lines)+2*margin)*dot)
	for y, l := range lines {
		x := margin
		for _, r := range l {
			cells, bits := glyph(r)
			if x > 2*width {
				break
			}
			c.glyph(x, margin+4*y, cells, bits)
			x += 2 * cells
		}
	}

	return c.read()
}

// canvas is a picture that is drawn on.
type canvas struct{ *image.Gray }

func newCanvas(width, height int) canvas {
	c := canvas{image.NewGray(image.Rect(0, 0, width, height))}
	for i := range c.Pix {
		c.Pix[i] = 255
	}
	return c
}

func (c canvas) fill(x, y, w, h int) {
	for row := y; row < min(y+h, c.Rect.Dy()); row++ {
		line := c.Pix[row*c.Stride:][:c.Stride]
		for col := x; col < min(x+w, c.Rect.Dx()); col++ {
			line[col] = 0
		}
	}
}

// glyph draws the dots of a character, each as wide as the character is in cells.
func (c canvas) glyph(x, y, cells int, bits uint8) {
	for i := range 8 {
		if bits>>i&1 != 0 {
			c.fill((x+i%2*cells)*dot, (y+i/2)*dot, cells*dot, dot)
		}
	}
}

// read looks for a code in what was drawn.
func (c canvas) read() (text string, err error) {
	defer func() {
		if r := recover(); r != nil {
			text, err = "", fmt.Errorf("%w: %.80v", ErrBroken, r)
		}
	}()
	return find(c.Gray)
}
