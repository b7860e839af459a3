package mime

import (
	"errors"
	"slices"
	"strings"

	"golang.org/x/net/html"

	"postern/filters"
	"postern/internal/mimeview"
	"postern/internal/mimeview/defang"
)

// active reports HTML that does something by itself or asks for input, with what it takes to make it harmless.
func (r *report) active(v *mimeview.View) {
	var spans []filters.PartSpan
	var seen []string
	located := !r.grave
	for _, p := range v.Parts() {
		acts := actsOf(p)
		if len(acts) == 0 {
			continue
		}
		for _, a := range acts {
			if !slices.Contains(seen, a) {
				seen = append(seen, a)
			}
		}
		span, ok := filters.SpanOf(p, v.Message().Size())
		span.Harmless = func() ([]byte, error) { return harmless(p) }
		located = located && ok
		spans = append(spans, span)
	}
	if len(seen) == 0 {
		return
	}
	r.add("HTML_ACTIVE", strings.Join(seen, ", "))
	if located {
		r.found[len(r.found)-1].Value = filters.Located{Spans: spans}
	}
}

// actsOf names what acts in a part, which only HTML does.
func actsOf(p *mimeview.Part) []string {
	if p.Type != "text/html" && p.Type != "text/x-amp-html" || len(p.Body) == 0 {
		return nil
	}
	return whatActs(p.UTF8())
}

var errCut = errors.New("the text was not read to its end")

func harmless(p *mimeview.Part) ([]byte, error) {
	if p.Cut {
		return nil, errCut
	}
	text, _ := defang.HTML([]byte(p.UTF8()))
	return text, nil
}

// acting are elements that run, ask, or load a page of their own.
var acting = []string{"script", "form", "iframe", "frame", "object", "embed", "applet", "input", "button", "portal"}

// whatActs names what acts in an HTML text: elements, and attributes that hold a program. It looks at the letters, as a
// reader's own parser may see a tag where another does not: what it names too much of costs nothing.
func whatActs(text string) (found []string) {
	low := lower(text)
	add := func(what string) {
		if !slices.Contains(found, what) {
			found = append(found, what)
		}
	}
	for at := strings.IndexByte(low, '<') + 1; at > 0 && at < len(low); {
		rest := low[at:]
		if name := actingName(rest); name != "" {
			add(name)
		}
		next := strings.IndexByte(rest, '<')
		if next < 0 {
			break
		}
		at += next + 1
	}
	if strings.Contains(low, "javascript:") || strings.Contains(low, "vbscript:") {
		add("script in an address")
	}
	if mayHaveEvent(low) && hasEvent(text) {
		add("event attribute")
	}
	return found
}

// actingName is the name of an acting element at the front, "" for none.
func actingName(text string) string {
	for _, name := range acting {
		if text[0] == name[0] && strings.HasPrefix(text, name) && !letterAt(text, len(name)) {
			return name
		}
	}
	return ""
}

// mayHaveEvent looks for the letters of an attribute such as onclick=, which are rare.
func mayHaveEvent(low string) bool {
	for at := 0; ; {
		i := strings.Index(low[at:], "on")
		if i < 0 {
			return false
		}
		i += at
		at = i + 2
		if i == 0 || strings.IndexByte(" \t\r\n\f/\"'", low[i-1]) < 0 {
			continue
		}
		for letterAt(low, at) {
			at++
		}
		rest := strings.TrimLeft(low[at:min(len(low), at+16)], " \t\r\n\f")
		if at > i+2 && (len(rest) == 0 || rest[0] == '=') {
			return true
		}
	}
}

// hasEvent reads the tags, as far as they can be read.
func hasEvent(text string) bool {
	z := html.NewTokenizer(strings.NewReader(text))
	for {
		switch z.Next() {
		case html.ErrorToken:
			return false
		case html.StartTagToken, html.SelfClosingTagToken:
			_, more := z.TagName()
			for more {
				var key []byte
				key, _, more = z.TagAttr()
				if len(key) > 3 && key[0] == 'o' && key[1] == 'n' {
					return true
				}
			}
		}
	}
}

// lower knows the letters of ASCII, as tags do.
func lower(text string) string {
	low := []byte(text)
	for i, c := range low {
		if c >= 'A' && c <= 'Z' {
			low[i] = c | 0x20
		}
	}
	return string(low)
}

func letterAt(b string, at int) bool { return at < len(b) && b[at] >= 'a' && b[at] <= 'z' }
