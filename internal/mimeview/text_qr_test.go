package mimeview

import (
	"bytes"
	stdbase64 "encoding/base64"
	"image/png"
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
	if got != want || unread != 1 {
		t.Errorf("%s, %d unread, want\n%s", got, unread, want)
	}
	if len(v.Links()) != 0 {
		t.Error(v.Links())
	}
}
