package mimeview

import (
	"strings"
	"testing"

	"postern/internal/mail"
)

// newsletter is 10 KB of HTML as shops send it.
func newsletter() []byte {
	row := `<tr><td style="padding:8px;font-family:Arial,sans-serif;font-size:14px;color:#333333;background-color:#ffffff" class="cell"><a href="https://click.shop.example/?id=ID&amp;u=abc" style="color:#0066cc;text-decoration:none">Bread of the day</a> some words on a <b>line</b>, fresh and good</td></tr>` + "\r\n"
	var b strings.Builder
	b.WriteString("MIME-Version: 1.0\r\nTo: ann@b.example\r\nSubject: News\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<html><head><style>.cell{padding:1px;color:#222}@media (max-width:600px){.cell{display:none}}</style></head><body bgcolor=\"#eeeeee\"><div style=\"display:none\">This week</div><table>\r\n")
	for i := range 34 {
		b.WriteString(strings.Replace(row, "ID", string(rune('a'+i%26))+string(rune('a'+i/26)), 1))
	}
	b.WriteString("</table></body></html>\r\n")
	return []byte(b.String())
}

func BenchmarkNewsletter10KB(b *testing.B) {
	m := mail.NewMessage(newsletter())
	b.ReportAllocs()
	for b.Loop() {
		New(m, Options{}).Links()
	}
}

func BenchmarkAttachment1MB(b *testing.B) {
	m := mail.NewMessage([]byte("MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n\r\nhello http://x.example/\r\n--a\r\nContent-Type: x/y\r\nContent-Transfer-Encoding: base64\r\n\r\n" +
		strings.Repeat(strings.Repeat("QUJD", 19)+"\r\n", 1<<20/78) + "--a--\r\n"))
	b.ReportAllocs()
	for b.Loop() {
		v := New(m, Options{})
		v.Links()
		v.Objects()
	}
}
