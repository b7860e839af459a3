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
	if len(label) < minJoined+1 || t.words[label] {
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
	for i := range label {
		if brand, ok := t.masked[label[:i]+"?"+label[i+1:]]; ok {
			return brand, "one letter differs", true
		}
	}

	return 0, "", false
}

// mask makes a name known by all forms that lack one letter, or have any other in its place.
func (t *Table) mask(name string, brand int) {
	if len(name) < minJoined+1 {
		return
	}
	for i := range name {
		t.masked[name[:i]+name[i+1:]] = brand
		t.masked[name[:i]+"?"+name[i+1:]] = brand
	}
}
