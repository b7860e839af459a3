// Package views reads a message the way SpamAssassin does, so that rules written for it see what they were written for:
// decoded header fields, the paragraphs of the body, the chunks of the raw body, the links, what its HTML holds, its MIME
// tree. The rest of the house reads a message in every way a mail reader might (package mimeview); this is one way more,
// with its quirks, and nothing but rules looks at it. Everything is made when it is first asked for.
package views

import (
	"bytes"
	"strings"

	"postern/rules/relays"
)

// Limits that are part of the reading: rules count on them.
const (
	maxLine        = 2048
	maxFieldName   = 256
	maxFieldValue  = 8192
	maxAllFields   = 65536
	maxURI         = 8192
	maxParts       = 1000
	maxDepth       = 20
	bodyPartSize   = 50_000
	rawPartSize    = 500_000
	headerFaults   = 3
	maxBlankLines  = 20
	maxMessageSize = 4 << 20 // what is behind is not looked at
)

// Message is a message as rules see it. It is for one goroutine.
type Message struct {
	root  *Part
	flags map[string]bool

	head, full string
	bodyStart  int
	domains    *Domains
	redirects  []Redirector
	options    Options
	path       *relays.Path
	envelope   *string
	values     map[string][]string
	boundaries map[string]int
	mboxLine   string

	body, raw []string
	bodyDone  bool
	rawDone   bool
	pages     []*Page
	links     *linkList
	queue     []pending
}

// Redirector finds the link within a link, "" if there is none.
type Redirector func(uri string) string

// Options say what is known besides the message.
type Options struct {
	// Domains and Redirects are by what rules links are read.
	Domains   *Domains
	Redirects []Redirector
	// First is the connection the message came over, nil if only its Received fields tell.
	First *relays.Relay
	// Networks are our own.
	Networks relays.Networks
	// OriginFields are fields that name the address a message was written at.
	OriginFields []string
	// EnvelopeFrom is the reverse-path; HasEnvelope says that it is known.
	EnvelopeFrom string
	HasEnvelope  bool
}

// Read reads a message with line ends of LF or CRLF.
func Read(raw string, o Options) *Message {
	raw = raw[:min(len(raw), maxMessageSize)]
	if strings.Contains(raw, "\r\n") {
		raw = strings.ReplaceAll(raw, "\r\n", "\n")
	}
	return read(raw, o)
}

// ReadOctets is Read for whoever has octets, which are copied once only.
func ReadOctets(raw []byte, o Options) *Message {
	return read(withoutReturns(raw[:min(len(raw), maxMessageSize)]), o)
}

// withoutReturns is text with \n for each \r\n.
func withoutReturns(raw []byte) string {
	var b strings.Builder
	b.Grow(len(raw))
	for {
		i := bytes.Index(raw, []byte("\r\n"))
		if i < 0 {
			b.Write(raw)
			return b.String()
		}
		b.Write(raw[:i])
		b.WriteByte('\n')
		raw = raw[i+2:]
	}
}

// read reads a message with line ends of LF.
func read(raw string, o Options) *Message {
	m := &Message{domains: o.Domains, redirects: o.Redirects, options: o, values: map[string][]string{}, flags: map[string]bool{}, boundaries: map[string]int{}}
	if m.domains == nil {
		m.domains = PublicDomains()
	}
	m.root = m.parse(raw, maxDepth, m.flags)
	m.root.dropFields("x-spam-")
	return m
}

// Header is the message as a part, of which only the header may be asked.
func (m *Message) Header() *Part { return m.root }

// Tree is the message as a part, with those below it.
func (m *Message) Tree() *Part {
	for len(m.queue) > 0 {
		next := m.queue[0]
		m.queue = m.queue[1:]
		m.parsePart(next)
	}
	return m.root
}

// Flag says whether a fault of form was met: missing_mime_headers and the like.
func (m *Message) Flag(name string) bool {
	m.Tree()
	return m.flags[name]
}

// pending is a part whose body is still to be read.
type pending struct {
	part     *Part
	boundary string
	bounded  bool
	lines    []string
	depth    int
}

// parse reads the header of a message and puts its body into the queue.
func (m *Message) parse(raw string, depth int, flags map[string]bool) *Part {
	lines := splitLines(raw)
	if len(lines) == 0 {
		lines = []string{"\n"}
	}
	top := depth == maxDepth
	if isMboxLine(lines[0]) {
		if top {
			m.mboxLine = lines[0]
			raw = raw[len(lines[0]):]
		}
		lines = lines[1:]
	}
	part := &Part{}
	rest, size := part.readHeader(lines, flags)
	if size = min(size, len(raw)); top {
		m.full, m.bodyStart = raw, size
		m.head = raw[:size]
	}
	rest = squeezeBlank(rest)
	ct := parseContentType(part.last("content-type"))
	part.Type = ct.media
	if strings.HasPrefix(part.Type, "multipart/") && len(rest) > 1 && !blank(rest[0]) {
		if !ct.bounded || !strings.HasPrefix(rest[0], "--"+ct.boundary) {
			rest = append([]string{"\n"}, rest...)
		}
	}
	m.queue = append(m.queue, pending{part, ct.boundary, ct.bounded, rest, depth})
	return part
}

// isMboxLine says whether a line is what a mailbox file puts before a message.
func isMboxLine(line string) bool {
	rest, ok := strings.CutPrefix(line, "From ")
	if !ok {
		rest, ok = strings.CutPrefix(line, "From\t")
	}
	rest = strings.TrimLeft(rest, " \t")
	return ok && !strings.HasPrefix(rest, ":")
}

// readHeader takes the fields from the front of a message and gives the lines behind them, and how long the header is with
// the empty line that ends it.
func (p *Part) readHeader(lines []string, flags map[string]bool) (rest []string, size int) {
	var field []string
	flush := func() {
		if field != nil {
			p.addField(strings.Join(field, ""), flags)
		}
		field = nil
	}
	faults := 0
	for len(lines) > 0 {
		line := lines[0]
		if line[0] == ' ' || line[0] == '\t' {
			field = append(field, line)
			size += len(line)
			lines = lines[1:]
			continue
		}
		flush()
		if line == "\n" {
			return lines[1:], size + 1
		}
		if !isFieldLine(line, true) {
			faults++
		}
		if strings.HasPrefix(line, "--") || faults > headerFaults {
			flags["missing_head_body_separator"] = true
			return lines, size
		}
		field = []string{line}
		size += len(line)
		lines = lines[1:]
	}
	flush()
	flags["missing_head_body_separator"] = true
	return nil, size
}

// isFieldLine says whether a line begins with a field name and a colon, with white space between them or without.
func isFieldLine(line string, spaced bool) bool {
	i := 0
	for i < len(line) && line[i] > ' ' && line[i] < 0x7f && line[i] != ':' {
		i++
	}
	if i == 0 {
		return false
	}
	if spaced {
		i += blanks(line[i:])
	}
	return stands(line, i, ':')
}

// squeezeBlank cuts runs of empty lines to a length.
func squeezeBlank(lines []string) []string {
	run, long := 0, false
	for _, l := range lines {
		if blank(l) {
			run++
			long = long || run > maxBlankLines
		} else {
			run = 0
		}
	}
	if !long {
		return lines
	}
	kept := make([]string, 0, len(lines))
	run = 0
	for _, l := range lines {
		if !blank(l) {
			run = 0
		} else if run++; run > maxBlankLines {
			continue
		}
		kept = append(kept, l)
	}
	return kept
}

// splitLines cuts a text behind each LF.
func splitLines(text string) []string {
	lines := make([]string, 0, strings.Count(text, "\n")+1)
	for text != "" {
		i := strings.IndexByte(text, '\n')
		if i < 0 {
			return append(lines, text)
		}
		lines = append(lines, text[:i+1])
		text = text[i+1:]
	}
	return lines
}

// blank says whether a text is white space in ASCII only.
func blank(text string) bool {
	for i := range len(text) {
		if !isSpace(text[i]) {
			return false
		}
	}
	return true
}

// isSpace is Perl's \s for octets.
func isSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

// Full is the message as it came, with line ends of LF.
func (m *Message) Full() string { return m.full }

// Head is the header as it came, Pristine the body as it came.
func (m *Message) Head() string { return m.head }

// Pristine is the body as it came.
func (m *Message) Pristine() string { return m.full[m.bodyStart:] }

// Domains are the domains by which links and addresses are read.
func (m *Message) Domains() *Domains { return m.domains }

// Unbounded says whether a multipart's last delimiter is missing.
func (m *Message) Unbounded() bool {
	m.Tree()
	for _, n := range m.boundaries {
		if n != 0 {
			return true
		}
	}
	return false
}
