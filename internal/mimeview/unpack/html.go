package unpack

import (
	"bytes"
	"encoding/base64"
	"html"
	"regexp"
	"slices"
	"strings"

	"postern/internal/mail/ascii"
	"postern/internal/mimeview/unpack/filetype"
)

var (
	dataURI = regexp.MustCompile(`(?i)\bdata:([a-z]+/[a-z0-9.+-]+)((?:;[a-z0-9=_.-]+){0,5}),`)
	webURL  = regexp.MustCompile(`(?i)\b(?:https?|ftp|search-ms|ms-[a-z-]+):(?://)?[^\s"'<>\\)\]}]{4,}`)
)

// maxDecoys is how many data: URIs, texts that scripts hold and pages within a page are decoded.
const maxDecoys = 200

// scriptKind tells a picture that has a script from a page, which may have a picture among its tags.
func scriptKind(o *Object, svg bool) Kind {
	if svg && (!o.isClass(filetype.HTML) || slices.Contains(LastExtensions(o.Names), ".svg")) {
		return SVGScript
	}
	return ScriptInHTML
}

// inspectHTML looks at pages and SVG pictures that come as attachments: a browser runs them with the reader's rights.
func inspectHTML(w *walk, n *node, o *Object) func() {
	svg := o.is("image/svg+xml")
	if !svg && !o.isClass(filetype.HTML) && !o.is("application/hta") {
		inspectXML(w, n, o)
		return nil
	}
	text := browserText(n.content)
	page := readPage(text, w.late)
	if script := page.active(); script != "" {
		o.flag(scriptKind(o, svg), script)
	}
	if page.asks && page.secret {
		o.flag(PasswordForm, "")
	}
	flagURLs(o, text)
	inside := append(page.inside, htmlData(o, text)...)
	if page.scripted {
		if how := smuggled(text); how != "" {
			o.flag(HTMLSmuggling, how)
		}
		inside = append(inside, scriptData(o, text)...)
	}
	if len(inside) > maxDecoys {
		inside = inside[:maxDecoys]
		o.flag(LimitHit, "entries")
		w.limit("entries")
	}
	return func() { w.children(n, inside) }
}

// children visits objects that are inside of one.
func (w *walk) children(n *node, inside []entry) {
	for _, e := range inside {
		if w.stopped() {
			return
		}
		_ = w.child(n, e) // noted by child
	}
}

// inspectXML looks for script in other XML, which browsers run where the names of XHTML or SVG are declared for it. A
// style sheet is nothing odd here: invoices come with one. "Namespaces in XML" section 3; HTML section 14.
func inspectXML(w *walk, n *node, o *Object) {
	if !o.is("text/xml") && !slices.ContainsFunc(LastExtensions(o.Names), func(e string) bool { return e == ".xml" || e == ".xsl" || e == ".xslt" || e == ".xht" }) {
		return
	}

	text := browserText(n.content)
	names := text
	if bytes.Contains(text, []byte("&")) { // a name may be written with character references
		names = []byte(html.UnescapeString(string(text)))
	}
	if !bytes.Contains(names, []byte("www.w3.org/1999/xhtml")) && !bytes.Contains(names, []byte("www.w3.org/2000/svg")) {
		return
	}

	if page := readPage(text, w.late); page.scripted {
		o.flag(ScriptInHTML, page.active())
	}
}

// browserText gives a page as browsers decode it, as far as it matters for what they run: UTF-16 by its mark or by how
// it looks, without the octets that some of them pass over.
func browserText(b []byte) []byte {
	if wide, ok := filetype.Narrow(b); ok {
		b = wide
	}
	if bytes.IndexByte(b, 0) >= 0 { // the engine of Outlook and of HTA drops them
		b = bytes.ReplaceAll(b, []byte{0}, nil)
	}
	if bytes.Contains(b, []byte("\x1b(")) || bytes.Contains(b, []byte("\x1b$")) { // ISO-2022-JP: ASCII goes on behind its escapes
		for _, escape := range []string{"\x1b(B", "\x1b(J", "\x1b(I", "\x1b$@", "\x1b$B"} {
			b = bytes.ReplaceAll(b, []byte(escape), nil)
		}
	}
	return b
}

const (
	maxURLs    = 100
	maxURLText = 4 << 20 // octets that are searched
)

func flagURLs(o *Object, b []byte) {
	found := webURL.FindAll(b[:min(len(b), maxURLText)], maxURLs)
	for _, u := range found {
		o.flag(URI, string(u))
	}
	if len(found) == maxURLs || len(b) > maxURLText && bytes.Contains(b[maxURLText:], []byte("://")) {
		o.flag(ManyLinks, "")
	}
}

// isResource says whether a media type is of what makes a page look as it does, and is nothing by itself.
func isResource(media string) bool {
	switch top, _, _ := strings.Cut(media, "/"); top {
	case "image":
		return media != "image/svg+xml" || strings.Contains(media, "font")
	case "font", "audio", "video":
		return true
	}
	return media == "text/css" || strings.Contains(media, "font")
}

// htmlData gives what stands in data: URIs, but for pictures, fonts and other plain resources of a page. RFC 2397
func htmlData(o *Object, b []byte) (found []entry) {
	for at := 0; len(found) <= maxDecoys; {
		m := dataURI.FindSubmatchIndex(b[at:])
		if m == nil {
			return found
		}
		rest := b[at:]
		body := rest[m[1]:]
		if end := bytes.IndexAny(body, "\"'<>) `"); end >= 0 {
			body = body[:end]
		}
		at += m[1] + len(body) // what belongs to one URI can't begin another
		media := strings.ToLower(string(rest[m[2]:m[3]]))
		if isResource(media) {
			continue
		}
		content := []byte(percentDecoded(string(body)))
		if strings.Contains(strings.ToLower(string(rest[m[4]:m[5]])), "base64") {
			content = lenientBase64(content)
		}
		if media != "text/plain" {
			o.flag(DataURI, media)
		}
		found = append(found, entry{names: []string{"data"}, r: bytes.NewReader(content), packed: int64(len(body) + 1)})
	}
	return found
}

// lenientBase64 drops what is no digit and decodes the rest, as browsers' and mail readers' decoders do.
func lenientBase64(b []byte) []byte {
	kept := make([]byte, 0, len(b))
	for _, c := range b {
		if ascii.IsAlnum(c) || c == '+' || c == '/' {
			kept = append(kept, c)
		}
	}
	out := make([]byte, base64.RawStdEncoding.DecodedLen(len(kept)))
	got, _ := base64.RawStdEncoding.Decode(out, kept) // a last lone digit is dropped
	return out[:got]
}

// page is what the tags of a page say.
type page struct {
	scripted bool // a script, or an address that is one
	handler  string
	other    string
	form     bool // that sends elsewhere
	asks     bool // there is a form
	secret   bool // a field for a password
	foreign  bool
	embeds   bool
	inside   []entry
	stop     func() bool
	count    int // of tags
	room     int // octets of tags that are still looked at: each "<" begins one, within others too
}

// active says what the page does besides being shown, "" for nothing.
func (p *page) active() string {
	switch {
	case p.handler != "":
		return p.handler
	case p.other != "":
		return p.other
	case p.foreign && p.embeds:
		return "foreign content that holds other pages or a form"
	case p.form && p.secret:
		return "a form that asks for a password and sends it elsewhere"
	case p.scripted:
		return "script"
	}
	return ""
}

const maxTag = 256 << 10 // octets of one tag that are looked at

// readPage looks at each tag, wherever it stands: comments are one browser's tags, and an entity that an SVG picture
// declares may hold some.
func readPage(b []byte, stop func() bool) page {
	p := page{room: 3*len(b) + maxTag, stop: stop}
	p.tags(b)
	if i := bytes.Index(b, []byte("<!ENTITY")); i >= 0 {
		p.tags([]byte(html.UnescapeString(string(b[i:min(len(b), i+maxTag)]))))
	}
	return p
}

// instruction looks at what stands behind a "<" that begins no tag.
func (p *page) instruction(b []byte) {
	if bytes.HasPrefix(b, []byte("?xml-stylesheet")) && bytes.Contains(b[:min(len(b), 1024)], []byte("xsl")) {
		p.other = "a stylesheet that transforms it"
	}
}

func tagName(b []byte) (name string, end int) {
	for end = 1; end < len(b) && end < 64 && nameOctet(b[end]); {
		end++
	}
	return strings.ToLower(string(b[:end])), end
}

func (p *page) tags(b []byte) {
	for {
		i := bytes.IndexByte(b, '<')
		if i < 0 || i+1 >= len(b) {
			return
		}
		b = b[i+1:]
		if p.count++; p.count%4096 == 0 && p.stop() { // noted as a limit
			return
		}
		if !ascii.IsLetter(b[0]) {
			p.instruction(b)
			continue
		}
		name, end := tagName(b)
		if p.room <= 0 { // no page is written like this
			p.other, p.scripted = "tags within tags without end", true
			return
		}
		p.tag(name[strings.LastIndexByte(name, ':')+1:], b[end:min(len(b), end+maxTag)])
	}
}

func nameOctet(c byte) bool {
	return ascii.IsAlnum(c) || strings.IndexByte(":-_.", c) >= 0
}

// tag looks at one tag and its attributes. HTML 13.2.5.32 and later: a slash divides attributes as a blank does.
func (p *page) tag(name string, rest []byte) {
	t := tag{name: name}
	for {
		attribute, value, after := nextAttribute(rest)
		if attribute == "" {
			break
		}
		p.room -= len(attribute) + len(value)
		rest = after
		if !p.acts(attribute, value) {
			p.attribute(&t, attribute, strings.ToLower(strings.Map(visibleInURL, html.UnescapeString(value))))
		}
	}
	switch name {
	case "script":
		p.scripted = p.scripted || !t.inert
	case "foreignobject":
		p.foreign = true
	case "iframe", "embed", "object", "form":
		p.embeds, p.asks = true, p.asks || name == "form"
	}
	if t.refresh && t.elsewhere {
		p.other = "goes elsewhere by itself"
	}
}

// tag is what the attributes of one tag say together.
type tag struct {
	name                      string
	inert, refresh, elsewhere bool
}

// acts notes attributes that hold a script, or a page, whatever their tag.
func (p *page) acts(attribute, value string) bool {
	switch {
	case value == "":
	case len(attribute) > 3 && strings.HasPrefix(attribute, "on") && strings.Trim(attribute, "abcdefghijklmnopqrstuvwxyz") == "":
		p.handler, p.scripted = attribute, true
		return true
	case attribute == "srcdoc":
		p.other, p.scripted = "srcdoc", true
		p.inside = append(p.inside, entry{names: []string{"srcdoc.html"}, r: strings.NewReader(html.UnescapeString(value)), packed: int64(len(value))})
		return true
	}
	return false
}

// attribute notes what counts in some tags, and addresses that are scripts.
func (p *page) attribute(t *tag, attribute, value string) {
	if strings.Contains(value, "javascript:") || strings.Contains(value, "vbscript:") {
		p.scripted = true
	}
	switch t.name + " " + attribute {
	case "script type":
		t.inert = isDataBlock(value)
	case "form action", "button formaction", "input formaction":
		p.form = p.form || leadsOut(value)
	case "input type":
		p.secret = p.secret || value == "password"
	case "meta http-equiv":
		t.refresh = value == "refresh"
	case "meta content":
		t.elsewhere = strings.Contains(value, "url=")
	}
}

// isDataBlock: HTML 4.12.1: what is of no type that is run is data, as search engines and templates have it.
func isDataBlock(kind string) bool {
	kind = strings.TrimSpace(kind)
	switch {
	case kind == "", kind == "module", strings.Contains(kind, "javascript"), strings.Contains(kind, "ecmascript"), strings.Contains(kind, "jscript"),
		strings.Contains(kind, "livescript"), strings.Contains(kind, "vbs"), strings.Contains(kind, "babel"), strings.Contains(kind, "typescript"):
		return false
	}
	return true
}

// visibleInURL drops what browsers drop from an address before they read its scheme.
func visibleInURL(r rune) rune {
	if r <= ' ' {
		return -1
	}
	return r
}

// leadsOut says whether an address is one of another server.
func leadsOut(value string) bool {
	return strings.HasPrefix(value, "http:") || strings.HasPrefix(value, "https:") || strings.HasPrefix(value, "//")
}

// nextAttribute gives the next one of a tag, "" at its end.
func nextAttribute(b []byte) (name, value string, rest []byte) {
	for len(b) > 0 && betweenAttributes(b[0]) {
		b = b[1:]
	}
	end := bytes.IndexAny(b, "=>< \t\r\n\f/")
	if end <= 0 || b[0] == '>' {
		return "", "", nil
	}
	name, b = strings.ToLower(string(b[:min(end, 64)])), b[end:]
	b = bytes.TrimLeft(b, " \t\r\n\f")
	if len(b) == 0 || b[0] != '=' {
		return name, "", b
	}
	b = bytes.TrimLeft(b[1:], " \t\r\n\f")
	if len(b) > 0 && isQuote(b[0]) {
		quoted, after, _ := bytes.Cut(b[1:], b[:1])
		return name, string(quoted), after
	}
	if end = bytes.IndexAny(b, "> \t\r\n\f"); end < 0 {
		end = len(b)
	}
	return name, string(b[:end]), b[end:]
}

func isQuote(c byte) bool { return c == '"' || c == '\'' }

func betweenAttributes(c byte) bool { return c <= ' ' || c == '/' || isQuote(c) }
