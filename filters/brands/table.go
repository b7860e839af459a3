package brands

import (
	_ "embed" // for the table
	"fmt"
	"slices"
	"strings"
	"unicode"

	"postern/internal/mail"
	"postern/internal/mail/ascii"
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
	// Line is where it stands: a line of the shipped table, or the number of one of the settings.
	Line string `json:"line"`
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
	swapped map[string]int   // the same with two letters in each other's place
	looks   map[string]int   // the same with letters that are taken for each other in one form
	words   map[string]bool  // words that are a letter away from a name
	tenants map[string]bool  // services that give their customers names
}

// Shipped is the table of the program, with more lines of an admin's.
func Shipped(more ...string) (*Table, error) {
	t := &Table{first: map[string][]spelling{}, domains: map[string][]int{}, labels: map[string][]int{}, joined: map[string]int{}, masked: map[string]int{}, swapped: map[string]int{}, looks: map[string]int{}, words: map[string]bool{}, tenants: map[string]bool{}}
	if err := t.read("brands.txt line", strings.Split(shipped, "\n")); err != nil {
		return nil, fmt.Errorf("brands.txt: %w", err)
	}
	if err := t.read("[filters.brands] brands", more); err != nil {
		return nil, err
	}
	for _, list := range t.first {
		slices.SortStableFunc(list, func(a, b spelling) int { return len(b.words) - len(a.words) })
	}

	return t, nil
}

func (t *Table) read(where string, lines []string) error {
	for i, line := range lines {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || t.aside(line) {
			continue
		}
		if err := t.add(line); err != nil {
			return fmt.Errorf("line %d: %w", i+1, err)
		}
		t.Brands[len(t.Brands)-1].Line = fmt.Sprintf("%s %d", where, i+1)
	}

	return nil
}

// aside reads the lines that name no brand: "words: ..." and "tenants: ...".
func (t *Table) aside(line string) bool {
	kind, rest, _ := strings.Cut(line, ":")
	into := map[string]map[string]bool{"words": t.words, "tenants": t.tenants}[kind]
	for _, w := range strings.Fields(rest) {
		if into != nil {
			into[w] = true
		}
	}

	return into != nil
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
	if len(s.words) > 1 && !common && len(joined) >= minJoined {
		t.first[joined] = append(t.first[joined], spelling{words: []string{joined}, brand: s.brand})
	}
	if _, there := t.joined[joined]; !there && !common && len(joined) >= minJoined {
		t.joined[joined] = s.brand
		t.looks[sameLook(joined)] = s.brand
		t.mask(joined, s.brand)
	}
}

// unspaced holds for scripts that don't part words by spaces.
func unspaced(r rune) bool {
	const first = 0x2E80 // CJK radicals; nothing of these scripts stands before them

	return r >= first && unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana)
}

// Owns says whether a domain, in A-labels, sends for a brand.
func (t *Table) Owns(brand int, domain string) bool {
	_, owns := t.OwnedBy(brand, domain)

	return owns
}

// OwnedBy is the domain of the table by which a domain, in A-labels, sends for a brand.
func (t *Table) OwnedBy(brand int, domain string) (by string, owns bool) {
	return t.owned(domain, func(owners []int) bool { return slices.Contains(owners, brand) })
}

// known says whether a domain sends for any brand.
func (t *Table) known(domain string) bool {
	_, known := t.owned(domain, func(owners []int) bool { return len(owners) > 0 })

	return known
}

func (t *Table) owned(domain string, by func([]int) bool) (string, bool) {
	domain = strings.ToLower(strings.TrimSuffix(domain, "."))
	for name := domain; name != ""; _, name, _ = strings.Cut(name, ".") {
		if by(t.domains[name]) {
			return name, true
		}
		label, suffix, _ := strings.Cut(name, ".")
		if by(t.labels[label]) && national(name, suffix) {
			return label + ".*", true
		}
	}

	return "", false
}

// Words are the words of a text as it looks: folded, in lower case, without marks between them. Single letters that are
// parted by spaces are joined; "&" joins up to four characters, as in AT&T.
func Words(text string) []string {
	text = strings.ToLower(confusable.Fold(text))
	var words []string
	if ascii.Is(text) {
		words = plainWords(text)
	} else {
		words = strings.FieldsFunc(text, func(r rune) bool { return !isWord(r) })
	}
	if strings.Contains(text, "&") {
		words = partAmpersands(words)
	}
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

// plainWords are the words of a text of ASCII.
func plainWords(text string) []string {
	const octetsAWord = 6 // about as many as in most languages
	words := make([]string, 0, len(text)/octetsAWord+1)
	start := -1
	for i := range len(text) {
		c := text[i]
		switch word := isPlain(c); {
		case word && start < 0:
			start = i
		case !word && start >= 0:
			words = append(words, text[start:i])
			start = -1
		}
	}
	if start >= 0 {
		words = append(words, text[start:])
	}

	return words
}

// isPlain holds for octets of words: letters, digits, "+" and "&", by a bit for each octet below 128.
func isPlain(c byte) bool {
	const (
		low  = 1<<'+' | 1<<'&' | (1<<10-1)<<'0'
		high = (1<<26-1)<<('A'-64) | (1<<26-1)<<('a'-64)
	)
	if c < 64 {
		return uint64(low)>>c&1 != 0
	}

	return c < 128 && uint64(high)>>(c-64)&1 != 0
}

// maxAmpersand is the length of a word within which "&" stays.
const maxAmpersand = 4

func partAmpersands(words []string) (parted []string) {
	for _, w := range words {
		w = strings.Trim(w, "&")
		if len(w) <= maxAmpersand {
			if w != "" {
				parted = append(parted, w)
			}
			continue
		}
		for part := range strings.SplitSeq(w, "&") {
			if part != "" {
				parted = append(parted, part)
			}
		}
	}

	return parted
}

func isWord(r rune) bool {
	if 'a' <= r && r <= 'z' || r == ' ' {
		return r != ' '
	}

	return unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r) || r == '+' || r == '&'
}
