// Package mimeview reads a message as a mail reader would: its parts (RFC 2045, RFC 2046), their text in UTF-8, the
// links in it, its header fields decoded (RFC 2047). One pass over the raw octets finds the parts; time is linear in
// the size, and every limit that was hit stands in Limits, so that what was not read is never taken for clean.
package mimeview

import (
	"sync"

	"postern/internal/mail"
)

// Options are the limits. A zero is the default.
type Options struct {
	// Depth is how many parts may lie within each other, Parts how many there may be in all.
	Depth, Parts int
	// Text is how many octets of text are decoded, of all parts together.
	Text int
}

// The default limits.
const (
	DefaultDepth = 20
	DefaultParts = 1000
	DefaultText  = 1 << 20
)

// Limits that no setting changes.
const (
	maxPartHeader = 64 << 10
	maxURLs       = 500
	maxURL        = 2048
	maxValue      = 64 << 10
)

// The limits that View.Limits can name.
const (
	LimitDepth  = "parts nested too deep"
	LimitParts  = "too many parts"
	LimitText   = "too much text"
	LimitHeader = "header of a part too long"
	LimitURLs   = "too many links"
)

// Part is a leaf of the tree of parts.
type Part struct {
	// Type is the media type in lower case, "text/plain" where none is given.
	Type string
	// Params are the parameters of Content-Type, names in lower case. Name is the file name, if there is one.
	Params map[string]string
	Name   string
	// Attachment is set if the part says that it is one.
	Attachment bool
	Depth      int
	// Body is what a text part holds with its transfer encoding taken away, Text what a reader shows of it: in UTF-8,
	// HTML without its tags. Both are empty for other parts.
	Body []byte
	Text string
}

// View is a message as a reader shows it. It is built when it is first asked and may be asked by several goroutines.
type View struct {
	message *mail.Message
	options Options
	build   sync.Once
	err     error
	parts   []Part
	urls    []string
	limits  []string
}

// New makes a view.
func New(m *mail.Message, o Options) *View {
	if o.Depth == 0 {
		o.Depth = DefaultDepth
	}
	if o.Parts == 0 {
		o.Parts = DefaultParts
	}
	if o.Text == 0 {
		o.Text = DefaultText
	}
	return &View{message: m, options: o}
}

// Message is the message itself.
func (v *View) Message() *mail.Message { return v.message }

// Err is the error of reading the spooled message, nil for any message that is only odd.
func (v *View) Err() error { v.read(); return v.err }

// Parts are the leaves, in the order of the message.
func (v *View) Parts() []Part { v.read(); return v.parts }

// URLs are the links in the text parts, each once, in order.
func (v *View) URLs() []string { v.read(); return v.urls }

// Limits names what was not read to its end, in order of appearance, each once.
func (v *View) Limits() []string { v.read(); return v.limits }

// Subject is the decoded Subject.
func (v *View) Subject() string { return DecodeValue(v.message.Header().Get("Subject")) }

func (v *View) read() {
	v.build.Do(func() {
		w := newWalker(v)
		v.err = w.walk()
		links := newLinks(v)
		left := v.options.Text
		for i := range v.parts {
			p := &v.parts[i]
			if p.Body == nil {
				continue
			}
			if len(p.Body) > left {
				p.Body = p.Body[:left]
				v.limit(LimitText)
			}
			left -= len(p.Body)
			text := toUTF8(p.Body, p.Params["charset"])
			if p.Type == "text/html" {
				text = readHTML(text, links)
			} else {
				links.fromText(text)
			}
			p.Text = text
		}
	})
}

func (v *View) limit(what string) {
	for _, seen := range v.limits {
		if seen == what {
			return
		}
	}
	v.limits = append(v.limits, what)
}
