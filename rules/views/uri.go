package views

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// URI is a link of a message.
type URI struct {
	// Raw is as it was written, Cleaned are its canonical forms.
	Raw     string
	Cleaned []string
	// Types say where it comes from: "parsed" from the text, "a", "img" and the like from HTML.
	Types []string
	// Anchors are the texts that stand for it.
	Anchors []string
	// Domains and Hosts are those it leads to; Hosts[i] is in Domains[i].
	Domains, Hosts []string
}

// linkList collects the links of a message.
type linkList struct {
	all       []*URI
	byRaw     map[string]*URI
	uris      []string
	truncated bool
}

const maxLinks = 20_000

// Links are the links of the text and the HTML, in order.
func (m *Message) Links() []*URI {
	return m.linkList().all
}

// Truncated says whether a link was cut.
func (m *Message) Truncated() bool { return m.linkList().truncated }

// URIs are the canonical forms of all links, each once.
func (m *Message) URIs() []string { return m.linkList().uris }

func (m *Message) linkList() *linkList {
	if m.links != nil {
		return m.links
	}
	l := &linkList{byRaw: map[string]*URI{}}
	m.links = l
	seen := map[string]bool{}
	for _, line := range m.Body() {
		m.textLinks(line, seen)
	}
	for _, p := range m.Pages() {
		l.truncated = l.truncated || p.Truncated
		for _, u := range p.URIs {
			if link := m.addLink(u.URI, u.Types, false); link != nil {
				link.Anchors = appendNew(link.Anchors, u.Anchors...)
			}
		}
	}
	known := map[string]bool{}
	for _, u := range l.all {
		for _, c := range u.Cleaned {
			if !known[c] {
				known[c] = true
				l.uris = append(l.uris, c)
			}
		}
	}
	return l
}

func appendNew(all []string, more ...string) []string {
	for _, s := range more {
		if !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	return all
}

// addLink takes a link. Named says that it counts only if it leads to a domain that can be.
func (m *Message) addLink(raw string, types []string, named bool) *URI {
	l := m.links
	if len(l.all) >= maxLinks {
		return nil
	}
	var domains, hosts []string
	forms := canonical(raw, m.domains, m.redirects)
	for i, f := range forms {
		if len(f) > maxURI {
			l.truncated = true
			forms[i] = f[:maxURI]
		}
		if domain, host := m.domains.OfURI(forms[i]); domain != "" && !slices.Contains(hosts, host) {
			domains, hosts = append(domains, domain), append(hosts, host)
		}
	}
	if named && len(domains) == 0 {
		return nil
	}
	u := l.entry(raw)
	u.Cleaned = appendNew(u.Cleaned, forms...)
	u.Types = appendNew(u.Types, types...)
	for i, h := range hosts {
		if !slices.Contains(u.Hosts, h) {
			u.Hosts, u.Domains = append(u.Hosts, h), append(u.Domains, domains[i])
		}
	}
	return u
}

// entry gives the entry of a link, made if it is new.
func (l *linkList) entry(raw string) *URI {
	u := l.byRaw[raw]
	if u == nil {
		u = &URI{Raw: raw}
		l.byRaw[raw] = u
		l.all = append(l.all, u)
	}
	return u
}

// canonical gives the forms of a link: as it is, and each that a reader's program may make of it.
func canonical(raw string, d *Domains, redirects []Redirector) []string {
	uris := []string{raw}
	var forms []string
	for i := 0; i < len(uris) && i < 20; i++ {
		uri := trimSpace(strings.ReplaceAll(strings.ReplaceAll(uris[i], "\n", ""), "\r", ""))
		uris[i] = uri
		if withinPage(uri) {
			continue
		}
		if isMailLink(uri) {
			forms = append(forms, mailForms(uri)...)
			continue
		}
		plain := plainURI(uri)
		if plain != uri {
			forms = append(forms, plain)
		}
		more, within := webForms(plain, d, redirects)
		forms = append(forms, more...)
		uris = append(uris, within...)
	}
	return appendNew(appendNew(nil, uris...), forms...)
}

// withinPage says whether a link leads to no other host: to a place, a query or a path.
func withinPage(uri string) bool {
	if len(uri) <= 1 {
		return true
	}
	switch uri[0] {
	case '#', '?', '&':
		return true
	}
	return uri[0] == '/' && uri[1] != '/'
}

func isMailLink(uri string) bool {
	if hasPrefixFold(uri, "mailto:") {
		return true
	}
	at, colon := strings.IndexByte(uri, '@'), strings.IndexByte(uri, ':')
	return at >= 0 && (colon < 0 || at < colon)
}

func hasPrefixFold(text, prefix string) bool {
	return len(text) >= len(prefix) && strings.EqualFold(text[:len(prefix)], prefix)
}

// upTo gives an address up to one of some marks behind its @, "" if it is none.
func upTo(uri, marks string) string {
	at := strings.IndexByte(uri, '@')
	if at <= 0 {
		return ""
	}
	end := strings.IndexAny(uri[at+1:], marks)
	if end < 0 {
		end = len(uri) - at - 1
	}
	if end == 0 {
		return ""
	}
	return uri[:at+1+end]
}

// mailForms gives the address without what follows it.
func mailForms(uri string) (forms []string) {
	if front := upTo(uri, "?"); front != "" && len(front) < len(uri) {
		forms = append(forms, front)
	}
	if front := upTo(uri, "?&"); front != "" && len(front) < len(uri) && uri[len(front)] == '&' {
		forms = append(forms, front)
	}
	if strings.Contains(uri, "%20") {
		if address := spacedAddress(uri); address != "" {
			forms = append(forms, "mailto:"+address)
		}
	}
	if address := bracketedAddress(uri); address != "" {
		forms = append(forms, "mailto:"+address)
	}
	return forms
}

// spacedAddress is the address between escaped spaces.
func spacedAddress(uri string) string {
	if hasPrefixFold(uri, "mailto:") {
		uri = uri[len("mailto:"):]
	}
	for strings.HasPrefix(uri, "%20") {
		uri = uri[3:]
	}
	return upTo(uri, "?&%")
}

// bracketedAddress is the address in angle brackets.
func bracketedAddress(uri string) string {
	front, rest, found := strings.Cut(uri, "<")
	if !found || strings.ContainsAny(front, "?&") {
		return ""
	}
	at, end := strings.IndexByte(rest, '@'), strings.IndexByte(rest, '>')
	if at <= 0 || end <= at+1 {
		return ""
	}
	return rest[:end]
}

// plainURI undoes what hides a link from a reader.
func plainURI(uri string) string {
	uri = strings.ReplaceAll(uri, `\`, "/")
	for _, scheme := range []string{"http:", "https:"} {
		if hasPrefixFold(uri, scheme) {
			uri = uri[:len(scheme)] + "//" + dropSlashes(uri[len(scheme):])
			break
		}
	}
	uri = unescapeURI(uri)
	if !hasScheme(uri) {
		if strings.HasPrefix(uri, "ftp.") {
			uri = "ftp://" + uri
		} else {
			uri = "http://" + uri
		}
	}
	if n := webScheme(uri); n > 0 {
		if i := strings.IndexAny(uri[n:], "/?#"); i > 0 && uri[n+i] != '/' {
			uri = uri[:n+i] + "/" + uri[n+i:]
		}
	}
	if strings.Contains(uri, "&#") {
		uri = uriEntities(uri)
	}
	return uri
}

// webScheme is the length of http:// or https:// at the front.
func webScheme(uri string) int {
	for _, s := range []string{"http://", "https://"} {
		if hasPrefixFold(uri, s) {
			return len(s)
		}
	}
	return 0
}

func hasScheme(uri string) bool {
	i := 0
	for i < len(uri) && (isWordByte(uri[i]) || uri[i] == '-') {
		i++
	}
	return i > 0 && i < len(uri) && uri[i] == ':'
}

// unescapeURI undoes percent escapes of printable ASCII, and escapes what must be.
func unescapeURI(uri string) string {
	escaped := false
	for i := 0; i < len(uri) && !escaped; i++ {
		escaped = isEscape(uri, i)
	}
	if !escaped {
		return uri
	}
	var b strings.Builder
	for i := 0; i < len(uri); i++ {
		c := uri[i]
		if isEscape(uri, i) {
			n := byte(hexValue(uri[i+1])<<4 | hexValue(uri[i+2]))
			if n > 0x20 && n < 0x7f {
				b.WriteByte(n)
			} else {
				b.WriteString(uri[i : i+3])
			}
			i += 2
			continue
		}
		if mustEscape(c) {
			fmt.Fprintf(&b, "%%%02x", c)
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}

// mustEscape says whether an octet may not stand in a link as it is.
func mustEscape(c byte) bool {
	return c <= ' ' || c >= 0x7f || c == '"' || c == '%' || c == '<' || c == '>'
}

// isEscape says whether a percent escape stands at an offset.
func isEscape(uri string, i int) bool {
	return uri[i] == '%' && i+2 < len(uri) && hexValue(uri[i+1]) >= 0 && hexValue(uri[i+2]) >= 0
}

// uriEntities decodes numeric character references of printable ASCII and of full stops.
func uriEntities(uri string) string {
	var b strings.Builder
	for i := 0; i < len(uri); {
		end := strings.IndexByte(uri[i:], ';')
		if uri[i] == '&' && end > 2 && uri[i+1] == '#' {
			if c := linkOctet(uri[i+2 : i+end]); c != 0 {
				b.WriteByte(c)
				i += end + 1
				continue
			}
		}
		b.WriteByte(uri[i])
		i++
	}
	return b.String()
}

// linkOctet is the octet that a numeric character reference stands for in a link, 0 for one that stays as it is. The full
// stops of East Asian scripts part labels as well (RFC 3490 section 3.1).
func linkOctet(digits string) byte {
	digits, base := strings.ToLower(digits), 10
	if strings.HasPrefix(digits, "x") {
		digits, base = digits[1:], 16
	}
	code, err := strconv.ParseUint(digits, base, 32)
	switch {
	case err != nil:
		return 0
	case code > 0x20 && code < 0x7f:
		return byte(code)
	case code == 0x3002 || code == 0xff0e || code == 0xff61:
		return '.'
	}
	return 0
}

// webForms gives further forms of a link by HTTP, and links within it.
func webForms(uri string, d *Domains, redirects []Redirector) (forms, within []string) {
	n := webScheme(uri)
	if n == 0 {
		return nil, nil
	}
	proto := uri[:n]
	user, host, rest := splitAuthority(uri[n:])
	if host == "" {
		return nil, nil
	}
	port, bare := portOf(rest)
	if std := standardPort(proto); port == "" {
		port = std
	} else if port == std {
		forms = append(forms, proto+host+bare)
	}
	name := strings.ToLower(host)
	if clean := dropControls(host); clean != host {
		host = clean
		forms = append(forms, proto+host+rest)
	}
	within = redirected(proto+host+rest, rest, redirects)
	if i := strings.LastIndexByte(host, '@'); i > 0 {
		host = host[i+1:]
		forms = append(forms, proto+host+rest)
	}
	if trimmed := strings.TrimRightFunc(host, endsNoHost); trimmed != host {
		host = trimmed
		forms = append(forms, proto+host+rest)
	}
	if more := hostForms(proto, host, name, user, port, d); more != "" {
		forms = append(forms, proto+more+rest)
	}
	return forms, within
}

// splitAuthority parts what follows a scheme into the user with its @, the host, and the rest from the port on (RFC 3986
// section 3.2).
func splitAuthority(text string) (user, host, rest string) {
	if i := strings.IndexAny(text, "@/?#"); i >= 0 && text[i] == '@' {
		user, text = text[:i+1], text[i+1:]
	}
	end := before(text, 0, "/?#:")
	return user, text[:end], text[end:]
}

// dropControls takes out control characters and spaces.
func dropControls(text string) string {
	return strings.Map(func(r rune) rune {
		if r <= ' ' {
			return -1
		}
		return r
	}, text)
}

// endsNoHost says whether a character can't be the last one of a host name.
func endsNoHost(r rune) bool { return r >= 0x80 || !isWordByte(byte(r)) || r == '_' }

func standardPort(proto string) string {
	if proto == "http://" {
		return "80"
	}
	return "443"
}

// portOf gives the port behind a host, and what stands behind it.
func portOf(rest string) (port, bare string) {
	if !strings.HasPrefix(rest, ":") {
		return "", rest
	}
	n := 1
	for n < len(rest) && rest[n] >= '0' && rest[n] <= '9' {
		n++
	}
	return rest[1:n], rest[n:]
}

// redirected finds links within a link.
func redirected(whole, rest string, redirects []Redirector) []string {
	for _, r := range redirects {
		if to := r(whole); strings.Contains(to, ".") {
			return []string{to}
		}
	}
	if to := linkWithin(rest); to != "" {
		return []string{to}
	}
	return nil
}

// linkWithin is the first link by HTTP that stands in the path or the query of another.
func linkWithin(rest string) string {
	lower := strings.ToLower(rest)
	for from := 0; ; {
		i := strings.Index(lower[from:], "http")
		if i < 0 {
			return ""
		}
		i += from
		from = i + 4
		n := i + 4
		if stands(lower, n, 's') {
			n++
		}
		if !stands(lower, n, ':') {
			continue
		}
		to := rest[i:]
		if end := strings.IndexAny(to, "&#"); end >= 0 {
			to = to[:end]
		}
		if len(to) > n-i+1 && strings.Contains(to, ".") {
			return to
		}
		return ""
	}
}
