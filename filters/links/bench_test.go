package links

import (
	"context"
	"net/netip"
	"strings"
	"testing"

	"postern/filters"
	"postern/internal/config"
	"postern/internal/mail"
	"postern/internal/mimeview"
)

// What the filter costs beyond the view, which is there already.
func BenchmarkInspect(b *testing.B) {
	f, err := spec(b).New(config.NewSection("filters.links", nil), filters.Env{})
	if err != nil {
		b.Fatal(err)
	}
	row := "<tr><td style='padding:4px'><a href='https://click.corner.test/x?u=%2Fnews'>The minutes say that the budget was agreed</a>, with <b>two</b> votes.</td></tr>\r\n"
	for name, n := range map[string]int{"HTML 10 KB": 70, "HTML 100 KB": 700} {
		b.Run(name, func(b *testing.B) {
			text := "From: a@b.example\r\nMIME-Version: 1.0\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<div style='display:none'>What is new this week</div><table>" + strings.Repeat(row, n) + "</table>"
			tx := &mail.Transaction{Session: &mail.Session{Client: netip.MustParseAddr("192.0.2.1")}, Message: mail.NewMessage([]byte(text))}
			view := mimeview.Of(tx.Message)
			view.QRLinks()
			for b.Loop() {
				if _, err := f.Inspect(context.Background(), tx); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
