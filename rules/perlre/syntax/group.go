package syntax

import "strings"

// group reads what begins with an opening parenthesis.
func (p *parser) group() (*Node, error) {
	start := p.at
	p.at++
	if p.take("*") {
		return p.verb(start)
	}
	if !p.take("?") {
		if p.has(noCapture) {
			return p.inner(start, Node{Op: OpEmpty}, false)
		}
		return p.capture(start, "")
	}
	if !p.more() {
		return nil, p.errorf(start, "a ( without its )")
	}
	if n, known, err := p.look(start); known {
		return n, err
	}
	switch c := p.src[p.at]; c {
	case '|':
		p.at++
		return p.inner(start, Node{Op: OpEmpty}, true)
	case '>':
		p.at++
		return p.inner(start, Node{Op: OpAtomic}, false)
	case '<', '\'', 'P':
		return p.named(start)
	case '(':
		return p.conditional(start)
	case 'R', '&', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '+':
		return nil, p.errorf(start, "recursion (?%c is not supported", c)
	case '{', '?':
		return nil, p.errorf(start, "code in an expression is not supported")
	}
	return p.modifiers(start)
}

// look reads (?= (?! (?<= (?<!
func (p *parser) look(start int) (n *Node, known bool, err error) {
	for _, l := range []struct {
		prefix           string
		behind, negative bool
	}{{"=", false, false}, {"!", false, true}, {"<=", true, false}, {"<!", true, true}} {
		if p.take(l.prefix) {
			n, err := p.lookGroup(start, l.behind, l.negative)
			return n, true, err
		}
	}
	return nil, false, nil
}

func (p *parser) lookGroup(start int, behind, negative bool) (*Node, error) {
	n, err := p.inner(start, Node{Op: OpLook, Behind: behind, Negative: negative}, false)
	if err != nil {
		return nil, err
	}
	if behind {
		if _, hi := n.Sub[0].Widths(); hi == Unlimited || hi > maxBehind {
			return nil, p.errorf(start, "a look-behind longer than %d octets", maxBehind)
		}
	}
	return n, nil
}

// inner reads up to the closing parenthesis; modifiers set inside end there. A node without an operation stands for what
// is in it.
func (p *parser) inner(start int, n Node, reset bool) (*Node, error) {
	flags := p.flags
	sub, err := p.alternatives(reset)
	if err != nil {
		return nil, err
	}
	if !p.take(")") {
		return nil, p.errorf(start, "a ( without its )")
	}
	p.flags = flags
	if n.Op == OpEmpty {
		// A group of its own even if it is one letter: (?:a)+ and a+ are the same.
		return sub, nil
	}
	n.Sub = []*Node{sub}
	return &n, nil
}

func (p *parser) capture(start int, name string) (*Node, error) {
	if p.groups++; p.groups > maxGroups {
		return nil, p.errorf(start, "more than %d groups", maxGroups)
	}
	n := Node{Op: OpGroup, N: p.groups}
	if name != "" {
		p.addName(name, n.N)
	}
	return p.inner(start, n, false)
}

func (p *parser) addName(name string, group int) {
	for _, g := range p.names[name] {
		if g == group { // in two branches of (?|...)
			return
		}
	}
	p.names[name] = append(p.names[name], group)
}

// named reads (?<name>...), (?'name'...), (?P<name>...), (?P=name).
func (p *parser) named(start int) (*Node, error) {
	if p.take("P=") {
		return p.namedRef(start, ')')
	}
	if p.take("P>") {
		return nil, p.errorf(start, "recursion (?P> is not supported")
	}
	p.take("P")
	end := byte('>')
	switch {
	case p.take("<"):
	case p.take("'"):
		end = '\''
	default:
		return nil, p.errorf(start, "a group (?P%.1s is not known", p.rest())
	}
	name, err := p.name(start, end)
	if err != nil {
		return nil, err
	}
	return p.capture(start, name)
}

// name reads a name and the letter that ends it.
func (p *parser) name(start int, end byte) (string, error) {
	i := strings.IndexByte(p.rest(), end)
	if i < 0 {
		return "", p.errorf(start, "a name without its %c", end)
	}
	name := p.rest()[:i]
	if end == '}' {
		name = strings.Trim(name, " \t")
	}
	word := Word()
	for j := range len(name) {
		if !word.Has(name[j]) {
			return "", p.errorf(start, "a name with %q in it", name[j])
		}
	}
	if name == "" || name[0] >= '0' && name[0] <= '9' {
		return "", p.errorf(start, "a name that does not begin with a letter")
	}
	p.at += i + 1
	return name, nil
}

// modifiers reads (?i), (?^i-x) and (?i:...).
func (p *parser) modifiers(start int) (*Node, error) {
	flags, off := p.flags, false
	if p.take("^") {
		flags = 0
	}
	for p.more() {
		c := p.src[p.at]
		p.at++
		switch c {
		case ':':
			outer := p.flags
			p.flags = flags
			n, err := p.inner(start, Node{Op: OpEmpty}, false)
			p.flags = outer
			return n, err
		case ')':
			p.flags = flags
			return nil, nil
		case '-':
			off = true
		case 'a': // classes are of ASCII already
			flags |= latinFold
		case 'd':
			flags &^= latinFold
		case 'p':
		default:
			bit, ok := modifier(c)
			if !ok {
				return nil, p.errorf(start, "the modifier (?%c is not supported", c)
			}
			if bit == Extended && p.take("x") {
				bit |= ExtendedMore
			}
			if off {
				if bit == Extended {
					bit |= ExtendedMore
				}
				flags &^= bit
			} else {
				flags |= bit
			}
		}
	}
	return nil, p.errorf(start, "a ( without its )")
}

func modifier(c byte) (Flags, bool) {
	switch c {
	case 'i':
		return IgnoreCase, true
	case 'm':
		return MultiLine, true
	case 's':
		return DotAll, true
	case 'x':
		return Extended, true
	case 'n':
		return noCapture, true
	}
	return 0, false
}

// conditional reads (?(1)yes|no), (?(<name>)yes|no) and (?(?=...)yes|no); the parser stands on the inner parenthesis.
func (p *parser) conditional(start int) (*Node, error) {
	n := &Node{Op: OpCond}
	switch at := p.at; {
	case p.take("(?"):
		cond, known, err := p.look(at)
		if err != nil {
			return nil, err
		}
		if !known {
			return nil, p.errorf(start, "this condition (?( is not supported")
		}
		n.Cond = cond
	case p.take("(<"), p.take("('"):
		name, err := p.name(start, map[byte]byte{'<': '>', '\'': '\''}[p.src[p.at-1]])
		if err != nil {
			return nil, err
		}
		p.pending = append(p.pending, pendingName{name, n, start})
		if !p.take(")") {
			return nil, p.errorf(start, "a condition without its )")
		}
	default:
		end := strings.IndexByte(p.rest(), ')')
		if end < 2 || !isNumber(p.rest()[1:end]) {
			return nil, p.errorf(start, "this condition (?( is not supported")
		}
		n.N = number(p.rest()[1:end])
		p.refer(n.N, start)
		p.at += end + 1
	}
	p.backref = p.backref || n.Cond == nil
	return p.branches(start, n)
}

// branches reads what a condition chooses between.
func (p *parser) branches(start int, n *Node) (*Node, error) {
	sub, err := p.inner(start, Node{Op: OpEmpty}, false)
	if err != nil {
		return nil, err
	}
	n.Sub = []*Node{sub, {Op: OpEmpty}}
	if sub.Op == OpAlt {
		if len(sub.Sub) > 2 {
			return nil, p.errorf(start, "a condition with more than two branches")
		}
		n.Sub = sub.Sub
	}
	return n, nil
}

// verb reads (*FAIL) and the assertions with names; the others are not supported.
func (p *parser) verb(start int) (*Node, error) {
	for _, l := range []struct {
		names            []string
		behind, negative bool
	}{
		{[]string{"pla:", "positive_lookahead:"}, false, false},
		{[]string{"nla:", "negative_lookahead:"}, false, true},
		{[]string{"plb:", "positive_lookbehind:"}, true, false},
		{[]string{"nlb:", "negative_lookbehind:"}, true, true},
	} {
		if p.take(l.names[0]) || p.take(l.names[1]) {
			return p.lookGroup(start, l.behind, l.negative)
		}
	}
	switch {
	case p.take("atomic:"):
		return p.inner(start, Node{Op: OpAtomic}, false)
	case p.take("FAIL)"), p.take("F)"):
		return &Node{Op: OpFail}, nil
	}
	return nil, p.errorf(start, "the verb (*%.12s is not supported", p.rest())
}
