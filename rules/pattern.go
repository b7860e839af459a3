package rules

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
	"unicode/utf8"
)

// pattern is a regular expression with what must stand in a text for it to match at all.
type pattern struct {
	re *regexp.Regexp
	// needs says what must stand in a text for a match, nil if nothing is known.
	needs *need
}

// parsePattern reads /re/mods or m{re}mods.
func parsePattern(text string) (*pattern, error) {
	body, mods, err := unwrap(text)
	if err != nil {
		return nil, err
	}
	t := translator{src: body}
	flags := ""
	for _, m := range mods {
		switch m {
		case 'i', 's':
			flags += string(m)
		case 'm':
			flags += "m"
			t.multiline = true
		case 'x':
			t.extended = true
		case 'g', 'o', 'a', 'u': // change nothing here
		default:
			return nil, fmt.Errorf("the modifier %c is not known", m)
		}
	}
	translated, err := t.translate()
	if err != nil {
		return nil, err
	}
	if flags != "" {
		translated = "(?" + flags + ")" + translated
	}
	re, err := regexp.Compile(translated)
	if err != nil {
		return nil, fmt.Errorf("the expression can't be used: %s", strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	p := &pattern{re: re}
	if tree, err := syntax.Parse(translated, syntax.Perl); err == nil {
		p.needs = required(tree, 0)
	}
	return p, nil
}

// unwrap takes the delimiters away.
func unwrap(text string) (body, mods string, err error) {
	bad := errors.New("want an expression as /.../ or m{...}")
	if len(text) < 2 {
		return "", "", bad
	}
	open := text[0]
	rest := text[1:]
	if open == 'm' {
		open, rest = text[1], text[2:]
	} else if open != '/' {
		return "", "", bad
	}
	if isWord(open) || open == ' ' {
		return "", "", bad
	}
	end := open
	if i := strings.IndexByte("({[<", open); i >= 0 {
		end = ")}]>"[i]
	}
	last := strings.LastIndexByte(rest, end)
	if last < 0 {
		return "", "", bad
	}
	return rest[:last], strings.TrimSpace(rest[last+1:]), nil
}

// translator turns Perl's syntax into that of package regexp.
type translator struct {
	src       string
	out       strings.Builder
	at        int
	class     bool
	multiline bool
	extended  bool
}

func (t *translator) translate() (string, error) {
	for t.at < len(t.src) {
		if err := t.next(t.src[t.at]); err != nil {
			return "", err
		}
	}

	return t.out.String(), nil
}

// next translates what begins with an octet.
func (t *translator) next(c byte) error {
	switch {
	case c == '\\':
		return t.escape()
	case t.class:
		t.inClass(c)
	case c == '[':
		t.openClass()
	case c == '(':
		return t.group()
	case c == '$' && !t.multiline:
		// Perl: before a line end that ends the text, too
		t.emit(`(?:\n?\z)`)
	case c == '{' && strings.HasPrefix(t.src[t.at:], "{,"):
		t.emit("{0")
	case t.extended && (c == ' ' || c == '\t'):
		t.at++
	case t.extended && c == '#':
		t.at = len(t.src)
	default:
		t.octet(c)
	}

	return nil
}

// emit writes the translation of one octet.
func (t *translator) emit(text string) {
	t.out.WriteString(text)
	t.at++
}

// octet writes one octet of the expression; above 127 it is the character of that number, as in the text.
func (t *translator) octet(c byte) {
	if c < utf8.RuneSelf {
		t.out.WriteByte(c)
	} else {
		t.out.WriteRune(rune(c))
	}
	t.at++
}

func (t *translator) openClass() {
	t.class = true
	t.emit("[")
	if t.at < len(t.src) && t.src[t.at] == '^' {
		t.emit("^")
	}
	if t.at < len(t.src) && t.src[t.at] == ']' {
		t.emit(`\]`)
	}
}

func (t *translator) inClass(c byte) {
	switch {
	case c == ']':
		t.class = false
		t.emit("]")
	case c == '[' && strings.HasPrefix(t.src[t.at:], "[:"):
		if end := strings.Index(t.src[t.at:], ":]"); end > 0 {
			t.out.WriteString(t.src[t.at : t.at+end+2])
			t.at += end + 2
			return
		}
		t.emit(`\[`)
	case c == '[':
		t.emit(`\[`)
	default:
		t.octet(c)
	}
}

var (
	errLook    = errors.New("look-ahead and look-behind can't be matched in linear time")
	errBackref = errors.New("back-references can't be matched in linear time")
	errAtomic  = errors.New("atomic groups and conditions are not known here")
)

func (t *translator) group() error {
	rest := t.src[t.at:]
	switch {
	case strings.HasPrefix(rest, "(?=") || strings.HasPrefix(rest, "(?!") || strings.HasPrefix(rest, "(?<=") || strings.HasPrefix(rest, "(?<!"):
		return errLook
	case strings.HasPrefix(rest, "(?>") || strings.HasPrefix(rest, "(?(") || strings.HasPrefix(rest, "(?|") || strings.HasPrefix(rest, "(?&") || strings.HasPrefix(rest, "(?R") || strings.HasPrefix(rest, "(*"):
		return errAtomic
	case strings.HasPrefix(rest, "(?#"):
		end := strings.IndexByte(rest, ')')
		if end < 0 {
			return errors.New("a ) is missing")
		}
		t.at += end + 1
		return nil
	case strings.HasPrefix(rest, "(?^"):
		t.out.WriteString("(?")
		t.at += 3
		return nil
	}
	t.emit("(")
	return nil
}

// escape translates a backslash and what follows it.
func (t *translator) escape() error {
	if t.at+1 >= len(t.src) {
		return errors.New("the expression ends in a backslash")
	}
	c := t.src[t.at+1]
	t.at += 2
	pick := func(outside, inside string) {
		if t.class {
			outside = inside
		}
		t.out.WriteString(outside)
	}
	switch c {
	case 's': // Perl's white space has a vertical tab
		pick(`[\s\x0b]`, `\s\x0b`)
	case 'S':
		pick(`[^\s\x0b]`, `\S`)
	case 'h':
		pick(`[ \t]`, ` \t`)
	case 'Z':
		pick(`(?:\n?\z)`, "Z")
	case 'R':
		pick(`(?:\r\n|[\n\r\f\x0b])`, "R")
	case 'b':
		pick(`\b`, `\x08`)
	case 'e':
		pick(`\x1b`, `\x1b`)
	case '0':
		pick(`\x00`, `\x00`)
	case '1', '2', '3', '4', '5', '6', '7', '8', '9', 'g', 'k':
		return errBackref
	case 'K', 'G', 'X', 'c', 'N', 'H', 'V', 'v', 'p', 'P', 'L', 'l', 'U', 'u', 'E':
		return fmt.Errorf(`\%c is not known here`, c)
	case '_', '<', '>', '/', '#', '@', '"', '\'', '`', '~', '!', '%', '&', ',', ':', ';', '=', ' ':
		t.out.WriteByte(c)
	default:
		t.out.WriteByte('\\')
		if c >= utf8.RuneSelf {
			t.out.WriteRune(rune(c))
		} else {
			t.out.WriteByte(c)
		}
	}
	return nil
}

// need is what a text must hold: a literal in lower case, or all or one of others.
type need struct {
	literal string
	// id is the literal's number once it has one, -1 for one that had no room: it counts as seen.
	id  int
	any bool // one of subs, else all of them
	sub []*need
}

// required finds what each match of an expression holds, nil if nothing is known.
func required(n *syntax.Regexp, depth int) *need {
	const shortest = 3
	if depth > 50 {
		return nil
	}
	switch n.Op {
	case syntax.OpLiteral:
		if text := longestASCII(n.Rune); len(text) >= shortest {
			return &need{literal: text}
		}
	case syntax.OpCapture, syntax.OpPlus:
		return required(n.Sub[0], depth+1)
	case syntax.OpRepeat:
		if n.Min > 0 {
			return required(n.Sub[0], depth+1)
		}
	case syntax.OpConcat, syntax.OpAlternate:
		all := &need{any: n.Op == syntax.OpAlternate}
		for _, sub := range n.Sub {
			one := required(sub, depth+1)
			switch {
			case one != nil:
				all.sub = append(all.sub, one)
			case all.any: // that alternative needs nothing we know of
				return nil
			}
		}
		if len(all.sub) > 0 {
			return all
		}
	}
	return nil
}

// number gives the literals their numbers.
func (n *need) number(l *literals) {
	switch {
	case n == nil:
	case n.literal != "":
		n.id = l.add(n.literal)
	default:
		for _, sub := range n.sub {
			sub.number(l)
		}
	}
}

// met says whether a text with these literals in it can match.
func (n *need) met(seen bits) bool {
	switch {
	case n == nil:
		return true
	case n.literal != "":
		return n.id < 0 || seen.has(n.id)
	}
	for _, sub := range n.sub {
		if sub.met(seen) == n.any {
			return n.any
		}
	}
	return !n.any
}

// longestASCII is the longest run of ASCII in a literal, in lower case: folding beyond ASCII is no business of ours.
func longestASCII(runes []rune) string {
	best := ""
	var b strings.Builder
	for _, r := range runes {
		if r < utf8.RuneSelf {
			b.WriteRune(r)
			continue
		}
		if b.Len() > len(best) {
			best = b.String()
		}
		b.Reset()
	}
	if b.Len() > len(best) {
		best = b.String()
	}
	return strings.ToLower(best)
}
