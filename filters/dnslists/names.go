package dnslists

import (
	"context"
	"crypto/md5"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/publicsuffix"

	"postern/internal/mail"
	"postern/internal/mimeview"
	"postern/internal/mimeview/contents"
)

const (
	maxDomains   = 20
	maxAddresses = 10
)

// subject is what a list is asked about: a domain, an IP address or a mail address, "" for nothing.
type subject struct {
	kind kind
	text string
	// reversed is an IP address as lists are asked about it, "" for what is none.
	reversed string
}

// address is an IP address as a subject; nothing where no list knows it: those that are no public address.
func address(k kind, ip netip.Addr) subject {
	ip = ip.Unmap().WithZone("")
	// RFC 6890: private, loopback, link-local and the like; RFC 6598: those between a provider and its customers
	shared := ip.Is4() && number(ip)>>22 == 0x6440>>6
	if !ip.IsGlobalUnicast() || ip.IsPrivate() || shared {
		return subject{}
	}
	return subject{kind: k, text: ip.String(), reversed: reversed(ip)}
}

// isIPv6 says whether it is an IPv6 address: nothing else has a colon.
func (s subject) isIPv6() bool { return s.reversed != "" && strings.Contains(s.text, ":") }

// domain makes a name ready to be asked; "" if it is none, is an address, is one label or is ours.
func (f *filter) domain(name string) string {
	name = mail.ASCIIDomain(name)
	if !mail.ValidDomain(name) || !strings.Contains(name, ".") {
		return ""
	}
	// RFC 3696 section 2: no top-level domain is a number; what ends in one is an address or nothing
	if last := name[strings.LastIndexByte(name, '.')+1:]; strings.Trim(last, "0123456789") == "" {
		return ""
	}
	if f.env.Local != nil && f.env.Local(name) || strings.EqualFold(name, f.env.Hostname) {
		return ""
	}
	return name
}

// question gives the name at which a list is asked, "" if it can't be.
func (l *list) question(s subject) string {
	switch {
	case s.text == "" || l.kinds&s.kind == 0:
		return ""
	case s.kind == kindHash:
		return l.within(l.hash(s.text))
	}
	if s.reversed != "" {
		if l.names {
			return ""
		}
		if s.isIPv6() && (l.ipv4Only || !l.health.knowsIPv6()) {
			return ""
		}
		return l.within(s.reversed)
	}
	return l.within(s.text)
}

// within puts the zone behind a name. RFC 1035 section 2.3.4: 255 octets on the wire are 253 in writing.
func (l *list) within(name string) string {
	if len(name)+1+len(l.zone) > 253 {
		return ""
	}
	return name + "." + l.zone
}

// reversed is RFC 5782 section 2.1 for IPv4 and section 2.4 for IPv6.
func reversed(ip netip.Addr) string {
	if ip.Is4() {
		b := ip.As4()
		out := make([]byte, 0, 16)
		for i := 3; i >= 0; i-- {
			out = strconv.AppendUint(out, uint64(b[i]), 10)
			if i > 0 {
				out = append(out, '.')
			}
		}
		return string(out)
	}
	const digits = "0123456789abcdef"
	b := ip.As16()
	out := make([]byte, 0, 64)
	for i := 15; i >= 0; i-- {
		out = append(out, digits[b[i]&15], '.', digits[b[i]>>4], '.')
	}
	return string(out[:len(out)-1])
}

// hash is that of a mail address in lower case.
func (l *list) hash(address string) string {
	if l.canonical {
		address = withoutTag(address)
	}
	if l.md5 {
		sum := md5.Sum([]byte(address))
		return hex.EncodeToString(sum[:])
	}
	sum := sha1.Sum([]byte(address))
	return hex.EncodeToString(sum[:])
}

// withoutTag is the form that msbl.org lists: no "+tag", and for Gmail no dots and one domain.
func withoutTag(address string) string {
	local, domain, _ := strings.Cut(address, "@")
	if i := strings.IndexByte(local, '+'); i > 0 {
		local = local[:i]
	}
	if domain == "gmail.com" || domain == "googlemail.com" {
		local, domain = strings.ReplaceAll(local, ".", ""), "gmail.com"
	}
	return local + "@" + domain
}

// gathered are the subjects of a message, each once, in order.
type gathered struct {
	seen      map[subject]bool
	about     []subject
	domains   int
	addresses int
	over      string
}

func (g *gathered) add(s subject) {
	if s.text == "" || g.seen[s] {
		return
	}
	switch s.kind {
	case kindURI:
		if g.domains == maxDomains {
			g.more(fmt.Sprintf("more than %d link domains", maxDomains))
			return
		}
		g.domains++
	case kindHash:
		if g.addresses == maxAddresses {
			g.more(fmt.Sprintf("more than %d mail addresses", maxAddresses))
			return
		}
		g.addresses++
	}
	g.seen[s] = true
	g.about = append(g.about, s)
}

func (g *gathered) more(what string) {
	if !strings.Contains(g.over, what) {
		g.over = strings.TrimPrefix(g.over+", "+what, ", ")
	}
}

// contents gathers what lists are asked about a message, and says what was too much.
func (f *filter) contents(ctx context.Context, m *mail.Message) (about []subject, over string, err error) {
	g := &gathered{seen: map[subject]bool{}}
	wanted := f.uses()
	f.authors(m, wanted, g)
	if wanted&(kindURI|kindHash) == 0 {
		return g.about, g.over, nil
	}

	view := mimeview.Of(m)
	if err := view.Err(); err != nil {
		return nil, "", err
	}
	f.linked(view, wanted, g)
	if wanted&kindURI != 0 {
		if err := f.elsewhere(ctx, view, g); err != nil {
			return nil, "", err
		}
	}
	if wanted&kindHash != 0 {
		for _, p := range view.Parts() {
			eachAddress(p.Text, func(a mail.Address) bool { g.add(f.mailbox(a)); return g.addresses < maxAddresses || g.over == "" })
		}
	}

	return g.about, g.over, nil
}

// linked gathers the sites and the mailboxes that links lead to.
func (f *filter) linked(view *mimeview.View, wanted kind, g *gathered) {
	for _, link := range view.URLs() {
		rest, mailto := cutScheme(link, "mailto")
		switch {
		case mailto && wanted&kindHash != 0:
			eachAddress(rest, func(a mail.Address) bool { g.add(f.mailbox(a)); return false })
		case !mailto && wanted&kindURI != 0:
			g.add(f.site(link))
		}
	}
}

// authors collects the header's fields about the author.
func (f *filter) authors(m *mail.Message, wanted kind, g *gathered) {
	if wanted&kindFrom != 0 {
		for _, a := range addressesIn(m.Header(), "From") {
			g.add(subject{kind: kindFrom, text: f.domain(a.Domain)})
		}
	}
	if wanted&kindHash == 0 {
		return
	}
	for _, name := range []string{"Reply-To", "From"} {
		for _, a := range addressesIn(m.Header(), name) {
			g.add(f.mailbox(a))
		}
	}
}

// elsewhere gathers the links in QR codes and in attachments, which the filter
// attachments has read before, within its limits.
func (f *filter) elsewhere(ctx context.Context, view *mimeview.View, g *gathered) error {
	codes, _ := view.QRLinks()
	for i := range codes {
		g.add(f.site(codes[i].URL))
	}
	attached, err := contents.Of(view.Message()).Read(ctx)
	if err != nil {
		return err
	}
	for _, link := range attached.Links {
		g.add(f.site(link.URL))
	}
	return nil
}

// addressesIn reads address fields; one that can't be read has none.
func addressesIn(h *mail.Header, name string) (all []mail.Address) {
	for _, field := range h.All(name) {
		boxes, _, err := mail.ParseFrom(field.Value())
		if err != nil {
			continue
		}
		for _, b := range boxes {
			all = append(all, b.Address)
		}
		if len(all) > maxAddresses {
			return all[:maxAddresses+1]
		}
	}
	return all
}

// mailbox is a mail address as it is hashed. Our own are not disclosed.
func (f *filter) mailbox(a mail.Address) subject {
	domain := f.domain(a.Domain)
	if domain == "" || a.Local == "" {
		return subject{}
	}
	return subject{kind: kindHash, text: strings.ToLower(a.Local) + "@" + domain}
}

// site is the registered domain of a link, or its address.
func (f *filter) site(link string) subject {
	host := hostOf(link)
	if ip, ok := numericHost(host); ok {
		return address(kindURI, ip)
	}
	name := f.domain(host)
	if name == "" {
		return subject{}
	}
	registered, err := publicsuffix.EffectiveTLDPlusOne(name)
	if err != nil {
		return subject{}
	}
	return subject{kind: kindURI, text: registered}
}

// cutScheme takes "scheme:" off a link.
func cutScheme(link, scheme string) (string, bool) {
	if len(link) > len(scheme) && link[len(scheme)] == ':' && strings.EqualFold(link[:len(scheme)], scheme) {
		return link[len(scheme)+1:], true
	}
	return "", false
}

// hostOf is the host of a link as browsers read it (WHATWG URL, "host state"): any number of slashes either way, the
// part before the last @ dropped, escapes decoded. "" if there is no host.
func hostOf(link string) string {
	rest, ok := "", strings.HasPrefix(link, "//") || strings.HasPrefix(link, `\\`)
	if ok {
		rest = link
	}
	for _, scheme := range []string{"http", "https", "ftp"} {
		if after, is := cutScheme(link, scheme); is {
			rest, ok = after, true
		}
	}
	if !ok {
		return ""
	}
	rest = strings.TrimLeft(rest, `/\`)
	if i := strings.IndexAny(rest, `/\?#`); i >= 0 {
		rest = rest[:i]
	}
	rest = rest[strings.LastIndexByte(rest, '@')+1:]
	if strings.HasPrefix(rest, "[") {
		inner, _, _ := strings.Cut(rest[1:], "]")
		return inner
	}
	rest, _, _ = strings.Cut(rest, ":")
	if plain, err := url.PathUnescape(rest); err == nil {
		rest = plain
	}
	return rest
}

// numericHost reads an IP address in all the ways browsers do: 192.0.2.1, 3221225985, 0xc0.0.0x201.
func numericHost(host string) (netip.Addr, bool) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.WithZone(""), true
	}
	parts := strings.Split(strings.TrimSuffix(host, "."), ".")
	if len(parts) > 4 {
		return netip.Addr{}, false
	}
	var ip uint64
	for i, p := range parts {
		n, ok := browserNumber(p)
		if !ok {
			return netip.Addr{}, false
		}
		// the last number fills all octets that are left
		left := 8
		if i == len(parts)-1 {
			left = 8 * (4 - i)
		}
		if n >= 1<<left {
			return netip.Addr{}, false
		}
		ip = ip<<left | n
	}
	return netip.AddrFrom4([4]byte{byte(ip >> 24), byte(ip >> 16), byte(ip >> 8), byte(ip)}), true
}

// browserNumber reads a number as browsers do in addresses: decimal, octal with 0 and hexadecimal with 0x before it.
func browserNumber(text string) (n uint64, ok bool) {
	if text == "" || strings.ContainsAny(text, "_+-") {
		return 0, false
	}
	n, err := strconv.ParseUint(text, 0, 32)
	low := strings.ToLower(text)
	return n, err == nil && !strings.HasPrefix(low, "0b") && !strings.HasPrefix(low, "0o")
}

// eachAddress finds mail addresses in text until yield says false. It looks at each octet a bounded number of times.
func eachAddress(text string, yield func(mail.Address) bool) {
	at := 0
	for {
		i := strings.IndexByte(text[at:], '@')
		if i < 0 {
			return
		}
		i += at
		start, end := addressAround(text, at, i)
		at = i + 1
		local, domain := strings.Trim(text[start:i], "."), strings.Trim(text[i+1:end], ".-")
		if local == "" || !strings.Contains(domain, ".") {
			continue
		}
		if a, err := mail.ParseAddress(local + "@" + domain); err == nil && !yield(a) {
			return
		}
	}
}

// addressAround gives the bounds of the address around an @, which begins at a given offset at the earliest.
func addressAround(text string, from, at int) (start, end int) {
	start, end = at, at+1
	for start > from && at-start < 64 && isLocalOctet(text[start-1]) {
		start--
	}
	for end < len(text) && end-at <= 253 && isDomainOctet(text[end]) {
		end++
	}
	return start, end
}

// isLocalOctet accepts the octets of addresses in text: RFC 5322 atext without surrounding punctuation.
func isLocalOctet(c byte) bool {
	return isDomainOctet(c) || c == '_' || c == '+' || c == '=' || c == '%' || c == '&'
}

func isDomainOctet(c byte) bool {
	return c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' || c == '.' || c == '-'
}
