package mimeview

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// walker finds the parts of a message, in all readings. No region is walked twice, however many readings lead to it.
type walker struct {
	view *View
	seen map[spot]bool
	work int64 // octets that may still be looked at
	stop bool
	text int // octets of text that word rules may still see
	// least is how many parts got more than that, tail how many octets of text beyond may still be looked through
	least int
	tail  int64
	// contents are what is to be decoded
	contents []*content
	known    map[spot]bool
	sources  []*source
	asked    int64
	lies     int // lengths in TNEF that reach beyond their end
}

// spot is a region read in one way.
type spot struct {
	src        *source
	start, end int64
	as         string
}

// content is a region that stands for something that a reader hands to its user.
type content struct {
	part    *Part
	src     *source
	at      region
	way     encoding
	reading string
	sure    bool // no other reading of this region is left
	broken  bool // see Object.Broken
	// names and types beside the part's, as a "begin" line gives them
	name string
	kind string
}

// entity is a header and what follows it.
type entity struct {
	src      *source
	at       region
	depth    int
	parent   *Part
	reading  string
	fallback string
	open     []string // boundaries of the multiparts around it
	outer    int64    // where the innermost of them ends
	unsure   bool     // its own place is in doubt
}

func newWalker(v *View) *walker {
	return &walker{view: v, seen: map[spot]bool{}, known: map[spot]bool{}, work: v.options.Decoded, text: v.options.Text, tail: int64(v.options.MaxText)}
}

// spend accounts for octets looked at.
func (w *walker) spend(n int64) {
	if w.work -= n; w.work < 0 && !w.stop {
		w.stop = true
		w.view.limit(LimitDecoded)
	}
	if w.asked += n; w.asked >= 64<<10 {
		w.asked = 0
		if !w.stop && w.view.stopped() {
			w.stop = true
			w.view.limit(LimitTime)
		}
	}
}

func (w *walker) stopped() bool { return w.stop }

func (w *walker) walk() {
	s := messageSource(w.view.message)
	w.sources = append(w.sources, s)
	w.entity(entity{src: s, at: region{0, s.size}, fallback: "text/plain"})
	for _, s := range w.sources {
		if s.err != nil {
			w.view.fail(s.err)
		}
	}
}

func (w *walker) entity(e entity) {
	key := spot{e.src, e.at.start, e.at.end, "entity"}
	if w.seen[key] || w.stopped() {
		return
	}
	if len(w.seen) >= 4*w.view.options.Parts {
		w.view.limit(LimitReadings)
		return
	}
	w.seen[key] = true

	h := w.header(e)
	f := w.facts(h, e.src, e.at.start, e.fallback)
	if e.depth == 0 && len(h.fields) > 0 && len(pick(h, "mime-version")) == 0 {
		w.view.ambiguous(VersionMissing, e.src, e.at.start, h.fields[0].name)
	}
	if len(h.bodies) == 1 && e.reading == "" {
		e.coverHeader(h.bodies[0])
	}
	if len(h.bodies) > 1 {
		w.view.ambiguous(HeaderEnd, e.src, e.at.start+int64(h.bodies[1]), "")
		e.unsure = true
	}

	w.bodies(e, h, f)
}

// bodies reads what follows the header, from each place where readers may see its end.
func (w *walker) bodies(e entity, h *headerBlock, f *facts) {
	for i, b := range h.bodies {
		if w.stopped() {
			return
		}
		one := e
		if i > 0 {
			one.reading = otherReading(e.reading, fmt.Sprintf("header ends at %d", b))
		}
		w.body(one, f, region{e.at.start + int64(b), e.at.end})
	}
}

// coverHeader notes where the header stands, if there is no doubt about its end.
func (e *entity) coverHeader(end int) {
	head := region{e.at.start, e.at.start + int64(end)}
	if e.depth == 0 || e.parent != nil && isMessage(e.parent.Type) {
		e.src.headers = append(e.src.headers, head)
	} else if !e.unsure {
		e.src.covered = append(e.src.covered, head)
	}
}

// header reads the header of an entity: in most cases it is short, and only if it isn't more of it is asked for.
func (w *walker) header(e entity) *headerBlock {
	for limit := int64(16 << 10); ; limit = maxHeader {
		head := e.src.slice(e.at.start, int(min(e.at.end-e.at.start, limit)))
		whole := int64(len(head)) == e.at.end-e.at.start
		h := lexHeader(head, whole, e.fallback)
		tooShort := h.cut || slices.Max(h.bodies) > len(head)-1000
		if limit < maxHeader && tooShort && !whole {
			continue
		}
		w.spend(int64(h.bodies[0]))
		if h.unread {
			w.view.limit(LimitReadings)
		}
		if h.cut {
			w.view.limit(LimitHeader)
			if h.bodies[0] == len(head) {
				h.bodies[0] = int(w.emptyLine(e.src, e.at.start+int64(len(head)), e.at.end) - e.at.start)
			}
		}
		return h
	}
}

// emptyLine finds the end of the first empty line from off.
func (w *walker) emptyLine(s *source, off, end int64) int64 {
	for off < end && !w.stopped() {
		window := s.slice(off, int(min(windowSize, end-off)))
		w.spend(int64(len(window)))
		if i := bytes.Index(window, []byte("\n\r\n")); i >= 0 {
			return off + int64(i) + 3
		}
		if len(window) < 8 {
			break
		}
		off += int64(len(window)) - 2
	}
	return end
}

func otherReading(outer, this string) string {
	if outer == "" {
		return this
	}
	if len(outer) > 200 {
		return outer
	}
	return outer + ", " + this
}

// part makes the part of an entity in one reading.
func (w *walker) part(e entity, f *facts, body region) *Part {
	p := &Part{
		Type: f.kind, Params: f.params, Name: f.name(), Names: f.names, Types: f.types, Disposition: f.disposition,
		Encoding: string(f.encoding), ID: f.id, Attachment: f.disposition == "attachment", Depth: e.depth, Reading: e.reading,
		Header: e.at.start, Start: body.start, End: body.end, Within: e.src.name, src: e.src, coded: f.encoding, charsets: f.charsets,
	}
	p.Alternative = e.parent != nil && e.parent.Type == "multipart/alternative"
	if p.Params == nil {
		p.Params = map[string]string{}
	}
	switch {
	case e.parent != nil:
		e.parent.Parts = append(e.parent.Parts, p)
	case w.view.root == nil:
		w.view.root = p
	default: // the message itself in another reading
		w.view.root.Parts = append(w.view.root.Parts, p)
	}
	return p
}

// body reads what follows a header, in every way the header allows.
func (w *walker) body(e entity, f *facts, body region) {
	key := spot{e.src, body.start, body.end, "body of " + f.kind + " by " + fmt.Sprint(e.at.start)}
	if w.seen[key] {
		return
	}
	w.seen[key] = true

	p := w.part(e, f, body)
	w.elsewhere(e, f)

	multipart, message := isMultipart(f.kind), isMessage(f.kind)
	split := multipart && w.multipart(e, f, p, body)
	switch {
	case message:
		w.message(e, f, p, body)
		w.add(&content{part: p, src: e.src, at: body, way: f.encoding, reading: e.reading})
	case !split:
		w.leaf(e, f, p, body)
	}

	// the other readings
	other := e
	other.reading = otherReading(e.reading, "another type")
	if !multipart {
		w.hiddenMultipart(other, f, p, body, message)
	} else if split && f.maybeLeaf {
		w.leaf(other, f, w.part(other, f, body), body)
	}
	if f.maybeMessage && !message {
		w.message(other, f, p, body)
	}
}

// elsewhere notes a part whose content, or the rest of it, is not in this message.
func (w *walker) elsewhere(e entity, f *facts) {
	switch {
	case f.kind == "message/external-body":
		w.view.ambiguous(MessageExternal, e.src, e.at.start, f.kind)
	case !strings.HasPrefix(f.kind, "message/partial"):
	case f.params["id"] != "" || f.params["number"] != "" || e.depth == 0:
		w.view.ambiguous(MessagePartial, e.src, e.at.start, f.kind)
	default: // RFC 2046 section 5.2.2: without an id and a number nothing is put together
		w.view.ambiguous(MessageLoose, e.src, e.at.start, f.kind)
		f.maybeMessage = true
	}
}

// hiddenMultipart takes a part apart that says it is no multipart. In a message inside, which was read as one, the lines like
// delimiters are those of its own parts.
func (w *walker) hiddenMultipart(e entity, f *facts, p *Part, body region, message bool) {
	for _, b := range f.boundaries {
		if w.parts(e, f, p, body, b) && !f.maybeMultipart {
			w.view.ambiguous(BoundaryOnLeaf, e.src, body.start, b)
		}
	}
	if !message {
		for _, b := range w.guesses(e.src, body, append(slices.Clip(f.boundaries), e.open...)) {
			w.view.guessing++ // no reader that keeps to the header takes it so: what is odd in there does not count
			found := w.parts(e, f, p, body, b)
			if w.view.guessing--; found {
				w.view.ambiguous(DelimiterInLeaf, e.src, body.start, b)
			}
		}
	}
	if f.maybeMultipart {
		w.decodedMultipart(e, f, p, body)
	}
}

// multipart takes a multipart apart at each of its plausible boundaries. It says whether there was one.
func (w *walker) multipart(e entity, f *facts, p *Part, body region) bool {
	if e.depth >= w.view.options.Depth {
		w.view.limit(LimitDepth)
		return false
	}
	if len(f.boundaries) == 0 {
		w.view.ambiguous(BoundaryMissing, e.src, e.at.start, f.kind)
	}
	w.decodedMultipart(e, f, p, body)

	found := w.byDeclared(e, f, p, body)
	if found && f.plain && len(f.boundaries) == 1 {
		return true
	}

	for _, b := range w.guesses(e.src, body, f.boundaries) {
		got := w.byBoundary(e, f, p, body, b, found)
		if got && !found {
			w.view.ambiguous(BoundaryWrong, e.src, body.start, b)
		}
		found = got || found
	}

	return found
}

// byDeclared takes a multipart apart at each boundary that its header declares.
func (w *walker) byDeclared(e entity, f *facts, p *Part, body region) (found bool) {
	for i, b := range f.boundaries {
		found = w.byBoundary(e, f, p, body, b, found || i > 0 && f.plain) || found
	}
	return found
}

// byBoundary takes a multipart apart at one boundary; other says that this is another reading than the first.
func (w *walker) byBoundary(e entity, f *facts, p *Part, body region, boundary string, other bool) bool {
	if other {
		e.reading = otherReading(e.reading, "boundary "+boundary[:min(len(boundary), 40)])
	}
	return w.parts(e, f, p, body, boundary)
}

// decodedMultipart reads a multipart that is encoded as a whole, which RFC 2045 section 6.4 forbids.
func (w *walker) decodedMultipart(e entity, f *facts, p *Part, body region) {
	for _, way := range f.encodings {
		if way == plain {
			continue
		}
		kind := EncodingMultipart
		s := w.decoded(e.src, body, way, p)
		if s == nil {
			continue
		}
		one := e
		one.src, one.reading = s, otherReading(e.reading, string(way))
		boundaries := f.boundaries
		if len(boundaries) == 0 {
			boundaries = w.guesses(s, region{0, s.size}, nil)
		}
		for _, b := range boundaries {
			if w.parts(one, f, p, region{0, s.size}, b) && way == base64 {
				kind = EncodingBase64
			}
		}
		w.view.ambiguous(kind, e.src, body.start, string(way))
	}
}

// message reads a message within the message, decoded first where it is encoded (RFC 6532 allows that).
func (w *walker) message(e entity, f *facts, p *Part, body region) {
	if e.depth >= w.view.options.Depth {
		w.view.limit(LimitDepth)
		return
	}
	inner := entity{src: e.src, at: body, depth: e.depth + 1, parent: p, reading: e.reading, fallback: "text/plain", unsure: e.unsure}
	for _, way := range f.encodings {
		if way == plain {
			w.entity(inner)
			continue
		}
		if s := w.decoded(e.src, body, way, p); s != nil {
			one := inner
			one.src, one.at = s, region{0, s.size}
			w.entity(one)
		}
	}
	if f.encodings[0] != plain && bytes.IndexByte(e.src.slice(body.start, 1000), ':') >= 0 { // readers that don't decode it
		inner.reading = otherReading(e.reading, "not decoded")
		w.entity(inner)
	}
}
