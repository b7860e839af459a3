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
	// any are literals in lower case, one of which must be there; nil if nothing is known.
	any []string
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
		p.any = required(tree, 0)
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
		c := t.src[t.at]
		var err error
		switch {
		case c == '\\':
			err = t.escape()
		case t.class:
			t.inClass(c)
		case c == '[':
			t.openClass()
		case c == '(':
			err = t.group()
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
		if err != nil {
			return "", err
		}
	}
	return t.out.String(), nil
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

// required gives literals in lower case of which each match has one, nil if none are known.
func required(n *syntax.Regexp, depth int) []string {
	const shortest, most = 3, 24
	if depth > 50 {
		return nil
	}
	switch n.Op {
	case syntax.OpLiteral:
		if text := longestASCII(n.Rune); len(text) >= shortest {
			return []string{text}
		}
	case syntax.OpCapture, syntax.OpPlus:
		return required(n.Sub[0], depth+1)
	case syntax.OpRepeat:
		if n.Min > 0 {
			return required(n.Sub[0], depth+1)
		}
	case syntax.OpConcat:
		var best []string
		for _, sub := range n.Sub {
			if list := required(sub, depth+1); list != nil && better(list, best) {
				best = list
			}
		}
		return best
	case syntax.OpAlternate:
		var all []string
		for _, sub := range n.Sub {
			list := required(sub, depth+1)
			if list == nil || len(all)+len(list) > most {
				return nil
			}
			all = append(all, list...)
		}
		return all
	}
	return nil
}

// better prefers few literals, then long ones.
func better(a, b []string) bool {
	if b == nil || len(a) != len(b) {
		return b == nil || len(a) < len(b)
	}
	return shortestOf(a) > shortestOf(b)
}

func shortestOf(list []string) int {
	n := len(list[0])
	for _, s := range list {
		n = min(n, len(s))
	}
	return n
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
