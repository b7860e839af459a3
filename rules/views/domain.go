package views

import (
	"net/netip"
	"strings"

	"golang.org/x/net/publicsuffix"
)

// Domains knows where a registrant's domain begins: from lists in rule files, or from the public suffix list.
type Domains struct {
	tlds, two, three map[string]bool
}

// PublicDomains are those of the public suffix list.
func PublicDomains() *Domains { return &Domains{} }

// Add takes names of one, two or three labels under which others register.
func (d *Domains) Add(labels int, names ...string) {
	set := map[int]*map[string]bool{1: &d.tlds, 2: &d.two, 3: &d.three}[labels]
	if set == nil {
		return
	}
	if *set == nil {
		*set = map[string]bool{}
	}
	for _, n := range names {
		(*set)[strings.ToLower(strings.TrimLeft(n, "."))] = true
	}
}

// Clear forgets what was added.
func (d *Domains) Clear() { *d = Domains{} }

// Loaded says whether there are lists.
func (d *Domains) Loaded() bool { return d.tlds != nil }

// TLD says whether a label is a top-level domain.
func (d *Domains) TLD(label string) bool {
	label = strings.ToLower(label)
	if d.tlds != nil {
		return d.tlds[label]
	}
	suffix, icann := publicsuffix.PublicSuffix("x." + label)
	return icann && suffix == label
}

// Valid says whether a name ends in a top-level domain.
func (d *Domains) Valid(name string) bool {
	i := strings.LastIndexByte(name, '.')
	return i >= 0 && !strings.ContainsAny(name, " \t\n\r\f\v") && d.TLD(name[i+1:])
}

// Split parts a name into the host and the domain that somebody registered.
func (d *Domains) Split(name string) (host, domain string) {
	labels := strings.FieldsFunc(strings.ToLower(name), func(r rune) bool { return r == '.' })
	if len(labels) == 0 {
		return "", ""
	}
	first := 0
	for len(labels)-first > 1 && !d.registry(labels[first:]) {
		first++
	}
	if first > 0 {
		first--
	}
	return strings.Join(labels[:first], "."), strings.Join(labels[first:], ".")
}

// registry says whether others register below these labels.
func (d *Domains) registry(labels []string) bool {
	name := strings.Join(labels, ".")
	last := labels[len(labels)-1]
	switch len(labels) {
	case 2:
		if d.tlds == nil {
			suffix, _ := publicsuffix.PublicSuffix(name)
			return suffix == name
		}
		return d.two[name]
	case 3:
		if last == "us" {
			return usState(labels[1])
		}
		return d.three[name]
	case 4:
		return last == "us" && usState(labels[2]) && usLocality(labels[0], labels[1])
	}
	return false
}

// usLocality says whether a city, a county or the private schools stand before a state (RFC 1480 section 2).
func usLocality(first, second string) bool {
	return first == "ci" || first == "co" || first == "pvt" && second == "k12"
}

// usState says whether a label is a state of the US (RFC 1480 section 2).
func usState(label string) bool {
	const states = " ak al ar az ca co ct dc de fl ga gu hi ia id il in ks ky la ma md me mi mn mo ms mt nc nd ne nh nj nm nv ny oh ok or pa pr ri sc sd tn tx ut va vi vt wa wi wv wy "
	return len(label) == 2 && strings.Contains(states, " "+label+" ")
}

// Trim is the registered domain of a name.
func (d *Domains) Trim(name string) string {
	_, domain := d.Split(name)
	return domain
}

// OfURI gives the registered domain and the host of a link, "" if it has none that can be.
func (d *Domains) OfURI(uri string) (domain, host string) {
	uri = strings.ToLower(uri)
	for _, scheme := range []string{"javascript:", "cid:", "file:"} {
		if strings.HasPrefix(uri, scheme) {
			return "", ""
		}
	}
	if rest, ok := strings.CutPrefix(uri, "mailto:"); ok {
		rest, _, _ = strings.Cut(rest, "?")
		if strings.Count(rest, "@") != 1 {
			return "", ""
		}
		_, uri, _ = strings.Cut(rest, "@")
	} else {
		uri = hostOf(uri)
	}
	if hasEscape(uri) {
		return "", ""
	}
	if IsIP(uri) {
		return uri, uri
	}
	if !ValidName(uri) || !d.Valid(uri) {
		return "", ""
	}
	return d.Trim(uri), uri
}

// hostOf takes scheme, user, port and path off a link.
func hostOf(uri string) string {
	uri = dropScheme(uri)
	if i := strings.IndexAny(uri, "/?#"); i >= 0 {
		uri = uri[:i]
	}
	if i := strings.LastIndexByte(uri, '@'); i >= 0 {
		uri = uri[i+1:]
	}
	if i := strings.LastIndexByte(uri, ':'); i >= 0 && strings.Trim(uri[i+1:], "0123456789") == "" {
		uri = uri[:i]
	}
	return uri
}

// dropScheme takes off a scheme in small letters and up to two slashes behind it.
func dropScheme(uri string) string {
	i := 0
	for i < len(uri) && uri[i] >= 'a' && uri[i] <= 'z' {
		i++
	}
	if i == 0 || !stands(uri, i, ':') {
		return uri
	}
	return dropSlashes(uri[i+1:])
}

// dropSlashes takes up to two slashes off the front.
func dropSlashes(text string) string {
	return strings.TrimPrefix(strings.TrimPrefix(text, "/"), "/")
}

// hasEscape says whether printable ASCII is escaped by percent signs.
func hasEscape(text string) bool {
	for i := 0; i+2 < len(text); i++ {
		if !isEscape(text, i) {
			continue
		}
		if n := hexValue(text[i+1])<<4 | hexValue(text[i+2]); n > 0x20 && n < 0x7f {
			return true
		}
	}
	return false
}

// IsIP says whether a text is a network address.
func IsIP(text string) bool {
	a, err := netip.ParseAddr(strings.TrimPrefix(text, "ipv6:"))
	return err == nil && a.Zone() == ""
}
