package htmltext

import (
	"strconv"
	"strings"
)

// Grid is a table whose cells are dark or light, row by row.
type Grid struct{ Rows [][]bool }

// Bounds of a grid: the smallest QR code has 21 modules a side, the largest 177 (ISO/IEC 18004 section 5.3.1).
const (
	minGrid  = 21
	maxGrid  = 200
	maxGrids = 3  // of a page
	maxOpen  = 20 // tables within each other that are looked at
	maxData  = 5  // pictures that are kept
	icon     = 80 // pixels of a side of what is no picture in place of text
)

// grid is a table that is open.
type grid struct {
	rows   [][]bool
	dark   bool // a cell was dark
	broken bool // it is larger than any code
}

// draws notes what a start tag shows besides text: pictures, and the cells of tables.
func (r *reader) draws(name string, l look, hidden bool) {
	switch name {
	case "img":
		if !hidden {
			r.picture()
		}
	case "form":
		r.page.Form = true
	case "input":
		r.page.Password = r.page.Password || strings.EqualFold(strings.TrimSpace(r.attr("type")), "password")
	case "table":
		if len(r.grids) < maxOpen {
			r.grids = append(r.grids, grid{})
		}
	case "tr", "td", "th":
		if g := r.grid(); g != nil && !g.broken {
			g.add(name, !hidden && l.ground.dark(), r.attr("colspan"))
		}
	}
}

// add takes the tag of a row or of a cell.
func (g *grid) add(name string, dark bool, span string) {
	switch {
	case name == "tr":
		g.broken = len(g.rows) == maxGrid
		g.rows = append(g.rows, nil)
	case len(g.rows) > 0:
		g.cell(dark, span)
	}
}

func (r *reader) grid() *grid {
	if len(r.grids) == 0 {
		return nil
	}
	return &r.grids[len(r.grids)-1]
}

// cell adds a cell, as wide as it says. A table for the layout has rows of few cells, so it costs next to nothing.
func (g *grid) cell(dark bool, span string) {
	n := 1
	if span != "" {
		n, _ = strconv.Atoi(span)
		n = min(max(n, 1), maxGrid)
	}
	row := &g.rows[len(g.rows)-1]
	if len(*row)+n > maxGrid {
		g.broken = true
		return
	}
	g.dark = g.dark || dark
	for range n {
		*row = append(*row, dark)
	}
}

// endGrid takes the table that ends for a pattern if it is as large as the smallest code.
func (r *reader) endGrid() {
	g := r.grid()
	if g == nil {
		return
	}
	r.grids = r.grids[:len(r.grids)-1]
	pattern := g.dark && !g.broken && len(g.rows) >= minGrid
	if !pattern || len(r.page.Grids) == maxGrids {
		return
	}
	wide := 0
	for _, row := range g.rows {
		if len(row) >= minGrid {
			wide++
		}
	}
	if wide >= minGrid {
		r.page.Grids = append(r.page.Grids, Grid{g.rows})
	}
}

// dark says whether a colour is nearer to black than to white.
func (c color) dark() bool {
	if c <= 0 {
		return false
	}
	return int(c>>16&255)+2*int(c>>8&255)+int(c&255) < 4*128
}

// picture notes one that stands in the page itself or within a link.
func (r *reader) picture() {
	if src := r.attr("src"); len(src) > 11 && strings.EqualFold(src[:11], "data:image/") && len(r.page.Inline) < maxData {
		r.page.Inline = append(r.page.Inline, src)
	}
	icon := small(r.attr("width")) || small(r.attr("height")) || r.smallByStyle()
	if r.anchor > 0 && !icon {
		r.page.Linked++
	}
}

// small holds for the side of an icon, a logo or a mark that counts readers.
func small(side string) bool {
	n, unit, ok := length(side)
	return ok && isPixels(unit) && n <= icon
}

func (r *reader) smallByStyle() bool {
	style := r.attr("style")
	if style == "" {
		return false
	}
	for declaration := range strings.SplitSeq(style, ";") {
		name, value, _ := strings.Cut(declaration, ":")
		if name = propertyOf(name); (name == "width" || name == "height") && small(strings.TrimSpace(value)) {
			return true
		}
	}
	return false
}
