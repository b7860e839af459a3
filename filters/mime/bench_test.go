package mime

import (
	"context"
	"net/netip"
	"strings"
	"testing"

	"postern/filters"
	"postern/internal/config"
	"postern/internal/mail"
)

// What the filter costs beyond the view, which is there already.
func BenchmarkInspect(b *testing.B) {
	f, err := Spec.New(config.NewSection("filters.mime", nil), filters.Env{})
	if err != nil {
		b.Fatal(err)
	}
	for name, text := range map[string]string{
		"text 10 KB": "From: a@b.example\nMIME-Version: 1.0\nContent-Type: text/plain\n\n" + strings.Repeat("The minutes say that the budget was agreed, with two votes against it.\n", 140),
		"HTML 10 KB": "From: a@b.example\nMIME-Version: 1.0\nContent-Type: text/html\n\n" + strings.Repeat("<p style='margin:0'>The minutes say that <b>the budget</b> was agreed.</p>\n", 135),
	} {
		b.Run(name, func(b *testing.B) {
			tx := &mail.Transaction{Session: &mail.Session{Client: netip.MustParseAddr("192.0.2.1")}, Message: mail.NewMessage([]byte(strings.ReplaceAll(text, "\n", "\r\n")))}
			for b.Loop() {
				if found, err := f.Inspect(context.Background(), tx); err != nil || len(found) > 0 {
					b.Fatal(found, err)
				}
			}
		})
	}
}
