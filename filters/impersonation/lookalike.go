package impersonation

import (
	"slices"
	"strings"
	"unicode"

	"golang.org/x/net/idna"
	"golang.org/x/net/publicsuffix"
	"golang.org/x/text/unicode/norm"

	"postern/internal/mail"
	looks "postern/internal/mimeview/confusable"
)

// alike are the ASCII characters that can't be told apart in names: capital I, l and 1, O and 0, and the digits that stand
// for letters, each followed by what it is read as. Letters of other scripts are the business of package confusable.
const alike = "1l il |l 0o 5s 8b 3e 9g 6b 2z"

// clusters are pairs of letters that look like one.
const clusters = "rn=m vv=w cl=d nn=m"

// lookalikes compares domains and names by how they look.
type lookalikes struct {
	table    map[rune]rune
	clusters *strings.Replacer
}

func newLookalikes() *lookalikes {
	l := &lookalikes{table: map[rune]rune{}}
	for pair := range strings.FieldsSeq(alike) {
		if r := []rune(pair); len(r) == 2 {
			l.table[r[0]] = r[1]
		}
	}
	var pairs []string
	for pair := range strings.FieldsSeq(clusters) {
		from, to, _ := strings.Cut(pair, "=")
		pairs = append(pairs, from, to)
	}
	l.clusters = strings.NewReplacer(pairs...)
	return l
}

// skeleton is what a text looks like: UTS 39 section 4, for texts of one line. Two texts with one skeleton can't be told
// apart at a glance.
func (l *lookalikes) skeleton(text string) string {
	var b strings.Builder
	for _, r := range norm.NFKD.String(strings.ToLower(text)) {
		if unicode.Is(unicode.Mn, r) || looks.Invisible(r) {
			continue
		}
		r = looks.Letter(unicode.ToLower(r))
		if to, ok := l.table[r]; ok {
			r = to
		}
		b.WriteRune(r)
	}
	return l.clusters.Replace(b.String())
}

// kind says how close two domains are.
type kind int

const (
	apart kind = iota
	near
	confusable
)

// Lengths under which labels are too short to say that one was made to look like the other.
const (
	minNear     = 5
	minAnywhere = 8
	minHyphened = 4
)

// joinedWords is how a domain is like ours that has our name and other words: corp-benefits.example.
const joinedWords = "words joined by a hyphen"

// compare says whether a domain was made to look like one of ours. Both are in A-labels.
func (l *lookalikes) compare(domain, own string) (kind, string) {
	if domain == own || strings.HasSuffix(domain, "."+own) || strings.HasSuffix(own, "."+domain) {
		return apart, ""
	}
	org, ownOrg := registered(domain), registered(own)
	if org == ownOrg {
		return apart, "" // another department
	}

	ours, oursOrg := l.skeleton(display(own)), l.skeleton(display(ownOrg))
	for _, d := range []string{domain, org} {
		if s := l.skeleton(display(d)); s == ours || s == oursOrg {
			return confusable, ""
		}
	}

	// our whole name as labels of another's: corp.example.attack.test, but not the national branch corp.co.test of corp.co
	if strings.Contains("."+strings.TrimSuffix(domain, org), "."+own+".") {
		return near, "it stands within another domain"
	}
	if slices.Contains(strings.Split(domain, "."), strings.ReplaceAll(own, ".", "-")) {
		return near, "hyphens for dots"
	}

	return l.compareLabels(org, ownOrg)
}

// compareLabels compares the labels in front of the public suffixes of two registered domains.
func (l *lookalikes) compareLabels(org, ownOrg string) (kind, string) {
	label, suffix := split(org)
	own, ownSuffix := split(ownOrg)
	label, own = l.skeleton(display(label)), l.skeleton(display(own))

	switch {
	case len(own) < minHyphened:
		return apart, ""
	case label != own && strings.ReplaceAll(label, "-", "") == strings.ReplaceAll(own, "-", ""):
		return near, "a hyphen more or less"
	case strings.HasPrefix(label, own+"-") || strings.HasSuffix(label, "-"+own):
		return near, joinedWords
	}

	n := len([]rune(own))
	long := n >= minNear && suffix == ownSuffix || n >= minAnywhere // enough that one letter is no chance
	if long && oneEdit([]rune(label), []rune(own)) {
		return near, "one letter differs"
	}

	return apart, ""
}

// display is a domain in the letters that a reader sees.
func display(domain string) string {
	shown, err := idna.ToUnicode(domain)
	if err != nil {
		return domain
	}
	return shown
}

func registered(domain string) string {
	org, err := publicsuffix.EffectiveTLDPlusOne(domain)
	if err != nil {
		return domain
	}
	return org
}

// split parts a registered domain into its own label and the public suffix.
func split(org string) (label, suffix string) {
	label, suffix, _ = strings.Cut(org, ".")
	return label, suffix
}

// oneEdit says whether one letter was changed, added, left out or swapped with its neighbour.
func oneEdit(a, b []rune) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	i := 0
	for i < len(a) && a[i] == b[i] {
		i++
	}
	switch len(b) - len(a) {
	case 0:
		if i == len(a) {
			return false // the same
		}
		return swapped(a[i:], b[i:]) || slices.Equal(a[i+1:], b[i+1:])
	case 1:
		return slices.Equal(a[i:], b[i+1:])
	}
	return false
}

// swapped says whether two texts of one length differ in the order of their first two letters alone.
func swapped(a, b []rune) bool {
	return len(a) > 1 && a[0] == b[1] && a[1] == b[0] && slices.Equal(a[2:], b[2:])
}

// homograph says what is wrong with the letters of a domain: several of the scripts that look alike within one label, or a
// label of foreign letters every one of which looks Latin, under a top domain in Latin letters (UTS 39 section 5).
func (l *lookalikes) homograph(domain string) string {
	if !strings.Contains(domain, "xn--") {
		return ""
	}
	labels := strings.Split(display(domain), ".")
	for _, label := range labels {
		latin, foreign := scripts(label)
		switch {
		case latin && foreign:
			return "letters of several scripts in " + label
		case foreign && mail.IsASCII(l.skeleton(label)) && mail.IsASCII(labels[len(labels)-1]):
			return label + " looks like " + l.skeleton(label)
		}
	}
	return ""
}

// scripts says whether a label has letters of Latin, and of the scripts that look like it.
func scripts(label string) (latin, foreign bool) {
	for _, r := range label {
		latin = latin || r < 0x80 && unicode.IsLetter(r) || unicode.Is(unicode.Latin, r)
		foreign = foreign || unicode.In(r, unicode.Cyrillic, unicode.Greek, unicode.Armenian, unicode.Cherokee)
	}
	return latin, foreign
}

// isInvisible holds for characters that are invisible and don't separate words.
func isInvisible(r rune) bool {
	return r == 0xad || r >= 0x200b && r <= 0x200d || r >= 0x2060 && r <= 0x2064 || r == 0xfeff || r == 0x180e
}

// invisible names a character without a shape between two letters of a name. Joiners belong to emoji and to scripts that
// need them, so between others than Latin, Cyrillic and Greek letters they are left alone.
func invisible(name string) string {
	runes := []rune(name)
	plain := func(i int) bool {
		return i >= 0 && i < len(runes) && unicode.In(runes[i], unicode.Latin, unicode.Cyrillic, unicode.Greek)
	}
	for i, r := range runes {
		if isInvisible(r) && plain(i-1) && plain(i+1) {
			return "U+" + strings.ToUpper(hex(r))
		}
	}
	return ""
}

func hex(r rune) string {
	const digits = "0123456789abcdef"
	text := make([]byte, 4)
	for i := range text {
		text[3-i] = digits[r>>(4*i)&15]
	}
	return string(text)
}
