package policy

import (
	"strings"
	"unicode/utf8"

	"github.com/pelletier/go-toml/v2/unstable"
)

// passage is the place of a text in the policy file, for error messages about it.
type passage struct {
	raw          string // as it is written, with its quotes
	line, column int    // of raw, from 1
}

// passages finds the conditions of the rules, by the rules' order in the file.
func passages(text []byte) map[int]passage {
	found := map[int]passage{}
	var p unstable.Parser
	p.Reset(text)
	rule, within := -1, false
	for p.NextExpression() {
		switch e := p.Expression(); e.Kind {
		case unstable.ArrayTable, unstable.Table:
			within = e.Kind == unstable.ArrayTable && keyIs(e, "rule")
			if within {
				rule++
			}
		case unstable.KeyValue:
			if v := e.Value(); within && keyIs(e, "when") && v.Kind == unstable.String {
				at := p.Shape(v.Raw).Start
				found[rule] = passage{string(p.Raw(v.Raw)), at.Line, at.Column}
			}
		}
	}
	return found
}

func keyIs(n *unstable.Node, name string) bool {
	parts := n.Key()
	return parts.Next() && strings.EqualFold(string(parts.Node().Data), name) && parts.IsLast()
}

// place turns a line and column of the text's value (from 1 and from 0, in characters) into those of the file.
func (p passage) place(value string, line, column int) (int, int) {
	offset := 0 // in characters of the value
	for rest := value; line > 1; line-- {
		i := strings.IndexByte(rest, '\n')
		if i < 0 {
			break
		}
		offset += utf8.RuneCountInString(rest[:i+1])
		rest = rest[i+1:]
	}
	written := p.raw[:p.offset(offset+column)]
	if i := strings.LastIndexByte(written, '\n'); i >= 0 {
		return p.line + strings.Count(written, "\n"), utf8.RuneCountInString(written[i+1:]) + 1
	}
	return p.line, p.column + utf8.RuneCountInString(written)
}

// offset finds the n-th character of the value in what is written, in octets.
func (p passage) offset(n int) int {
	escapes := strings.HasPrefix(p.raw, `"`)
	i := 1
	for _, long := range []string{`"""`, `'''`} {
		if strings.HasPrefix(p.raw, long) && len(p.raw) >= 6 {
			i = 3
			// TOML 1.0: a line end right behind the opening quotes is not part of the value
			i += len(p.raw[i:]) - len(strings.TrimPrefix(strings.TrimPrefix(p.raw[i:], "\r"), "\n"))
		}
	}
	for ; n > 0 && i < len(p.raw); n-- {
		i += writtenLength(p.raw[i:], escapes)
	}
	return min(i, len(p.raw))
}

// writtenLength is how many octets the first character of a value takes up: an escape stands for one character.
func writtenLength(s string, escapes bool) int {
	if escapes && s[0] == '\\' && len(s) > 1 {
		switch s[1] {
		case 'u':
			return min(6, len(s))
		case 'U':
			return min(10, len(s))
		case 'x':
			return min(4, len(s))
		case ' ', '\t', '\r', '\n': // the line goes on, white space in between does not count
			rest := strings.TrimLeft(s[1:], " \t\r\n")
			if rest == "" {
				return len(s)
			}
			return len(s) - len(rest) + writtenLength(rest, escapes)
		}
		return 2
	}
	_, size := utf8.DecodeRuneInString(s)
	return size
}
