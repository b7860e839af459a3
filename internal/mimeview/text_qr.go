package mimeview

import (
	"errors"
	"io"
	"slices"
	"strings"
	"unicode"

	"postern/internal/mimeview/links"
	"postern/internal/mimeview/links/qr"
)

// maxPictures is how many pictures of a message are searched for a QR code.
const maxPictures = 5

// QRLinks are the addresses in QR codes of the first five pictures (PNG, JPEG, GIF up to 4 megapixels and 8 MiB), with what
// redirectors lead to. Unread counts the pictures that were more or larger than that, or broken. It is made when it is
// first asked and decodes all contents: with a picture of 1 megapixel that takes some 50 ms.
func (v *View) QRLinks() (found []Link, unread int) {
	v.examine()
	v.qrOnce.Do(v.readQR)
	return v.qrLinks, v.qrUnread
}

// littleText is how many letters and digits a message has at most whose word is in its pictures.
const littleText = 1000

// MostlyPictures says whether a message has a picture and little text, so that it is worth the time to ask for QRLinks.
func (v *View) MostlyPictures() bool {
	pictures := false
	for _, p := range v.Parts() {
		if pictures = pictures || strings.HasPrefix(p.Type, "image/"); Letters(p.Text) > littleText {
			return false
		}
	}
	return pictures
}

// Letters counts the letters and digits in the first 64 KiB of a text.
func Letters(text string) (n int) {
	for _, r := range text[:min(len(text), 1<<16)] {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			n++
		}
	}
	return n
}

func (v *View) readQR() {
	list := newLinks(v)
	read := 0
	for _, o := range v.objects {
		head, err := o.Head(8)
		if err != nil || !isPicture(head) {
			continue
		}
		if read == maxPictures || o.Size > qr.MaxOctets || v.stopped() {
			v.qrUnread++
			continue
		}
		read++
		text, err := o.qrText()
		if err != nil {
			v.qrUnread++
			continue
		}
		list.code(text, slices.Index(v.parts, o.Part))
	}
	v.qrLinks = list.all
}

func (v *View) stopped() bool {
	return v.closed.Load() || v.options.Stop != nil && v.options.Stop()
}

func isPicture(head []byte) bool {
	text := string(head)
	return strings.HasPrefix(text, "\x89PNG") || strings.HasPrefix(text, "\xff\xd8\xff") || strings.HasPrefix(text, "GIF8")
}

func (o *Object) qrText() (text string, err error) {
	r, err := o.Open()
	if err != nil {
		return "", err
	}
	content, err := io.ReadAll(io.LimitReader(r, qr.MaxOctets+1))
	if err = errors.Join(err, r.Close()); err != nil {
		return "", err
	}
	return qr.Read(content)
}

// code takes the addresses in the text of a QR code.
func (l *linkList) code(text string, part int) {
	if text == "" {
		return
	}
	w := where{place: "qr code", part: part, quiet: true}
	text = strings.TrimSpace(text)
	if strings.ContainsAny(text, " \t\r\n") { // a card, an entry of a calendar, a line of text
		l.text(text, w.place, part)
		return
	}
	if links.Shown(text) != "" && !strings.Contains(text, "://") { // telephones open it
		text, w.flags = "http://"+text, []string{links.NoScheme}
	}
	l.add(text, w)
}
