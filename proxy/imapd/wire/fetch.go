package wire

import (
	"bytes"
	"strconv"
	"strings"

	"postern/internal/mail/ascii"
)

// Event is what Fetch.Scan came to.
type Event uint8

// The events. EventMore: the piece is used up. EventQuote: a quoted string with content begins. EventHead: a literal follows,
// see Fetch.Literal. EventDone: the response ended. EventBroken: it is no FETCH response.
const (
	EventMore Event = iota
	EventQuote
	EventHead
	EventDone
	EventBroken
)

// Fetch scans the message data of one FETCH response, RFC 9051 section 7.5.2, from its first parenthesis to its CRLF. It
// keeps its place between pieces of any length.
type Fetch struct {
	// UID is that of the UID item, 0 as long as none came. Item is the item under way.
	UID     uint32
	Item    Item
	Literal Literal
	// Wholes is how many whole messages came, Fronts how many of which the first octets were asked for, Others how many
	// items besides them and UID.
	Wholes, Fronts, Others int
	// Flags is the value of the FLAGS item, up to 4 KiB of it, if KeepFlags is set.
	KeepFlags bool
	Flags     []byte

	depth    int
	name     []byte
	state    fetchState
	bracket  bool
	escaped  bool
	value    []byte // an atom at depth 1, or a literal's head
	quoteIn  fetchState
	content  bool
	lineOver bool
	length   int
}

type fetchState uint8

const (
	inStart fetchState = iota
	inName
	inNameQuote
	inSpace // between a name and its value
	inValue
	inQuote
	inHead // of a literal
	inEnd
)

const maxName = 8 << 10

// Scan consumes octets of the response up to the next event. When a literal follows, the CRLF of its head was consumed,
// and its octets come next: they must not be given to Scan.
func (f *Fetch) Scan(p []byte) (n int, e Event) {
	for n < len(p) {
		ch := p[n]
		n++
		if ch == '\n' || ch == '\r' {
			if e := f.lineEnd(ch); e != EventMore {
				return n, e
			}
			continue
		}
		if f.lineOver {
			return n, EventBroken
		}
		if e := f.octet(ch); e != EventMore {
			return n, e
		}
	}
	return n, EventMore
}

// lineEnd takes a CR or LF: it ends the response or a literal's head, and nothing else.
func (f *Fetch) lineEnd(ch byte) Event {
	if ch == '\r' {
		if f.lineOver || f.state != inEnd && f.state != inHead {
			return EventBroken
		}
		f.lineOver = true
		return EventMore
	}
	if !f.lineOver {
		return EventBroken
	}
	f.lineOver = false
	if f.state == inEnd {
		return EventDone
	}
	lit, ok := ParseLiteral(f.value)
	f.length += len(f.value) + 2
	if !ok {
		return EventBroken
	}
	f.Literal, f.value = lit, f.value[:0]
	f.state = f.quoteIn
	return EventHead
}

func (f *Fetch) startOctet(ch byte) Event {
	if ch != '(' {
		return EventBroken
	}
	f.depth, f.state = 1, inName
	return EventMore
}

// headOctet keeps the head of a literal.
func (f *Fetch) headOctet(ch byte) Event {
	if f.value = append(f.value, ch); len(f.value) > 32 {
		return EventBroken
	}
	return EventMore
}

func (f *Fetch) octet(ch byte) Event {
	switch f.state {
	case inStart:
		return f.startOctet(ch)
	case inName:
		return f.nameOctet(ch)
	case inNameQuote:
		if f.quotedOctet(ch) {
			f.state = inName
		}
		return f.addName(ch)
	case inSpace, inValue:
		f.keepFlag(ch)
		f.state = inValue
		return f.valueOctet(ch)
	case inQuote:
		if f.quotedOctet(ch) {
			f.state = f.quoteIn
		}
	case inHead:
		return f.headOctet(ch)
	case inEnd:
		return EventBroken
	}

	return EventMore
}

// keepFlag keeps what stands between the parentheses of FLAGS.
func (f *Fetch) keepFlag(ch byte) {
	isFlag := f.KeepFlags && f.state == inValue && f.Item.Name == "FLAGS"
	if isFlag && len(f.Flags) < 4<<10 {
		f.Flags = append(f.Flags, ch)
	}
}

// quotedOctet takes an octet of a quoted string, and says whether the string ends with it.
func (f *Fetch) quotedOctet(ch byte) bool {
	switch {
	case f.escaped:
		f.escaped = false
	case ch == '\\':
		f.escaped = true
	case ch == '"':
		return true
	}

	return false
}

func (f *Fetch) nameOctet(ch byte) Event {
	if f.bracket {
		return f.sectionOctet(ch)
	}

	switch ch {
	case '[':
		f.bracket = true
	case ']':
	case ' ':
		if len(f.name) > 0 {
			f.named()
		}
		return EventMore
	case ')':
		if len(f.name) > 0 {
			return EventBroken
		}
		f.depth, f.state = 0, inEnd
		return EventMore
	case '(', '"', '{':
		return EventBroken
	}

	return f.addName(ch)
}

// sectionOctet takes an octet within the brackets of a section.
func (f *Fetch) sectionOctet(ch byte) Event {
	switch ch {
	case '"':
		f.state = inNameQuote
	case '{':
		f.state, f.quoteIn, f.value = inHead, inName, append(f.value[:0], ch)
		return EventMore
	case ']':
		f.bracket = false
	}

	return f.addName(ch)
}

// named ends the name of an item.
func (f *Fetch) named() {
	f.Item = ParseItem(string(f.name))
	switch {
	case f.Item.Class == Whole:
		f.Wholes++
	case f.Item.Front():
		f.Fronts++
	case f.Item.Name != "UID":
		f.Others++
	}

	f.length = len(f.name) + 1
	f.name, f.value, f.state = f.name[:0], f.value[:0], inSpace
	f.content = f.Item.Class != Plain
}

func (f *Fetch) addName(ch byte) Event {
	if f.name = append(f.name, ch); len(f.name) > maxName {
		return EventBroken
	}

	return EventMore
}

// closeParen ends a list; the outermost one is the response.
func (f *Fetch) closeParen() {
	if f.depth--; f.depth == 0 {
		f.atomEnd()
		f.state = inEnd
	}
}

func (f *Fetch) valueOctet(ch byte) Event {
	switch ch {
	case '"':
		f.state, f.quoteIn, f.escaped = inQuote, inValue, false
		if f.content {
			f.state = inValue // the caller reads the string by Quoted
			return EventQuote
		}
	case '{':
		f.state, f.quoteIn, f.value = inHead, inValue, append(f.value[:0], ch)
		if f.binary() {
			f.value = append(f.value[:0], "~{"...)
		}
	case '(':
		if f.depth++; f.depth > 1000 {
			return EventBroken
		}
	case ')':
		f.closeParen()
	case ' ':
		if f.depth == 1 {
			f.atomEnd()
			f.state = inName
		}
	default:
		f.keepValue(ch)
	}
	return EventMore
}

// keepValue keeps the front of a value that is no list.
func (f *Fetch) keepValue(ch byte) {
	if f.depth == 1 && len(f.value) < 32 {
		f.value = append(f.value, ch)
	}
}

func (f *Fetch) binary() bool { return len(f.value) == 1 && f.value[0] == '~' }

func (f *Fetch) atomEnd() {
	if f.Item.Name == "UID" && !f.Item.Sectioned {
		n, err := strconv.ParseUint(string(f.value), 10, 32)
		if err == nil {
			f.UID = uint32(n)
		}
	}
	f.value = f.value[:0]
}

// ItemLength is how many octets the item under way took before its literal: its name, a space, the head of the literal.
func (f *Fetch) ItemLength() int { return f.length }

// NameLiteral says that the literal is part of an item's name, not of its value.
func (f *Fetch) NameLiteral() bool { return f.state == inName }

// Quoted decodes a quoted string that Scan said begins here. It appends to dst at most what fits its capacity. n octets of p
// were used; over says that the string ended, and its last quote was used, too.
func (f *Fetch) Quoted(p, dst []byte) (n int, out []byte, over, ok bool) {
	for n < len(p) && len(dst) < cap(dst) {
		ch := p[n]
		n++
		switch {
		case ch == '\r' || ch == '\n' || ch == 0:
			return n, dst, false, false
		case f.escaped:
			f.escaped = false
			dst = append(dst, ch)
		case ch == '\\':
			f.escaped = true
		case ch == '"':
			return n, dst, true, true
		default:
			dst = append(dst, ch)
		}
	}
	return n, dst, false, true
}

// Response is the beginning of a server's line.
type Response struct {
	// Tag is the tag, "*" or "+".
	Tag string
	// Number is what stands before the name: EXISTS, EXPUNGE, FETCH. Name is in upper case.
	Number uint32
	Name   string
	// Body is where the text behind the name and its space begins.
	Body int
}

// ParseResponse reads the beginning of a line: RFC 9051 section 9, response. ok is false if it is none.
func ParseResponse(line []byte) (r Response, ok bool) {
	if bytes.HasPrefix(line, []byte("+")) {
		return Response{Tag: "+", Body: 1}, endsPlus(line[1:])
	}
	tag, n := field(line, 0)
	if tag == "" || len(tag) > maxTag || !spaceAt(line, n) {
		return r, false
	}
	r.Tag = tag

	name, n := field(line, n+1)
	if tag == "*" && beginsWithDigit(name) {
		number, err := strconv.ParseUint(name, 10, 32)
		if err != nil || !spaceAt(line, n) {
			return r, false
		}
		r.Number = uint32(number)
		name, n = field(line, n+1)
	}
	r.Name = strings.ToUpper(name)
	if spaceAt(line, n) {
		n++
	}
	r.Body = n

	return r, name != "" && len(name) <= 64
}

// endsPlus says whether the "+" of a continuation is a word by itself.
func endsPlus(rest []byte) bool { return len(rest) > 0 && (rest[0] == ' ' || rest[0] == '\r') }

func beginsWithDigit(name string) bool { return name != "" && ascii.IsDigit(name[0]) }

func spaceAt(line []byte, n int) bool { return n < len(line) && line[n] == ' ' }

func field(line []byte, from int) (text string, end int) {
	end = from
	for end < len(line) && line[end] > ' ' && end-from < 256 {
		end++
	}
	return string(line[from:end]), end
}

// IsCompletion says whether a status may complete a command: RFC 9051 section 7.1.
func IsCompletion(name string) bool { return name == "OK" || name == "NO" || name == "BAD" }

// IsStatus says whether a name is that of a status response, whose text ends with the line: RFC 9051 section 7.1.
func IsStatus(name string) bool {
	switch name {
	case "OK", "NO", "BAD", "BYE", "PREAUTH":
		return true
	}
	return false
}

// Code cuts the response code out of the text of a status response, as in "[UIDVALIDITY 5] done".
func Code(text []byte) (name, args string, ok bool) {
	text, ok = bytes.CutPrefix(text, []byte("["))
	if !ok {
		return "", "", false
	}
	i := bytes.IndexByte(text, ']')
	if i < 0 {
		return "", "", false
	}
	name, args, _ = strings.Cut(string(text[:i]), " ")
	return strings.ToUpper(name), args, true
}

// Tail finds out whether a line of data that is read in pieces ends with the head of a literal.
type Tail struct {
	quoted, escaped bool
	last            []byte
}

// Piece takes the next piece of the line. With end set the literal that follows is given, if there is one.
func (t *Tail) Piece(p []byte, end bool) (Literal, bool) {
	t.follow(p)
	const limit = 40
	t.last = append(t.last, p[max(0, len(p)-limit):]...)
	t.last = t.last[max(0, len(t.last)-limit):]
	if !end {
		return Literal{}, false
	}
	line, ok := bytes.CutSuffix(t.last, []byte("\r\n"))
	i := bytes.LastIndexByte(line, '{')
	if !ok || t.quoted || i < 0 {
		*t = Tail{}
		return Literal{}, false
	}
	if i > 0 && line[i-1] == '~' {
		i--
	}
	lit, ok := ParseLiteral(line[i:])
	*t = Tail{}
	return lit, ok
}

// follow notes whether a piece ends within a quoted string.
func (t *Tail) follow(rest []byte) {
	for len(rest) > 0 {
		if !t.quoted {
			i := bytes.IndexByte(rest, '"')
			if i < 0 {
				break
			}
			rest, t.quoted = rest[i+1:], true
			continue
		}
		switch {
		case t.escaped:
			t.escaped = false
		case rest[0] == '\\':
			t.escaped = true
		case rest[0] == '"':
			t.quoted = false
		}
		rest = rest[1:]
	}
}
