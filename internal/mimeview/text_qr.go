package mimeview

import (
	stdbase64 "encoding/base64"
	"errors"
	"io"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"postern/internal/mimeview/links"
	"postern/internal/mimeview/links/qr"
)

// What of a message is searched for QR codes: so many pictures, and in all so much work in units of qr.Cost, some 20 ms.
const (
	maxPictures = 10
	maxQRCost   = 2 << 20
)

// PlaceQR and PlaceDrawn are the places of links in codes, in Link.Where: of pictures, and of codes that are drawn in
// characters or by the cells of a table.
const (
	PlaceQR    = "qr code"
	PlaceDrawn = "qr drawn"
)

// QRLinks are the addresses in QR codes with what redirectors lead to: of the first pictures (PNG, JPEG, GIF up to 2
// megapixels in all), those that stand in a page itself among them, and of codes that are drawn. Unread counts the
// pictures that were more or larger than that, or broken. It is made when it is first asked and decodes all contents.
func (v *View) QRLinks() (found []Link, unread int) {
	v.examine()
	v.qrOnce.Do(v.readQR)
	return v.qrLinks, v.qrUnread
}

// littleText is how many letters and digits a message has at most whose word is in its pictures.
const littleText = 1000

// MostlyPictures says whether a message has a picture and little text, so that what it says is in the picture.
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

// codes reads the QR codes of a message.
type codes struct {
	view *View
	list *linkList
	read int // pictures
	room int // of maxQRCost
}

func (v *View) readQR() {
	c := codes{view: v, list: newLinks(v), room: maxQRCost}
	for _, o := range v.objects {
		if head, err := o.Head(8); err == nil && isPicture(head) {
			c.object(o)
		}
	}
	for i, p := range v.parts {
		if p.Reading == "" {
			c.part(p, i)
		}
	}
	v.qrLinks = c.list.all
}

func (c *codes) object(o *Object) {
	if c.read == maxPictures || o.Size > qr.MaxOctets || c.view.stopped() {
		c.view.qrUnread++
		return
	}
	content, err := o.picture()
	if err != nil {
		c.view.qrUnread++
		return
	}
	c.picture(content, slices.Index(c.view.parts, o.Part))
}

// picture reads one if there is room for it.
func (c *codes) picture(content []byte, part int) {
	cost := qr.Cost(content)
	if cost > c.room {
		c.view.qrUnread++
		return
	}
	c.read++
	c.room -= cost
	text, err := qr.Read(content)
	if err != nil {
		c.view.qrUnread++
		return
	}
	c.list.code(text, PlaceQR, part)
}

// part reads the codes in a page or text: pictures in data: addresses, tables, and block characters.
func (c *codes) part(p *Part, index int) {
	for _, data := range p.Inline {
		head, body, _ := strings.Cut(data, ",")
		if c.read == maxPictures || len(body) > qr.MaxOctets || !strings.HasSuffix(strings.ToLower(strings.TrimSpace(head)), "base64") {
			c.view.qrUnread++
			continue
		}
		c.picture(anyBase64(body), index)
	}
	for _, g := range p.Grids {
		if text, err := qr.ReadCells(g.Rows); err == nil {
			c.list.code(text, PlaceDrawn, index)
		}
	}
	if text, err := qr.ReadDrawn(p.Text); err == nil {
		c.list.code(text, PlaceDrawn, index)
	}
}

// anyBase64 decodes what browsers do of an address: escaped or not, with white space in it.
func anyBase64(body string) []byte {
	if strings.IndexByte(body, '%') >= 0 {
		if plain, err := url.PathUnescape(body); err == nil {
			body = plain
		}
	}
	body = strings.TrimRight(strings.Join(strings.Fields(body), ""), "=")
	content, _ := stdbase64.RawStdEncoding.DecodeString(body[:len(body)-len(body)%4]) // what comes before a fault is a picture or none
	return content
}

func (v *View) stopped() bool {
	return v.closed.Load() || v.options.Stop != nil && v.options.Stop()
}

func isPicture(head []byte) bool {
	text := string(head)
	return strings.HasPrefix(text, "\x89PNG") || strings.HasPrefix(text, "\xff\xd8\xff") || strings.HasPrefix(text, "GIF8")
}

func (o *Object) picture() (content []byte, err error) {
	r, err := o.Open()
	if err != nil {
		return nil, err
	}
	content, err = io.ReadAll(io.LimitReader(r, qr.MaxOctets+1))
	return content, errors.Join(err, r.Close())
}

// code takes the addresses in the text of a QR code.
func (l *linkList) code(text, place string, part int) {
	if text == "" {
		return
	}
	w := where{place: place, part: part, quiet: true}
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
