// Package brandnames knows companies and offices by their names, in many spellings, and by the domains that send for them.
package brandnames

import (
	_ "embed" // for the table
	"fmt"
	"slices"
	"strings"
	"unicode"

	"postern/internal/mail"
	"postern/internal/mimeview/confusable"
)

//go:embed brands.txt
var shipped string

// Brand is one line of the table.
type Brand struct {
	// Kind is what it is: "bank", "parcel", "cloud" and so on.
	Kind string `json:"kind"`
	// Names are how it is written; the first is the one that is shown.
	Names []string `json:"names"`
	// Domains send for it; "amazon.*" is amazon below every country's suffix and com, net and org.
	Domains []string `json:"domains"`
}

// spelling is one name of a brand, folded to words.
type spelling struct {
	words []string
	brand int
	// common names are also other things: see brands.txt.
	common bool
}

// Table knows brands by their names and domains.
type Table struct {
	Brands []Brand

	first   map[string][]spelling // by their first word, the longest first
	inside  []spelling            // names of scripts that don't part words
	domains map[string][]int
	labels  map[string][]int // of "label.*"
	joined  map[string]int   // names without spaces that a domain may imitate
	masked  map[string]int   // the same with a letter less, or "?" in its place
}

// Shipped is the table of the program, with more lines of an admin's.
func Shipped(more ...string) (*Table, error) {
	t := &Table{first: map[string][]spelling{}, domains: map[string][]int{}, labels: map[string][]int{}, joined: map[string]int{}, masked: map[string]int{}}
	if err := t.read(strings.Split(shipped, "\n")); err != nil {
		return nil, fmt.Errorf("brands.txt: %w", err)
	}
	if err := t.read(more); err != nil {
		return nil, err
	}
	for _, list := range t.first {
		slices.SortStableFunc(list, func(a, b spelling) int { return len(b.words) - len(a.words) })
	}

	return t, nil
}

func (t *Table) read(lines []string) error {
	for i, line := range lines {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if err := t.add(line); err != nil {
			return fmt.Errorf("line %d: %w", i+1, err)
		}
	}

	return nil
}

func (t *Table) add(line string) error {
	f := strings.Split(line, "|")
	if len(f) != 3 {
		return fmt.Errorf("%q: write it as \"kind | names | domains\"", line)
	}
	b := Brand{Kind: strings.TrimSpace(f[0]), Domains: strings.Fields(f[2])}
	for name := range strings.SplitSeq(f[1], ",") {
		name, common := strings.CutPrefix(strings.TrimSpace(name), "=")
		if len(Words(name)) == 0 {
			return fmt.Errorf("%q: %q is no name", line, name)
		}
		b.Names = append(b.Names, name)
		t.spell(name, common)
	}
	for _, d := range b.Domains {
		label, wild := strings.CutSuffix(d, ".*")
		if !mail.ValidDomain(label) || !wild && !strings.Contains(d, ".") {
			return fmt.Errorf("%q: %q is no domain", line, d)
		}
		if wild {
			t.labels[label] = append(t.labels[label], len(t.Brands))
			continue
		}
		d = mail.ASCIIDomain(d)
		t.domains[d] = append(t.domains[d], len(t.Brands))
	}
	if len(b.Domains) == 0 {
		return fmt.Errorf("%q: it has no domain that may send for it", line)
	}
	t.Brands = append(t.Brands, b)

	return nil
}

// minJoined is the length from which a name without its spaces is looked for in domains.
const minJoined = 6

// spell makes a name of the brand that is read at the moment known.
func (t *Table) spell(name string, common bool) {
	s := spelling{words: Words(name), brand: len(t.Brands), common: common}
	if strings.ContainsFunc(name, unspaced) {
		t.inside = append(t.inside, spelling{words: []string{strings.ToLower(confusable.Fold(name))}, brand: s.brand})
		return
	}
	t.first[s.words[0]] = append(t.first[s.words[0]], s)
	joined := strings.Join(s.words, "")
	if _, there := t.joined[joined]; !there && !common && len(joined) >= minJoined {
		t.joined[joined] = s.brand
		t.mask(joined, s.brand)
	}
}

// unspaced holds for scripts that don't part words by spaces.
func unspaced(r rune) bool { return unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana) }

// Owns says whether a domain, in A-labels, sends for a brand.
func (t *Table) Owns(brand int, domain string) bool {
	domain = strings.ToLower(strings.TrimSuffix(domain, "."))
	for name := domain; name != ""; _, name, _ = strings.Cut(name, ".") {
		if slices.Contains(t.domains[name], brand) {
			return true
		}
		label, suffix, _ := strings.Cut(name, ".")
		if slices.Contains(t.labels[label], brand) && national(suffix) {
			return true
		}
	}

	return false
}

// national says whether a suffix is one that a brand has in each country: com, net, org, a country's, or com.br and co.uk.
func national(suffix string) bool {
	if first, country, two := strings.Cut(suffix, "."); two {
		return (first == "com" || first == "co" || first == "org") && len(country) == 2
	}

	return suffix == "com" || suffix == "net" || suffix == "org" || suffix == "eu" || len(suffix) == 2
}

// Words are the words of a text as it looks: folded, in lower case, without marks between them. Single letters that are
// parted by spaces are joined.
func Words(text string) []string {
	text = strings.ToLower(confusable.Fold(text))
	words := strings.FieldsFunc(text, func(r rune) bool { return !isWord(r) })
	if len(words) < 3 {
		return words
	}

	joined := words[:0]
	for i := 0; i < len(words); {
		n := i
		for n < len(words) && len(words[n]) == 1 {
			n++
		}
		if n-i < 3 {
			joined = append(joined, words[i])
			i++
			continue
		}
		joined = append(joined, strings.Join(words[i:n], ""))
		i = n
	}

	return joined
}

func isWord(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r) || r == '+'
}
