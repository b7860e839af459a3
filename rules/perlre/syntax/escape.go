package syntax

import (
	"strings"
	"unicode/utf8"
)

// escape reads what begins with a backslash, outside of a class.
func (p *parser) escape() (*Node, error) {
	start := p.at
	if len(p.rest()) < 2 {
		return nil, p.errorf(start, `a \ at the end`)
	}
	c := p.src[p.at+1]
	if s, ok := classEscape(c); ok {
		p.at += 2
		return setNode(s), nil
	}
	if a, ok := p.assertion(c); ok {
		p.at += 2
		return p.plainBoundary(start, c, a)
	}
	if c >= '1' && c <= '9' {
		if n, ok := p.digits(); ok {
			return p.backreference(n, start), nil
		}
	}
	if n, ok, err := p.rareEscape(start, c); ok || err != nil {
		return n, err
	}
	text, err := p.char()
	if err != nil {
		return nil, err
	}
	return p.letters(text), nil
}

// plainBoundary refuses \b{wb} and its kind.
func (p *parser) plainBoundary(start int, c byte, a Assert) (*Node, error) {
	if p.more() && p.src[p.at] == '{' && (c == 'b' || c == 'B') && !p.isBraces() {
		return nil, p.errorf(start, `\%c{} is not supported`, c)
	}
	return &Node{Op: OpAssert, Assert: a}, nil
}

// rareEscape reads \K \R \g \k and \N, and says whether it was one of these.
func (p *parser) rareEscape(start int, c byte) (*Node, bool, error) {
	switch c {
	case 'K':
		p.at += 2
		return &Node{Op: OpKeep}, true, nil
	case 'R': // perlrebackslash: (?>\x0D\x0A|\v)
		p.at += 2
		crlf := concat([]*Node{setNode(Single('\r')), setNode(Single('\n'))})
		return &Node{Op: OpAtomic, Sub: []*Node{{Op: OpAlt, Sub: []*Node{crlf, setNode(Vertical())}}}}, true, nil
	case 'g', 'k':
		p.at += 2
		n, err := p.reference(start, c)
		return n, true, err
	case 'N':
		if strings.HasPrefix(p.rest(), `\N{`) {
			break
		}
		p.at += 2
		return setNode(Single('\n').Not()), true, nil
	}
	return nil, false, nil
}

// isBraces says whether a quantifier stands here.
func (p *parser) isBraces() bool {
	at := p.at
	_, _, ok, _ := p.braces()
	p.at = at
	return ok
}

func (p *parser) assertion(c byte) (Assert, bool) {
	switch c {
	case 'A':
		return BeginText, true
	case 'z':
		return EndText, true
	case 'Z':
		return EndTextLine, true
	case 'b':
		return WordBoundary, true
	case 'B':
		return NoWordBoundary, true
	case 'G':
		return LastMatch, true
	}
	return 0, false
}

// classEscape gives the escapes that are sets, in and outside of classes.
func classEscape(c byte) (Set, bool) {
	switch c {
	case 'd':
		return Digits(), true
	case 'D':
		return Digits().Not(), true
	case 'w':
		return Word(), true
	case 'W':
		return Word().Not(), true
	case 's':
		return Space(), true
	case 'S':
		return Space().Not(), true
	case 'h':
		return Horizontal(), true
	case 'H':
		return Horizontal().Not(), true
	case 'v':
		return Vertical(), true
	case 'V':
		return Vertical().Not(), true
	}
	return Set{}, false
}

// digits reads \1 to \9, and \10 and above if there are so many groups: otherwise those are octal numbers.
func (p *parser) digits() (int, bool) {
	i := p.at + 1
	for i < len(p.src) && p.src[i] >= '0' && p.src[i] <= '9' {
		i++
	}
	n := number(p.src[p.at+1 : i])
	if n > 9 {
		p.counts = p.total < 0
		octal := p.src[p.at+1] < '8'
		if p.total >= 0 && n > p.total && octal {
			return 0, false
		}
		if p.total < 0 {
			p.at = i
			return 1, true // read again when all groups are known
		}
	}
	p.at = i
	return n, true
}

func (p *parser) refer(n, at int) {
	if n > p.highest {
		p.highest, p.highestAt = n, at
	}
}

func (p *parser) backreference(n, at int) *Node {
	p.refer(n, at)
	p.backref = true
	return &Node{Op: OpBackref, N: n, Fold: p.folding()}
}

func (p *parser) namedRef(start int, end byte) (*Node, error) {
	name, err := p.name(start, end)
	if err != nil {
		return nil, err
	}
	p.backref = true
	n := &Node{Op: OpBackref, Fold: p.folding()}
	p.pending = append(p.pending, pendingName{name, n, start})
	return n, nil
}

// reference reads \g1 \g-1 \g{1} \g{-1} \g{name} \k<name> \k'name' \k{name}; the parser stands behind the letter.
func (p *parser) reference(start int, c byte) (*Node, error) {
	switch {
	case c == 'k' && p.take("<"):
		return p.namedRef(start, '>')
	case c == 'k' && p.take("'"):
		return p.namedRef(start, '\'')
	case c == 'k' && !strings.HasPrefix(p.rest(), "{"):
		return nil, p.errorf(start, `\k without a name`)
	}
	braced := p.take("{")
	if braced {
		p.blanks()
	}
	minus := c == 'g' && p.take("-")
	digits := p.run("0123456789")
	if digits == "" || c == 'k' {
		if !braced || minus {
			return nil, p.errorf(start, `\%c without a number or a name`, c)
		}
		p.at -= len(digits)
		return p.namedRef(start, '}')
	}
	n := number(digits)
	if braced {
		p.blanks()
		if !p.take("}") {
			return nil, p.errorf(start, `\g{ without its }`)
		}
	}
	return p.numbered(start, n, minus)
}

// numbered refers to a group, from here backwards with a minus.
func (p *parser) numbered(start, n int, minus bool) (*Node, error) {
	if minus {
		n = p.groups + 1 - n
	}
	if n < 1 {
		return nil, p.errorf(start, "there is no such group")
	}
	return p.backreference(n, start), nil
}

// blanks passes by blanks inside of braces.
func (p *parser) blanks() {
	for p.take(" ") || p.take("\t") {
	}
}

// run takes as many letters as are of some.
func (p *parser) run(of string) string {
	i := p.at
	for i < len(p.src) && strings.IndexByte(of, p.src[i]) >= 0 {
		i++
	}
	text := p.src[p.at:i]
	p.at = i
	return text
}

// char reads an escape that stands for one character, which may be several octets: above 0xff it is written in UTF-8.
func (p *parser) char() (string, error) {
	start := p.at
	c := p.src[p.at+1]
	p.at += 2
	if i := strings.IndexByte("tnrfea", c); i >= 0 {
		return "\t\n\r\f\x1b\a"[i : i+1], nil
	}
	switch c {
	case 'c':
		return p.control(start)
	case 'x', 'o', 'N':
		return p.coded(start, c)
	}
	if c >= '0' && c <= '7' {
		n := int(c - '0')
		for i := 0; i < 2 && p.more() && p.src[p.at] >= '0' && p.src[p.at] <= '7'; i++ {
			n = n*8 + int(p.src[p.at]-'0')
			p.at++
		}
		return octets(n), nil
	}
	word := Word()
	if c != '_' && word.Has(c) {
		return "", p.errorf(start, `the escape \%c is not supported`, c)
	}
	return string([]byte{c}), nil
}

// control reads \cX.
func (p *parser) control(start int) (string, error) {
	if !p.more() {
		return "", p.errorf(start, `\c at the end`)
	}
	c := p.src[p.at]
	p.at++
	if c >= 'a' && c <= 'z' {
		c -= 'a' - 'A'
	}
	if c < '?' || c > '_' {
		return "", p.errorf(start, `\c%c is not supported`, c)
	}
	return string([]byte{c ^ 64}), nil
}

// coded reads \x41, \x{263a}, \o{101} and \N{U+263a}; the parser stands behind the letter.
func (p *parser) coded(start int, c byte) (string, error) {
	digits, base := "0123456789abcdefABCDEF", 16
	if c == 'o' {
		digits, base = "01234567", 8
	}
	if !p.take("{") {
		if c != 'x' {
			return "", p.errorf(start, `\%c without {`, c)
		}
		at := p.at
		text := p.run(digits)
		text = text[:min(len(text), 2)]
		p.at = at + len(text)
		return octets(value(text, base)), nil
	}
	end := strings.IndexByte(p.rest(), '}')
	if end < 0 {
		return "", p.errorf(start, `\%c{ without its }`, c)
	}
	text := strings.Trim(p.rest()[:end], " \t")
	p.at += end + 1
	if c == 'N' && !strings.HasPrefix(text, "U+") {
		return "", p.errorf(start, `\N{%.20s} is not supported`, text)
	}
	return p.codePoint(start, c, strings.ReplaceAll(strings.TrimPrefix(text, "U+"), "_", ""), digits, base)
}

// codePoint gives the octets of a character by its number.
func (p *parser) codePoint(start int, c byte, text, digits string, base int) (string, error) {
	if strings.Trim(text, digits) != "" || len(text) > 8 || text == "" && c != 'x' {
		return "", p.errorf(start, `\%c{%.20s} is no number`, c, text)
	}
	n := value(text, base)
	if n > utf8.MaxRune || n >= 0xd800 && n < 0xe000 {
		return "", p.errorf(start, `\%c{%.20s} is no character`, c, text)
	}
	p.wide = p.wide || n > 0xff
	return octets(n), nil
}

func value(text string, base int) int {
	n := 0
	for i := range len(text) {
		n = n*base + hexDigit(text[i])
	}
	return n
}

func hexDigit(c byte) int {
	switch {
	case c >= 'a':
		return int(c-'a') + 10
	case c >= 'A':
		return int(c-'A') + 10
	}
	return int(c - '0')
}

// octets are how a character stands in a text: up to 0xff as one octet, above in UTF-8.
func octets(n int) string {
	if n <= 0xff {
		return string([]byte{byte(n)})
	}
	return string(rune(n))
}
