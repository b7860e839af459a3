// Package htmltext reads HTML as mail readers show it: what is visible, what is there and not shown, and every address in
// it. It works on the tokens, never on a tree, so time and memory are linear however deep the elements lie.
package htmltext

import (
	"strings"

	"golang.org/x/net/html"
)

// Page is what a text in HTML holds.
type Page struct {
	// Visible is the text that is shown. Hidden is text that styles, attributes or comments keep from being seen: honest
	// mail has it too, as the line that stands beside the subject in a list of mail. Blocks are on lines of their own.
	Visible, Hidden string
	// Unstyled is all text in its order, as a reader shows it who follows no styles. It is Visible if nothing is hidden.
	Unstyled string
	Refs     []Ref
	// Preheader is how many octets of Hidden stand before the text that is shown, as honest mail has them.
	Preheader int
	// Linked counts the pictures within links but for small ones, such as icons. Inline are the first pictures that stand in
	// the page itself, as data: addresses.
	Linked int
	Inline []string
	// Form says that there is a form, Password that there is a field for a password.
	Form, Password bool
	// Grids are tables that draw a pattern with the colours of their cells.
	Grids []Grid
	// Base is what relative addresses are relative to: the first <base href>.
	Base string
	// Cut says that there were more than MaxRefs addresses, or that a comment held another comment's content.
	Cut bool
}

// Ref is an address that stands in a page.
type Ref struct {
	URL string
	// Text is what the reader sees of a link, up to 256 octets.
	Text string
	// Where is the element and the attribute, as "html a href".
	Where string
	// Hidden is set if the link is not shown.
	Hidden bool
}

// Bounds.
const (
	MaxRefs   = 30000
	maxText   = 256
	maxDepth  = 1000 // elements within each other whose styles are known
	maxAttrs  = 200
	maxKnown  = 200
	maxSearch = 64 // open elements that an end tag is compared with
	maxURL    = 4096
)

// Read reads a page.
func Read(source string) *Page {
	r := reader{page: &Page{}, styles: styleSheet{}}
	r.visible.Grow(len(source) / 2)
	if n := strings.Count(source, "href=") + strings.Count(source, "src="); n > 0 {
		r.page.Refs = make([]Ref, 0, min(n, MaxRefs))
	}
	r.read(source)
	r.page.Visible, r.page.Hidden = r.visible.String(), r.hidden.String()
	r.page.Unstyled = r.page.Visible
	if r.page.Hidden != "" {
		r.page.Unstyled = r.unstyled.String()
	}
	if r.letters < titleLetters {
		r.page.Preheader = len(r.page.Hidden)
	}
	return r.page
}

type reader struct {
	page                      *Page
	visible, hidden, unstyled strings.Builder
	open                      []element
	styles                    styleSheet
	anchor                    int    // the open link in Refs and 1, 0 for none
	split                     bool   // something was hidden, so unstyled differs from visible
	words                     bool   // hidden has text on its last line
	letters                   int    // shown so far, up to titleLetters
	grids                     []grid // of the open tables
	inComment                 bool
	inside                    string // the element whose text is no text: script, style
	attrs                     []attribute
	known                     map[string]string // values of attributes that come again and again
	looks                     map[styled]look   // of elements that come again and again
}

// attribute is one of a start tag; only those that matter are kept.
type attribute struct{ key, value string }

// element is one that is open.
type element struct {
	name string
	look look
}

func (r *reader) read(source string) {
	z := html.NewTokenizer(strings.NewReader(source))
	for {
		switch z.Next() {
		case html.ErrorToken:
			return
		case html.TextToken:
			r.text(z)
		case html.StartTagToken, html.SelfClosingTagToken:
			r.start(z)
		case html.EndTagToken:
			r.end(endName(z.Raw()))
		case html.CommentToken:
			r.comment(z)
		}
	}
}

func (r *reader) look() look {
	if len(r.open) == 0 {
		return look{}
	}
	return r.open[len(r.open)-1].look
}

func (r *reader) text(z *html.Tokenizer) {
	switch r.inside {
	case "script":
		r.script(string(z.Raw()))
		return
	case "style":
		r.css(string(z.Raw()), true)
		return
	case "title": // no mail reader shows it, so only one that is no title matters
		if len(z.Raw()) <= maxText {
			return
		}
	}
	r.write(z.Text(), r.inside != "" || r.inComment || r.look().hides())
}

// write adds text to where it belongs.
func (r *reader) write(text []byte, hidden bool) {
	if hidden {
		if !r.split {
			if blank(text) {
				return
			}
			r.split = true
			r.unstyled.WriteString(r.visible.String())
		}
		r.hidden.Write(text)
		r.words = true
	} else {
		r.visible.Write(text)
		if r.letters < titleLetters {
			r.begin(text)
		}
	}
	if r.split {
		r.unstyled.Write(text)
	}
	if r.anchor > 0 {
		ref := &r.page.Refs[r.anchor-1]
		if room := maxText - len(ref.Text); room > 0 {
			ref.Text += string(text[:min(len(text), room)])
		}
	}
}

// titleLetters is how much may be shown before a hidden line that stands beside the subject: "View in browser".
const titleLetters = 60

// begin counts the letters that are shown first.
func (r *reader) begin(text []byte) {
	for _, c := range text {
		if c > ' ' {
			r.letters++
		}
	}
	if r.letters >= titleLetters {
		r.page.Preheader = r.hidden.Len()
	}
}

func blank(text []byte) bool {
	for _, c := range text {
		if c > ' ' {
			return false
		}
	}
	return true
}

// line begins a new line in every text, in the hidden one not twice.
func (r *reader) line() {
	if !r.inComment {
		r.visible.WriteByte('\n')
	}
	if !r.split {
		return
	}
	r.unstyled.WriteByte('\n')
	if r.words {
		r.hidden.WriteByte('\n')
		r.words = false
	}
}

func (r *reader) start(z *html.Tokenizer) {
	name := r.tag(z)
	r.closeImplied(name)
	switch name {
	case "script", "style", "title":
		r.inside = name
	case "br", "hr":
		r.line()
	default:
		if isBlock(name) {
			r.line()
		}
	}
	look := r.lookOf(name)
	hidden := look.hides() || r.inComment
	r.refs(name, hidden)
	if !r.inComment {
		r.draws(name, look, hidden)
	}
	raw := name == "script" || name == "style" || name == "title"
	if !raw && !isVoid(name) && len(r.open) < maxDepth {
		r.open = append(r.open, element{name, look})
	}
}

// closeImplied ends the elements that a new one ends without an end tag.
func (r *reader) closeImplied(name string) {
	var ends string
	switch name {
	case "td", "th":
		ends = " td th p "
	case "tr":
		ends = " td th tr p "
	case "li":
		ends = " li p "
	case "p", "div", "table", "ul", "ol", "blockquote", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "pre", "center":
		ends = " p "
	case "option":
		ends = " option "
	default:
		return
	}
	for n := len(r.open); n > 0 && strings.Contains(ends, " "+r.open[n-1].name+" "); n-- {
		r.open = r.open[:n-1]
	}
}

func (r *reader) end(name string) {
	if name == r.inside {
		r.inside = ""
		return
	}
	if name == "a" {
		r.anchor = 0
	}
	if isBlock(name) {
		r.line()
	}
	if name == "table" && !r.inComment {
		r.endGrid()
	}
	for i := len(r.open) - 1; i >= 0 && i >= len(r.open)-maxSearch; i-- {
		if r.open[i].name == name {
			r.open = r.open[:i]
			return
		}
		if cell := r.open[i].name; cell == "table" && name != "body" && name != "html" { // nothing within a table ends what is around it
			return
		}
	}
}

// comment reads what Outlook shows: <!--[if mso]> ... <![endif]-->. All else in comments is not shown.
func (r *reader) comment(z *html.Tokenizer) {
	text := string(z.Text())
	if r.inComment || !strings.HasPrefix(strings.TrimSpace(text), "[if") {
		return
	}
	_, inner, ok := strings.Cut(text, "]>")
	onlyEnd := strings.HasPrefix(inner, "<!") && len(inner) < 5
	if !ok || onlyEnd || strings.TrimSpace(inner) == "" {
		return
	}
	open, anchor, inside := r.open, r.anchor, r.inside
	r.open, r.anchor, r.inside, r.inComment = nil, 0, "", true
	r.read(inner)
	r.open, r.anchor, r.inside, r.inComment = open, anchor, inside, false
}

func isBlock(name string) bool {
	switch name {
	case "p", "br", "div", "tr", "td", "th", "table", "li", "ul", "ol", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "blockquote", "pre", "body", "center":
		return true
	}
	return false
}

func isVoid(name string) bool {
	switch name {
	case "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr":
		return true
	}
	return false
}
