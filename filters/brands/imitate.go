package brands

import (
	"strings"

	"golang.org/x/net/idna"

	"postern/internal/mimeview/confusable"
)

// maxLabel bounds the label that is looked at: RFC 1035 section 2.3.4.
const maxLabel = 63

// imitated is the brand whose name stands in a label of a domain, and how.
func (t *Table) imitated(label string) (brand int, how string, ok bool) {
	shown, err := idna.ToUnicode(label)
	if err != nil {
		shown = label
	}
	folded := strings.ToLower(confusable.Fold(shown[:min(len(shown), 4*maxLabel)]))
	plain := letters(folded)
	if brand, ok := t.joined[strings.ReplaceAll(plain, "-", "")]; ok {
		return brand, "its name below another domain", true
	}

	for part := range strings.SplitSeq(plain, "-") {
		if brand, ok := t.joined[part]; ok {
			return brand, "other words joined to its name", true
		}
		if brand, ok := t.joinedToService(part); ok {
			return brand, "other words joined to its name", true
		}
	}
	for part := range strings.SplitSeq(strings.NewReplacer("rn", "m", "vv", "w").Replace(plain), "-") {
		if brand, how, ok := t.oneLetterOff(part); ok {
			return brand, how, true
		}
	}

	return 0, "", false
}

// joinedToService says whether a part is a brand's name with a word of service in front or behind: "paypalsupport".
func (t *Table) joinedToService(part string) (brand int, ok bool) {
	for i := minJoined; i+2 < len(part); i++ {
		if brand, ok := t.joined[part[:i]]; ok && isService(part[i:]) {
			return brand, true
		}
	}
	for i := 3; i+minJoined <= len(part); i++ {
		if brand, ok := t.joined[part[i:]]; ok && isService(part[:i]) {
			return brand, true
		}
	}

	return 0, false
}

// oneLetterOff says whether a label is a brand's name but for one letter.
func (t *Table) oneLetterOff(label string) (brand int, how string, ok bool) {
	if brand, ok := t.joined[label]; ok {
		return brand, "letters that look like its name", true
	}
	if t.words[label] {
		return 0, "", false
	}
	if brand, ok := t.looks[sameLook(label)]; ok && len(label) >= minJoined {
		return brand, "letters that look like its name", true
	}
	if len(label) < minJoined+1 {
		return 0, "", false
	}
	for i := range label {
		if brand, ok := t.joined[label[:i]+label[i+1:]]; ok {
			return brand, "a letter more", true
		}
	}
	if brand, ok := t.masked[label]; ok {
		return brand, "a letter less", true
	}
	if brand, ok := t.swapped[label]; ok {
		return brand, "two letters have changed places", true
	}
	for i := range label {
		if brand, ok := t.masked[label[:i]+"?"+label[i+1:]]; ok {
			return brand, "one letter differs", true
		}
	}

	return 0, "", false
}

// nearly says whether a part of a label is nearly the name of a brand that the mail claims to be of: short names count, too,
// where their letters look alike.
func (t *Table) nearly(label string, brand int) (how string, ok bool) {
	for part := range strings.SplitSeq(strings.ToLower(label[:min(len(label), maxLabel)]), "-") {
		for _, name := range t.Brands[brand].Names {
			name = strings.Join(Words(name), "")
			if part == name || len(name) < minNearly || len(part) > maxLabel {
				continue
			}
			if sameLook(part) == sameLook(name) {
				return "letters that look like its name", true
			}
			if len(name) >= minJoined && oneOff(part, name) {
				return "one letter off its name", true
			}
		}
	}

	return "", false
}

// minNearly is the length from which a name is compared by the looks of its letters.
const minNearly = 3

// sameLook gives letters that are taken for each other the same form.
func sameLook(word string) string {
	word = strings.ReplaceAll(strings.ReplaceAll(word, "rn", "m"), "vv", "w")

	return strings.Map(func(r rune) rune {
		switch r {
		case 'i', '1', 'j':
			return 'l'
		case '0':
			return 'o'
		case 'q':
			return 'g'
		case '5':
			return 's'
		}

		return r
	}, word)
}

// oneOff says whether two words differ in one letter: another one, one more, one less, or two that changed places.
func oneOff(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	i := 0
	for i < len(a) && a[i] == b[i] {
		i++
	}
	switch len(b) - len(a) {
	case 0:
		swapped := i+1 < len(a) && a[i] == b[i+1] && a[i+1] == b[i] && a[i+2:] == b[i+2:]

		return i < len(a) && (swapped || a[i+1:] == b[i+1:])
	case 1:
		return a[i:] == b[i+1:]
	}

	return false
}

// mask makes a name known by all forms that lack one letter, or have any other in its place.
func (t *Table) mask(name string, brand int) {
	if len(name) < minJoined+1 {
		return
	}
	for i := range name {
		if i+1 < len(name) && name[i] != name[i+1] {
			t.swapped[name[:i]+name[i+1:i+2]+name[i:i+1]+name[i+2:]] = brand
		}
		t.masked[name[:i]+name[i+1:]] = brand
		t.masked[name[:i]+"?"+name[i+1:]] = brand
	}
}
