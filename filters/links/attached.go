package links

import (
	"context"
	"slices"
	"strings"

	"postern/internal/mail"
	"postern/internal/mimeview"
	"postern/internal/mimeview/contents"
	"postern/internal/mimeview/links"
	"postern/internal/mimeview/unpack"
)

// maxAttached is how many links an attachment has at most that is sent for their sake: papers and books have more.
const maxAttached = 8

// attached judges the links in documents and pages that are attached, and in QR codes of their pictures. The filter
// attachments has read them before, within its limits.
func (l *look) attached(ctx context.Context, m *mail.Message) error {
	if !carries(mimeview.Of(m)) {
		return nil
	}
	found, err := contents.Of(m).Read(ctx)
	if err != nil {
		return err
	}
	for _, i := range found.Items {
		if i.Body {
			continue
		}
		var all []mimeview.Link
		few := ""
		for _, flag := range i.Flags {
			where := "attachment"
			switch flag.Kind {
			case unpack.URI:
			case unpack.QRCode:
				where = mimeview.PlaceQR
			case unpack.PasswordForm:
				l.add("HTML_PASSWORD_FORM", i.Where())
				continue
			case unpack.PDFLinkOnly:
				few = i.Where() + ": " + flag.Detail
				continue
			default:
				continue
			}
			if link, ok := links.Parse(strings.TrimSpace(flag.Detail), ""); ok {
				targets := links.Targets(&link)
				link.Where = where
				all = append(append(all, link), targets...)
			}
		}
		l.ofAttachment(all)
		if few != "" && slices.ContainsFunc(all, l.strange) {
			l.add("PDF_LINK_ONLY", few)
		}
	}

	return nil
}

// strange says whether a link leads to somebody other than us and the sender.
func (l *look) strange(link mimeview.Link) bool {
	return leadsToHost(&link) && !l.own(link.Host, link.Domain)
}

func (l *look) ofAttachment(all []mimeview.Link) {
	codes := slices.DeleteFunc(slices.Clone(all), func(k mimeview.Link) bool { return k.Where != mimeview.PlaceQR })
	l.codes(codes)
	if len(all) > maxAttached {
		return
	}
	for i := range all {
		all[i].Part = -1
		if !l.own(all[i].Host, all[i].Domain) && leadsToHost(&all[i]) {
			l.platform(&all[i], all[i+1:])
		}
	}
}

// carries says whether a message has anything besides its text.
func carries(view *mimeview.View) bool {
	return slices.ContainsFunc(view.Parts(), func(p *mimeview.Part) bool {
		return p.Attachment || p.Name != "" || !strings.HasPrefix(p.Type, "text/") && !strings.HasPrefix(p.Type, "image/")
	})
}
