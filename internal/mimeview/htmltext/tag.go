package htmltext

import (
	"bytes"
	"strings"

	"golang.org/x/net/html"

	"postern/internal/mail/ascii"
)

// tag reads name and attributes of a start tag. The tokenizer would copy each of them; here only those that matter are,
// and those that come again and again once.
func (r *reader) tag(z *html.Tokenizer) (name string) {
	r.attrs = r.attrs[:0]
	raw := z.Raw()
	end := 1 + nameEnd(raw[1:])
	name = known(raw[1:end])
	if !r.plainAttrs(raw[end:]) {
		r.anyAttrs(z)
	}
	return name
}

// plainAttrs reads the attributes from what follows the name, as the tokenizer has found them (HTML section 13.2.5.32 to
// 13.2.5.40). It says false for what it leaves to the tokenizer: entities but the most common one, odd octets, too many.
func (r *reader) plainAttrs(rest []byte) bool {
	for n := 0; ; n++ {
		for len(rest) > 0 && (isSpace(rest[0]) || rest[0] == '/') {
			rest = rest[1:]
		}
		if len(rest) == 0 || rest[0] == '>' {
			return true
		}
		if n == maxAttrs {
			return false
		}
		end := 1 // "=" at the beginning is part of the name
		for end < len(rest) && !endsName(rest[end]) {
			end++
		}
		key := rest[:end]
		var value []byte
		if value, rest = valueOf(rest[end:]); !r.keep(key, value) {
			return false
		}
	}
}

// endsName says whether the name of an attribute ends before this octet.
func endsName(c byte) bool { return isSpace(c) || c == '/' || c == '>' || c == '=' }

func isQuote(c byte) bool { return c == '"' || c == '\'' }

// valueOf takes "=value" off what follows the name of an attribute.
func valueOf(rest []byte) (value, after []byte) {
	at := skipSpace(rest, 0)
	if at == len(rest) || rest[at] != '=' {
		return nil, rest[at:]
	}
	at = skipSpace(rest, at+1)
	if at == len(rest) || rest[at] == '>' {
		return nil, rest[at:]
	}
	if quote := rest[at]; isQuote(quote) {
		rest = rest[at+1:]
		end := bytes.IndexByte(rest, quote)
		if end < 0 {
			return rest, nil
		}
		return rest[:end], rest[end+1:]
	}
	end := at
	for end < len(rest) && !isSpace(rest[end]) && rest[end] != '>' {
		end++
	}
	return rest[at:end], rest[end:]
}

func skipSpace(text []byte, at int) int {
	for at < len(text) && isSpace(text[at]) {
		at++
	}
	return at
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\r' || c == '\t' || c == '\f' }

// keep notes an attribute that matters, the first of its name. It says false where the value has to be decoded.
func (r *reader) keep(key, value []byte) bool {
	var lower [16]byte
	if len(key) > len(lower) {
		return true
	}
	for i, c := range key {
		lower[i] = ascii.LowerOctet(c)
	}
	name := wanted(lower[:len(key)])
	if name == "" {
		return true
	}
	for _, a := range r.attrs {
		if a.key == name {
			return true
		}
	}
	text, ok := "", true
	switch {
	case bytes.IndexByte(value, '\r') >= 0 || bytes.IndexByte(value, 0) >= 0:
		return false
	case bytes.IndexByte(value, '&') < 0:
		text = r.value(name, value)
	default:
		if text, ok = withAmpersands(value); !ok {
			return false
		}
	}
	r.attrs = append(r.attrs, attribute{name, text})
	return true
}

// withAmpersands reads a value that has no entity but "&amp;".
func withAmpersands(value []byte) (string, bool) {
	const entity = "&amp;"
	if bytes.Count(value, []byte("&")) != bytes.Count(value, []byte(entity)) {
		return "", false
	}
	return strings.ReplaceAll(string(value), entity, "&"), true
}

// anyAttrs has the tokenizer read them.
func (r *reader) anyAttrs(z *html.Tokenizer) {
	r.attrs = r.attrs[:0]
	_, more := z.TagName()
	for n := 0; more && n < maxAttrs; n++ {
		var key, value []byte
		key, value, more = z.TagAttr()
		if k := wanted(key); k != "" {
			r.attrs = append(r.attrs, attribute{k, r.value(k, value)})
		}
	}
}

// value is an attribute's value; those of styles, which repeat, are made once.
func (r *reader) value(key string, value []byte) string {
	switch key {
	case "href", "src":
		return string(value)
	}
	if text, ok := r.known[string(value)]; ok {
		return text
	}
	text := string(value)
	if len(r.known) < maxKnown && len(text) < 1000 {
		if r.known == nil {
			r.known = map[string]string{}
		}
		r.known[text] = text
	}
	return text
}

// endName is the name in an end tag.
func endName(raw []byte) string {
	raw = raw[len("</"):]
	return known(raw[:nameEnd(raw)])
}

func nameEnd(raw []byte) int {
	end := 0
	for end < len(raw) && !isSpace(raw[end]) && raw[end] != '/' && raw[end] != '>' {
		end++
	}
	return end
}

// commonNames are the elements that most mail is made of.
var commonNames = [...]string{"td", "tr", "a", "p", "br", "div", "span", "img", "table", "b", "i", "li", "font", "tbody", "strong"}

// known gives the names of common elements without allocating, in lower case; of others the name itself.
func known(raw []byte) string {
	if len(raw) <= len("strong") {
		var lower [len("strong")]byte
		for i, c := range raw {
			lower[i] = c
			if c >= 'A' && c <= 'Z' {
				lower[i] = c | 0x20
			}
		}
		for _, name := range commonNames {
			if string(lower[:len(raw)]) == name {
				return name
			}
		}
	}

	return ascii.Lower(string(raw[:min(len(raw), 32)]))
}

// wanted gives the name of an attribute that matters, "" for others.
func wanted(key []byte) string {
	switch string(key) { // the most common ones as constants, which cost no allocation
	case "href":
		return "href"
	case "src":
		return "src"
	case "style":
		return "style"
	case "class":
		return "class"
	case "id":
		return "id"
	case "color":
		return "color"
	case "bgcolor":
		return "bgcolor"
	case "hidden":
		return "hidden"
	case "size":
		return "size"
	case "text":
		return "text"
	case "width":
		return "width"
	case "height":
		return "height"
	case "colspan":
		return "colspan"
	case "type", "content", "http-equiv", "action", "formaction", "background", "srcset", "poster", "cite", "longdesc", "lowsrc", "dynsrc",
		"srcdoc", "xlink:href", "ping", "manifest", "usemap", "classid", "codebase", "code", "archive", "profile", "saveurl", "onclick", "value", "data":
		return string(key)
	}
	return ""
}
