package mimeview

import (
	"bytes"
	"slices"
	"strings"

	"postern/internal/mimeview/htmltext"

	charsets "postern/internal/mail/charset"
)

const (
	// tailPiece is how much of a long text is looked through at a time, in octets.
	tailPiece = 64 << 10
	// overlap is how much of what was seen is looked at again, so that no address is cut in two.
	overlap = 4 << 10
	// longRun is how much is kept of a run without any mark of structure: a picture in a data: address is megabytes long.
	longRun = 16 << 10
)

// tail looks through what stands behind Body: piece by piece, in each charset, for links alone.
func (v *View) tail(p *Part, all []reading, links *linkList, index int) {
	t := &tailReader{
		html: p.Type == "text/html", wide: slices.ContainsFunc(all, func(r reading) bool {
			return strings.HasPrefix(r.charset, "utf-16") || strings.HasPrefix(r.charset, "utf-32")
		}),
		take: func(piece []byte) {
			for _, r := range all {
				text := charsets.ToUTF8(piece, r.charset)
				if p.Type == "text/html" {
					links.page(htmltext.Read(text), index)
				} else {
					links.text(text, "text", index)
				}
			}
		},
	}
	skip := max(0, len(p.Body)-overlap) &^ 3
	v.walker.stream(p.src, p.body, p.coded, func(octets []byte) bool {
		if v.walker.tail -= int64(len(octets)); v.walker.tail < 0 {
			v.limit(LimitText)
			return false
		}
		n := min(skip, len(octets))
		skip -= n
		t.add(octets[n:])
		return true
	})
	t.take(t.piece)
}

// tailReader cuts a text into pieces where nothing is torn apart.
type tailReader struct {
	html, wide bool
	take       func([]byte)
	piece      []byte
	run        int // how long the run is that goes on
}

// plainRun is how many octets in front are letters of base64, where no address ends; none in a charset of wide letters.
func (t *tailReader) plainRun(octets []byte) (n int) {
	if t.wide {
		return 0
	}
	for n < len(octets) && isPlainLetter(octets[n]) {
		n++
	}
	return n
}

func isPlainLetter(c byte) bool {
	kind := base64Table[c]
	return kind < b64Blank && kind != b64Junk && c != '-' && c != '_'
}

func (t *tailReader) add(octets []byte) {
	for len(octets) > 0 {
		i := t.plainRun(octets)
		if i > 0 {
			keep := max(0, min(i, longRun-t.run))
			t.piece = append(t.piece, octets[:keep]...)
			t.run += i
			octets = octets[i:]
		}
		if len(octets) > 0 {
			n := 1
			if t.wide {
				n = len(octets)
			}
			t.run = 0
			t.piece = append(t.piece, octets[:n]...)
			octets = octets[n:]
		}
		if len(t.piece) >= tailPiece {
			t.flush()
		}
	}
}

// flush hands out what is there, up to a tag or a line that may go on.
func (t *tailReader) flush() {
	at := len(t.piece) &^ 3
	switch {
	case t.wide:
	case t.html:
		if i := bytes.LastIndexByte(t.piece[tailPiece/2:], '<'); i >= 0 {
			at = tailPiece/2 + i
		}
	default:
		if i := bytes.LastIndexByte(t.piece[tailPiece/2:], '\n'); i >= 0 {
			at = tailPiece/2 + i
		}
	}
	t.take(t.piece[:at])
	t.piece = t.piece[:copy(t.piece, t.piece[at:])]
}
