package htmltext

import (
	"strings"

	"postern/internal/mail/ascii"
)

func (r *reader) attr(key string) string {
	for _, a := range r.attrs {
		if a.key == key {
			return a.value
		}
	}
	return ""
}

func (r *reader) ref(url, where string, hidden bool) {
	url = strings.TrimSpace(url)
	toPart := len(url) > 4 && strings.EqualFold(url[:4], "cid:")
	if url == "" || url[0] == '#' || toPart {
		return
	}
	if len(r.page.Refs) == MaxRefs {
		r.page.Cut = true
		return
	}
	if len(url) > maxURL {
		url = url[:maxURL]
	}
	r.page.Refs = append(r.page.Refs, Ref{URL: url, Where: where, Hidden: hidden})
}

// refs notes the addresses in the attributes of a start tag.
func (r *reader) refs(name string, hidden bool) {
	for _, a := range r.attrs {
		switch a.key {
		case "href":
			r.href(name, a.value, hidden)
		case "src":
			where := "html img src"
			if name != "img" {
				where = "html " + name + " src"
			}
			r.ref(a.value, where, hidden)
		case "style":
			r.css(a.value, false)
		case "content":
			if strings.EqualFold(r.attr("http-equiv"), "refresh") {
				r.ref(refreshURL(a.value), "html meta refresh", hidden)
			}
		case "srcset":
			r.srcset(a.value, name, hidden)
		case "srcdoc":
			r.srcdoc(a.value)
		case "onclick":
			r.script(a.value)
		case "value":
			if name == "param" && strings.Contains(a.value, "//") {
				r.ref(a.value, "html param value", hidden)
			}
		case "action", "formaction", "background", "poster", "cite", "longdesc", "lowsrc", "dynsrc", "xlink:href", "ping", "data", "codebase":
			r.ref(a.value, "html "+name+" "+a.key, hidden)
		}
	}
}

func (r *reader) href(name, url string, hidden bool) {
	if name == "base" {
		if r.page.Base == "" {
			r.page.Base = strings.TrimSpace(url[:min(len(url), maxURL)])
		}
		return
	}
	if name != "a" {
		r.ref(url, "html "+name+" href", hidden)
		return
	}
	before := len(r.page.Refs)
	r.ref(url, "html a href", hidden)
	r.anchor = 0
	if len(r.page.Refs) > before {
		r.anchor = len(r.page.Refs)
	}
}

// srcdoc reads a page within an attribute, once.
func (r *reader) srcdoc(source string) {
	if r.inComment {
		return
	}
	open, anchor, attrs := r.open, r.anchor, r.attrs
	r.open, r.anchor, r.attrs, r.inComment = nil, 0, nil, true
	r.read(source)
	r.open, r.anchor, r.attrs, r.inComment, r.inside = open, anchor, attrs, false, ""
}

// refreshURL is the address in "5; url=...", which may be quoted or stand there without "url=".
func refreshURL(content string) string {
	_, rest, ok := strings.Cut(content, ";")
	if !ok {
		if _, rest, ok = strings.Cut(content, ","); !ok {
			return ""
		}
	}
	rest = strings.TrimSpace(rest)
	if len(rest) > 3 && strings.EqualFold(rest[:3], "url") {
		if after, ok := strings.CutPrefix(strings.TrimSpace(rest[3:]), "="); ok {
			rest = strings.TrimSpace(after)
		}
	}
	return strings.Trim(rest, `"'`)
}

// srcset is a list of addresses with a width or density behind each.
func (r *reader) srcset(list, name string, hidden bool) {
	for item := range strings.SplitSeq(list, ", ") {
		url, _, _ := strings.Cut(strings.TrimSpace(item), " ")
		r.ref(url, "html "+name+" srcset", hidden)
	}
}

// script notes what looks like an address in a program: an http:// or https:// up to a quote, also with "\/" for "/".
func (r *reader) script(text string) {
	for at := 0; at < len(text); {
		colon := strings.IndexByte(text[at:], ':')
		if colon < 0 {
			return
		}
		colon += at
		start, end := colon, colon+1
		for start > at && colon-start < 5 && ascii.IsLetter(text[start-1]) {
			start--
		}
		at = end
		if !isWeb(text[start:colon]) || !beginsWithSlashes(text[end:]) {
			continue
		}
		for end < len(text) && end < colon+maxURL && inProgramURL(text[end]) {
			end++
		}
		r.ref(strings.ReplaceAll(text[start:end], `\/`, "/"), "html script", true)
		at = end
	}
}

func isWeb(scheme string) bool {
	return strings.EqualFold(scheme, "http") || strings.EqualFold(scheme, "https")
}

func beginsWithSlashes(text string) bool {
	return strings.HasPrefix(text, "//") || strings.HasPrefix(text, `\/\/`)
}

// inProgramURL says whether an address in a program goes on with this octet.
func inProgramURL(c byte) bool { return c > ' ' && strings.IndexByte("\"'`<>)", c) < 0 }

// css notes url(...) and @import in styles; a sheet's rules are kept.
func (r *reader) css(text string, sheet bool) {
	if sheet {
		r.styles.add(text)
		clear(r.looks)
	}
	if !strings.Contains(text, "(") && !(sheet && strings.Contains(text, "@import")) {
		return
	}
	lower := ascii.Lower(text)
	r.cssURLs(text, lower)
	if sheet {
		r.imports(text, lower)
	}
}

// cssURLs notes what stands in url(...).
func (r *reader) cssURLs(text, lower string) {
	for at := 0; ; {
		i := strings.Index(lower[at:], "url(")
		if i < 0 {
			return
		}
		at += i + 4
		end := strings.IndexByte(text[at:min(len(text), at+maxURL)], ')')
		if end < 0 {
			return
		}
		url := strings.Trim(strings.TrimSpace(text[at:at+end]), `"'`)
		if !strings.HasPrefix(url, "data:") {
			r.ref(url, "css url", false)
		}
		at += end
	}
}

// imports notes the sheets that a sheet asks for.
func (r *reader) imports(text, lower string) {
	for at := 0; ; {
		i := strings.Index(lower[at:], "@import")
		if i < 0 {
			return
		}
		at += i + len("@import")
		rest, _, _ := strings.Cut(text[at:min(len(text), at+maxURL)], ";")
		if rest = strings.TrimSpace(rest); rest != "" && isQuote(rest[0]) {
			url, _, _ := strings.Cut(rest[1:], rest[:1])
			r.ref(url, "css import", false)
		}
	}
}
