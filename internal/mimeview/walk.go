package mimeview

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"

	"postern/internal/mail"
)

// walker reads the body line by line. What it knows of the place it is in is the stack of open boundaries.
type walker struct {
	view  *View
	open  []string // boundaries, outermost first
	depth int
	raw   int // octets of text collected
	// where is what the current line belongs to
	where    place
	header   []byte
	encoding string
	current  int // index of the part that collects, -1 for none
}

type place int

const (
	outside place = iota // preamble, epilogue, a part that is not read
	inHeader
	inText
)

func newWalker(v *View) *walker { return &walker{view: v, current: -1} }

func (w *walker) walk() error {
	w.begin(w.view.message.Header())
	r := bufio.NewReaderSize(w.view.message.OpenBody(), 64<<10)
	lineStart := true
	for {
		line, err := r.ReadSlice('\n')
		if len(line) > 0 {
			w.line(line, lineStart)
			lineStart = line[len(line)-1] == '\n'
		}
		switch {
		case errors.Is(err, io.EOF):
			w.finish()
			return nil
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return err
		}
	}
}

func (w *walker) line(line []byte, lineStart bool) {
	if lineStart && len(w.open) > 0 && bytes.HasPrefix(line, []byte("--")) && w.delimiter(line[2:]) {
		return
	}
	switch w.where {
	case inHeader:
		if lineStart && len(bytes.TrimRight(line, "\r\n")) == 0 {
			w.begin(mail.ParseHeader(append(w.header, '\r', '\n')))
			return
		}
		if len(w.header)+len(line) > maxPartHeader {
			w.view.limit(LimitHeader)
			return
		}
		w.header = append(w.header, line...)
	case inText:
		w.collect(line)
	}
}

// delimiter looks for a boundary among those open, the innermost first: RFC 2046 section 5.1.1.
func (w *walker) delimiter(line []byte) bool {
	line = bytes.TrimRight(line, " \t\r\n")
	for i := len(w.open) - 1; i >= 0; i-- {
		rest, ok := bytes.CutPrefix(line, []byte(w.open[i]))
		if !ok || len(rest) > 0 && string(rest) != "--" {
			continue
		}
		w.finish()
		if len(rest) > 0 { // the end of this multipart
			w.open, w.where = w.open[:i], outside
			return true
		}
		w.open, w.depth = w.open[:i+1], i+1
		w.header, w.where = w.header[:0], inHeader
		return true
	}
	return false
}

// begin starts a part whose header is known.
func (w *walker) begin(h *mail.Header) {
	w.where = outside
	kind, params := ParseParams(h.Get("Content-Type"))
	if !strings.Contains(kind, "/") {
		kind = "text/plain" // RFC 2045 section 5.2
	}
	boundary := params["boundary"]
	switch {
	case strings.HasPrefix(kind, "multipart/") && boundary != "":
		if len(w.open) == w.view.options.Depth {
			w.view.limit(LimitDepth)
			return
		}
		w.open = append(w.open, boundary)
		return
	case kind == "message/rfc822" || kind == "message/global":
		if w.depth++; w.depth > w.view.options.Depth {
			w.view.limit(LimitDepth)
			return
		}
		w.header, w.where = nil, inHeader
		return
	}
	w.leaf(h, kind, params)
}

func (w *walker) leaf(h *mail.Header, kind string, params map[string]string) {
	if len(w.view.parts) == w.view.options.Parts {
		w.view.limit(LimitParts)
		return
	}
	disposition, dispositionParams := ParseParams(h.Get("Content-Disposition"))
	p := Part{Type: kind, Params: params, Depth: w.depth, Attachment: disposition == "attachment"}
	if p.Name = dispositionParams["filename"]; p.Name == "" {
		p.Name = params["name"]
	}
	p.Name = DecodeValue(p.Name)
	w.view.parts = append(w.view.parts, p)
	// text is read where it is said to be an attachment, too: readers show it all the same
	if strings.HasPrefix(kind, "text/") || strings.HasPrefix(kind, "multipart/") {
		w.current, w.where = len(w.view.parts)-1, inText
		encoding, _ := ParseParams(h.Get("Content-Transfer-Encoding"))
		w.encoding = encoding
	}
}

// collect keeps a line of a text part. Base64 needs a third more than what it stands for.
func (w *walker) collect(line []byte) {
	room := w.view.options.Text + w.view.options.Text/2 - w.raw
	if len(line) > room {
		line = line[:max(room, 0)]
		w.view.limit(LimitText)
	}
	w.raw += len(line)
	p := &w.view.parts[w.current]
	p.Body = append(p.Body, line...)
}

// finish ends the part that collects.
func (w *walker) finish() {
	if w.where == inHeader && len(w.header) > 0 { // a part that ends within its header
		w.begin(mail.ParseHeader(append(w.header, '\r', '\n')))
	}
	w.where = outside
	if w.current < 0 {
		return
	}
	p := &w.view.parts[w.current]
	w.current = -1
	switch w.encoding {
	case "base64":
		p.Body = decodeBase64(p.Body)
	case "quoted-printable":
		p.Body = decodeQuotedPrintable(p.Body)
	}
}

// ParseParams reads the value of Content-Type and its like: the word in front and the parameters behind it, the first
// of each name. It forgives what mail readers forgive.
func ParseParams(value string) (word string, params map[string]string) {
	if len(value) > maxValue {
		value = value[:maxValue]
	}
	word, rest, _ := strings.Cut(value, ";")
	word, _, _ = strings.Cut(word, "(")
	word = strings.ToLower(strings.TrimSpace(word))
	params = map[string]string{}
	for rest != "" && len(params) < 64 {
		rest = strings.TrimLeft(rest, "; \t")
		name, after, ok := strings.Cut(rest, "=")
		if !ok {
			break
		}
		if i := strings.LastIndexByte(name, ';'); i >= 0 {
			name = name[i+1:]
		}
		var text string
		text, rest = paramValue(strings.TrimLeft(after, " \t"))
		name = strings.ToLower(strings.TrimSpace(name))
		name = strings.TrimSuffix(name, "*") // RFC 2231 section 4, without its charset
		if _, twice := params[name]; !twice && name != "" {
			params[name] = text
		}
	}
	return word, params
}

func paramValue(text string) (value, rest string) {
	if !strings.HasPrefix(text, `"`) {
		value, rest, _ = strings.Cut(text, ";")
		return strings.TrimSpace(value), rest
	}
	var b strings.Builder
	i := 1
	for ; i < len(text) && text[i] != '"'; i++ {
		if text[i] == '\\' && i+1 < len(text) {
			i++
		}
		b.WriteByte(text[i])
	}
	_, rest, _ = strings.Cut(text[min(i, len(text)):], ";")
	return b.String(), rest
}
