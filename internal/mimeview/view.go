// Package mimeview reads a message in every way a mail reader might: its parts (RFC 2045, RFC 2046), their text in
// UTF-8, the links in it, its header fields decoded (RFC 2047), and each content that some reader would hand to its
// user (Objects). Where two readers would differ, both readings are made and an Ambiguity says so. Time is linear in the
// size, and every limit that was hit stands in Limits, so that what was not read is never taken for clean.
package mimeview

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"postern/internal/mail"
	"postern/internal/mimeview/htmltext"
)

// Options are the limits. A zero is the default.
type Options struct {
	// Depth is how many parts may lie within each other (100 at most), Parts how many there may be in all.
	Depth, Parts int
	// Text is how many octets of text there are in Part.Body, of all parts together: what word rules see. What is longer is cut
	// there, and still looked through for links. MaxText is how many are looked through in all; beyond is LimitText.
	Text, MaxText int
	// Decoded is how many octets are decoded in all, in every reading together; the default is 32 times the message's
	// size and 32 MiB.
	Decoded int64
	// Dir is where decoded contents of more than 1 MiB are kept while they are read; "" is the system's folder.
	Dir string
	// Stop is asked every 64 KiB or so: once it says true, reading ends with LimitTime.
	Stop func() bool
}

// The default limits.
const (
	DefaultDepth = 20
	DefaultParts = 1000
	DefaultText  = 1 << 20
	// DefaultMaxText is as much as a gateway's largest messages have; 32 MiB take about a second.
	DefaultMaxText = 32 << 20
	MaxDepth       = 100
)

// Limits that no setting changes.
const (
	maxHeader  = 1 << 20 // of one header section: lists of addresses and traces of honest mail reach 300 KB
	maxValue   = 64 << 10
	maxObjects = 4000
)

// The limits that View.Limits can name.
const (
	LimitDepth      = "parts nested too deep"
	LimitParts      = "too many parts"
	LimitText       = "too much text"
	LimitHeader     = "header of a part too long"
	LimitURLs       = "too many links"
	LimitParams     = "too many parameters"
	LimitNames      = "too many file names"
	LimitDelimiters = "too many lines like delimiters"
	LimitReadings   = "too many ways to read it"
	LimitObjects    = "too many contents"
	LimitDecoded    = "too much to decode"
	LimitTime       = "not read in time"
)

// What View.Cuts can name.
const (
	CutText  = "text longer than what word rules look at"
	CutLinks = "more links than are kept"
)

// Part is a part of the message in one reading of it.
type Part struct {
	// Type is the media type in lower case, "text/plain" where none is given.
	Type string
	// Params are the parameters of Content-Type, names in lower case. Name is the file name, if there is one.
	Params map[string]string
	Name   string
	// Names are all names that a reader may show, Types all declared types.
	Names, Types []string
	// Disposition, Encoding and ID are the first of their fields, as the RFC's reader takes them.
	Disposition, Encoding, ID string
	// Attachment is set if the part says that it is one.
	Attachment bool
	// Alternative is set if it is one of several forms of a text: RFC 2046 section 5.1.4.
	Alternative bool
	// Encrypted says that it is an OpenPGP message that holds nothing without a key.
	Encrypted bool
	// Unclosed says of a multipart that its last delimiter is missing, so that its last part may be cut off.
	Unclosed bool
	Depth    int
	// Reading is "" for the reading that RFC 2046 asks for, else it says in a few words which other one this is.
	Reading string
	// Header, Start and End are offsets in octets: of the header, of the body, of its end. They count in the message,
	// or in the decoded content that Within names.
	Header, Start, End int64
	Within             string
	// Parts are those inside, in order, those of other readings last.
	Parts []*Part
	// Body is what a text part holds with its transfer encoding taken away, Text what a reader shows of it: in UTF-8,
	// HTML without its tags and without what is hidden. Both are empty for other parts. A text that may be in one of
	// several charsets is a part in each.
	Body []byte
	Text string
	// Cut says that Body and Text are the front of a longer text.
	Cut bool
	// Hidden is the text in HTML that styles keep from being seen, up to all of it; how much is honest is not judged here:
	// newsletters have a line of it. Unstyled is all text in its order, as shown by a reader without styles; it is Text if
	// nothing is hidden.
	Hidden, Unstyled string
	// What else a page in HTML shows, see htmltext.Page: how much of Hidden stands before the text, pictures within links,
	// a form with a field for a
	// password, pictures in the page itself, tables that draw a pattern.
	Preheader, Linked int
	PasswordForm      bool
	Inline            []string
	Grids             []htmltext.Grid

	src      *source
	coded    encoding
	charsets []string // besides the one in Params
	body     region
}

// View is a message as readers show it. It is built when it is first asked and may be asked by several goroutines.
type View struct {
	message *mail.Message
	options Options
	build   sync.Once
	look    sync.Once
	mu      sync.Mutex // over err and limits, which grow when Objects is first asked
	err     error
	root    *Part
	parts   []*Part
	others  []*Part // leaves of other readings
	links   []Link
	urls    []string
	limits  []string
	cuts    []string

	qrOnce   sync.Once
	qrLinks  []Link
	qrUnread int

	kinds       map[string]int
	ambiguities []Ambiguity
	guessing    int // how many guesses deep the walker is
	walker      *walker
	objects     []*Object
	spools      []*source
	closed      atomic.Bool
}

// New makes a view. Close frees what it holds.
func New(m *mail.Message, o Options) *View {
	if o.Depth == 0 {
		o.Depth = DefaultDepth
	}
	o.Depth = min(o.Depth, MaxDepth)
	if o.Parts == 0 {
		o.Parts = DefaultParts
	}
	if o.Text == 0 {
		o.Text = DefaultText
	}
	if o.MaxText == 0 {
		o.MaxText = DefaultMaxText
	}
	if o.Decoded == 0 {
		o.Decoded = 32*m.Size() + 32<<20
	}
	return &View{message: m, options: o}
}

// Message is the message itself.
func (v *View) Message() *mail.Message { return v.message }

// Err is the error of reading the spooled message, nil for any message that is only odd.
func (v *View) Err() error {
	v.read()
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.err
}

// Parts are the leaves that may have text, in the order of the message, those of other readings behind.
func (v *View) Parts() []*Part { v.read(); return v.parts }

// Root is the message as a part, with all others below it.
func (v *View) Root() *Part { v.read(); return v.root }

// Links are the addresses in the text parts, the Subject and the list fields of the header, in order, each once for
// what the reader sees of it, and behind a redirector where it leads to. At most 5000 different ones are read.
func (v *View) Links() []Link { v.read(); return v.links }

// URLs are the addresses of Links as they are written, without those of the list fields, each once, in order; where the
// written form hides the host, the plain form follows.
func (v *View) URLs() []string { v.read(); return v.urls }

// Limits names what was not read to its end, in order of appearance, each once. It grows when Objects is first asked.
func (v *View) Limits() []string {
	v.read()
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.limits)
}

// Cuts names what was looked at for types, objects and links to its end, and not kept to its end for rules about words and
// links, in order of appearance, each once.
func (v *View) Cuts() []string { v.read(); return v.cuts }

// Objects are the contents of all readings, each once. They stay valid until Close.
func (v *View) Objects() []*Object { v.examine(); return v.objects }

// Ambiguities are the places that readers differ on. All contents are decoded to find them.
func (v *View) Ambiguities() []Ambiguity { v.examine(); return v.ambiguities }

// Subject is the decoded Subject.
func (v *View) Subject() string { return DecodeValue(v.message.Header().Get("Subject")) }

// errClosed is the error of a message that was closed before it was read.
var errClosed = errors.New("the message was closed before it was read")

// Close frees the files of decoded contents. The message is not closed. Who still reads comes to an end with LimitTime.
func (v *View) Close() error {
	v.closed.Store(true)
	// waits for who is at it; who comes later must not take what was never read for nothing
	v.build.Do(func() { v.fail(errClosed) })
	v.look.Do(func() { v.fail(errClosed) })
	var err error
	for _, s := range v.spools {
		if s.file != nil {
			err = errors.Join(err, s.file.Close())
			s.file = nil
		}
	}
	v.spools = nil
	return err
}

func (v *View) read() {
	v.build.Do(func() {
		v.walker = newWalker(v)
		v.walker.walk()
		v.parts = append(v.parts, v.others...)
		v.others = nil
		v.readTexts()
	})
}

func (v *View) limit(what string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.limits = appendOnce(v.limits, what)
}

func (v *View) cut(what string) { v.cuts = appendOnce(v.cuts, what) }

// fail keeps the first error.
func (v *View) fail(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.err == nil {
		v.err = err
	}
}
