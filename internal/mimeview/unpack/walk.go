package unpack

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"postern/internal/mimeview/unpack/filetype"
)

// walk is one Walk under way.
type walk struct {
	ctx    context.Context
	o      Options
	end    time.Time
	report func(*Object)
	result Result
	tries  int // of passwords that cost much
}

// node is what is about to become an Object.
type node struct {
	path    []string
	names   []string
	content []byte
	hash    [32]byte
	size    int64
	depth   int
	flags   []Flag // what its container knows of it
}

// An inspector adds what it finds to the object and gives the way into it, nil if there is nothing inside.
type inspector func(w *walk, n *node, o *Object) (inside func())

// inspectors in the order in which they are asked. Each looks at the object's types and declines what is not its own.
func inspectors() []inspector {
	return []inspector{
		inspectName, inspectEICAR, inspectZip, inspectStream, inspectTar, inspectCpio, inspect7z, inspectRar, inspectISO, inspectUnread, inspectListed, inspectSZDD,
		inspectOLE, inspectTNEF, inspectRTF, inspectPDF, inspectHTML, inspectXMLOffice, inspectFlatOffice, inspectActiveMime, inspectSheetText,
		inspectShortcut, inspectText,
	}
}

// root reads the attachment itself. Of one that is too long the beginning is looked at.
func (w *walk) root(names []string, content io.ReaderAt, size int64) *node {
	n := &node{path: []string{first(names)}, names: names}
	if w.inert(n, content, size) {
		return n
	}
	buf := make([]byte, min(max(size, 0), w.o.Entry))
	got, err := content.ReadAt(buf, 0)
	n.content, n.size = buf[:got], int64(got)
	if err != nil && !errors.Is(err, io.EOF) || int64(got) < min(size, w.o.Entry) {
		n.flags = append(n.flags, Flag{Unscannable, "could not be read to its end"})
		w.unscannable(n.path, "could not be read to its end")
	}
	if size > w.o.Entry {
		n.flags = append(n.flags, Flag{LimitHit, "entry"})
		w.limit("entry")
	}
	n.hash = sha256.Sum256(n.content)
	return n
}

func first(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return names[0]
}

// visit reports one object and then what is in it.
func (w *walk) visit(n *node) {
	if w.result.Objects >= w.o.Entries {
		w.limit("entries")
		return
	}
	w.result.Objects++
	o := &Object{Path: n.path, Names: n.names, Size: n.size, Hash: n.hash, Flags: n.flags, content: n.content}
	o.Head = n.content[:min(headBytes, len(n.content)):min(headBytes, len(n.content))]
	o.Types = filetype.Detect(n.content, Extensions(n.names))
	var inside []func()
	for _, look := range inspectors() {
		w.guard(n, o, func() {
			if f := look(w, n, o); f != nil {
				inside = append(inside, f)
			}
		})
	}
	flagMismatch(o)
	w.report(o)
	if len(inside) > 0 && n.depth >= w.o.Depth {
		w.limit("depth")
		return
	}
	for _, f := range inside {
		if w.stopped() {
			return
		}
		w.guard(n, nil, f)
	}
}

// guard runs a reader of hostile bytes: whatever breaks in it, ours or a library's, is an object that was not read.
func (w *walk) guard(n *node, o *Object, read func()) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		why := fmt.Sprintf("broken: %.100v", p)
		if o != nil {
			o.flag(Unscannable, why)
		}
		w.unscannable(n.path, why)
	}()
	read()
}

// stopped says whether the walk has to end: out of time, entries or octets.
func (w *walk) stopped() bool {
	return w.late() || w.result.Objects >= w.o.Entries && w.limit("entries") || w.result.Decoded >= w.o.Total && w.limit("total")
}

func (w *walk) late() bool {
	return (w.ctx.Err() != nil || w.o.Now().After(w.end)) && w.limit("time")
}

// limit notes a limit that was hit; true, so that it can stand in a condition.
func (w *walk) limit(name string) bool {
	if !slices.Contains(w.result.Limits, name) {
		w.result.Limits = append(w.result.Limits, name)
	}
	return true
}

const maxNotes = 100

func (w *walk) unscannable(path []string, why string) {
	note(&w.result.Unscannable, strings.Join(path, "/")+": "+why)
}

func (w *walk) encrypted(path []string) { note(&w.result.Encrypted, strings.Join(path, "/")) }

func note(list *[]string, text string) {
	if len(text) > maxDetail {
		text = text[:maxDetail]
	}
	if len(*list) < maxNotes && !slices.Contains(*list, text) {
		*list = append(*list, text)
	}
}

// entry is something inside a container that has to be decoded.
type entry struct {
	names    []string
	r        io.Reader
	packed   int64   // octets it was made of, for the ratio
	declared []int64 // sizes that the container promises
	flags    []Flag
}

// child reads an entry of n, within the limits, and visits it. The error is what broke the reading, for containers that
// are one stream and end with it.
func (w *walk) child(n *node, e entry) error {
	if w.stopped() {
		return errStopped
	}
	content, hit, err := w.read(e.r, e.packed)
	return w.decoded(n, e, content, hit, err)
}

// decoded visits what was read of an entry; hit and err say why no more was.
func (w *walk) decoded(n *node, e entry, content []byte, hit string, err error) error {
	path := append(slices.Clone(n.path), first(e.names))
	flags := slices.Clone(e.flags)
	if hit != "" {
		flags = append(flags, Flag{LimitHit, hit})
	} else if err != nil {
		flags = append(flags, Flag{Unscannable, brief(err)})
		w.unscannable(path, brief(err))
	}
	for _, size := range e.declared {
		if got := int64(len(content)); got > size || hit == "" && got != size {
			flags = append(flags, Flag{LyingSize, fmt.Sprintf("%d declared, %d read", size, got)})
			break
		}
	}
	c := &node{path: path, names: e.names, content: content, size: int64(len(content)), depth: n.depth + 1, flags: flags}
	c.hash = sha256.Sum256(content)
	w.visit(c)
	if hit != "" {
		return errStopped
	}
	return err
}

// part visits a piece of n's own octets, or what an inspector decoded. It counts as decoded as well: pieces may overlap.
func (w *walk) part(n *node, names []string, content []byte, flags ...Flag) {
	if w.stopped() {
		return
	}
	w.result.Decoded += int64(len(content))
	path := append(slices.Clone(n.path), first(names))
	c := &node{path: path, names: names, content: content, size: int64(len(content)), depth: n.depth + 1, flags: flags}
	c.hash = sha256.Sum256(content)
	w.visit(c)
}

// closed visits an entry whose content can't be read here.
func (w *walk) closed(n *node, names []string, flags ...Flag) {
	for _, f := range flags {
		path := append(slices.Clone(n.path), first(names))
		switch f.Kind {
		case Encrypted:
			w.encrypted(path)
		case Unscannable:
			w.unscannable(path, f.Detail)
		}
	}
	w.part(n, names, nil, flags...)
}

var errStopped = errors.New("a limit was hit")

func brief(err error) string {
	text := err.Error()
	return text[:min(len(text), 200)]
}

// ratioFloor: short texts pack very well, and cost nothing.
const ratioFloor = 1 << 20

// room says how many of the octets that were got still fit into the object and into all, and the limit that cuts them.
func (w *walk) room(kept int64, got int) (fit int, hit string) {
	entry, total := w.o.Entry-kept, w.o.Total-w.result.Decoded
	switch room := min(entry, total); {
	case int64(got) <= room:
		return got, ""
	case total < entry:
		return int(max(room, 0)), "total"
	default:
		return int(max(room, 0)), "entry"
	}
}

// exceeded names the limit that an object of this size is over, "" if none.
func (w *walk) exceeded(size, packed int64) string {
	if size > ratioFloor && size > packed*int64(w.o.Ratio) {
		return "ratio"
	}
	if w.late() {
		return "time"
	}
	return ""
}

// read decodes one object within the limits. hit names the limit that ended it.
func (w *walk) read(r io.Reader, packed int64) (content []byte, hit string, err error) {
	var buf bytes.Buffer
	block := make([]byte, 32<<10)
	for {
		got, err := r.Read(block)
		got, hit = w.room(int64(buf.Len()), got)
		buf.Write(block[:got])
		w.result.Decoded += int64(got)
		if hit == "" {
			hit = w.exceeded(int64(buf.Len()), packed)
		}
		if hit != "" {
			w.limit(hit)
			return buf.Bytes(), hit, nil
		}
		if errors.Is(err, io.EOF) {
			return buf.Bytes(), "", nil
		}
		if err != nil {
			return buf.Bytes(), "", err
		}
	}
}

// source gives content as a stream that ends when time is over, for libraries that read much and give little.
func (w *walk) source(b []byte) *source { return &source{w: w, r: bytes.NewReader(b)} }

type source struct {
	w     *walk
	r     *bytes.Reader
	reads int
}

func (s *source) Read(p []byte) (int, error) {
	if err := s.check(); err != nil {
		return 0, err
	}
	return s.r.Read(p)
}

func (s *source) ReadByte() (byte, error) {
	if err := s.check(); err != nil {
		return 0, err
	}
	return s.r.ReadByte()
}

func (s *source) ReadAt(p []byte, off int64) (int, error) {
	if err := s.check(); err != nil {
		return 0, err
	}
	return s.r.ReadAt(p, off)
}

func (s *source) check() error {
	if s.reads++; s.reads%1024 == 0 && s.w.late() {
		return errStopped
	}
	return nil
}
