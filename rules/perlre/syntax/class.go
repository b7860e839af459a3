package syntax

import "strings"

// class reads [...].
func (p *parser) class() (*Node, error) {
	start := p.at
	p.at++
	negated := p.take("^")
	var set Set
	var wide []string
	for first := true; ; first = false {
		p.classSkip()
		if !p.more() {
			return nil, p.errorf(start, "a [ without its ]")
		}
		if p.src[p.at] == ']' && !first {
			p.at++
			break
		}
		s, text, err := p.member()
		if err != nil {
			return nil, err
		}
		if len(text) > 1 {
			wide = append(wide, text)
			continue
		}
		set = set.Or(s)
	}
	set = p.fold(set)
	if negated {
		return setNode(set.Not()), nil
	}
	if wide == nil {
		return setNode(set), nil
	}
	alt := &Node{Op: OpAlt}
	if !set.Empty() {
		alt.Sub = append(alt.Sub, setNode(set))
	}
	for _, text := range wide {
		alt.Sub = append(alt.Sub, p.letters(text))
	}
	return alt, nil
}

// classSkip passes by blanks, which count for nothing in a class under /xx.
func (p *parser) classSkip() {
	for p.has(ExtendedMore) && p.more() && (p.src[p.at] == ' ' || p.src[p.at] == '\t') {
		p.at++
	}
}

// member reads one letter, range, escape or POSIX class. A character of several octets is given as text.
func (p *parser) member() (Set, string, error) {
	start := p.at
	s, text, single, err := p.classAtom()
	if err != nil || !single {
		return s, text, err
	}
	p.classSkip()
	if !p.more() || p.src[p.at] != '-' || len(p.rest()) < 2 {
		return s, text, nil
	}
	back := p.at
	p.at++
	p.classSkip()
	if !p.more() || p.src[p.at] == ']' { // a - at the end is a letter
		p.at = back
		return s, text, nil
	}
	_, high, single, err := p.classAtom()
	if err != nil {
		return s, "", err
	}
	if !single { // a-\d: the - is a letter, and what follows is read for itself
		p.at = back
		return s, text, nil
	}
	if len(text) != 1 || len(high) != 1 {
		return s, "", p.errorf(start, "a range of characters above 0xff in a class is not supported")
	}
	if text[0] > high[0] {
		return s, "", p.errorf(start, "a range in a class that runs backwards")
	}
	return Span(text[0], high[0]), high, nil
}

// classAtom reads one thing in a class; single says that it is one character, which can begin or end a range.
func (p *parser) classAtom() (s Set, text string, single bool, err error) {
	c := p.src[p.at]
	if c == '[' {
		if s, ok, err := p.posixClass(); ok || err != nil {
			return s, "", false, err
		}
	}
	if c != '\\' {
		p.at++
		return Single(c), string([]byte{c}), true, nil
	}
	if len(p.rest()) < 2 {
		return s, "", false, p.errorf(p.at, `a \ at the end`)
	}
	c = p.src[p.at+1]
	if s, ok := classEscape(c); ok {
		p.at += 2
		return s, "", false, nil
	}
	if c == 'b' {
		p.at += 2
		return Single('\b'), "\b", true, nil
	}
	if strings.HasPrefix(p.rest(), `\N`) && !strings.HasPrefix(p.rest(), `\N{`) {
		return s, "", false, p.errorf(p.at, `\N in a class`)
	}
	if text, err = p.char(); err != nil {
		return s, "", false, err
	}
	if len(text) == 1 {
		s = Single(text[0])
	}
	return s, text, true, nil
}

// posixClass reads [:name:], if it stands here.
func (p *parser) posixClass() (Set, bool, error) {
	rest := p.rest()
	if strings.HasPrefix(rest, "[=") || strings.HasPrefix(rest, "[.") {
		kind := rest[1:2]
		if strings.Contains(rest[2:], kind+"]") {
			return Set{}, false, p.errorf(p.at, "[%s %s] in a class is not supported", kind, kind)
		}
		return Set{}, false, nil
	}
	if !strings.HasPrefix(rest, "[:") {
		return Set{}, false, nil
	}
	name, _, ok := strings.Cut(rest[2:], ":]")
	bare := strings.TrimPrefix(name, "^")
	if !ok || strings.Trim(bare, "abcdefghijklmnopqrstuvwxyz") != "" {
		return Set{}, false, nil
	}
	s, known := posix(bare)
	if !known {
		return Set{}, false, p.errorf(p.at, "the class [:%s:] is not known", name)
	}
	if p.has(IgnoreCase) && (bare == "upper" || bare == "lower") {
		s = s.Folded()
	}
	if bare != name {
		s = s.Not()
	}
	p.at += 2 + len(name) + 2
	return s, true, nil
}
