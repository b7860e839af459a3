// Package defang takes out of an HTML text what acts by itself or asks for input: scripts, frames, forms, embedded
// objects, event attributes, addresses that are programs. What a reader shows of it stays.
package defang

import (
	"bytes"
	"encoding/base64"
	"io"
	"slices"
	"strings"

	"golang.org/x/net/html"
)

// HTML writes the text, in UTF-8, without what acts. It reads with the tokenizer that HTML's own rules prescribe
// (https://html.spec.whatwg.org/multipage/parsing.html) and writes every tag anew, so that nothing a browser would read
// another way gets through. It says whether anything was taken out.
func HTML(text []byte) (out []byte, changed bool) {
	d := defanger{in: html.NewTokenizer(bytes.NewReader(text))}
	d.in.SetMaxBuf(maxToken)
	for {
		kind := d.in.Next()
		if kind == html.ErrorToken {
			if d.in.Err() != io.EOF { // a tag without an end: nothing of it is passed on
				d.changed = true
			}
			return d.out.Bytes(), d.changed
		}
		d.token(kind)
	}
}

// maxToken bounds one tag or text, in octets.
const maxToken = 4 << 20

type defanger struct {
	in      *html.Tokenizer
	out     bytes.Buffer
	inside  string // the element whose content is dropped, "" for none
	style   bool   // within a style element
	changed bool
}

func (d *defanger) token(kind html.TokenType) {
	t := d.in.Token()

	switch {
	case d.inside != "":
		if kind == html.EndTagToken && t.Data == d.inside {
			d.inside = ""
		}
	case kind == html.CommentToken: // Outlook reads conditions in them
		d.changed = d.changed || strings.HasPrefix(strings.TrimSpace(t.Data), "[if")
	case kind == html.TextToken && d.style:
		d.out.WriteString(t.Data) // it knows no entities, and its end tag can't be in it
	case kind == html.TextToken || kind == html.DoctypeToken:
		d.out.WriteString(t.String())
	default:
		d.tag(kind, t)
	}
}

func (d *defanger) tag(kind html.TokenType, t html.Token) {
	switch fate(t.Data) {
	case dropped:
		d.changed = true
		if kind == html.StartTagToken {
			d.inside = t.Data
		}
		return
	case untagged:
		d.changed = true
		return
	}
	if t.Data == "meta" && refreshes(t) || t.Data == "link" {
		d.changed = true
		return
	}

	d.style = kind == html.StartTagToken && t.Data == "style"
	t.Attr = d.attributes(t.Attr)
	d.out.WriteString(t.String())
}

type what int

const (
	kept     what = iota
	dropped       // with all that is in it
	untagged      // what is in it stays
)

// fate says what becomes of an element.
func fate(name string) what {
	switch name {
	case "script", "iframe", "object", "applet", "noembed", "noscript", "template", "xmp", "plaintext", "title", "textarea", "select", "svg", "math":
		return dropped
	case "embed", "frame", "frameset", "noframes", "form", "input", "button", "isindex", "keygen", "param", "base", "portal", "bgsound", "dialog", "option", "audio", "video", "source", "track":
		return untagged
	}
	return kept
}

func refreshes(t html.Token) bool {
	for _, a := range t.Attr {
		if a.Key == "http-equiv" && !strings.EqualFold(strings.TrimSpace(a.Val), "content-type") {
			return true
		}
	}
	return false
}

func (d *defanger) attributes(list []html.Attribute) []html.Attribute {
	var stay []html.Attribute
	for _, a := range list {
		if strings.HasPrefix(a.Key, "on") || isActive(a.Key) || acts(a) {
			d.changed = true
			continue
		}
		stay = append(stay, a)
	}
	return stay
}

// isActive holds for attributes that have no harmless use in mail.
func isActive(key string) bool { return key == "srcdoc" || key == "formaction" || key == "ping" }

// acts says whether the address in an attribute is a program, or a style calls one.
func acts(a html.Attribute) bool {
	value := strings.ToLower(strings.Map(func(r rune) rune {
		if r <= ' ' || r == 0x7f {
			return -1 // browsers skip them: https://url.spec.whatwg.org/#concept-basic-url-parser
		}
		return r
	}, a.Val))
	switch a.Key {
	case "style":
		inValue := func(call string) bool { return strings.Contains(value, call) }
		return slices.ContainsFunc([]string{"expression(", "javascript:", "@import", "-moz-binding", "behavior:"}, inValue)
	case "href", "src", "action", "background", "poster", "xlink:href", "data", "cite", "longdesc", "lowsrc", "dynsrc", "srcset":
		begins := func(scheme string) bool { return strings.HasPrefix(value, scheme) }
		return slices.ContainsFunc([]string{"javascript:", "vbscript:", "livescript:", "mocha:", "data:text", "data:application", "data:image/svg", "file:", "search-ms:", "ms-"}, begins)
	}
	return false
}

// Header are the fields of a part with such a text (RFC 2045 section 6.8).
const Header = "Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n"

// Body is a text in base64, in lines of 76 characters.
func Body(text []byte) []byte {
	coded := base64.StdEncoding.EncodeToString(text)
	var b bytes.Buffer
	for len(coded) > 76 {
		b.WriteString(coded[:76] + "\r\n")
		coded = coded[76:]
	}
	b.WriteString(coded)
	return b.Bytes()
}
