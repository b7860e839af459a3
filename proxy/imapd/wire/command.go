// Package wire reads IMAP4 as a proxy needs it: token by token, as a stream, within limits, so that the proxy and the
// server behind it never differ about where a command ends. It knows the grammar of RFC 9051 section 9 and RFC 3501
// section 9, and nothing of mail.
package wire

import (
	"bytes"
	"strconv"
	"strings"

	"postern/internal/mail/ascii"
	"postern/proxy/line"
)

// Limits bound one command.
type Limits struct {
	// Text is how many octets a command may have without its literals; Extend may allow more for one that begins so.
	Text   int
	Extend func(prefix []byte) int
	// Literal is how many octets the literals of a Command may have in all, Literals how many there may be.
	Literal  int64
	Literals int
	// Depth is how deep parentheses may nest.
	Depth int
}

// Literal is a literal that follows: RFC 9051 section 4.3. Plus says that the client does not wait for leave to send it
// (RFC 7888), Binary that it is a literal8 (RFC 3516).
type Literal struct {
	Size         int64
	Plus, Binary bool
}

// Syntax says that a command can't be understood. The line it ended in was read whole; nothing of it may be forwarded.
type Syntax struct {
	// Tag is that of the command, "" if it has none that may be repeated.
	Tag string
	// Text is for the client; it holds nothing of what the client sent.
	Text string
	// Bye says that the client may be sending a literal already, so that nothing more may be read.
	Bye bool
}

func (s *Syntax) Error() string { return s.Text }

// Command is one command of a client, as tokens: what is forwarded is written anew from them.
type Command struct {
	Tag string
	// Verb is in upper case; that of "UID FETCH" is FETCH, with UID set.
	Verb string
	UID  bool
	// Literal is the one that follows the text read so far; nil if the command is whole.
	Literal *Literal

	text   []byte // behind the verb: text, and literals as {n}CRLF and their octets
	marks  []mark
	depth  int
	octets int   // of text without literals
	used   int64 // of literals
	begun  bool
	limits Limits
}

// mark is a literal in the text of a command.
type mark struct {
	at   int // where its octets begin
	head int // where "{" or "~{" stands
	lit  Literal
}

const maxTag = 128

// ReadCommand reads a command as far as its first literal. Syntax errors come with the line consumed.
func ReadCommand(r *line.Reader, limits Limits) (*Command, error) {
	line, err := r.Line(line.Rules{Limit: limits.Text, Extend: limits.Extend})
	if err != nil {
		return nil, err
	}
	c := &Command{limits: limits}
	tag, rest, _ := bytes.Cut(line, []byte(" "))
	if !validTag(tag) {
		return nil, c.syntax(line, "Error in IMAP command: invalid tag")
	}
	c.Tag = string(tag)
	verb, args := word(rest)
	if c.Verb = strings.ToUpper(string(verb)); c.Verb == "UID" && len(args) > 1 {
		verb, args = word(args[1:])
		c.Verb, c.UID = strings.ToUpper(string(verb)), true
	}
	if c.Verb == "" {
		return nil, c.syntax(line, "Error in IMAP command: no command")
	}
	return c, c.add(args)
}

// RFC 9051 section 9: tag is 1*<any ASTRING-CHAR except "+">.
func validTag(tag []byte) bool {
	if len(tag) == 0 || len(tag) > maxTag {
		return false
	}
	for _, ch := range tag {
		if ch <= ' ' || ch >= 0x7f || strings.IndexByte(`(){%*"\+`, ch) >= 0 {
			return false
		}
	}
	return true
}

// word cuts the name of a command off a line; it is empty if there is none.
func word(line []byte) (name, rest []byte) {
	n := 0
	for n < len(line) && isWord(line[n]) {
		n++
	}
	if n > 32 || n < len(line) && line[n] != ' ' {
		return nil, nil
	}
	return line[:n], line[n:]
}

func isWord(ch byte) bool {
	return ch >= 'a' && ch <= 'z' || ch >= 'A' && ch <= 'Z' || ch >= '0' && ch <= '9' || ch == '-' || ch == '.' || ch == '_'
}

// syntax refuses the line. A line that could announce a non-synchronising literal to somebody ends the connection: the
// literal's octets, which come next, must not be read as commands (RFC 7888 section 4).
func (c *Command) syntax(line []byte, text string) error {
	return &Syntax{Tag: c.Tag, Text: text, Bye: bytes.HasSuffix(line, []byte("+}"))}
}

// add takes the next line of the command in.
func (c *Command) add(text []byte) error {
	c.Literal = nil
	if c.octets += len(text); c.octets > c.limits.Text && (c.limits.Extend == nil || len(c.text) > 0) {
		return line.ErrLimit
	}
	lit, head, bad := c.scan(text)
	if bad != "" {
		return c.syntax(text, "Error in IMAP command: "+bad)
	}
	c.text = append(c.text, text[:head]...)
	c.Literal = lit
	if lit == nil && c.depth != 0 {
		return c.syntax(text, "Error in IMAP command: unbalanced parentheses")
	}
	return nil
}

// beginsLiteral says whether the head of a literal stands here: RFC 9051 section 4.3, and "~" for one with NULs.
func beginsLiteral(line []byte) bool {
	return line[0] == '{' || bytes.HasPrefix(line, []byte("~{"))
}

// beforeString says whether a string may begin behind this octet.
func beforeString(ch byte) bool { return ch == ' ' || ch == '[' || ch == '(' }

// scan walks the tokens of a line: atoms, quoted strings, parentheses, and a literal's head, which may stand only at the
// end. It is strict about where a string may begin, so that no other reader finds other strings there. head is where the
// text ends and the literal's head begins.
func (c *Command) scan(line []byte) (lit *Literal, head int, bad string) {
	if len(c.marks) > 0 && !endsString(line) {
		return nil, 0, "no space behind a literal"
	}

	start := true // a string may begin here
	for i := 0; i < len(line); i++ {
		switch ch := line[i]; {
		case ch == '"':
			n, bad := quotedString(line[i:], start)
			if bad != "" {
				return nil, 0, bad
			}
			i += n - 1
			start = false
		case beginsLiteral(line[i:]):
			lit, ok := ParseLiteral(line[i:])
			if !start || !ok {
				return nil, 0, "malformed literal"
			}
			return &lit, i, ""
		case ascii.IsControl(ch):
			return nil, 0, "control character"
		default:
			if bad := c.nest(ch); bad != "" {
				return nil, 0, bad
			}
			start = beforeString(ch)
		}
	}

	return nil, len(line), ""
}

// quotedString gives the length of a quoted string. start says that a string may begin where it does.
func quotedString(text []byte, start bool) (n int, bad string) {
	n = quotedEnd(text)
	switch {
	case !start || n < 0:
		return 0, "misplaced or unterminated quoted string"
	case !endsString(text[n:]):
		return 0, "no space behind a quoted string"
	}
	return n, ""
}

// endsString says whether a string may end before this: at a space, a closing bracket, or the end of the line.
func endsString(rest []byte) bool {
	return len(rest) == 0 || rest[0] == ' ' || rest[0] == ')' || rest[0] == ']'
}

// nest counts parentheses.
func (c *Command) nest(ch byte) (bad string) {
	switch ch {
	case '(':
		if c.depth++; c.depth > c.limits.Depth {
			return "parentheses nest too deep"
		}
	case ')':
		if c.depth--; c.depth < 0 {
			return "unbalanced parentheses"
		}
	}

	return ""
}

// quotedEnd is where the quoted string ends that line begins with, -1 if nowhere. RFC 9051 section 9: quoted.
func quotedEnd(line []byte) int {
	for i := 1; i < len(line); i++ {
		switch line[i] {
		case '\\':
			i++
			if i < len(line) && line[i] != '"' && line[i] != '\\' {
				return -1
			}
		case '"':
			return i + 1
		}
	}
	return -1
}

// ParseLiteral reads the head of a literal, which must be all of text.
//
// RFC 9051 section 9: literal = "{" number64 ["+"] "}"; literal8 = "~{" number64 ["+"] "}".
func ParseLiteral(text []byte) (Literal, bool) {
	var l Literal
	text, l.Binary = bytes.CutPrefix(text, []byte("~"))
	inner, ok := bytes.CutPrefix(text, []byte("{"))
	if inner, ok2 := bytes.CutSuffix(inner, []byte("}")); ok && ok2 {
		inner, l.Plus = bytes.CutSuffix(inner, []byte("+"))
		if len(inner) == 0 || len(inner) > 19 || bytes.ContainsFunc(inner, func(ch rune) bool { return ch < '0' || ch > '9' }) {
			return l, false
		}
		n, err := strconv.ParseInt(string(inner), 10, 64)
		l.Size = n
		return l, err == nil
	}
	return l, false
}

// Fits says whether the literal that follows may become part of the command.
func (c *Command) Fits() bool {
	return c.Literal.Size <= c.limits.Literal-c.used && len(c.marks) < c.limits.Literals
}

// TakeLiteral reads the literal into the command, then the next line. It must Fit, and the client must have been told to
// send it.
func (c *Command) TakeLiteral(r *line.Reader) error {
	lit := *c.Literal
	m := mark{head: len(c.text), lit: lit}
	c.text = appendLiteral(c.text, lit)
	m.at = len(c.text)
	nul := false
	for left := lit.Size; left > 0; {
		p, err := r.Next(left)
		if err != nil {
			return err
		}
		nul = nul || bytes.IndexByte(p, 0) >= 0
		c.text = append(c.text, p...)
		left -= int64(len(p))
	}
	c.marks, c.used = append(c.marks, m), c.used+lit.Size
	err := c.More(r)
	// RFC 9051 section 9: CHAR8 is any octet but NUL.
	if err == nil && nul && !lit.Binary {
		return &Syntax{Tag: c.Tag, Text: "Error in IMAP command: NUL in a literal", Bye: c.Literal != nil && c.Literal.Plus}
	}
	return err
}

// More reads the line behind a literal whose octets went elsewhere.
func (c *Command) More(r *line.Reader) error {
	left := c.limits.Text - c.octets
	if left < 0 {
		return line.ErrLimit
	}
	text, err := r.Line(line.Rules{Limit: left})
	if err != nil {
		return err
	}
	if len(c.marks) == 0 {
		c.marks = append(c.marks, mark{at: -1})
	}
	return c.add(text)
}

func appendLiteral(text []byte, l Literal) []byte {
	if l.Binary {
		text = append(text, '~')
	}
	text = strconv.AppendInt(append(text, '{'), l.Size, 10)
	if l.Plus {
		text = append(text, '+')
	}
	return append(text, "}\r\n"...)
}

// Piece is a run of octets of a command to be sent. Wait says that the server must give leave before the next one.
type Piece struct {
	Octets []byte
	Wait   bool
}

// Pieces gives what was read and not yet given, as it is to be sent. plus says whether the server takes a literal of that
// size without being asked first. A literal that follows is not part of it, its head neither.
func (c *Command) Pieces(plus func(size int64) bool) []Piece {
	var out []byte
	if !c.begun {
		out = append(append(out, c.Tag...), ' ')
		if c.UID {
			out = append(out, "UID "...)
		}
		out = append(out, c.Verb...)
	}
	var pieces []Piece
	from := 0
	for _, m := range c.marks {
		if m.at < 0 {
			continue
		}
		out = append(out, c.text[from:m.head]...)
		m.lit.Plus = plus(m.lit.Size)
		out = appendLiteral(out, m.lit)
		if from = m.at; !m.lit.Plus {
			pieces = append(pieces, Piece{out, true})
			out = nil
		}
	}
	out = append(out, c.text[from:]...)
	if c.Literal == nil {
		out = append(out, "\r\n"...)
	}
	c.begun, c.text = true, nil
	for i := range c.marks {
		c.marks[i].at = -1
	}
	return append(pieces, Piece{out, false})
}

// Head is the head of a literal with its CRLF, as it is to be sent.
func (l Literal) Head() []byte { return appendLiteral(nil, l) }

// Args gives the tokens behind the verb.
func (c *Command) Args() *Lexer { return &Lexer{text: bytes.TrimPrefix(c.text, []byte(" "))} }

// ReplaceFirst puts another text where the first argument is. Neither may be a literal.
func (c *Command) ReplaceFirst(old, fresh string) {
	c.text = append([]byte(" "+fresh), bytes.TrimPrefix(c.text, []byte(" "+old))...)
	for i := range c.marks {
		c.marks[i].at += len(fresh) - len(old)
		c.marks[i].head += len(fresh) - len(old)
	}
}

// SetArgs replaces all behind the verb. The text must be whole tokens without literals.
func (c *Command) SetArgs(text string) {
	c.text, c.marks = append([]byte(" "), text...), nil
}

// Rest gives the octets behind the verb and its space if there is no literal in them.
func (c *Command) Rest() (text string, ok bool) {
	return strings.TrimPrefix(string(c.text), " "), len(c.marks) == 0 && c.Literal == nil
}
