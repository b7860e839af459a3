package brands

import (
	"slices"
	"strings"

	"golang.org/x/net/publicsuffix"

	"postern/filters"
)

// Of gives the brands that a domain, in A-labels, sends for.
func (t *Table) Of(domain string) (all []int) {
	domain = strings.ToLower(strings.TrimSuffix(domain, "."))
	for name := domain; name != ""; _, name, _ = strings.Cut(name, ".") {
		all = append(all, t.domains[name]...)
		if label, suffix, _ := strings.Cut(name, "."); national(name, suffix) {
			all = append(all, t.labels[label]...)
		}
	}

	return all
}

// Within implements filters.BrandHosts.
func (t *Table) Within(host, path string, platform bool) (brand int, name string, ok bool) {
	brand, ok = t.InHost(host, platform)
	if !ok && path != "" && len(t.Of(host)) == 0 {
		brand, ok = t.InPath(path)
	}
	if !ok {
		return 0, "", false
	}

	return brand, t.Brands[brand].Names[0], true
}

// hostWords are the words that stand beside a brand's name in hosts and paths that are made to be taken for its own.
const hostWords = ` login signin logon secure security account accounts verify verification auth authenticate update support alert billing
 payment payments refund confirm confirmation wallet bank banking tracking track redelivery customs unlock recover recovery service services
 webscr signon validate validation reset password konto kunden kundenservice sicherheit anmeldung espace client clients suivi livraison cliente
 clientes acceso seguridad servizio sicurezza accesso klant inloggen klient giris helpdesk help center renew renewal suspended limited id portal
 invoice delivery parcel package express online notice case user users `

func besideBrand(word string) bool { return filters.HasWord(hostWords, word) }

// InHost finds a brand whose name stands in a host below a domain that is not its own: the brand's whole domain in front
// ("paypal.com.example.net"), or its name beside words that such hosts have ("paypal-login"). Below a platform where
// anybody chooses a name, the name alone is enough.
func (t *Table) InHost(host string, platform bool) (brand int, ok bool) {
	short := strings.Count(host, ".") < 2 && strings.IndexByte(host, '-') < 0
	if short && !platform || len(t.Of(host)) > 0 {
		return 0, false
	}
	suffix, _ := publicsuffix.PublicSuffix(host)
	name := strings.TrimSuffix(host, suffix) // in cisco.com.au "com" is of the suffix
	labels := strings.FieldsFunc(name[:min(len(name), 253)], func(r rune) bool { return r == '.' || r == '-' || r == '_' })
	if brand, ok := t.domainWithin(labels); ok {
		return brand, true
	}

	return t.beside(labels, platform)
}

// InPath finds a brand's whole domain in a path, in front of an address that the path carries: click counters do.
func (t *Table) InPath(path string) (brand int, ok bool) {
	for _, scheme := range []string{"http:", "https:", "http%3", "https%3"} {
		path, _, _ = strings.Cut(path, scheme)
	}
	for part := range strings.SplitSeq(path[:min(len(path), 512)], "/") {
		if strings.IndexByte(part, '.') < 0 {
			continue
		}
		part = strings.TrimPrefix(strings.ToLower(part), "www.")
		labels := strings.Split(part, ".")
		if brand, n := t.domainAt(labels); n == len(labels) {
			return brand, true
		}
	}

	return 0, false
}

// domainWithin finds a brand's domain whose labels follow each other before the last ones of a host.
func (t *Table) domainWithin(labels []string) (brand int, ok bool) {
	for i := range labels {
		if brand, n := t.domainAt(labels[i:]); n > 0 {
			return brand, true
		}
	}

	return 0, false
}

// domainAt is the brand whose domain stands in front, and how many labels that has.
func (t *Table) domainAt(labels []string) (brand, n int) {
	for n := min(len(labels), 3); n >= 2; n-- {
		if found := t.domains[strings.Join(labels[:n], ".")]; len(found) > 0 {
			return found[0], n
		}
		if found := t.labels[labels[0]]; len(found) > 0 && national(strings.Join(labels[:n], "."), strings.Join(labels[1:n], ".")) {
			return found[0], n
		}
	}

	return 0, 0
}

// beside finds a brand's name among words, alone where that is enough or beside a word that goes with it.
func (t *Table) beside(words []string, enough bool) (brand int, ok bool) {
	enough = enough || slices.ContainsFunc(words, besideBrand)
	for i, w := range words {
		plain := letters(w)
		if brand, ok := t.joined[plain]; ok && enough {
			return brand, true
		}
		if brand, ok := t.joinedToService(plain); ok {
			return brand, true
		}
		if c, ok := t.at(words, i); ok && enough && !c.Common {
			return c.Brand, true
		}
	}

	return 0, false
}
