package syntax

import (
	"fmt"
	"strings"
)

// Flags are the modifiers behind an expression.
type Flags uint8

// The modifiers.
const (
	IgnoreCase   Flags = 1 << iota // i
	MultiLine                      // m
	DotAll                         // s
	Extended                       // x
	ExtendedMore                   // xx
	noCapture                      // n
	latinFold                      // a and aa: case is that of ISO 8859-1, and not of ASCII only
)

// Limits of what is read.
const (
	maxExpr   = 512 << 10
	maxDepth  = 200
	maxRepeat = 65534 // REG_INFTY - 1
	maxBehind = 255
	maxGroups = 1000
)

// Error names what can't be read, and where.
type Error struct {
	What string
	At   int
}

func (e *Error) Error() string { return fmt.Sprintf("%s, at octet %d", e.What, e.At) }

// Parse reads an expression.
func Parse(expr string, f Flags) (*Tree, error) {
	if len(expr) > maxExpr {
		return nil, &Error{"the expression is longer than 512 KiB", maxExpr}
	}
	if f&ExtendedMore != 0 {
		f |= Extended
	}
	f |= latinFold
	p := &parser{src: expr, flags: f, names: map[string][]int{}, total: -1}
	root, err := p.whole()
	if err != nil {
		return nil, err
	}
	if p.counts { // \10 is a group if there are ten: all of them must be known
		p = &parser{src: expr, flags: f, names: map[string][]int{}, total: p.groups}
		if root, err = p.whole(); err != nil {
			return nil, err
		}
	}
	if p.highest > p.groups {
		return nil, &Error{fmt.Sprintf("there is no group %d", p.highest), p.highestAt}
	}
	if err := p.resolve(); err != nil {
		return nil, err
	}
	return &Tree{Root: root, Groups: p.groups, Names: p.names, HasBackref: p.backref, Wide: p.wide}, nil
}

type parser struct {
	src   string
	at    int
	flags Flags
	depth int

	groups    int
	total     int // groups in the expression, -1 while unknown
	counts    bool
	names     map[string][]int
	pending   []pendingName
	highest   int
	highestAt int
	backref   bool
	wide      bool
	quoted    bool // between \Q and \E
}

// pendingName is a reference by name, which may stand before its group.
type pendingName struct {
	name string
	node *Node
	at   int
}

func (p *parser) errorf(at int, format string, args ...any) error {
	return &Error{fmt.Sprintf(format, args...), at}
}

func (p *parser) more() bool { return p.at < len(p.src) }

func (p *parser) rest() string { return p.src[p.at:] }

func (p *parser) take(prefix string) bool {
	if strings.HasPrefix(p.src[p.at:], prefix) {
		p.at += len(prefix)
		return true
	}
	return false
}

func (p *parser) has(f Flags) bool { return p.flags&f != 0 }

func (p *parser) whole() (*Node, error) {
	n, err := p.alternatives(false)
	if err != nil {
		return nil, err
	}
	if p.more() {
		return nil, p.errorf(p.at, "a ) without its (")
	}
	return n, nil
}

// resolve gives references by name their groups.
func (p *parser) resolve() error {
	for _, r := range p.pending {
		groups := p.names[r.name]
		if groups == nil {
			return p.errorf(r.at, "there is no group <%s>", r.name)
		}
		r.node.N, r.node.Refs = groups[0], groups
	}
	return nil
}

// alternatives reads up to the end or to a closing parenthesis, which it leaves. With reset each alternative counts its
// groups from the same number, as (?|...) does.
func (p *parser) alternatives(reset bool) (*Node, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, p.errorf(p.at, "groups stand too deep in each other")
	}
	defer func() { p.depth-- }()
	first, most := p.groups, p.groups
	var all []*Node
	for {
		n, err := p.sequence()
		if err != nil {
			return nil, err
		}
		all = append(all, n)
		most = max(most, p.groups)
		if !p.more() || p.src[p.at] != '|' {
			break
		}
		p.at++
		if reset {
			p.groups = first
		}
	}
	p.groups = most
	if len(all) == 1 {
		return all[0], nil
	}
	return &Node{Op: OpAlt, Sub: all}, nil
}

// sequence reads up to a | or a closing parenthesis.
func (p *parser) sequence() (*Node, error) {
	var all []*Node
	for {
		if err := p.skip(); err != nil {
			return nil, err
		}
		if !p.more() || !p.quoted && (p.src[p.at] == '|' || p.src[p.at] == ')') {
			break
		}
		start := p.at
		n, err := p.atom()
		if err != nil {
			return nil, err
		}
		if n == nil {
			continue
		}
		if n, err = p.quantified(n, start); err != nil {
			return nil, err
		}
		all = append(all, n)
	}
	return concat(all), nil
}

func concat(all []*Node) *Node {
	switch len(all) {
	case 0:
		return &Node{Op: OpEmpty}
	case 1:
		return all[0]
	}
	return &Node{Op: OpConcat, Sub: all}
}

// skip passes by what matches nothing by itself: comments, and with /x white space; \Q and \E.
func (p *parser) skip() error {
	for p.more() {
		c := p.src[p.at]
		switch {
		case p.quoted && !p.take(`\E`):
			return nil
		case p.quoted:
			p.quoted = false
		case p.take(`\Q`):
			p.quoted = true
		case p.take(`\E`):
		case p.take("(?#"):
			end := strings.IndexByte(p.rest(), ')')
			if end < 0 {
				return p.errorf(p.at, "a comment (?# without its end")
			}
			p.at += end + 1
		case p.has(Extended) && c == '#':
			end := strings.IndexByte(p.rest(), '\n')
			if end < 0 {
				end = len(p.rest()) - 1
			}
			p.at += end + 1
		case p.has(Extended) && isSpace(c):
			p.at++
		default:
			return nil
		}
	}
	return nil
}

func isSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

// quantified reads the quantifier behind an atom.
func (p *parser) quantified(n *Node, start int) (*Node, error) {
	if err := p.skip(); err != nil {
		return nil, err
	}
	lo, hi, ok, err := p.quantifier()
	if err != nil || !ok {
		return n, err
	}
	r := &Node{Op: OpRepeat, Min: lo, Max: hi, Sub: []*Node{n}}
	if p.more() {
		switch p.src[p.at] {
		case '?':
			r.Mode = Lazy
			p.at++
		case '+':
			r.Mode = Possessive
			p.at++
		}
	}
	if err := p.skip(); err != nil {
		return nil, err
	}
	if _, _, ok, _ := p.quantifier(); ok {
		return nil, p.errorf(start, "two quantifiers one behind the other")
	}
	if hi != Unlimited && lo > hi { // perlre: can't match
		return &Node{Op: OpFail}, nil
	}
	if n.Op == OpAssert || n.Op == OpLook || n.Op == OpEmpty { // more than once is once
		r.Min, r.Max = min(lo, 1), 1
		if hi == 0 {
			r.Max = 0
		}
	}
	return r, nil
}

// quantifier reads * + ? or braces. Braces that are no quantifier are letters.
func (p *parser) quantifier() (lo, hi int, ok bool, err error) {
	if !p.more() || p.quoted {
		return 0, 0, false, nil
	}
	switch p.src[p.at] {
	case '*':
		lo, hi = 0, Unlimited
	case '+':
		lo, hi = 1, Unlimited
	case '?':
		lo, hi = 0, 1
	case '{':
		return p.braces()
	default:
		return 0, 0, false, nil
	}
	p.at++
	return lo, hi, true, nil
}

// braces reads {n}, {n,}, {n,m} and, as Perl does since 5.34, {,m} and blanks inside.
func (p *parser) braces() (lo, hi int, ok bool, err error) {
	end := strings.IndexByte(p.rest(), '}')
	if end < 0 {
		return 0, 0, false, nil
	}
	low, high, comma := strings.Cut(p.rest()[1:end], ",")
	low, high = strings.Trim(low, " \t"), strings.Trim(high, " \t")
	if !isNumber(low) || !isNumber(high) || low == "" && high == "" {
		return 0, 0, false, nil
	}
	if low == "" && !comma {
		return 0, 0, false, nil
	}
	lo, hi = number(low), number(high)
	switch {
	case !comma:
		hi = lo
	case high == "":
		hi = Unlimited
	}
	if lo > maxRepeat || hi > maxRepeat {
		return 0, 0, false, p.errorf(p.at, "a quantifier above %d", maxRepeat)
	}
	p.at += end + 1
	return lo, hi, true, nil
}

func isNumber(text string) bool { return strings.Trim(text, "0123456789") == "" }

func number(text string) int {
	n := 0
	for i := range len(text) {
		n = min(n*10+int(text[i]-'0'), maxRepeat+1)
	}
	return n
}

// atom reads one thing that a quantifier may follow; nil if it only changed the modifiers.
func (p *parser) atom() (*Node, error) {
	c := p.src[p.at]
	if p.quoted {
		p.at++
		return p.letter(c), nil
	}
	switch c {
	case '(':
		return p.group()
	case '[':
		return p.class()
	case '\\':
		return p.escape()
	case '*', '+', '?':
		return nil, p.errorf(p.at, "a quantifier %c that follows nothing", c)
	case '{':
		if _, _, ok, _ := p.quantifier(); ok {
			return nil, p.errorf(p.at, "a quantifier that follows nothing")
		}
	}
	p.at++
	switch c {
	case '.':
		if p.has(DotAll) {
			return setNode(All()), nil
		}
		return setNode(Single('\n').Not()), nil
	case '^':
		return p.anchor(BeginText, BeginLine), nil
	case '$':
		return p.anchor(EndTextLine, EndLine), nil
	}
	return p.letter(c), nil
}

func (p *parser) anchor(text, line Assert) *Node {
	if p.has(MultiLine) {
		return &Node{Op: OpAssert, Assert: line}
	}
	return &Node{Op: OpAssert, Assert: text}
}

func setNode(s Set) *Node { return &Node{Op: OpSet, Set: s} }

func (p *parser) letter(c byte) *Node {
	s := Single(c)
	return setNode(p.fold(s))
}

// fold adds the other cases if case does not count.
func (p *parser) fold(s Set) Set {
	switch {
	case !p.has(IgnoreCase):
		return s
	case p.has(latinFold):
		return s.FoldedLatin()
	}
	return s.Folded()
}

// folding is how case does not count for what a group matched.
func (p *parser) folding() Fold {
	switch {
	case !p.has(IgnoreCase):
		return FoldNone
	case p.has(latinFold):
		return FoldLatin
	}
	return FoldASCII
}

// letters is a sequence of octets.
func (p *parser) letters(text string) *Node {
	var all []*Node
	for i := range len(text) {
		all = append(all, p.letter(text[i]))
	}
	return concat(all)
}
