package proxy

import (
	"encoding/base64"
	"html"
	"regexp"
	"slices"
	"strings"

	"postern/internal/mail"
	"postern/internal/mimeview"
)

// maxAnnotated is the largest text part that a banner is put into, in octets.
const maxAnnotated = 1 << 20

// annotate puts the banner above and the disclaimer below the text of a copy, in its first plain and its first HTML
// part. A message that is signed or encrypted for its reader, or that readers parse differently, stays unchanged: a
// banner is not worth a broken signature. It gives header fields that the copy then needs.
func (x *Transaction) annotate(b *batch) (fields []byte, done bool) {
	v := b.verdict
	if v.Banner == "" && v.Disclaimer == "" {
		return nil, false
	}
	view := mimeview.Of(x.tx.Message)
	root := view.Root()
	if root == nil || len(view.Limits()) > 0 || sealed(root) || slices.ContainsFunc(view.Ambiguities(), mimeview.Ambiguity.Grave) {
		x.g.Log.Info("no banner", "id", x.tx.ID, "why", "the message is signed, encrypted, or can't be read without doubt")
		return nil, false
	}
	for _, kind := range []string{"text/plain", "text/html"} {
		p := firstText(root, kind)
		if p == nil || overlaps(b.copy.Omit, p) {
			continue
		}
		text := annotated(p, v.Banner, v.Disclaimer)
		header := "Content-Type: " + kind + "; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n"
		if p == root {
			b.copy.Omit = append(x.withoutContent(b.copy.Omit), mail.Span{From: p.Start, To: p.End, With: append(text, "\r\n"...)})
			return []byte(x.versioned() + header), true
		}
		if p.ID != "" && plainID(p.ID) {
			header += "Content-ID: " + p.ID + "\r\n"
		}
		b.copy.Omit = append(b.copy.Omit, mail.Span{From: p.Header, To: p.End, With: append([]byte(header+"\r\n"), text...)})
		done = true
	}
	sortSpans(b.copy.Omit)
	if done {
		fields = []byte(x.versioned())
	}
	return fields, done
}

// sealed says whether a part of the message is signed or encrypted: RFC 1847, RFC 8551, RFC 3156.
func sealed(p *mimeview.Part) bool {
	switch p.Type {
	case "multipart/signed", "multipart/encrypted", "application/pkcs7-mime", "application/x-pkcs7-mime":
		return true
	}
	return slices.ContainsFunc(p.Parts, sealed)
}

// firstText finds the first part of a type that is shown as the text of the message.
func firstText(p *mimeview.Part, kind string) *mimeview.Part {
	if p.Reading != "" || p.Within != "" || p.Attachment || p.Type == "message/rfc822" {
		return nil
	}
	if p.Type == kind && p.End-p.Start <= maxAnnotated {
		return p
	}
	for _, inner := range p.Parts {
		if found := firstText(inner, kind); found != nil {
			return found
		}
	}
	return nil
}

func overlaps(spans []mail.Span, p *mimeview.Part) bool {
	return slices.ContainsFunc(spans, func(s mail.Span) bool { return s.From < p.End && s.To > p.Header && s.From >= p.Start })
}

func plainID(id string) bool {
	return len(id) < 200 && !strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r > '~' })
}

// annotated is the text of a part with the banner and the disclaimer, in base64, without a line end behind it: RFC 2046
// section 5.1.1.
func annotated(p *mimeview.Part, banner, disclaimer string) []byte {
	text := p.UTF8()
	if p.Type == "text/html" {
		text = inHTML(text, banner, disclaimer)
	} else {
		if banner != "" {
			text = lines(banner) + "\r\n\r\n" + text
		}
		if disclaimer != "" {
			text = strings.TrimRight(text, "\r\n") + "\r\n\r\n" + lines(disclaimer) + "\r\n"
		}
	}
	coded := base64.StdEncoding.EncodeToString([]byte(text))
	var b strings.Builder
	for len(coded) > 76 { // RFC 2045 section 6.8
		b.WriteString(coded[:76] + "\r\n")
		coded = coded[76:]
	}
	b.WriteString(coded)
	return []byte(b.String())
}

func lines(text string) string {
	return strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\n", "\r\n")
}

// inHTML puts the texts inside the body element, or around all of it where there is none.
func inHTML(text, banner, disclaimer string) string {
	block := func(s, edge string) string {
		return `<div style="border-` + edge + `:1px solid #888;padding:6px;margin:6px 0;font-family:sans-serif;font-size:13px;color:#333;background:#fff8dc">` +
			strings.ReplaceAll(html.EscapeString(s), "\n", "<br>") + "</div>"
	}
	if banner != "" {
		at := 0
		if m := regexp.MustCompile(`(?i)<body(\s[^>]*)?>`).FindStringIndex(text); m != nil {
			at = m[1]
		}
		text = text[:at] + block(banner, "bottom") + text[at:]
	}
	if disclaimer != "" {
		at := len(text)
		if all := regexp.MustCompile(`(?i)</body\s*>`).FindAllStringIndex(text, -1); all != nil {
			at = all[len(all)-1][0]
		}
		text = text[:at] + block(disclaimer, "top") + text[at:]
	}
	return text
}
