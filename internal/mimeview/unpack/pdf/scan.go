// Package pdf finds what a PDF file does: scripts, actions, links, files inside. It reads every token from the first
// octet to the last and follows no cross-reference: so what is hidden in an old revision is found, loops don't exist,
// and the time is linear. ISO 32000-1:2008 is meant by "ISO 32000-1".
package pdf

import (
	"bytes"
	"io"
	"strconv"
	"strings"
)

// Stream is the content of a stream object, still packed.
type Stream struct {
	Object   int // its number
	Filters  []string
	Content  []byte
	Embedded bool   // a file inside: /Type /EmbeddedFile
	kind     string // /Type or /Subtype

	first    int
	filterAt int // the object that holds the filters' names, 0 for none
	opened   func() []byte
}

// Found is what a file has.
type Found struct {
	Scripts   []string // sources in strings
	Launches  []string // what /Launch starts
	URIs      []string
	Actions   []string  // their types, each once, in order of appearance
	Opens     bool      // an action on opening, or on an event of a page or field
	Encrypted bool      // and none of the passwords opens it
	Password  string    // that opened it, "" for none and for the empty one
	Files     []string  // names of files inside
	Streams   []Stream  // all but pictures and fonts
	Pictures  []Picture // the first ones
	Script    []int     // objects whose streams are scripts
	Limit     string    // what was more than is read, "" if nothing
}

// Limits of one Scan.
type Limits struct {
	Streams int   // kept
	Objects int64 // octets of object streams decoded in all
	Stop    func() bool
	// Passwords are tried where the file is encrypted, behind the empty one.
	Passwords []string
}

const maxList = 500 // texts kept of each sort

type scanner struct {
	found  *Found
	limits Limits
	budget int64
	nested bool
	keys   *keyring // nil if nothing is encrypted
	// where we are
	object, generation int
	// what objects hold that are but a string, a name or a list of names, for those who point to them
	texts   map[int]string
	names   map[int][]string
	pending []dict
	later   []Stream // object streams whose filters stand elsewhere
}

// Scan reads a file.
func Scan(b []byte, l Limits) Found {
	var found Found
	s := &scanner{found: &found, limits: l, budget: l.Objects, texts: map[int]string{}, names: map[int][]string{}}
	if bytes.Contains(b, []byte(encryptKey)) {
		var ok bool
		if s.keys, found.Password, ok = unlock(b, l.Passwords); !ok {
			found.Encrypted = true
		}
	}
	s.scan(b)
	s.resolve()
	return found
}

// dict is what we keep of a dictionary while it is open.
type dict struct {
	key                 string
	filters             []string
	kind                string
	length              int
	action              string
	image               bool
	picture             bool
	width, height, bits int
	file                string
	first               int // where the objects of an object stream begin
	// objects that hold what is not written here
	actionAt, fileAt, filterAt, scriptAt, uriAt int
}

const (
	maxDepth   = 1000
	maxFilters = 8 // of a stream; one with more is not decoded, and said to be so
)

// scan walks over the tokens of a file, or of an object stream.
func (s *scanner) scan(b []byte) {
	p := parsing{scanner: s, l: lexer{b: b}, stack: []dict{{}}}
	for count := 0; ; count++ {
		if count%4096 == 0 && s.limits.Stop != nil && s.limits.Stop() {
			s.found.Limit = "time"
			return
		}
		t := p.l.next()
		if t.kind == end {
			return
		}
		p.token(t)
	}
}

// parsing is a scan of one file or object stream.
type parsing struct {
	*scanner
	l       lexer
	stack   []dict
	closed  dict // the last dictionary, which a stream belongs to
	numbers [2]int
	deep    int // dictionaries below maxDepth
}

func (p *parsing) token(t token) {
	top := &p.stack[len(p.stack)-1]

	switch t.kind {
	case open:
		p.opening(top, t.value)
		switch {
		case t.value != "<<":
		case len(p.stack) == maxDepth:
			p.deep++
		default:
			p.stack = append(p.stack, dict{})
		}
	case shut:
		p.shut(top, t.value)
	case number:
		p.numbers[0], p.numbers[1] = p.numbers[1], integer(t.value)
		top.number(p.numbers[1])
	case name:
		p.name(top, t.value)
		if len(p.stack) == 1 {
			p.alone(t.value)
		}
	case text:
		p.text(top, p.string(t.value, len(p.stack) == 1))
	case word:
		p.word(top, t)
	}
}

func (p *parsing) shut(top *dict, bracket string) {
	switch {
	case bracket != ">>":
		if top.key == "Filter" {
			top.key = ""
		}
	case p.deep > 0:
		p.deep--
	case len(p.stack) > 1:
		p.closed = *top
		p.stack = p.stack[:len(p.stack)-1]
		p.action(p.closed)
		p.stack[len(p.stack)-1].key = ""
	}
}

func (p *parsing) word(top *dict, t token) {
	switch {
	case strings.HasPrefix(t.value, "obj"):
		p.object, p.generation = p.numbers[0], p.numbers[1]
		p.stack, p.deep = append(p.stack[:0], dict{}), 0
	case t.value == "R":
		p.reference(top, p.numbers[0])
	case strings.HasPrefix(t.value, "stream"):
		p.l.at = t.at - len(t.value) + len("stream")
		p.stream(&p.l, p.closed)
		p.closed = dict{}
	}
}

func (d *dict) number(v int) {
	switch d.key {
	case "Length":
		d.length = v
	case "First":
		d.first = v
	case "Width":
		d.width = v
	case "Height":
		d.height = v
	case "BitsPerComponent":
		d.bits = v
	}
}

func integer(s string) int {
	v, err := strconv.Atoi(s)
	if err != nil || v < 0 {
		return 0
	}
	return v
}

func (s *scanner) opening(top *dict, bracket string) {
	if (top.key == "OpenAction" && bracket == "<<") || top.key == "AA" {
		s.found.Opens = true
	}
}

func (s *scanner) name(top *dict, v string) {
	if top.key == "Filter" && isFilter(v) {
		if len(top.filters) <= maxFilters {
			top.filters = append(top.filters, v)
		}
		return
	}
	switch top.key {
	case "Type", "Subtype":
		if top.kind == "" || v == "EmbeddedFile" {
			top.kind = v
		}
		top.image, top.picture = top.image || noText(v), top.picture || v == "Image"
		top.key = ""
		return
	case "S":
		top.action = v
		top.key = ""
		return
	}

	s.beginKey(top, v)
}

// beginKey takes a name that is no value of the key before it: it is the next key.
func (s *scanner) beginKey(top *dict, v string) {
	top.key = v
	switch v {
	case "JS", "JavaScript":
		s.act("JavaScript")
	case "Length1", "Length2":
		top.image = true // fonts alone have these
	case "EmbeddedFile", "EmbeddedFiles":
		s.act("EmbeddedFiles")
	}
}

// noText holds for the kinds of streams that hold neither text nor files: pictures, fonts, tables of objects.
func noText(kind string) bool {
	switch kind {
	case "Image", "XRef", "Type1C", "OpenType":
		return true
	}

	return strings.HasPrefix(kind, "CIDFont")
}

// isFilter tells a filter from the next key of its dictionary: there may be one filter, or many in brackets.
func isFilter(v string) bool {
	switch v {
	case "Fl", "AHx", "A85", "LZW", "RL", "CCF", "DCT", "Crypt":
		return true
	}
	return strings.HasSuffix(v, "Decode")
}

func (s *scanner) act(v string) {
	for _, have := range s.found.Actions {
		if have == v {
			return
		}
	}
	if len(s.found.Actions) < maxList {
		s.found.Actions = append(s.found.Actions, v)
	}
}

// action is asked when a dictionary is complete. ISO 32000-1, 12.6.4
func (s *scanner) action(d dict) {
	switch d.action {
	case "JavaScript", "Launch", "SubmitForm", "ImportData", "GoToR", "GoToE", "Rendition", "URI":
		s.act(d.action)
	}
	if d.actionAt|d.fileAt|d.scriptAt|d.uriAt != 0 {
		if len(s.pending) < maxAlone {
			s.pending = append(s.pending, d)
		} else {
			s.found.Limit = "entries"
		}
	}
	onlyFile := d.kind == "" && d.file != "" && d.action == ""
	if d.action == "Launch" || onlyFile {
		s.keep(&s.found.Launches, d.file)
	}
	if d.kind == "Filespec" || d.kind == "F" {
		s.keep(&s.found.Files, d.file)
	}
}

func (s *scanner) keep(list *[]string, v string) {
	if v == "" {
		return
	}
	if len(*list) == maxList {
		s.found.Limit = "entries"
		return
	}
	*list = append(*list, v)
}

func (s *scanner) text(top *dict, v string) {
	switch top.key {
	case "JS":
		s.keep(&s.found.Scripts, plain(v))
	case "URI":
		s.keep(&s.found.URIs, plain(v))
	case "F", "UF", "Win", "Unix", "P":
		if top.file == "" || top.key == "UF" {
			top.file = plain(v)
		}
	}
	if top.key != "Filter" {
		top.key = ""
	}
}

func (s *scanner) reference(top *dict, object int) {
	switch top.key {
	case "JS":
		if len(s.found.Script) < maxList {
			s.found.Script = append(s.found.Script, object)
		} else {
			s.found.Limit = "entries"
		}
		top.scriptAt = object
	case "AA", "OpenAction":
		s.found.Opens = true
	case "S":
		top.actionAt = object
	case "URI":
		top.uriAt = object
	case "Filter":
		top.filterAt = object
	case "F", "UF", "Win", "Unix":
		top.fileAt = object
	}
	top.key = ""
}

// plain reads a text string, which may be UTF-16 with a byte order mark. ISO 32000-1, 7.9.2.2
func plain(v string) string {
	if !strings.HasPrefix(v, "\xfe\xff") {
		return v
	}
	var b strings.Builder
	for i := 3; i < len(v); i += 2 {
		if v[i-1] == 0 {
			b.WriteByte(v[i])
		} else {
			b.WriteByte('?')
		}
	}
	return b.String()
}

// streamSize is how many octets stand before "endstream", or are left.
func streamSize(rest []byte, said int) int {
	if said > 0 && said < len(rest) && bytes.HasPrefix(bytes.TrimLeft(rest[said:min(len(rest), said+16)], "\r\n "), []byte("endstream")) {
		return said
	}
	if at := bytes.Index(rest, []byte("endstream")); at >= 0 {
		return at
	}
	return len(rest)
}

// stream takes what stands between the keywords. /Length counts only if "endstream" stands where it says; it may lie.
func (s *scanner) stream(l *lexer, d dict) {
	if s.nested {
		return // an object stream holds no streams. ISO 32000-1, 7.5.7
	}
	rest := bytes.TrimPrefix(bytes.TrimPrefix(l.b[l.at:], []byte("\r")), []byte("\n"))
	l.at = len(l.b) - len(rest)
	size := streamSize(rest, d.length)
	one := Stream{Object: s.object, Filters: d.filters, Content: rest[:size], Embedded: d.kind == "EmbeddedFile", kind: d.kind, filterAt: d.filterAt, first: d.first}
	s.sealed(&one)
	l.at += size
	switch {
	case d.kind == "ObjStm" && d.filterAt != 0:
		s.later = append(s.later, one)
	case d.kind == "ObjStm":
		s.objects(one)
	case d.image:
		s.picture(one, d)
	case len(s.found.Streams) >= s.limits.Streams:
		s.found.Limit = "entries"
	default:
		s.found.Streams = append(s.found.Streams, one)
	}
}

// objects reads the dictionaries in an object stream. ISO 32000-1, 7.5.7
func (s *scanner) objects(one Stream) {
	r, err := one.Decode()
	if err != nil {
		return
	}
	if s.budget <= 0 {
		s.found.Limit = "total"
		return
	}
	b, err := io.ReadAll(io.LimitReader(r, min(s.budget, 16<<20)))
	if err != nil && len(b) == 0 {
		return
	}
	if s.budget -= int64(len(b)); len(b) == 16<<20 {
		s.found.Limit = "total"
	}
	s.listed(b, one.first)
	s.nested = true
	s.scan(b)
	s.nested = false
}
