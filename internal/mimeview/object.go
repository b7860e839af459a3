package mimeview

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
)

// Object is a content that some reader would show, open or save: what a scanner is to look at.
type Object struct {
	// Part is the part it belongs to, in the reading where it was met first; nil for what no part explains.
	Part *Part
	// Parts are all that have this content, in all readings; one of them is nil if it also stands where no part explains it.
	Parts []*Part
	// Names are all candidate file names, Types all declared types, of every part that has this content.
	Names, Types []string
	// Reading says in a few words how it came about: "" for the reading that the RFCs ask for.
	Reading string
	// Offset is where its encoded form begins: in the message, or in the decoded content that Within names. Size is
	// the decoded length in octets.
	Offset int64
	Within string
	Size   int64
	Hash   [sha256.Size]byte
	// Broken says that it comes of octets that only another way to decode breaks; the RFC's finds them whole.
	Broken bool

	content *content
	cached  []byte
	view    *View
	plain   bool // the reading that the RFCs ask for gives it, too
	binary  bool // it holds octets that no text has; known of what only another reading gives
	known   map[string]bool
}

const (
	maxCached   = 64 << 10 // of one content
	maxCacheAll = 1 << 20
	// openInMemory is how long a content may be to be opened in memory; a longer one goes to a file without a name.
	openInMemory = 1 << 20
	maxMerged    = maxObjects // names, types and parts of one content
)

// examine decodes everything once.
func (v *View) examine() {
	v.read()
	v.look.Do(func() {
		x := &examiner{w: v.walker, v: v, byHash: map[[sha256.Size]byte]*Object{}, whole: map[spot]bool{}}
		x.all()
		for at := 0; at < len(x.w.sources); at++ { // looking may add some
			x.w.runs(x.w.sources[at])
			x.all()
		}
		for _, s := range x.w.sources {
			if s.err != nil {
				v.fail(s.err)
			}
			s.window = nil
		}
		v.settle()
	})
}

type examiner struct {
	w      *walker
	v      *View
	byHash map[[sha256.Size]byte]*Object
	cached int
	next   int
	whole  map[spot]bool // what holds a winmail.dat without a fault
}

// all takes the contents that are on the list, and those that these bring.
func (x *examiner) all() {
	for ; x.next < len(x.w.contents) && !x.w.stopped(); x.next++ {
		x.one(x.w.contents[x.next])
	}
}

func (x *examiner) one(c *content) {
	sum := sha256.New()
	var size int64
	var kept []byte
	var head [8]byte
	lines, binary, other := false, false, c.reading != "" || c.way == base64
	d := x.w.stream(c.src, c.at, c.way, func(octets []byte) bool {
		if size < int64(len(head)) {
			copy(head[size:], octets)
		}
		size += int64(len(octets))
		sum.Write(octets)
		if size <= maxCached && x.cached+int(size) <= maxCacheAll && c.way != plain {
			kept = append(kept, octets...)
		}
		lines = lines || c.way != plain && hasInnerEncoding(octets)
		binary = binary || other && bytes.ContainsFunc(octets, isBinary)
		return true
	})
	if hex, ok := d.(*hexDecoder); ok && c.name == "" {
		c.name = hex.name()
	}
	x.quality(c, d, binary)
	if size == 0 {
		return
	}
	o := &Object{Part: c.part, Reading: c.reading, Offset: c.at.start, Within: c.src.name, Size: size, content: c, view: x.v, binary: binary, Broken: c.broken}
	sum.Sum(o.Hash[:0])
	if first := x.byHash[o.Hash]; first != nil {
		x.merge(first, c)
		return
	}
	if int64(len(kept)) == size {
		o.cached = kept
		x.cached += len(kept)
	}
	x.merge(o, c)
	x.byHash[o.Hash] = o
	x.v.objects = append(x.v.objects, o)
	x.inner(c, head[:], lines)
}

// inner looks for what a content holds in its turn: TNEF, and encodings that need no header.
func (x *examiner) inner(c *content, head []byte, lines bool) {
	tnef := bytes.HasPrefix(head, []byte(tnefSignature))
	if !tnef && !lines {
		return
	}
	s, at := c.src, c.at
	if c.way != plain {
		if s = x.w.decoded(c.src, c.at, c.way, c.part); s == nil {
			return
		}
		at = region{0, s.size}
	}
	if tnef {
		x.tnef(c, s, at)
	}
}

// tnef looks into a winmail.dat. One that is whole as the RFC's decoder gives it may be broken as another does, as any file
// may: then no more is said of the breaking, and what lies in it is looked at all the same.
func (x *examiner) tnef(c *content, s *source, at region) {
	here := spot{c.src, c.at.start, c.at.end, ""}
	from, lies := len(x.w.contents), x.w.lies
	whole := c.reading != "" && x.whole[here]
	if whole {
		x.v.guessing++
	}
	x.w.tnef(c, s, at, 0)
	if whole {
		x.v.guessing--
	}
	switch {
	case c.reading == "" && x.w.lies == lies:
		x.whole[here] = true
	case whole && x.w.lies > lies:
		for _, one := range x.w.contents[from:] {
			one.broken = true
		}
	}
}

func hasInnerEncoding(octets []byte) bool {
	return bytes.Contains(octets, []byte("begin")) || bytes.Contains(octets, []byte("BinHex")) || bytes.Contains(octets, []byte("converted with"))
}

// quality says what was wrong with the encoding, and has the other ways to read it tried.
func (x *examiner) quality(c *content, d decoder, binary bool) {
	switch d := d.(type) {
	case *base64Decoder:
		if c.way == base64 {
			x.base64Quality(c, d, binary)
		}
	case *quotedDecoder:
		if c.way == quoted {
			x.quotedQuality(c, d)
		}
	}
}

// again has a content read in other ways.
func (x *examiner) again(c *content, ways ...encoding) {
	for _, way := range ways {
		reading := otherReading(c.reading, string(way))
		x.w.add(&content{part: c.part, src: c.src, at: c.at, way: way, reading: reading, name: c.name, kind: c.kind})
	}
}

// otherBase64 reads the octets as decoders do that go on, stop or skip where the alphabet ends.
func (x *examiner) otherBase64(c *content, d *base64Decoder, run bool) {
	foreign := d.junk && !d.url
	if !run || d.middle || foreign {
		x.again(c, base64Through, base64ToPad, base64ToJunk, base64Lines)
	}
	if d.url {
		x.again(c, base64URL)
	}
}

func (x *examiner) base64Quality(c *content, d *base64Decoder, binary bool) {
	run := c.part == nil
	if d.ragged && !run {
		x.again(c, base64ByLine)
	}
	if d.clean() {
		if c.sure {
			c.src.covered = append(c.src.covered, c.at)
		}
		return
	}

	if c.reading != shifted {
		x.otherBase64(c, d, run)
	}
	asked := !run && c.part.coded == base64 && c.part.Encoding == string(base64)
	if asked && c.reading == "" {
		x.brokenBase64(c, d, binary)
	}
}

func (x *examiner) quotedQuality(c *content, d *quotedDecoder) {
	if d.clean() {
		if c.sure {
			c.src.quoted = append(c.src.quoted, c.at)
		}
		return
	}

	x.again(c, quotedStrict, quotedDrop, quotedJoined)
	if d.blanks {
		x.again(c, quotedBlanks)
	}
	if c.part == nil || c.part.Encoding != string(quoted) {
		return
	}

	kind := QuotedBlank
	if d.illegal {
		kind = QuotedIllegal
	}
	x.v.ambiguous(kind, c.src, c.at.start, "")
}

// brokenBase64 says what was wrong with base64 that a header asks for.
func (x *examiner) brokenBase64(c *content, d *base64Decoder, binary bool) {
	say := func(kind string) { x.v.ambiguous(kind, c.src, c.at.start, "") }
	switch {
	case d.trailer:
		say(Base64Trailer)
	case d.middle && !binary && strings.HasPrefix(c.part.Type, "text/"):
		say(Base64Appended) // a list's footer, encoded by itself, behind a text: text for every reader
	case d.middle:
		say(Base64Padding)
	}
	if d.odd {
		say(Base64Length)
	}
	if d.junk {
		say(Base64Junk)
	}
}

// isBinary says of an octet that text does not have it.
func isBinary(r rune) bool {
	return r < ' ' && r != '\t' && r != '\n' && r != '\r' && r != '\f' && r != '\x1b'
}

// merge adds the names and types under which a content goes.
func (x *examiner) merge(o *Object, c *content) {
	o.plain = o.plain || c.reading == ""
	o.Broken = o.Broken && c.broken

	whole := o.addPart(c.part)
	whole = o.addTo(&o.Names, "n ", c.name) && whole
	whole = o.addTo(&o.Types, "t ", c.kind) && whole
	if c.part != nil && c.name == "" && c.kind == "" {
		whole = o.addLabels(c.part) && whole
	}

	if !whole {
		x.v.limit(LimitObjects)
	}
}

// addLabels adds the names and types that a part's header gives.
func (o *Object) addLabels(p *Part) bool {
	whole := o.addTo(&o.Names, "n ", p.Names...)
	whole = o.addTo(&o.Types, "t ", p.Types...) && whole
	return o.addTo(&o.Types, "t ", p.Type) && whole
}

// addPart says false if there are too many parts for this one to be kept.
func (o *Object) addPart(p *Part) bool {
	last := len(o.Parts) - 1
	if last >= 0 && o.Parts[last] == p {
		return true
	}
	if p == nil && slices.Contains(o.Parts, nil) {
		return true
	}
	if len(o.Parts) == maxMerged {
		return false
	}
	o.Parts = append(o.Parts, p)

	return true
}

// addTo adds what a list does not have. It says false if the list is full.
func (o *Object) addTo(list *[]string, prefix string, more ...string) bool {
	for _, one := range more {
		if one == "" || o.known[prefix+one] {
			continue
		}
		if len(*list) == maxMerged {
			return false
		}
		if o.known == nil {
			o.known = map[string]bool{}
		}
		o.known[prefix+one] = true
		*list = append(*list, one)
	}

	return true
}

// Head decodes up to n octets from the front.
func (o *Object) Head(n int) ([]byte, error) {
	if o.cached != nil {
		return o.cached[:min(n, len(o.cached))], nil
	}
	n = int(min(int64(n), o.Size))
	out := make([]byte, 0, n)
	err := o.decode(func(octets []byte) error {
		out = append(out, octets[:min(len(octets), n-len(out))]...)
		if len(out) == n {
			return io.EOF
		}
		return nil
	})
	return out, err
}

// decode gives the content piece by piece, until take fails. It may run in several goroutines at once.
func (o *Object) decode(take func([]byte) error) error {
	c := o.content
	d := newDecoder(c.way)
	in := make([]byte, min(decodeBlock, c.at.end-c.at.start))
	var out []byte
	for off := c.at.start; off < c.at.end; {
		n, err := c.src.readAt(in[:min(int64(len(in)), c.at.end-off)], off)
		if n == 0 {
			if err != nil && !errors.Is(err, io.EOF) {
				return err
			}
			break
		}
		off += int64(n)
		out = d.decode(out[:0], in[:n])
		if err := take(out); err != nil {
			return endless(err)
		}
	}
	return endless(take(d.finish(out[:0])))
}

func endless(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func (s *source) readAt(p []byte, off int64) (int, error) {
	if s.at != nil {
		return s.at.ReadAt(p, off)
	}
	if off >= int64(len(s.memory)) {
		return 0, io.EOF
	}
	return copy(p, s.memory[off:]), nil
}

// Open gives the content. Up to 1 MiB of it is decoded into memory, more into a file without a name, and what is not
// encoded is read where it lies.
func (o *Object) Open() (io.ReadSeekCloser, error) {
	c := o.content
	switch {
	case o.cached != nil:
		return memoryFile{bytes.NewReader(o.cached)}, nil
	case c.way == plain && c.src.at != nil:
		return regionFile{io.NewSectionReader(c.src.at, c.at.start, c.at.end-c.at.start)}, nil
	case c.way == plain:
		return memoryFile{bytes.NewReader(c.src.memory[c.at.start:c.at.end])}, nil
	case o.Size <= openInMemory:
		all, err := o.Head(int(o.Size))
		return memoryFile{bytes.NewReader(all)}, err
	}
	f, err := nameless(o.view.options.Dir)
	if err != nil {
		return nil, err
	}
	err = o.decode(func(octets []byte) error { _, err := f.Write(octets); return err })
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

type memoryFile struct{ *bytes.Reader }

func (memoryFile) Close() error { return nil }

type regionFile struct{ *io.SectionReader }

func (regionFile) Close() error { return nil }

var _ io.ReadSeekCloser = (*os.File)(nil)

// gaps are the regions of a source that nothing covers.
func (s *source) gaps() (all []region) {
	byStart := func(a, b region) int { return cmp.Compare(a.start, b.start) }
	slices.SortFunc(s.quoted, byStart)
	slices.SortFunc(s.covered, byStart)
	at := int64(0)
	for _, c := range s.covered {
		if c.start > at {
			all = append(all, region{at, c.start})
		}
		at = max(at, c.end)
	}
	if at < s.size {
		all = append(all, region{at, s.size})
	}
	return all
}
