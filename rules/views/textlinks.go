package views

import (
	"strings"
)

// How long the pieces of a link in a text may be.
const (
	maxPath  = 2048
	maxLocal = 251
)

// endsLink says whether an octet ends a link in a text, endsMail whether it ends an address.
func endsLink(c byte) bool {
	return isSpace(c) || c == 0x1b || c == 0xa0 || strings.IndexByte("><\"`}]{[|", c) >= 0
}

func endsMail(c byte) bool { return c >= 0x80 || c == ',' || c == '(' || c == '\'' || endsLink(c) }

// beginsLink says whether a link can begin at an offset: at the edge of a word or behind a delimiter.
func beginsLink(text string, i int) bool {
	before := i > 0 && isWordByte(text[i-1])
	after := i < len(text) && isWordByte(text[i])
	if before != after {
		return true
	}
	if i == 0 {
		return false
	}
	c := text[i-1]
	return isSpace(c) || c == 0x1b || c == 0xa0 || strings.IndexByte("><\"'`,{[(|", c) >= 0 || behindShift(text, i)
}

// behindShift says whether an escape sequence of ISO 2022 for a set of 94 characters ends at an offset.
func behindShift(text string, i int) bool { return i >= 3 && text[i-3] == 0x1b && text[i-2] == '(' }

// beginsBare says whether a link without a scheme can begin at an offset.
func beginsBare(text string, i int) bool {
	if i == 0 {
		return true
	}
	c := text[i-1]
	return isSpace(c) || c == 0x1b || c == 0xa0 || strings.IndexByte("!\"#$&'()*+,/:;<=>?@[\\]^`{|}~", c) >= 0
}

type linkKind int

const (
	linkNone linkKind = iota
	linkScheme
	linkMail
	linkBare
)

// textLinks finds the links in a line of the body.
func (m *Message) textLinks(line string, seen map[string]bool) {
	if !strings.ContainsAny(line, ".@:") {
		return
	}
	at := -1 // the next @, once it was looked for
	for i := 0; i < len(line); {
		if !beginsLink(line, i) {
			i++
			continue
		}
		if at < i {
			if at = strings.IndexByte(line[i:], '@'); at < 0 {
				at = len(line)
			} else {
				at += i
			}
		}
		kind, n, host := m.linkAt(line, i, at)
		if kind == linkNone {
			i++
			continue
		}
		m.takeTextLink(line[i:i+n], kind, host, seen)
		i += n
	}
}

// linkAt says what link begins at an offset and how long it is. At is where the next @ is.
func (m *Message) linkAt(text string, i, at int) (kind linkKind, n int, host string) {
	if n := schemeLink(text, i); n > 0 {
		return linkScheme, n, ""
	}
	if n := mailLink(text, i, at); n > 0 {
		return linkMail, n, ""
	}
	if n, host := m.bareLink(text, i); n > 0 {
		return linkBare, n, host
	}
	return linkNone, 0, ""
}

// run gives the length of what ends at a delimiter, 0 if it is empty or longer than it may be.
func run(text string, i, most int, ends func(byte) bool) int {
	n := 0
	for i+n < len(text) && !ends(text[i+n]) {
		if n++; n > most {
			return 0
		}
	}
	return n
}

func schemeLink(text string, i int) int {
	front := linkFront(text[i:])
	if front == 0 {
		return 0
	}
	n := run(text, i+front, maxPath, endsLink)
	if n == 0 {
		return 0
	}
	return front + n
}

// linkFront is the length of what a link in a text begins with: a scheme, or a host name that is known for one.
func linkFront(text string) int {
	switch text[0] | 0x20 {
	case 'h', 'f', 'w':
	default:
		return 0
	}
	for _, s := range []string{"http://", "https://", "ftp://", "ftp."} {
		if hasPrefixFold(text, s) {
			return len(s)
		}
	}
	if !hasPrefixFold(text, "www") {
		return 0
	}
	if n := 3 + digitRun(text[3:], 2); stands(text, n, '.') {
		return n + 1
	}
	return 0
}

func mailLink(text string, i, at int) int {
	const scheme = "mailto:"
	if hasPrefixFold(text[i:], scheme) {
		if n := run(text, i+len(scheme), maxPath, endsMail); n > 0 {
			return len(scheme) + n
		}
	}
	if at >= len(text) || at-i > maxLocal || at == i {
		return 0
	}
	for j := i; j < at; j++ {
		if endsMail(text[j]) {
			return 0
		}
	}
	n := run(text, at+1, maxLocal, endsMail)
	if n == 0 {
		return 0
	}
	return at + 1 + n - i
}

func isHostByte(c byte) bool { return isWordByte(c) || c == '.' || c == '-' }

func hostEnd(text string, i int) int {
	for i < len(text) && isHostByte(text[i]) {
		i++
	}
	return i
}

// bareLink finds a host name with a top-level domain that exists, and a port and a path behind it.
func (m *Message) bareLink(text string, i int) (n int, host string) {
	if c := text[i]; c == '_' || !isWordByte(c) || !beginsBare(text, i) {
		return 0, ""
	}
	end := hostEnd(text, i)
	name := end
	if text[name-1] == '.' { // one full stop may follow
		name--
	}
	dot := strings.LastIndexByte(text[i:name], '.')
	if dot <= 0 || dot > 252 || !m.domains.TLD(text[i+dot+1:name]) {
		return 0, ""
	}
	j := behindHost(text, end)
	if j < 0 {
		return 0, ""
	}
	return j - i, text[i:name]
}

// behindHost gives the end of a port and a path, -1 if something else follows.
func behindHost(text string, j int) int {
	if stands(text, j, ':') {
		if digits := digitRun(text[j+1:], 5); digits > 0 {
			j += 1 + digits
		}
	}
	if stands(text, j, '/') {
		path := run(text, j+1, maxPath, endsLink)
		if path == 0 {
			return -1
		}
		j += 1 + path
	}
	if j < len(text) && !endsLink(text[j]) {
		return -1
	}
	return j
}

// takeTextLink takes a link that stands in the text.
func (m *Message) takeTextLink(raw string, kind linkKind, host string, seen map[string]bool) {
	if end := strings.IndexByte(raw, ')'); end >= 0 && !strings.Contains(raw[:end], "(") {
		raw = raw[:end] // a bracket ends it if none was opened
	}
	raw = strings.TrimRight(raw, `-~!@#^&*()_+=:;'?,.`)
	if seen[raw] {
		return
	}
	seen[raw] = true
	if leadsNowhere(raw, kind, host) {
		return
	}
	types := []string{"parsed"}
	uri := raw
	if !oneOfSchemes(raw) {
		var unlinked bool
		if uri, unlinked = schemeFor(raw); uri == "" {
			return
		}
		if unlinked {
			types = append(types, "unlinked")
		}
		types = append(types, "schemeless")
	}
	if hasPrefixFold(uri, "mailto:") {
		uri = unescapeURI(uri)
		if !m.mailHost(uri) {
			return
		}
	}
	m.addLink(uri, types, true)
}

// leadsNowhere says whether a link has no host, or leads into the message itself.
func leadsNowhere(raw string, kind linkKind, host string) bool {
	switch {
	case kind == linkMail && !strings.Contains(raw, "@"),
		kind == linkBare && !ValidName(host),
		hasPrefixFold(raw, "cid:"), hasPrefixFold(raw, "mid:"), onlyScheme(raw):
		return true
	}
	return false
}

func oneOfSchemes(raw string) bool {
	return hasPrefixFold(raw, "http:") || hasPrefixFold(raw, "https:") || hasPrefixFold(raw, "ftp:") || hasPrefixFold(raw, "mailto:")
}

// onlyScheme says whether there is nothing behind a scheme.
func onlyScheme(raw string) bool {
	i := 0
	for i < len(raw) && isWordByte(raw[i]) {
		i++
	}
	return i > 0 && i < len(raw) && raw[i] == ':' && len(raw)-i <= 3 && strings.Trim(raw[i+1:], "/") == ""
}

// schemeFor gives a link the scheme that readers give it, "" for none that can be.
func schemeFor(raw string) (uri string, unlinked bool) {
	slash := strings.IndexByte(raw, '/')
	switch {
	case hasPrefixFold(raw, "ftp."):
		return "ftp://" + raw, false
	case hasPrefixFold(raw, "www") && numbered(strings.ToLower(raw), "www") && strings.IndexByte(raw, '.') <= 5:
		return "http://" + raw, false
	case slash >= 0 && strings.LastIndexByte(raw, '@') > slash+1:
		return "http://" + raw, false
	case strings.Contains(raw, "@"):
		return mailtoFor(raw), false
	case !strings.Contains(raw, "."):
		return "", false
	}
	return "http://" + raw, true
}

// mailtoFor makes a link of an address in a text, "" if its domain has no dot.
func mailtoFor(raw string) string {
	at := strings.IndexByte(raw, '@')
	if at+2 >= len(raw) || !strings.Contains(raw[at+2:], ".") || strings.Contains(raw, "&nbsp;") {
		return ""
	}
	return "mailto:" + stripMailWords(raw)
}

// stripMailWords takes off words that people write before an address.
func stripMailWords(raw string) string {
	for _, word := range []string{"skype", "email", "e-mail", "mail", "-mail", ""} {
		if hasPrefixFold(raw, word) && strings.HasPrefix(raw[len(word):], ":") {
			return strings.TrimLeft(raw[len(word):], ":")
		}
	}
	return raw
}

// mailHost says whether an address leads to a domain that can be.
func (m *Message) mailHost(uri string) bool {
	_, host, ok := strings.Cut(uri, "@")
	if !ok {
		return false
	}
	if end := strings.IndexAny(host, "?&>"); end >= 0 {
		host = host[:end]
	}
	for strings.HasSuffix(host, "%20") {
		host = strings.TrimSuffix(host, "%20")
	}
	return m.domains.Valid(host)
}
