package rules

import (
	"bytes"
	"strings"

	"postern/internal/mimeview"
)

// How much text rules of our own look at, in octets. What is behind is the business of other filters.
const (
	maxBodyText = 128 << 10
	maxRawText  = 256 << 10
)

// ownViews are what rules of the gateway's own see: the text as readers see it, and as those see it who follow no styles or
// take letters by their looks.
type ownViews struct {
	view      *mimeview.View
	body, raw []string
	links     []string
}

func (o *ownViews) uris() []string {
	if o.links == nil {
		o.links = o.view.URLs()
	}
	return o.links
}

// paragraphs is the text of the message: the Subject as a line of its own, then the paragraphs of all text parts, white
// space in each made one space. Behind these stand the paragraphs that read differently for a reader that follows no
// styles, and for one that takes letters by their looks.
func (o *ownViews) paragraphs() []string {
	if o.body != nil {
		return o.body
	}
	all := []string{o.view.Subject() + "\n"}
	left := maxBodyText
	take := func(text string) {
		text = text[:min(len(text), left)]
		left -= len(text)
		all = appendParagraphs(all, text)
	}
	hidden := false
	for _, p := range o.view.Parts() {
		take(p.Text)
		hidden = hidden || p.Hidden != ""
	}
	seen := map[string]bool{}
	if hidden {
		for _, p := range all {
			seen[p] = true
		}
		left = maxBodyText
		shown := len(all)
		for _, p := range o.view.Parts() {
			if p.Hidden != "" {
				take(p.Unstyled)
			}
		}
		all = append(all[:shown], unseen(all[shown:], seen)...)
	}
	o.body = append(all, folded(all)...)
	return o.body
}

// unseen leaves out the paragraphs that are there already.
func unseen(paragraphs []string, seen map[string]bool) []string {
	kept := paragraphs[:0]
	for _, p := range paragraphs {
		if !seen[p] {
			seen[p] = true
			kept = append(kept, p)
		}
	}
	return kept
}

// folded are the paragraphs that fold to another text.
func folded(paragraphs []string) (all []string) {
	for _, p := range paragraphs {
		if text := mimeview.Fold(p); text != p {
			all = append(all, text)
		}
	}
	return all
}

// appendParagraphs cuts text at empty lines, and where a paragraph gets longer than 2 KiB at the next line.
func appendParagraphs(all []string, text string) []string {
	var b strings.Builder
	b.Grow(len(text) + 1)
	var ends []int
	start := 0
	flush := func() {
		if b.Len() > start {
			b.WriteByte('\n')
			start = b.Len()
			ends = append(ends, start)
		}
	}
	for line := range strings.Lines(text) {
		before := b.Len()
		appendWords(&b, line, start)
		if b.Len() == before || b.Len()-start > 2048 {
			flush()
		}
	}
	flush()

	joined, begin := b.String(), 0
	for _, end := range ends {
		all = append(all, joined[begin:end])
		begin = end
	}
	return all
}

// appendWords writes the words of a line to a paragraph that began at start, one space between them. Words that have one
// space between them already are copied together.
func appendWords(b *strings.Builder, line string, start int) {
	for i := 0; i < len(line); {
		if blank(line[i]) {
			i++
			continue
		}
		end := i + 1
		for end < len(line) && (!blank(line[end]) || line[end] == ' ' && end+1 < len(line) && !blank(line[end+1])) {
			end++
		}
		if b.Len() > start {
			b.WriteByte(' ')
		}
		b.WriteString(line[i:end])
		i = end + 1
	}
}

func blank(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

// rawChunks is the text of the parts as it was decoded, HTML with its tags, in pieces of 4 KiB at most, cut at line
// ends where there are some.
func (o *ownViews) rawChunks() []string {
	if o.raw != nil {
		return o.raw
	}
	var all []string
	left := maxRawText
	for _, p := range o.view.Parts() {
		text := withoutReturns(p.Body[:min(len(p.Body), left)])
		left -= len(text)
		for len(text) > 0 {
			n := min(len(text), 4096)
			if n < len(text) {
				if i := strings.LastIndexByte(text[2048:n], '\n'); i >= 0 {
					n = 2048 + i + 1
				}
			}
			all = append(all, text[:n])
			text = text[n:]
		}
	}
	o.raw = all
	return all
}

// withoutReturns is text with \n for each \r\n.
func withoutReturns(body []byte) string {
	var b strings.Builder
	b.Grow(len(body))
	for len(body) > 0 {
		line, rest := body, body[len(body):]
		if i := bytes.IndexByte(body, '\n'); i >= 0 {
			line, rest = body[:i+1], body[i+1:]
		}
		if n := len(line); n > 1 && line[n-1] == '\n' && line[n-2] == '\r' {
			b.Write(line[:n-2])
			b.WriteByte('\n')
		} else {
			b.Write(line)
		}
		body = rest
	}
	return b.String()
}
