package brands

import (
	"strings"
	"unicode"

	"golang.org/x/net/publicsuffix"

	"postern/filters"
	"postern/internal/mail"
	"postern/internal/mail/ascii"
	"postern/internal/mimeview/confusable"
)

// withoutAddress is a shown name without addresses of the mailbox's own domain, which say nothing of who writes:
// "ada@gmx.example" is no claim to be GMX, and lists shorten names to "ad...@gmail.example". Another address stays.
func withoutAddress(name string, own mail.Address) string {
	if !strings.Contains(name, "@") {
		return name
	}
	domain := strings.ToLower(own.Domain)
	fields := strings.Fields(name)
	for i, f := range fields {
		_, of, _ := strings.Cut(strings.ToLower(strings.Trim(f, "<>()[]'\",;:")), "@")
		if of == domain {
			fields[i] = "@"
		}
	}

	return strings.Join(fields, " ")
}

// withoutAddresses is a text without any address.
func withoutAddresses(text string) string {
	if !strings.Contains(text, "@") {
		return text
	}
	fields := strings.Fields(text)
	for i, f := range fields {
		if at := strings.IndexByte(f, '@'); at > 0 && strings.Contains(f[at:], ".") {
			fields[i] = "@"
		}
	}

	return strings.Join(fields, " ")
}

// maxDisguised is how many words of a name are looked at for a disguise.
const maxDisguised = 12

// disguised gives the brand that a shown name means by letters that look like its own, a number at its end, or words of
// service joined to it: "PayPaI", "N€tflix", "Rnicrosoft", "PayPal24", "WellsFargoAlert".
func (t *Table) disguised(name string) []Claim {
	name = strings.Map(dropMarks, name)
	fields := strings.FieldsFunc(confusable.Fold(name), func(r rune) bool { return !isWord(r) && !strings.ContainsRune("@$|!€£", r) })
	for i, field := range fields[:min(len(fields), maxDisguised)] {
		if len(field) < minJoined || len(field) > maxLabel {
			continue
		}
		for _, look := range appearances(field) {
			brand, ok := t.joined[look]
			if !ok {
				brand, ok = t.joinedToService(look)
			}
			if ok {
				return []Claim{{Brand: brand, Name: t.Brands[brand].Names[0], At: i, Words: 1}}
			}
		}
	}

	for i, field := range fields[:min(len(fields), maxDisguised)] {
		word := strings.ToLower(field)
		if brand, ok := t.looks[sameLook(word)]; ok && longEnough(word) && !t.words[word] {
			return []Claim{{Brand: brand, Name: t.Brands[brand].Names[0], At: i, Words: 1}}
		}
	}

	return t.misspelled(fields[:min(len(fields), maxDisguised)])
}

// longEnough holds for words that are no other word by chance.
func longEnough(word string) bool { return len(word) >= minJoined && len(word) <= maxLabel }

// misspelled gives the brand whose name is written with one letter wrong, in a name that is that brand's but for words of
// service: "Mircosoft Support", "Paypaal". With any other word it is a person's name, or another company's.
func (t *Table) misspelled(fields []string) []Claim {
	var claims []Claim
	for i, field := range fields {
		word := strings.ToLower(field)
		if isService(word) {
			continue
		}
		if len(claims) > 0 || !longEnough(word) || !ascii.Is(word) {
			return nil
		}
		brand, _, ok := t.oneLetterOff(word)
		if !ok {
			return nil
		}
		claims = append(claims, Claim{Brand: brand, Name: t.Brands[brand].Names[0], At: i, Words: 1})
	}
	if len(claims) > 0 && len(fields) == 1 && !t.doubled(fields[0], claims[0].Brand) {
		return nil // a single word may be anybody's name
	}

	return claims
}

// doubled says whether a word is a brand's name with two letters changed about or one written twice, which no other name is.
func (t *Table) doubled(word string, brand int) bool {
	word = strings.ToLower(word)
	if _, ok := t.swapped[word]; ok {
		return true
	}
	for i := 1; i < len(word); i++ {
		if b, ok := t.joined[word[:i]+word[i+1:]]; ok && b == brand && word[i] == word[i-1] {
			return true
		}
	}

	return false
}

// dropMarks takes the marks off that stand behind a protected name.
func dropMarks(r rune) rune {
	if strings.ContainsRune("™®©℠", r) {
		return -1
	}

	return r
}

// appearances are the readings of a word by the looks of its letters.
func appearances(word string) []string {
	signs := strings.NewReplacer("@", "a", "$", "s", "|", "l", "!", "i", "€", "e", "£", "l")
	pairs := strings.NewReplacer("rn", "m", "vv", "w")
	word = strings.TrimRightFunc(signs.Replace(word), unicode.IsDigit)
	var all []string
	for _, w := range []string{strings.ToLower(word), strings.ToLower(strings.ReplaceAll(word, "I", "l")), strings.ReplaceAll(strings.ToLower(word), "l", "i")} {
		all = append(all, letters(w), digitsAs(w, lettersWithI), pairs.Replace(letters(w)))
	}

	return all
}

// branch says whether a domain is that of an independent house of a brand whose name many bear, as its look tells: the name,
// a hyphen and the place, below a country's suffix, as in volksbank-springe.example.
func (t *Table) branch(brand int, domain string) bool {
	org := filters.RegisteredDomain(domain)
	label, suffix, _ := strings.Cut(org, ".")
	if len(suffix) != 2 {
		return false
	}
	first, rest, found := strings.Cut(label, "-")
	if !found || strings.ContainsAny(rest, "0123456789") {
		return false
	}
	for part := range strings.SplitSeq(rest, "-") {
		if part == "" || isService(part) {
			return false
		}
	}
	for _, s := range t.first[first] {
		if s.brand == brand && s.common && len(s.words) == 1 {
			return true
		}
	}

	return false
}

// isTenant says whether a domain is a customer's place at a service that gives each of its customers a name, as help desks
// do.
func (t *Table) isTenant(domain string) bool { return t.tenants[filters.RegisteredDomain(domain)] }

// freeSuffixes are countries' suffixes below which names were given away to anybody.
const freeSuffixes = " tk ml ga cf gq cc ws pw "

// ofCountries are the labels of suffixes such as com.br and co.uk.
const ofCountries = " com co org "

// national says whether a domain stands directly below a suffix that a brand has in each country: com, net, org, a
// country's, or com.br and co.uk.
func national(domain, suffix string) bool {
	switch suffix {
	case "com", "net", "org", "eu":
		return true
	}
	first, country, two := strings.Cut(suffix, ".")
	if two && !filters.HasWord(ofCountries, first) {
		return false
	}
	if !two {
		country = first
	}
	if len(country) != 2 || filters.HasWord(freeSuffixes, country) {
		return false
	}
	// com.de and its kind belong to companies that sell names below them
	public, official := publicsuffix.PublicSuffix(domain)

	return public == suffix && official
}
