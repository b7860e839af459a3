package mimeview

import (
	"maps"

	charsets "postern/internal/mail/charset"
	"postern/internal/mail/encodedword"
	"postern/internal/mimeview/confusable"
	"postern/internal/mimeview/htmltext"
)

// DecodeValue decodes the encoded words of a header field's value as readers do (package encodedword).
func DecodeValue(value string) string {
	return encodedword.Decode(value[:min(len(value), maxValue)])
}

// Fold gives a text as a reader takes it at a glance: look-alikes as the ASCII letters they look like, accents off, nothing
// invisible (package confusable). Text in ASCII is given back as it is.
func Fold(text string) string { return confusable.Fold(text) }

// UTF8 is the Body of a text part in UTF-8, by the part's charset. It is the front of it where Cut is set.
func (p *Part) UTF8() string { return charsets.ToUTF8(p.Body, p.Params["charset"]) }

// Invisible counts the characters in Text that show nothing: zero-width characters, soft hyphens, controls of the writing
// direction.
func (p *Part) Invisible() int { return confusable.CountInvisible(p.Text) }

// maxReadText is how much text other charsets may add, in octets of text, as a multiple of the limit on text.
const maxReadText = 4

// readTexts gives each part its text, makes parts of the other charsets it may be in, and gathers the links.
func (v *View) readTexts() {
	links := newLinks(v)
	links.header()
	var more []*Part
	room := maxReadText * v.options.Text
	for _, i := range v.inOrderOfWeight() {
		p := v.parts[i]
		if p.Body == nil || v.walker.stopped() {
			continue
		}
		all := textReadings(p.Body, p.Params["charset"], p.Type == "text/html", p.charsets)
		p.show(all[0].text, links, i)
		if p.Cut {
			v.cut(CutText)
			v.tail(p, all, links, i)
		}
		for _, other := range all[1:] {
			if room -= len(other.text); room < 0 {
				v.limit(LimitReadings)
				break
			}
			one := *p
			one.Reading = otherReading(p.Reading, "charset "+other.charset)
			one.Params = maps.Clone(p.Params)
			one.Params["charset"] = other.charset
			one.show(other.text, links, len(v.parts)+len(more))
			more = append(more, &one)
		}
	}
	v.parts = append(v.parts, more...)
	v.links, v.urls = links.done()
}

// inOrderOfWeight are the numbers of the parts: those that are shown first, then attachments, whose links must not use up
// what is kept.
func (v *View) inOrderOfWeight() []int {
	var first, last []int
	for i, p := range v.parts {
		if p.Attachment || p.Name != "" {
			last = append(last, i)
		} else {
			first = append(first, i)
		}
	}
	return append(first, last...)
}

// show makes what a reader sees of a part.
func (p *Part) show(text string, links *linkList, index int) {
	switch {
	case p.Type == "text/html":
		page := htmltext.Read(text)
		p.Text, p.Hidden, p.Unstyled = page.Visible, page.Hidden, page.Unstyled
		p.Preheader, p.Linked, p.Inline, p.Grids = page.Preheader, page.Linked, page.Inline, page.Grids
		p.PasswordForm = page.Form && page.Password
		links.page(page, index)
		return
	case p.Type == "text/calendar" || p.Type == "text/vcard" || p.Type == "text/x-vcard" || p.Type == "text/directory":
		p.Text = text
		links.calendar(text, p.Type, index)
	default:
		p.Text = text
		links.text(text, "text", index)
	}
	p.Unstyled = p.Text
}
