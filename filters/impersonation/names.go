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

// freemail matches services with open registration.
func freemail(domain string) bool {
	switch domain {
	case "gmail.com", "googlemail.com", "yahoo.com", "ymail.com", "rocketmail.com", "hotmail.com", "outlook.com", "live.com",
		"msn.com", "aol.com", "icloud.com", "me.com", "mac.com", "gmx.com", "gmx.net", "gmx.de", "gmx.at", "gmx.ch", "web.de",
		"mail.com", "mail.ru", "bk.ru", "inbox.ru", "list.ru", "rambler.ru", "yandex.ru", "yandex.com", "qq.com", "163.com",
		"126.com", "sina.com", "proton.me", "protonmail.com", "tutanota.com", "zoho.com", "libero.it", "free.fr", "orange.fr",
		"laposte.net", "t-online.de", "freenet.de", "wp.pl", "o2.pl", "seznam.cz", "naver.com", "daum.net", "rediffmail.com",
		"att.net", "comcast.net", "verizon.net", "email.com", "usa.com", "consultant.com":
		return true
	}
	// national branches
	for _, name := range []string{"yahoo.co.", "yahoo.", "hotmail.co.", "hotmail.", "outlook.", "live."} {
		if rest, ok := strings.CutPrefix(domain, name); ok && len(rest) == 2 {
			return true
		}
	}
	return false
}
