package mimeview

import (
	"io"
	"mime"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/html"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
)

// DecodeValue decodes the encoded words of a header field's value (RFC 2047). What can't be decoded stays as it is.
func DecodeValue(value string) string {
	if len(value) > maxValue {
		value = value[:maxValue]
	}
	if strings.Contains(value, "=?") {
		d := mime.WordDecoder{CharsetReader: func(charset string, r io.Reader) (io.Reader, error) {
			raw, err := io.ReadAll(r)
			return strings.NewReader(toUTF8(raw, charset)), err
		}}
		if text, err := d.DecodeHeader(value); err == nil {
			value = text
		}
	}
	return toUTF8([]byte(value), "")
}

// toUTF8 reads octets in a charset. Where it is unknown or not given, they are UTF-8 if they can be, else Latin-1 as
// browsers read it.
func toUTF8(raw []byte, charset string) string {
	charset = strings.ToLower(strings.TrimSpace(charset))
	switch charset {
	case "", "us-ascii", "utf-8", "utf8", "ascii", "unknown-8bit", "x-unknown":
		if utf8.Valid(raw) {
			return string(raw)
		}
		if charset == "utf-8" || charset == "utf8" {
			return strings.ToValidUTF8(string(raw), "\uFFFD")
		}
	default:
		if e, err := htmlindex.Get(charset); err == nil {
			if text, err := e.NewDecoder().Bytes(raw); err == nil {
				return string(text)
			}
		}
		if utf8.Valid(raw) {
			return string(raw)
		}
	}
	text, err := charmap.Windows1252.NewDecoder().Bytes(raw)
	if err != nil {
		return strings.ToValidUTF8(string(raw), "\uFFFD")
	}
	return string(text)
}

// UTF8 is the Body of a text part in UTF-8, by the part's charset. It is cut where LimitText was hit.
func (p *Part) UTF8() string { return toUTF8(p.Body, p.Params["charset"]) }

// readHTML gives the text a reader sees, roughly: without tags, scripts and styles, blocks on lines of their own. Links
// go to links.
func readHTML(source string, links *links) string {
	z := html.NewTokenizer(strings.NewReader(source))
	var b strings.Builder
	b.Grow(len(source) / 2)
	silent := ""
	for {
		switch z.Next() {
		case html.ErrorToken:
			text := b.String()
			links.fromText(text)
			return text
		case html.TextToken:
			if silent == "" {
				b.Write(z.Text())
			}
		case html.StartTagToken, html.SelfClosingTagToken:
			name, hasAttr := z.TagName()
			tag := string(name)
			if silent == "" && (tag == "script" || tag == "style" || tag == "title") {
				silent = tag
			}
			if isBlock(tag) {
				b.WriteByte('\n')
			}
			for n := 0; hasAttr && n < 200; n++ {
				var key, value []byte
				key, value, hasAttr = z.TagAttr()
				switch string(key) {
				case "href", "src", "action", "background":
					links.add(string(value))
				}
			}
		case html.EndTagToken:
			name, _ := z.TagName()
			if string(name) == silent {
				silent = ""
			}
			if isBlock(string(name)) {
				b.WriteByte('\n')
			}
		}
	}
}

func isBlock(tag string) bool {
	switch tag {
	case "p", "br", "div", "tr", "td", "th", "table", "li", "ul", "ol", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "blockquote", "pre", "body", "center":
		return true
	}
	return false
}

// links collects addresses of the web, each once.
type links struct {
	view *View
	seen map[string]bool
}

func newLinks(v *View) *links { return &links{v, map[string]bool{}} }

func (l *links) add(url string) {
	url = strings.TrimSpace(url)
	if len(url) > maxURL {
		url = url[:maxURL]
	}
	if url == "" || strings.HasPrefix(url, "#") || strings.HasPrefix(url, "cid:") || l.seen[url] {
		return
	}
	if len(l.view.urls) == maxURLs {
		l.view.limit(LimitURLs)
		return
	}
	l.seen[url] = true
	l.view.urls = append(l.view.urls, url)
}

// fromText finds links in plain text: a scheme with "://", or "www.". Each octet is looked at a fixed number of times.
func (l *links) fromText(text string) {
	at, scheme := 0, -2 // scheme is where the next "://" is, -1 for nowhere
	for at < len(text) && len(l.view.urls) < maxURLs {
		if scheme > -1 && scheme < at || scheme == -2 {
			if scheme = strings.Index(text[at:], "://"); scheme >= 0 {
				scheme += at
			}
		}
		before := len(text)
		if scheme >= 0 {
			before = scheme
		}
		if w := indexWWW(text[at:before]); w >= 0 {
			end := urlEnd(text, at+w)
			l.add("http://" + strings.TrimRight(text[at+w:end], trailing))
			at = end
			continue
		}
		if scheme < 0 {
			return
		}
		start := scheme
		for start > at && scheme-start < 10 && isLetter(text[start-1]) {
			start--
		}
		end := urlEnd(text, scheme+3)
		if start < scheme && end > scheme+3 {
			l.add(strings.TrimRight(text[start:end], trailing))
		}
		at = end
	}
}

// trailing is what stands behind a link rather than in it.
const trailing = `.,;:!?)]}`

func urlEnd(text string, at int) int {
	limit := min(len(text), at+maxURL)
	for at < limit && text[at] > ' ' && strings.IndexByte(`<>"'`, text[at]) < 0 {
		at++
	}
	return at
}

func indexWWW(text string) int {
	from := 0
	for {
		i := strings.Index(text[from:], "ww.")
		if i < 0 {
			return -1
		}
		i += from
		if i > 0 && (text[i-1] == 'w' || text[i-1] == 'W') && (i == 1 || !isLetter(text[i-2]) && text[i-2] != '.' && text[i-2] != '/') {
			return i - 1
		}
		from = i + 3
	}
}

func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }
