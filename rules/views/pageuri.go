package views

import (
	"slices"
	"strings"
)

// uri gives the entry of a link, made if it is new.
func (p *Page) uri(text string) *PageURI {
	u := p.byURI[text]
	if u == nil {
		u = &PageURI{URI: text}
		p.byURI[text] = u
		p.URIs = append(p.URIs, u)
	}
	return u
}

// canon takes off white space and cuts what is too long.
func (p *Page) canon(uri string) string {
	space := func(r rune) bool { return r == '\u00a0' || p.wide && spaceRune(r) || r < 0x80 && isSpace(byte(r)) }
	uri = strings.TrimFunc(uri, space)
	if len(uri) > maxURI {
		p.Truncated = true
		uri = uri[:maxURI]
	}
	return uri
}

func (p *Page) push(kind, uri string) {
	uri = p.canon(uri)
	if uri == "" {
		return
	}
	scheme, _, ok := strings.Cut(uri, ":")
	if !ok || !oneOf(" data mailto file cid tel ", strings.ToLower(scheme)) {
		if uri = targetURI(p.baseHref, uri); uri == "" {
			return
		}
	}
	u := p.uri(uri)
	if !slices.Contains(u.Types, kind) {
		u.Types = append(u.Types, kind)
	}
}

// slashed gives the value of an attribute that stands right behind another's slash, as in a/href=.
func (t *token) slashed(name string) (string, bool) {
	value, ok := t.get(name)
	for _, a := range t.attrs {
		before, found := strings.CutSuffix(a.name, "/"+name)
		if i := strings.Index(a.name, "/"+name); !found && i >= 0 {
			before, found = a.name[:i], true
		}
		if found && before != "" && isWordByte(before[len(before)-1]) {
			value, ok = a.value, true
		}
	}
	return value, ok
}

// linkOf takes the links of a tag.
func (p *Page) linkOf(t *token) {
	name := ""
	switch t.name {
	case "body", "table", "tr", "td":
		name = "background"
	case "a", "area", "link":
		if href, ok := t.slashed("href"); ok {
			p.push(t.name, strings.ReplaceAll(href, "\ufeff", ""))
		}
		name = "data-saferedirecturl"
	case "img", "frame", "iframe", "embed", "script", "bgsound":
		if src, ok := t.slashed("src"); ok {
			p.push(t.name, src)
		}
		return
	case "form":
		name = "action"
	case "base":
		p.base(t)
		return
	case "meta":
		p.refresh(t)
		return
	}
	if value, ok := t.get(name); ok {
		p.push(t.name, value)
	}
}

// base takes the address that links are relative to.
func (p *Page) base(t *token) {
	href, _ := t.get("href")
	if href == "" {
		return
	}
	href = p.canon(href)
	p.push("base", href)
	lower := strings.ToLower(href)
	if !strings.HasPrefix(lower, "http:") && !strings.HasPrefix(lower, "https:") && !strings.HasPrefix(lower, "ftp:") {
		return
	}
	href = dropFile(href)
	if !strings.HasSuffix(href, "/") {
		href += "/"
	}
	p.baseHref = href
}

// dropFile takes a file name with an ending off an address: it is no folder.
func dropFile(href string) string {
	i := strings.LastIndexByte(href, '/')
	if i <= strings.Index(href, ":")+3 {
		return href
	}
	file := href[i+1:]
	dot := strings.LastIndexByte(file, '.')
	if ending := len(file) - dot - 1; dot <= 0 || ending < 2 || ending > 4 {
		return href
	}
	start := strings.LastIndexByte(file[:dot], '.') + 1
	if start == dot {
		return href
	}
	return href[:i+1+start]
}

// refresh takes the address a page sends its reader to.
func (p *Page) refresh(t *token) {
	equiv, _ := t.get("http-equiv")
	content, _ := t.get("content")
	if !strings.Contains(strings.ToLower(equiv), "refresh") {
		return
	}
	last := -1
	for i := 0; ; {
		j := findParam(content, "url", i)
		if j < 0 {
			break
		}
		last, i = j, j
	}
	if last < 0 {
		return
	}
	uri := content[last:]
	if i := strings.IndexByte(uri, ';'); i >= 0 {
		uri = strings.TrimRight(uri[:i], " \t\n\r\f\v")
	}
	p.push("meta", uri)
}

// reference is a URI in its parts (RFC 3986 appendix B).
type reference struct {
	scheme, authority, path, query, fragment       string
	hasScheme, hasAuthority, hasQuery, hasFragment bool
}

func parseReference(text string) (r reference) {
	if i := strings.IndexAny(text, ":/?#"); i > 0 && text[i] == ':' {
		r.scheme, r.hasScheme, text = text[:i], true, text[i+1:]
	}
	if strings.HasPrefix(text, "//") {
		r.hasAuthority = true
		text = text[2:]
		end := strings.IndexAny(text, "/?#")
		if end < 0 {
			end = len(text)
		}
		r.authority, text = text[:end], text[end:]
	}
	text, r.fragment, r.hasFragment = strings.Cut(text, "#")
	r.path, r.query, r.hasQuery = strings.Cut(text, "?")
	if i := strings.IndexByte(r.fragment, '\n'); i >= 0 {
		r.fragment = r.fragment[:i]
	}
	return r
}

// targetURI resolves a reference (RFC 3986 section 5.2.2), forgiving a scheme that repeats the base's.
func targetURI(base, text string) string {
	r, b := parseReference(text), parseReference(base)
	if r.hasScheme && b.hasScheme && r.scheme == b.scheme {
		r.scheme, r.hasScheme = "", false
	}
	t := reference{fragment: r.fragment, hasFragment: r.hasFragment, query: r.query, hasQuery: r.hasQuery, scheme: r.scheme}
	switch {
	case r.hasScheme || r.hasAuthority:
		t.authority, t.hasAuthority, t.path = r.authority, r.hasAuthority, removeDots(r.path)
	case r.path == "":
		t.path = b.path
		if !r.hasQuery {
			t.query, t.hasQuery = b.query, b.hasQuery
		}
	default:
		t.path = removeDots(mergePaths(b, r.path))
	}
	if !r.hasScheme {
		t.scheme = b.scheme
		if !r.hasAuthority {
			t.authority, t.hasAuthority = b.authority, b.hasAuthority
		}
	}
	return t.String()
}

// mergePaths puts a relative path behind the base's (RFC 3986 section 5.2.3). One from the root stays.
func mergePaths(base reference, path string) string {
	if strings.HasPrefix(path, "/") {
		return path
	}
	if base.hasAuthority && base.path == "" {
		return "/" + path
	}
	return base.path[:strings.LastIndexByte(base.path, '/')+1] + path
}

func (t reference) String() string {
	var b strings.Builder
	authority := strings.ToLower(t.authority)
	switch {
	case t.scheme != "":
		b.WriteString(t.scheme + ":")
	case t.hasAuthority && numbered(authority, "www"):
		b.WriteString("http:")
	case t.hasAuthority && numbered(authority, "ftp"):
		b.WriteString("ftp:")
	}
	if t.hasAuthority {
		b.WriteString("//" + t.authority)
	}
	b.WriteString(t.path)
	if t.hasQuery {
		b.WriteString("?" + t.query)
	}
	if t.hasFragment {
		b.WriteString("#" + t.fragment)
	}
	return b.String()
}

// numbered says whether a host begins with a word, a number and a dot.
func numbered(host, word string) bool {
	rest, ok := strings.CutPrefix(host, word)
	return ok && strings.HasPrefix(strings.TrimLeft(rest, "0123456789"), ".")
}

// fromRoot makes a path that begins with . or .. one from the root.
func fromRoot(path string) string {
	for _, dots := range []string{"../", "./"} {
		if rest, ok := strings.CutPrefix(path, dots); ok {
			return "/" + rest
		}
	}
	return path
}

// removeDots takes . and .. out of a path (RFC 3986 section 5.2.4).
func removeDots(path string) string {
	if !strings.Contains(path, ".") {
		return path
	}
	path = fromRoot(path)
	var out []string
	for path != "" {
		switch {
		case path == "/." || strings.HasPrefix(path, "/./"):
			path = "/" + path[min(3, len(path)):]
		case path == "/.." || strings.HasPrefix(path, "/../"):
			path = "/" + path[min(4, len(path)):]
			if len(out) > 0 {
				out = out[:len(out)-1]
			}
		default:
			end := strings.IndexByte(path[1:], '/')
			if end < 0 {
				end = len(path) - 1
			}
			out = append(out, path[:end+1])
			path = path[end+1:]
		}
	}
	return strings.Join(out, "")
}
