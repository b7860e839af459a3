package mimeview

import (
	"bytes"
	"strings"

	"postern/internal/mail/ascii"
)

// field is a header field as the most forgiving reader sees it.
type field struct {
	name  string // lower case, without octets that don't belong there
	value string // unfolded: line ends gone, white space kept
	lines string // the same with "\n" where it was folded
	at    int
	// strict says that a reader that keeps to RFC 5322 sees this field, too
	strict bool
	// broken says that a line follows that is no field: some take it for a fold without its blank, and the value for another
	broken bool
}

// doubt is an ambiguity whose offset counts from the header's start.
type doubt struct {
	kind   string
	at     int
	detail string
}

// headerBlock is a header section with all its plausible ends.
type headerBlock struct {
	fields []field
	// bodies are where the body may begin, the RFC's place first.
	bodies []int
	doubts []doubt
	cut    bool // the section was longer than what is read of one
	// unread says that there are more places where the header could end, or go on, than are followed
	unread bool
}

const (
	maxBodies = 16
	maxFields = 1000
	// maxSections is how often a header may go on behind an empty line.
	maxSections = 8
)

// lexer reads a header section line by line. A line ends at CRLF, LF or CR, whichever comes.
type lexer struct {
	text  []byte
	block *headerBlock
	bare  bool // most lines end in LF alone: then that is how lines end here
	// of the current section
	main  bool // still within the RFC's header
	field []byte
	at    int // where the field began, -1 for none
	hard  bool
	dirty bool
	junk  bool // the line before was no field
	blank bool // the line before was white space
	// fallback is the type of what gives none
	fallback string
}

// lexHeader reads the header at the front of text. whole says that text is all of the entity, fallback is the type of
// one that gives none.
func lexHeader(text []byte, whole bool, fallback string) *headerBlock {
	l := &lexer{text: text, block: &headerBlock{}, main: true, at: -1, fallback: fallback}
	if i := bytes.IndexByte(text, '\n'); i >= 0 {
		l.bare = i == 0 || text[i-1] != '\r'
	}
	at := 0
	for n := range maxSections {
		next, more := l.section(at)
		l.block.unread = l.block.unread || more && n == maxSections-1
		if !more {
			if next >= len(text) && !whole {
				l.block.cut = true
			}
			break
		}
		l.main = false
		at = next
	}
	if len(l.block.bodies) == 0 {
		l.block.bodies = append(l.block.bodies, len(text))
	}
	return l.block
}

// doubt keeps the first few of a kind, and of each kind one at least.
func (l *lexer) doubt(kind string, at int, detail []byte) {
	n := 0
	for _, d := range l.block.doubts {
		if d.kind == kind {
			n++
		}
	}
	if n < maxPerKind {
		l.block.doubts = append(l.block.doubts, doubt{kind, at, string(detail[:min(len(detail), maxDetail)])})
	}
}

func (l *lexer) body(at int) {
	for _, b := range l.block.bodies {
		if b == at {
			return
		}
	}
	if len(l.block.bodies) == maxBodies {
		l.block.unread = true
		return
	}
	l.block.bodies = append(l.block.bodies, at)
}

// breakAt finds the first line end: its start, its end, and what it is: 'w' for CRLF, 'n' for LF, 'r' for CR, 0 for none.
func breakAt(text []byte) (start, end int, kind byte) {
	const step = 256 // a line end far away is not looked for twice
	for at := 0; at < len(text); at += step {
		piece := text[at:min(at+step, len(text))]
		n := bytes.IndexByte(piece, '\n')
		if n >= 0 {
			piece = piece[:n]
		}
		if r := bytes.IndexByte(piece, '\r'); r >= 0 {
			if at+r+1 < len(text) && text[at+r+1] == '\n' {
				return at + r, at + r + 2, 'w'
			}
			return at + r, at + r + 1, 'r'
		}
		if n >= 0 {
			return at + n, at + n + 1, 'n'
		}
	}
	return len(text), len(text), 0
}

// section reads lines to the last plausible end of the header. It says where it stopped, and whether a header goes on
// there.
func (l *lexer) section(at int) (int, bool) {
	var before byte = 'w'
	for at < len(l.text) {
		start, end, kind := breakAt(l.text[at:])
		line, next := l.text[at:at+start], at+end
		if len(line) > 0 || kind == 0 {
			l.line(line, at, before, kind, next)
			before, at = kind, next
			continue
		}

		l.flush()
		if l.emptyLine(at, before, kind, next) {
			return l.later(next)
		}
		before, at = kind, next
	}

	l.flush()
	l.endsAt(len(l.text), true)

	return at, false
}

// emptyLine takes an empty line, and says whether it is the end of the header for every reader. Before is the line end in
// front of it, kind its own: 'w' is CRLF, 'n' a lone LF, 'r' a lone CR.
func (l *lexer) emptyLine(at int, before, kind byte, next int) bool {
	proper := false
	switch kind {
	case 'w':
		proper = before == 'w' || before == 'n'
	case 'n':
		proper = before != 'r'
		if proper && !l.bare {
			l.doubt(HeaderBareLF, at, l.text[at:min(next, len(l.text))])
		} else if proper {
			proper = before == 'n'
		}
	}

	l.endsAt(next, proper)
	if l.main && !proper {
		l.doubt(HeaderDirtyBreak, at, l.text[max(0, at-20):min(next+20, len(l.text))])
	}

	return proper
}

// endsAt notes that a body may begin at a place; sure says that every reader has it begin there.
func (l *lexer) endsAt(at int, sure bool) {
	if l.main && sure {
		l.mainBody(at)
	} else {
		l.body(at)
	}
}

// mainBody puts the RFC's place in front.
func (l *lexer) mainBody(at int) {
	b := l.block.bodies
	for i := range b {
		if b[i] == at {
			b = append(b[:i], b[i+1:]...)
			break
		}
	}
	l.block.bodies = append([]int{at}, b...)
	if len(l.block.bodies) > maxBodies {
		l.block.bodies, l.block.unread = l.block.bodies[:maxBodies], true
	}
}

// later says whether structural fields stand at the front of what should be the body, behind a few empty lines or a
// line of junk: some readers take them for the header's. The body of a message/rfc822 begins with fields by right: they are
// those of the message inside, and read as such.
func (l *lexer) later(at int) (int, bool) {
	if l.encapsulates() {
		return at, false
	}
	probe := at
	for range 4 {
		start, end, _ := breakAt(l.text[probe:])
		line := l.text[probe : probe+start]
		if name, _, ok := structural(line); ok && name != "" {
			l.doubt(HeaderLate, probe, line)
			return probe, true
		}
		if len(bytes.TrimSpace(line)) > 2 || end == 0 {
			return at, false
		}
		probe += end
	}
	return at, false
}

// encapsulates says that the body is said to begin with a header of its own: RFC 2046 sections 5.2.1 and 5.2.3, RFC 3462 section 2.
func (l *lexer) encapsulates() bool {
	kind := l.fallback
	for _, f := range l.block.fields {
		if f.name == "content-type" && f.strict {
			kind, _, _ = strings.Cut(f.value, ";")
			break
		}
	}
	kind = strings.ToLower(strings.TrimSpace(kind))
	return isMessage(kind) || kind == "message/external-body" || kind == "text/rfc822-headers" || kind == "text/rfc822" || kind == "message/rfc822-headers"
}

// foldedFirst notes a continuation line with no field before it.
func (l *lexer) foldedFirst(line []byte, at int, known bool) {
	l.doubt(HeaderJunkLine, at, line)
	if known {
		l.doubt(HeaderSpaceName, at, line)
	}
}

// line takes a line that is not empty.
func (l *lexer) line(line []byte, at int, before, kind byte, next int) {
	blank := l.shape(line, at, kind, next)
	fold := ascii.IsBlank(line[0])
	_, _, known := structural(line)
	if fold && l.at >= 0 {
		l.fold(line, at, before, known)
		return
	}
	if fold {
		l.foldedFirst(line, at, known)
	}

	had := len(l.block.fields)
	l.flush()
	junk := !known && !blank && bytes.IndexByte(line, ':') < 0 && !l.foldedName(next)
	if junk {
		l.junkLine(line, at, had)
	}
	l.junk = junk
	l.at, l.hard, l.dirty = at, before != 'r' && !fold && l.main, false
	l.field = append(l.field[:0], line...)
}

// shape looks at a line's end and says whether nothing can be seen in it.
func (l *lexer) shape(line []byte, at int, kind byte, next int) (blank bool) {
	if kind == 'r' {
		l.doubt(HeaderBareCR, at, line)
	} else if kind == 'n' && !l.bare {
		l.doubt(HeaderBareLF, at, line)
	}

	blank = len(bytes.Trim(line, " \t\x00\v\f")) == 0
	if blank {
		l.doubt(HeaderBlankLine, at, line)
		if !l.blank { // of several, the first is the end for who takes one for it
			l.body(next)
		}
	}
	l.blank = blank

	return blank
}

// fold takes a line that begins with white space. RFC 5322 section 2.2.3: it belongs to the field before it. A reader that
// took it for a field of its own would need a value that such a field can have: the list of fields in a signature
// (RFC 6376 section 3.5, h=) is none.
func (l *lexer) fold(line []byte, at int, before byte, known bool) {
	if known && standsAlone(line) {
		l.doubt(HeaderSpaceName, at, line)
		l.emit(line, at, false)
	}

	l.field = append(append(l.field, '\n'), line...)
	l.dirty = l.dirty || before == 'r' || before == 'n' && !l.bare
}

// junkLine takes a line that is no field; had is how many fields there were before the one in front of it.
func (l *lexer) junkLine(line []byte, at, had int) {
	for i := had; i < len(l.block.fields); i++ {
		l.block.fields[i].broken = true
	}

	l.doubt(HeaderJunkLine, at, line)
	if !l.junk { // who takes the first of several for the end goes no further
		l.body(at)
	}
}

// foldedName says whether the line at goes on with the colon that the one before it lacks.
func (l *lexer) foldedName(at int) bool {
	rest := l.text[min(at, len(l.text)):]
	trimmed := bytes.TrimLeft(rest[:min(len(rest), 80)], " \t\r\n")
	return len(rest) > 0 && (rest[0] == ' ' || rest[0] == '\t') && len(trimmed) > 0 && trimmed[0] == ':'
}

func (l *lexer) flush() {
	if l.at < 0 {
		return
	}
	l.emit(l.field, l.at, l.hard)
	l.at, l.field = -1, l.field[:0]
}

// plainlyNamed says whether a field's name is written without anything that readers may stumble over.
func (l *lexer) plainlyNamed(name string, written []byte, at int) bool {
	plainName := strings.ToLower(string(bytes.TrimSpace(written)))
	if plainName == name {
		return true
	}
	if !strings.ContainsAny(plainName, "\n") && !bytes.ContainsFunc(written, isControl) {
		l.doubt(HeaderNameOdd, at, written)
	}
	return false
}

// emit makes a field of its lines, if it is one that structures the message.
func (l *lexer) emit(raw []byte, at int, strict bool) {
	name, value, ok := structural(raw)
	if !ok || name == "" {
		return
	}
	if len(l.block.fields) == maxFields {
		l.block.cut = true
		return
	}
	written, _, colon := bytes.Cut(raw, []byte(":"))
	switch {
	case !colon:
		l.doubt(HeaderNoColon, at, raw)
		strict = false
	case bytes.IndexByte(written, '\n') >= 0:
		l.doubt(HeaderNameFolded, at, raw)
		strict = false
	case len(bytes.TrimRight(written, " \t")) < len(written):
		l.doubt(HeaderSpaceColon, at, raw)
	}
	if bytes.ContainsFunc(raw, isControl) {
		l.doubt(HeaderControl, at, raw)
	}
	if colon && !l.plainlyNamed(name, written, at) {
		strict = false
	}
	if l.dirty {
		l.doubt(HeaderDirtyBreak, at, raw)
	}
	l.block.fields = append(l.block.fields, field{
		name: name, value: strings.TrimSpace(strings.ReplaceAll(string(value), "\n", "")), lines: strings.TrimSpace(string(value)),
		at: at, strict: strict,
	})
}

func isControl(r rune) bool { return r < ' ' && r != '\t' && r != '\n' || r == 0x7f }

// structuralNames are the fields that say what a part is (RFC 2045, RFC 2183, RFC 2557).
var structuralNames = []string{
	"content-type", "content-transfer-encoding", "content-disposition", "content-id", "content-location", "mime-version",
	"content-description", "content-name",
}

// firstVisible is where the first visible octet of a line stands, as far as readers look for it.
func firstVisible(line []byte) (i int) {
	for i < len(line) && i < 64 && !visible(line[i]) {
		i++
	}
	return i
}

// structural says whether a line is a field that structures the message, and which. What lies between its letters and
// does not belong there is overlooked; so is a missing colon.
func structural(line []byte) (name string, value []byte, ok bool) {
	i := firstVisible(line)
	if i == len(line) || line[i]|0x20 != 'c' && line[i]|0x20 != 'm' { // most lines begin with another letter
		return "", nil, false
	}

	var b [80]byte
	n := 0
	for ; i < len(line) && n < len(b) && line[i] != ':'; i++ {
		if c := line[i]; visible(c) {
			b[n] = ascii.LowerOctet(c)
			n++
		}
	}

	colon := i < len(line) && line[i] == ':'
	got := b[:n]
	if bytes.HasPrefix(got, []byte("content")) || bytes.HasPrefix(got, []byte("mime")) {
		return matchName(got, line, i, colon)
	}

	return "", nil, false
}

// visible holds for what may stand in a field's name: RFC 5322 section 2.2.
func visible(c byte) bool { return c > ' ' && c < 0x7f }

func matchName(got, line []byte, at int, colon bool) (string, []byte, bool) {
	for _, known := range structuralNames {
		switch {
		case colon && isName(got, known):
			return known, line[at+1:], true
		case !colon && bytes.HasPrefix(got, []byte(known)) && len(got) > len(known):
			// no colon: what follows the name is the value, if it looks like one
			rest := line[min(len(known), len(line)):]
			rest = bytes.TrimLeft(rest, " \t=;,\x00")
			if len(rest) > 0 && known != "mime-version" && bytes.HasPrefix(bytes.ToLower(line), []byte(known)) {
				return known, rest, true
			}
		}
	}
	return "", nil, false
}

// isName says whether what stands before the colon is a name, or ends in it, as in Content-Content-Type.
func isName(got []byte, known string) bool {
	return bytes.HasSuffix(got, []byte(known)) || overlapped(got, known)
}

// overlapped says whether taking known out of the middle of got leaves known: Content-TContent-Typeype.
func overlapped(got []byte, known string) bool {
	i := bytes.Index(got, []byte(known))
	return i >= 0 && string(got[:i])+string(got[i+len(known):]) == known
}

// standsAlone says whether a folded line, taken for a field, would change what the part is: it declares a type other than
// plain text, an encoding to undo, or a file's name.
func standsAlone(line []byte) bool {
	name, raw, ok := structural(line)
	if !ok {
		return false
	}
	word, params, _ := parseParams(strings.TrimSpace(string(raw)))
	named := false
	for _, p := range params {
		switch key, _, _ := strings.Cut(p.name, "*"); key {
		case "name", "filename", "boundary":
			named = true
		}
	}
	switch name {
	case "content-type":
		return named || isMediaType(word) && word != "text/plain"
	case "content-transfer-encoding":
		e, known := plainEncoding(word)
		return known && e != plain
	case "content-disposition":
		return named
	}
	return false
}
