package mimeview

import (
	"bytes"
	stdbase64 "encoding/base64"
	"image/png"
	"strings"
	"testing"

	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode"

	"postern/internal/mail"
)

// AC-17: an address that no text holds.
func TestQRCodesAreLinks(t *testing.T) {
	var message bytes.Buffer
	message.WriteString("MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n\r\nscan this\r\n")
	for _, text := range []string{"https://www.google.com/url?q=https://evil.example/x", "nothing", "BEGIN:VCARD\nURL:https://card.example/\nEND:VCARD", "evil.com", "f", "g"} {
		bits, err := qrcode.NewQRCodeWriter().Encode(text, gozxing.BarcodeFormat_QR_CODE, 200, 200, nil)
		if err != nil {
			t.Fatal(err)
		}
		var picture bytes.Buffer
		if err := png.Encode(&picture, bits); err != nil {
			t.Fatal(err)
		}
		message.WriteString("--a\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\n" + stdbase64.StdEncoding.EncodeToString(picture.Bytes()) + "\r\n")
	}
	message.WriteString("--a--\r\n")
	v := New(mail.NewMessage(message.Bytes()), Options{})
	found, unread := v.QRLinks()
	got := ""
	for _, l := range found {
		got += l.URL + " " + l.Where + "\n"
	}
	want := "https://www.google.com/url?q=https://evil.example/x qr code\nhttps://evil.example/x qr code\nhttps://card.example/ qr code\nhttp://evil.com qr code\n"
	if got != want || unread != 0 {
		t.Errorf("%s, %d unread, want\n%s", got, unread, want)
	}
	if len(v.Links()) != 0 {
		t.Error(v.Links())
	}
}

// Codes are read in pictures within a page, in tables and in block characters; what is more than there is time for is
// counted.
func TestCodesInPages(t *testing.T) {
	bits, err := qrcode.NewQRCodeWriter().Encode("https://evil.example/x", gozxing.BarcodeFormat_QR_CODE, 0, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	large, err := qrcode.NewQRCodeWriter().Encode("https://large.example/", gozxing.BarcodeFormat_QR_CODE, 2000, 2000, nil)
	if err != nil {
		t.Fatal(err)
	}
	encoded := func(m *gozxing.BitMatrix) string {
		var picture bytes.Buffer
		if err := png.Encode(&picture, m); err != nil {
			t.Fatal(err)
		}
		return stdbase64.StdEncoding.EncodeToString(picture.Bytes())
	}
	var table, drawn strings.Builder
	table.WriteString("<table cellspacing=0>")
	for y := range bits.GetHeight() {
		table.WriteString("<tr>")
		for x := range bits.GetWidth() {
			if bits.Get(x, y) {
				table.WriteString("<td style='background:#000'></td>")
				drawn.WriteString("██")
			} else {
				table.WriteString("<td bgcolor=white></td>")
				drawn.WriteString("  ")
			}
		}
		table.WriteString("</tr>\r\n")
		drawn.WriteString("\r\n")
	}
	table.WriteString("</table>")
	small, err := qrcode.NewQRCodeWriter().Encode("https://small.example/", gozxing.BarcodeFormat_QR_CODE, 150, 150, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		kind, body, want string
		unread           int
	}{
		"table":   {"text/html", "<p>Scan this</p>" + table.String(), "https://evil.example/x qr drawn\n", 0},
		"drawing": {"text/plain", "Scan this\r\n\r\n" + drawn.String() + "\r\nBye\r\n", "https://evil.example/x qr drawn\n", 0},
		"data":    {"text/html", "<img src='data:image/png;base64," + encoded(small) + "'>", "https://small.example/ qr code\n", 0},
		"large":   {"text/html", "<img src='data:image/png;base64," + encoded(large) + "'>", "", 1},
		"broken":  {"text/html", "<img src='data:image/png;base64,AAAA'><img src='data:image/svg+xml,x'>", "", 2},
	} {
		v := New(mail.NewMessage([]byte("MIME-Version: 1.0\r\nContent-Type: "+c.kind+"; charset=utf-8\r\n\r\n"+c.body)), Options{})
		found, unread := v.QRLinks()
		got := ""
		for _, l := range found {
			got += l.URL + " " + l.Where + "\n"
		}
		if got != c.want || unread != c.unread {
			t.Errorf("%s: %s, %d unread", name, got, unread)
		}
	}
}
