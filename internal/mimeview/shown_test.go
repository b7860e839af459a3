package mimeview

import (
	"strings"
	"testing"

	"postern/internal/mail"
)

// What a reader shows of several forms of a text, of text beside pictures, of attached text.
func TestShown(t *testing.T) {
	const head = "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=m\r\n\r\n"
	part := func(kind, text string) string { return "Content-Type: " + kind + "\r\n\r\n" + text + "\r\n" }
	alternative := "--m\r\nContent-Type: multipart/alternative; boundary=a\r\n\r\n--a\r\n" + part("text/plain", "plain") +
		"--a\r\nContent-Type: multipart/related; boundary=r\r\n\r\n--r\r\n" + part("text/html", "<p>page</p>") + "--r\r\n" + part("image/png", "x") + "--r--\r\n--a--\r\n"
	attached := "--m\r\nContent-Disposition: attachment\r\n" + part("text/plain", "attached")
	for name, c := range map[string]struct{ raw, want string }{
		"plain":             {"Subject: x\r\n\r\nhello\r\n", "hello"},
		"forms":             {head + alternative + "--m--\r\n", "page"},
		"forms and footer":  {head + alternative + "--m\r\n" + part("text/plain", "footer") + "--m--\r\n", "page footer"},
		"two letters":       {head + alternative + strings.ReplaceAll(alternative, "page", "other") + "--m--\r\n", "page other"},
		"empty form":        {head + strings.Replace(alternative, "<p>page</p>", "<p> </p>", 1) + "--m--\r\n", "plain"},
		"beside attachment": {head + alternative + attached + "--m--\r\n", "page"},
		"attachment alone":  {head + attached + "--m--\r\n", "attached"},
		"nothing":           {"Subject: x\r\n\r\n", ""},
	} {
		v := New(mail.NewMessage([]byte(c.raw)), Options{})
		var texts []string
		for _, p := range v.Shown() {
			texts = append(texts, strings.TrimSpace(p.Text))
		}
		if got := strings.Join(texts, " "); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
		_ = v.Close()
	}
}
