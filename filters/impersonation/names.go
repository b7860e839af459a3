package impersonation

import (
	"slices"
	"strings"
	"unicode"
)

// protectedName is a person whose name others like to use.
type protectedName struct {
	name  string
	words []string
	key   string
}

// maxNameWords bounds the words of a name that are looked at.
const maxNameWords = 12

// words are those of a name as they look, sorted: "Chief, Ada" is "Ada Chief".
func (l *lookalikes) words(name string) []string {
	words := strings.FieldsFunc(l.skeleton(name), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	words = words[:min(len(words), maxNameWords)]
	slices.Sort(words)
	return words
}

// sameName says whether a name is that of the person: all words of it, with at most three others such as a title. One
// word alone must be the whole name.
func (l *lookalikes) sameName(p protectedName, name string) bool {
	const maxOthers = 3
	words := l.words(name)
	if len(p.words) == 1 || len(words) > len(p.words)+maxOthers {
		return slices.Equal(words, p.words)
	}
	for _, w := range p.words {
		if !slices.Contains(words, w) {
			return false
		}
	}
	return true
}

// comments gives the text of a field's comments (RFC 5322 section 3.2.2), quoted strings left out.
func comments(value string) string {
	var b strings.Builder
	depth, quoted := 0, false
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case c == '\\':
			i++
		case depth == 0 && c == '"':
			quoted = !quoted
		case quoted:
		case c == '(':
			depth++
			b.WriteByte(' ')
		case c == ')' && depth > 0:
			depth--
		case depth > 0:
			b.WriteByte(c)
		}
	}
	return b.String()
}
