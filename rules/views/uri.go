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
	u := l.byRaw[raw]
	if u == nil {
		u = &URI{Raw: raw}
		l.byRaw[raw] = u
		l.all = append(l.all, u)
	}
	u.Cleaned = appendNew(u.Cleaned, forms...)
	u.Types = appendNew(u.Types, types...)
	for i, h := range hosts {
		if !slices.Contains(u.Hosts, h) {
			u.Hosts, u.Domains = append(u.Hosts, h), append(u.Domains, domains[i])
		}
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
		if len(uri) <= 1 || uri[0] == '#' || uri[0] == '?' || uri[0] == '&' || uri[0] == '/' && uri[1] != '/' {
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
		rest := uri
		if hasPrefixFold(rest, "mailto:") {
			rest = rest[len("mailto:"):]
		}
		for strings.HasPrefix(rest, "%20") {
			rest = rest[3:]
		}
		if front := upTo(rest, "?&%"); front != "" {
			forms = append(forms, "mailto:"+front)
		}
	}
	if open := strings.IndexByte(uri, '<'); open >= 0 && !strings.ContainsAny(uri[:open], "?&") {
		rest := uri[open+1:]
		a, end := strings.IndexByte(rest, '@'), strings.IndexByte(rest, '>')
		if a > 0 && end > a+1 {
			forms = append(forms, "mailto:"+rest[:end])
		}
	}
	return forms
}

// plainURI undoes what hides a link from a reader.
func plainURI(uri string) string {
	uri = strings.ReplaceAll(uri, `\`, "/")
	for _, scheme := range []string{"http:", "https:"} {
		if hasPrefixFold(uri, scheme) {
			rest := uri[len(scheme):]
			for n := 0; n < 2 && strings.HasPrefix(rest, "/"); n++ {
				rest = rest[1:]
			}
			uri = uri[:len(scheme)] + "//" + rest
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
		if c <= ' ' || c >= 0x7f || c == '"' || c == '%' || c == '<' || c == '>' {
			fmt.Fprintf(&b, "%%%02x", c)
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
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
			digits, base := strings.ToLower(uri[i+2:i+end]), 10
			if strings.HasPrefix(digits, "x") {
				digits, base = digits[1:], 16
			}
			code, err := strconv.ParseUint(digits, base, 32)
			if err == nil && code > 0x20 && code < 0x7f {
				b.WriteByte(byte(code))
				i += end + 1
				continue
			}
			if err == nil && (code == 0x3002 || code == 0xff0e || code == 0xff61) {
				b.WriteByte('.')
				i += end + 1
				continue
			}
		}
		b.WriteByte(uri[i])
		i++
	}
	return b.String()
}

// webForms gives further forms of a link by HTTP, and links within it.
func webForms(uri string, d *Domains, redirects []Redirector) (forms, within []string) {
	n := webScheme(uri)
	if n == 0 {
		return nil, nil
	}
	proto, rest := uri[:n], uri[n:]
	user := ""
	if i := strings.IndexAny(rest, "@/?#"); i >= 0 && rest[i] == '@' {
		user, rest = rest[:i+1], rest[i+1:]
	}
	end := strings.IndexAny(rest, "/?#:")
	if end < 0 {
		end = len(rest)
	}
	host, rest := rest[:end], rest[end:]
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
	if clean := strings.Map(func(r rune) rune {
		if r <= ' ' {
			return -1
		}
		return r
	}, host); clean != host {
		host = clean
		forms = append(forms, proto+host+rest)
	}
	within = redirected(proto+host+rest, rest, redirects)
	if i := strings.LastIndexByte(host, '@'); i > 0 {
		host = host[i+1:]
		forms = append(forms, proto+host+rest)
	}
	if trimmed := strings.TrimRightFunc(host, func(r rune) bool { return r >= 0x80 || !isWordByte(byte(r)) || r == '_' }); trimmed != host {
		host = trimmed
		forms = append(forms, proto+host+rest)
	}
	if more := hostForms(proto, host, name, user, port, d); more != "" {
		forms = append(forms, proto+more+rest)
	}
	return forms, within
}

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
	lower := strings.ToLower(rest)
	for from := 0; ; {
		i := strings.Index(lower[from:], "http")
		if i < 0 {
			return nil
		}
		i += from
		from = i + 4
		n := i + 4
		if n < len(lower) && lower[n] == 's' {
			n++
		}
		if n >= len(lower) || lower[n] != ':' {
			continue
		}
		to := rest[i:]
		if end := strings.IndexAny(to, "&#"); end >= 0 {
			to = to[:end]
		}
		if len(to) > n-i+1 && strings.Contains(to, ".") {
			return []string{to}
		}
		return nil
	}
}

// hostForms gives another spelling of a host: a network address as four numbers, a bare word as what browsers make of it.
func hostForms(proto, host, name, user, port string, d *Domains) string {
	if quad := quadOf(host); quad != "" {
		return quad
	}
	if hex, ok := strings.CutPrefix(strings.ToLower(host), "0x"); ok && hex != "" && isHex(hex) {
		n, _ := strconv.ParseUint(hex[max(0, len(hex)-8):], 16, 64)
		return longAddress(n)
	}
	if host != "" && strings.Trim(host, "0123456789") == "" {
		n, err := strconv.ParseUint(host, 10, 64)
		if err != nil {
			n = 1<<64 - 1
		}
		return longAddress(n)
	}
	word := strings.TrimPrefix(name, "www.")
	if proto == "http://" && user == "" && name != "localhost" && port == "80" && word != "" && !strings.Contains(word, ".") && !d.Valid(name) {
		return "www." + word + ".com"
	}
	return ""
}

func isHex(text string) bool {
	for i := range len(text) {
		if hexValue(text[i]) < 0 {
			return false
		}
	}
	return true
}

// longAddress writes a number as an address. Of more than 32 bits it takes the first four octets.
func longAddress(n uint64) string {
	hex := fmt.Sprintf("%08x", n)
	if len(hex)%2 == 1 {
		hex += "0"
	}
	var parts []string
	for i := 0; i < 8; i += 2 {
		v, _ := strconv.ParseUint(hex[i:i+2], 16, 8)
		parts = append(parts, strconv.FormatUint(v, 10))
	}
	return strings.Join(parts, ".")
}

// quadOf reads four numbers, each decimal, octal or hexadecimal.
func quadOf(host string) string {
	fields := strings.Split(strings.ToLower(host), ".")
	if len(fields) != 4 {
		return ""
	}
	for i, f := range fields {
		hex, isX := strings.CutPrefix(f, "0x")
		switch {
		case isX && hex != "" && isHex(hex):
			n, _ := strconv.ParseUint(hex[max(0, len(hex)-15):], 16, 64)
			fields[i] = strconv.FormatUint(n, 10)
		case f == "" || strings.Trim(f, "0123456789") != "":
			return ""
		case f[0] == '0':
			fields[i] = octal(f)
		}
	}
	return strings.Join(fields, ".")
}

// octal reads a number with zeros in front: octal if it can be an octet.
func octal(text string) string {
	digits := strings.TrimLeft(text, "0")
	if digits == "" {
		return ""
	}
	if n, err := strconv.ParseUint(digits, 8, 8); err == nil {
		return strconv.FormatUint(n, 10)
	}
	return digits
}
