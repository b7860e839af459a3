package signature

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"hash"
	"io"
	"slices"
	"strings"

	"postern/internal/mail"
)

// bodyWriter puts a body into canonical form (RFC 6376 sections 3.4.3 and 3.4.4) on its way into a hash. Empty lines
// are only counted until a line follows that is not empty, so that a body of nothing else costs nothing.
type bodyWriter struct {
	relaxed bool
	out     *bufio.Writer
	hash    hash.Hash
	size    int64
	// marks are the lengths at which the hash so far is wanted, ascending; sums are what it was there.
	marks   []int64
	sums    map[int64][]byte
	empty   int64  // line ends not written yet
	cr      bool   // a CR whose next octet is not known yet
	space   bool   // relaxed: white space not written yet
	content bool   // something stands on the last line
	crlf    []byte // a line end and a space, so that none is made for each
}

func newBodyWriter(c Canonical) *bodyWriter {
	h := sha256.New()
	return &bodyWriter{relaxed: c == Relaxed, hash: h, out: bufio.NewWriterSize(h, 4<<10), sums: map[int64][]byte{}, crlf: []byte("\r\n ")}
}

func (w *bodyWriter) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		if w.cr {
			w.cr = false
			if p[0] == '\n' {
				w.lineEnd()
				p = p[1:]
				continue
			}
			w.text([]byte{'\r'})
		}
		end := bytes.IndexByte(p, '\r')
		if end < 0 {
			w.line(p)
			return n, nil
		}
		w.line(p[:end])
		w.cr = true
		p = p[end+1:]
	}
	return n, nil
}

// line takes a piece of a line.
func (w *bodyWriter) line(p []byte) {
	if !w.relaxed {
		w.text(p)
		return
	}
	for len(p) > 0 {
		if p[0] == ' ' || p[0] == '\t' {
			w.space = true
			p = p[1:]
			continue
		}
		end := bytes.IndexAny(p, " \t")
		if end < 0 {
			end = len(p)
		}
		w.text(p[:end])
		p = p[end:]
	}
}

// text writes what is no line end and, in relaxed form, no white space.
func (w *bodyWriter) text(p []byte) {
	if len(p) == 0 {
		return
	}
	for ; w.empty > 0; w.empty-- {
		w.emit(w.crlf[:2])
	}
	if w.space {
		w.space = false
		w.emit(w.crlf[2:])
	}
	w.emit(p)
	w.content = true
}

func (w *bodyWriter) lineEnd() {
	w.space = false
	w.empty++
}

func (w *bodyWriter) emit(p []byte) {
	for len(w.marks) > 0 && w.marks[0] <= w.size+int64(len(p)) {
		n := w.marks[0] - w.size
		_, _ = w.out.Write(p[:n])
		_ = w.out.Flush()
		w.size, p = w.size+n, p[n:]
		w.sums[w.marks[0]] = w.hash.Sum(nil)
		w.marks = w.marks[1:]
	}
	_, _ = w.out.Write(p) // a hash takes everything
	w.size += int64(len(p))
}

// sum ends the body.
func (w *bodyWriter) sum() (sum []byte, size int64) {
	if w.cr {
		w.cr = false
		w.text([]byte{'\r'})
	}
	// RFC 6376 section 3.4.3: a body without a line is one CRLF in simple form; section 3.4.4: nothing in relaxed form
	if w.content || !w.relaxed {
		w.emit(w.crlf[:2])
	}
	_ = w.out.Flush()
	return w.hash.Sum(nil), w.size
}

// BodyHash is the SHA-256 of a body in canonical form, and the form's size. Front holds the hashes of its first octets,
// by how many, as far as they were asked for.
type BodyHash struct {
	Sum   []byte
	Size  int64
	Front map[int64][]byte
}

// HashBody reads a body once and gives its hash for each canonical form that the signatures want, and at each length
// that one of them has as l=.
func HashBody(body io.Reader, signatures ...*Signature) (map[Canonical]BodyHash, error) {
	writers := map[Canonical]*bodyWriter{}
	var all []io.Writer
	for _, s := range signatures {
		w := writers[s.Body]
		if w == nil {
			w = newBodyWriter(s.Body)
			writers[s.Body] = w
			all = append(all, w)
		}
		if s.Length >= 0 && !slices.Contains(w.marks, s.Length) {
			w.marks = append(w.marks, s.Length)
		}
	}
	sums := map[Canonical]BodyHash{}
	if len(all) == 0 {
		return sums, nil
	}
	for _, w := range writers {
		slices.Sort(w.marks)
	}
	buf := make([]byte, 32<<10)
	if _, err := io.CopyBuffer(io.MultiWriter(all...), struct{ io.Reader }{body}, buf); err != nil {
		return nil, err
	}
	for c, w := range writers {
		sum, size := w.sum()
		sums[c] = BodyHash{sum, size, w.sums}
	}
	return sums, nil
}

// Fields finds header fields by name, from the bottom up: RFC 6376 section 5.4.2.
type Fields map[string][]mail.Field

// NewFields sorts the fields of a header by name.
func NewFields(h *mail.Header) Fields {
	f := Fields{}
	for _, field := range h.Fields {
		name := strings.ToLower(field.Name)
		f[name] = append(f[name], field)
	}
	return f
}

// Write writes the fields named, each in canonical form. A name that stands there more often than its field is nothing
// (RFC 6376 section 5.4: so a signer says that none may be added).
func (f Fields) Write(w io.Writer, form Canonical, names []string) {
	taken := map[string]int{}
	for _, name := range names {
		left := len(f[name]) - taken[name]
		if left <= 0 {
			continue
		}
		taken[name]++
		_, _ = w.Write(canonicalField(form, f[name][left-1].Raw, f[name][left-1].ValueAt))
	}
}

// canonicalField gives a field in canonical form: RFC 6376 sections 3.4.1 and 3.4.2.
func canonicalField(form Canonical, raw []byte, valueAt int) []byte {
	if form == Simple {
		return raw
	}
	b := make([]byte, 0, len(raw))
	b = append(b, bytes.ToLower(bytes.Trim(raw[:valueAt-1], " \t\r\n"))...)
	b = append(b, ':')
	start, space := len(b), false
	for _, c := range raw[valueAt:] {
		switch c {
		case ' ', '\t':
			space = true
		case '\r', '\n':
		default:
			if space && len(b) > start {
				b = append(b, ' ')
			}
			space = false
			b = append(b, c)
		}
	}
	return append(b, '\r', '\n')
}

// canonicalSelf is the signature's own field with b= emptied and without its line end: RFC 6376 section 3.7.
func canonicalSelf(form Canonical, f mail.Field) []byte {
	raw := make([]byte, 0, len(f.Raw))
	raw = append(raw, f.Raw[:f.ValueAt]...)
	rest := bytes.TrimSuffix(f.Raw[f.ValueAt:], []byte("\r\n"))
	for first := true; len(rest) > 0 || first; first = false {
		spec, after, more := bytes.Cut(rest, []byte{';'})
		name, _, ok := bytes.Cut(spec, []byte{'='})
		if ok && string(bytes.Trim(name, " \t\r\n")) == "b" {
			spec = spec[:len(name)+1]
		}
		raw = append(raw, spec...)
		if !more {
			break
		}
		raw = append(raw, ';')
		rest = after
	}
	return bytes.TrimSuffix(canonicalField(form, raw, f.ValueAt), []byte("\r\n"))
}

// HashHeader is the SHA-256 that a signature signs.
func (s *Signature) HashHeader(f Fields) []byte {
	h := sha256.New()
	f.Write(h, s.Header, s.Names)
	_, _ = h.Write(canonicalSelf(s.Header, s.Field))
	return h.Sum(nil)
}
