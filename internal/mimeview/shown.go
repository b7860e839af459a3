package mimeview

import "strings"

// Shown are the parts whose text a reader shows, in the order of the message as the RFCs read it. Of several forms of a text
// it is the last that has any: RFC 2046 section 5.1.4. Where there is nothing else, text that is attached is shown, too.
func (v *View) Shown() []*Part {
	v.read()
	if v.root == nil {
		return nil
	}
	if shown := shownOf(v.root, false); len(shown) > 0 {
		return shown
	}

	return shownOf(v.root, true)
}

func shownOf(p *Part, attached bool) (all []*Part) {
	if p.Reading != "" {
		return nil
	}
	if len(p.Parts) == 0 {
		isText := strings.HasPrefix(p.Type, "text/") && (attached || !p.Attachment)
		if isText && strings.TrimSpace(p.Text) != "" {
			all = append(all, p)
		}
		return all
	}
	for _, inner := range p.Parts {
		found := shownOf(inner, attached)
		if len(found) == 0 {
			continue
		}
		if p.Type == "multipart/alternative" {
			all = nil
		}
		all = append(all, found...)
	}

	return all
}
