// Package perlre matches Perl's regular expressions on octets, as SpamAssassin's rules mean them, which are compiled with
// /aa: a dot is one octet, classes know ASCII only, and case is that of ISO 8859-1. Steps are counted, so that no expression and no text can hold a message up.
//
// What can't be matched as Perl does it is an error that names the construct; one thing is meant otherwise: a character
// above 0xff in an expression stands for its octets in UTF-8, where Perl would never find it in a string of octets.
package perlre

import (
	"slices"
	"sync"

	"postern/rules/perlre/syntax"
)

// Flags are the modifiers behind an expression.
type Flags = syntax.Flags

// The modifiers.
const (
	IgnoreCase   = syntax.IgnoreCase
	MultiLine    = syntax.MultiLine
	DotAll       = syntax.DotAll
	Extended     = syntax.Extended
	ExtendedMore = syntax.ExtendedMore
)

// Regexp is a compiled expression. It can be used by many at once.
type Regexp struct {
	expr  string
	flags Flags
	tree  *syntax.Tree
	prog  *program
	look  finder
	// ahead is made when it is first needed; nil for what is not worth it.
	ahead     *ahead
	aheadOnce sync.Once
	// full has the groups where prog leaves them out; it is compiled when somebody asks for a group.
	full     *program
	fullOnce sync.Once
}

// Compile reads an expression, without delimiters.
func Compile(expr string, f Flags) (*Regexp, error) {
	tree, err := syntax.Parse(expr, f)
	if err != nil {
		return nil, err
	}
	prog, err := compile(tree, tree.HasBackref)
	if err != nil {
		return nil, err
	}
	return &Regexp{expr: expr, flags: f, tree: tree, prog: prog, look: newFinder(tree, prog.begin)}, nil
}

// String is the expression as it was written.
func (re *Regexp) String() string { return re.expr }

// Tree is the expression as it was read. Nobody may change it.
func (re *Regexp) Tree() *syntax.Tree { return re.tree }

// Groups counts the capturing groups.
func (re *Regexp) Groups() int { return re.tree.Groups }

// Names are the names of groups, sorted.
func (re *Regexp) Names() []string {
	names := make([]string, 0, len(re.tree.Names))
	for name := range re.tree.Names {
		names = append(names, name)
	}
	slices.Sort(names)

	return names
}

// Match says where an expression matched.
type Match struct {
	Start, End int

	re   *Regexp
	text string
	// begun is where the attempt began, before \K; from is what \G means.
	begun, from int
	notEmpty    bool
	caps        []int
}

// Find gives the first match at from or behind it, the one of those there that Perl prefers. It finds nothing once the
// budget is exhausted, which the budget tells.
func (re *Regexp) Find(text string, from int, b *Budget) (Match, bool) {
	return re.find(text, from, false, b)
}

// Next gives the match behind another one, as //g goes on: not an empty one where an empty one was.
func (re *Regexp) Next(text string, m Match, b *Budget) (Match, bool) {
	return re.find(text, m.End, m.End == m.Start, b)
}

// Group gives what a group matched, and whether it took part; 0 is the whole match.
func (m Match) Group(n int) (string, bool) {
	start, end := m.Span(n)
	if start < 0 {
		return "", false
	}
	return m.text[start:end], true
}

// Span gives where a group matched, -1 and -1 if it took no part; 0 is the whole match.
func (m Match) Span(n int) (start, end int) {
	if n == 0 && m.re != nil {
		return m.Start, m.End
	}
	if m.re == nil || n < 0 || n > m.re.tree.Groups {
		return -1, -1
	}
	caps := m.caps
	if caps == nil {
		caps = m.re.captures(m)
	}
	if 2*n+1 >= len(caps) {
		return -1, -1
	}
	return caps[2*n], caps[2*n+1]
}

// Named gives what the first group of a name that took part matched.
func (m Match) Named(name string) (string, bool) {
	if m.re == nil {
		return "", false
	}
	for _, n := range m.re.tree.Names[name] {
		if text, ok := m.Group(n); ok {
			return text, true
		}
	}
	return "", false
}

// captures matches once more, with the groups.
func (re *Regexp) captures(m Match) []int {
	re.fullOnce.Do(func() {
		if p, err := compile(re.tree, true); err == nil {
			re.full = p
		}
	})
	if re.full == nil {
		return nil
	}
	b := NewBudget(captureSteps)
	x := b.machine(re.full, m.text, m.from, m.notEmpty)
	if _, ok := x.attempt(m.begun); !ok {
		return nil
	}
	return slices.Clone(x.caps)
}

// captureSteps are more than what any match within a sane budget took.
const captureSteps = 2 << 20
