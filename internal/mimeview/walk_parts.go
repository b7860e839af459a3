package mimeview

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"postern/internal/mail/ascii"
)

// parts takes a region apart at one boundary, in every way, and reads the parts. It says whether there were any.
func (w *walker) parts(e entity, f *facts, p *Part, body region, boundary string) bool {
	key := spot{e.src, body.start, body.end, "split at " + boundary}
	if w.seen[key] || w.stopped() {
		return false
	}
	if e.depth >= w.view.options.Depth {
		w.view.limit(LimitDepth)
		return false
	}
	w.seen[key] = true
	sp := w.split(e.src, body, boundary, way{})
	found := len(sp.parts) > 0
	if found {
		w.pieces(e, f, p, sp, boundary)
		if !sp.closed {
			p.Unclosed = true
			w.view.ambiguous(DelimiterMissing, e.src, body.end, boundary)
		}
	}
	found = w.splitOtherwise(e, f, p, body, boundary, sp) || found
	if boundary != "" && (found || f.plain) {
		w.withinLines(e.src, body, boundary)
	}
	return w.clash(e, f, p, body, boundary) || found
}

// splitOtherwise reads the parts that readers find who take other lines for delimiters. It says whether there were any.
func (w *walker) splitOtherwise(e entity, f *facts, p *Part, body region, boundary string, sp split) (more bool) {
	found := len(sp.parts) > 0
	for _, other := range otherWays(sp, found) {
		w.view.ambiguous(other.kind, e.src, sp.junkAt, boundary)
		again := w.split(e.src, body, boundary, other.way)
		if len(again.parts) == 0 {
			continue
		}
		one := e
		if found || more {
			one.reading = otherReading(e.reading, other.kind)
		}
		w.pieces(one, f, p, again, boundary)
		more = true
	}
	return more
}

// clash takes a region apart at a boundary that a multipart around it has as well: some readers look for the inner one
// first, up to where the outer multipart ends.
func (w *walker) clash(e entity, f *facts, p *Part, body region, boundary string) bool {
	if !slices.Contains(e.open, boundary) {
		return false
	}
	w.view.ambiguous(BoundaryClash, e.src, body.start, boundary)
	if e.outer <= body.end {
		return false
	}
	e.reading = otherReading(e.reading, "inner before outer")
	e.open = nil

	return w.parts(e, f, p, region{body.start, e.outer}, boundary)
}

// withinLines looks for a delimiter that ends a line and does not begin one: some readers take it for a delimiter.
func (w *walker) withinLines(s *source, body region, boundary string) {
	want := []byte("--" + boundary)
	for off := body.start; off < body.end && !w.stopped(); {
		window := s.slice(off, int(min(windowSize, body.end-off)))
		w.spend(int64(len(window)) / 4)
		for at := 0; ; {
			i := bytes.Index(window[at:], want)
			if i < 0 {
				break
			}
			i += at
			at = i + len(want)
			rest := bytes.TrimPrefix(window[at:], []byte("--"))
			inside := i > 0 && !ascii.IsEOL(window[i-1])
			if inside && (len(rest) == 0 || rest[0] <= ' ') { // the line ends there, or white space follows
				w.view.ambiguous(DelimiterLine, s, off+int64(i), boundary)
				return
			}
		}
		if len(window) < windowSize {
			return
		}
		off += int64(len(window) - len(want) - 8)
	}
}

type otherWay struct {
	way
	kind string
}

func otherWays(sp split, found bool) (all []otherWay) {
	if sp.crs {
		all = append(all, otherWay{way{cr: true}, DelimiterLine})
	}
	if sp.mixed {
		all = append(all, otherWay{way{strict: true}, DelimiterLine})
	}
	if sp.junk {
		all = append(all, otherWay{way{cr: sp.crs, junk: true}, DelimiterJunk})
	}
	if sp.behind {
		all = append(all, otherWay{way{cr: sp.crs, junk: sp.junk, behind: true}, PartInEpilogue})
	}
	if sp.prefix && !found {
		all = append(all, otherWay{way{cr: sp.crs, junk: true, prefix: true}, DelimiterJunk})
	}
	return all
}

// pieces reads the parts that a split found, and what lies before and behind them.
func (w *walker) pieces(e entity, f *facts, p *Part, sp split, boundary string) {
	fallback := "text/plain"
	if f.kind == "multipart/digest" {
		fallback = "message/rfc822" // RFC 2046 section 5.1.5
	}
	outer := e.at.end
	if len(sp.parts) > 0 {
		outer = max(sp.parts[len(sp.parts)-1].end, sp.epilogue.end)
	}
	open := append(slices.Clip(e.open), boundary)
	for i, at := range sp.parts {
		if i == w.view.options.Parts {
			w.view.limit(LimitParts)
			break
		}
		w.entity(entity{
			src: e.src, at: at, depth: e.depth + 1, parent: p, reading: e.reading, fallback: fallback, open: open, outer: outer,
			unsure: e.unsure,
		})
	}
	w.beside(e, p, sp.preamble, PartInPreamble, "preamble")
	w.beside(e, p, sp.epilogue, PartInEpilogue, "epilogue")
}

// beside reads what stands before the first delimiter or behind the last: some readers show it.
func (w *walker) beside(e entity, p *Part, at region, kind, reading string) {
	head := e.src.slice(at.start, int(min(at.end-at.start, 2000)))
	trimmed := bytes.TrimLeft(head, "\r\n \t")
	if len(trimmed) == 0 {
		return
	}
	line, _, _ := bytes.Cut(trimmed, []byte("\n"))
	_, _, header := structural(line)
	w.add(&content{part: p, src: e.src, at: at, way: plain, reading: otherReading(e.reading, reading), kind: "text/plain"})
	for _, b := range w.guesses(e.src, at, nil) { // a multipart by itself, that of an inner part for one
		w.view.ambiguous(kind, e.src, at.start, b)
		one := e
		one.reading = otherReading(e.reading, reading)
		w.parts(one, &facts{kind: "multipart/mixed"}, p, at, b)
	}
	if header {
		w.view.ambiguous(kind, e.src, at.start, string(line))
		start := at.start + int64(len(head)-len(trimmed))
		w.entity(entity{
			src: e.src, at: region{start, at.end}, depth: e.depth + 1, parent: p, reading: otherReading(e.reading, reading), fallback: "text/plain",
		})
	}
}

// add puts a content on the list, once.
func (w *walker) add(c *content) {
	key := spot{c.src, c.at.start, c.at.end, string(c.way)}
	if c.at.end <= c.at.start || w.known[key] {
		return
	}
	if len(w.contents) == maxObjects {
		w.view.limit(LimitObjects)
		return
	}
	w.known[key] = true
	w.contents = append(w.contents, c)
}

// leaf takes a part that has no parts, in each of its encodings.
func (w *walker) leaf(e entity, f *facts, p *Part, body region) {
	v := w.view
	list, atMost := &v.parts, v.options.Parts
	if e.reading != "" {
		list, atMost = &v.others, 3*v.options.Parts
	}
	for i, coded := range f.encodings {
		one := p
		if i > 0 {
			copied := *p
			copied.Reading = otherReading(e.reading, string(coded))
			one, list, atMost = &copied, &v.others, 3*v.options.Parts
		}
		if len(*list) >= atMost {
			v.limit(LimitParts)
			return
		}
		one.coded = coded
		w.add(&content{part: one, src: e.src, at: body, way: coded, reading: one.Reading, sure: !e.unsure && one.Reading == "" && len(f.encodings) == 1})
		*list = append(*list, one)
		// text is read where it is said to be an attachment, too: readers show it all the same, and the reports of machines
		// (message/delivery-status and its like) among it
		if strings.HasPrefix(f.kind, "text/") || isMultipart(f.kind) || strings.HasPrefix(f.kind, "message/") {
			one.body = body
			one.Body, one.Cut = w.textOf(e.src, body, coded)
		}
		w.openPGP(e, one, body, coded)
	}
}

// leastText is what word rules see of each part, however long the parts before it are: a long one must not hide a short one.
// maxLeast is how many parts that is good for.
const (
	leastText = 64 << 10
	maxLeast  = 16
)

// textOf decodes text as far as word rules go. It says whether there is more.
func (w *walker) textOf(s *source, at region, way encoding) (out []byte, cut bool) {
	room := w.text
	if room < leastText && w.least < maxLeast {
		w.least++
		room = leastText
	}
	out = make([]byte, 0, min(int64(room), at.end-at.start))
	w.stream(s, at, way, func(octets []byte) bool {
		if len(out)+len(octets) > room {
			out, cut = append(out, octets[:room-len(out)]...), true
			return false
		}
		out = append(out, octets...)
		return true
	})
	w.text = max(0, w.text-len(out))
	return out, cut
}

const decodeBlock = 32 << 10

// stream decodes a region piece by piece, until take says that it is enough.
func (w *walker) stream(s *source, at region, way encoding, take func([]byte) bool) decoder {
	d := newDecoder(way)
	out := make([]byte, 0, min(decodeBlock+1024, at.end-at.start+1024))
	for off := at.start; off < at.end && !w.stopped(); {
		in := s.slice(off, int(min(decodeBlock, at.end-off)))
		if len(in) == 0 {
			break
		}
		w.spend(int64(len(in)))
		off += int64(len(in))
		if way == plain {
			if !take(in) {
				return d
			}
			continue
		}
		out = d.decode(out[:0], in)
		w.spend(max(0, int64(len(out)-len(in))))
		if len(out) > 0 && !take(out) {
			return d
		}
	}
	if out = d.finish(out[:0]); len(out) > 0 {
		take(out)
	}
	return d
}

// decoded makes a source of a decoded region, so that parts can be looked for in it.
func (w *walker) decoded(s *source, at region, way encoding, p *Part) *source {
	key := spot{s, at.start, at.end, "decoded " + string(way)}
	if w.seen[key] || at.end <= at.start {
		return nil
	}
	w.seen[key] = true
	if s.depth >= w.view.options.Depth {
		w.view.limit(LimitDepth)
		return nil
	}
	room := 2*w.view.message.Size() + 1<<20 // on disk, of all sources
	for _, other := range w.sources {
		if other.file != nil {
			room -= other.size
		}
	}
	into := spool{dir: w.view.options.Dir}
	w.stream(s, at, way, func(octets []byte) bool {
		if room -= int64(len(octets)); room < 0 {
			w.view.limit(LimitDecoded)
			return false
		}
		if err := into.write(octets); err != nil {
			w.view.fail(err)
			return false
		}
		return true
	})
	name := fmt.Sprintf("%s at %d", way, at.start)
	if s.name != "" && len(s.name) < 200 {
		name += " of " + s.name
	}
	made := into.source(name, s.depth+1)
	w.sources = append(w.sources, made)
	w.view.spools = append(w.view.spools, made)
	return made
}
