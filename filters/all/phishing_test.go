package all

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"postern/filters"
	"postern/filters/brands"
	"postern/internal/config"
	"postern/internal/mail"
	"postern/internal/mimeview"
	"postern/internal/state"
)

// What the filters that look for phishing cost for one HTML letter that is read already: 250 µs for 10 KB and 1 ms for
// 100 KB is what they may take together.
func BenchmarkPhishing(b *testing.B) {
	memory, err := state.NewMemory(state.MemoryOptions{MaxKeys: 100_000})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = memory.Close() })
	for _, name := range []string{"brands", "origin", "impersonation", "campaigns", "signs", "links"} {
		spec, ok := find(b, name)
		if !ok {
			b.Fatal(name)
		}
		f, err := spec.New(config.NewSection("filters."+name, nil), filters.Env{State: memory})
		if err != nil {
			b.Fatal(err)
		}
		for _, lines := range []int{60, 600} {
			size := len(letter(lines, 0))
			b.Run(fmt.Sprintf("%s/%dKB", name, size>>10), func(b *testing.B) {
				letters := make([]*mail.Transaction, 50)
				for i := range letters {
					letters[i] = &mail.Transaction{Session: &mail.Session{Client: netip.MustParseAddr("198.51.100.7")}, Message: mail.NewMessage([]byte(letter(lines, i)))}
					mimeview.Of(letters[i].Message).Parts()
				}
				n := 0
				for b.Loop() {
					_, _ = f.Inspect(b.Context(), letters[n%len(letters)])
					n++
				}
			})
		}
	}
}

// BenchmarkPhishing10KB is what all of them cost together for an ordinary letter, which none has seen before.
func BenchmarkPhishing10KB(b *testing.B) { benchmarkTogether(b, 10<<10) }

// BenchmarkPhishing100KB is the same for a long one.
func BenchmarkPhishing100KB(b *testing.B) { benchmarkTogether(b, 100<<10) }

func benchmarkTogether(b *testing.B, size int) {
	memory, err := state.NewMemory(state.MemoryOptions{MaxKeys: 1_000_000})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = memory.Close() })
	table, err := brands.Configured(config.NewSection("filters.brands", nil))
	if err != nil {
		b.Fatal(err)
	}
	var all []filters.Filter
	for _, name := range []string{"impersonation", "brands", "origin", "links", "lures", "campaigns", "signs"} {
		spec, ok := find(b, name)
		if !ok {
			b.Fatal(name)
		}
		f, err := spec.New(config.NewSection("filters."+name, nil), filters.Env{State: memory, Brands: table})
		if err != nil {
			b.Fatal(err)
		}
		all = append(all, f)
	}

	const batch = 100
	letters := make([]*mail.Transaction, batch)
	n := 0
	for b.Loop() {
		if n%batch == 0 {
			b.StopTimer()
			for i := range letters {
				letters[i] = &mail.Transaction{Session: &mail.Session{Client: netip.MustParseAddr("198.51.100.7")}, Message: mail.NewMessage([]byte(ordinary(size, n+i)))}
				view := mimeview.Of(letters[i].Message)
				view.Parts()
				view.QRLinks()
			}
			b.StartTimer()
		}
		tx := letters[n%batch]
		for _, f := range all {
			found, err := f.Inspect(b.Context(), tx)
			if err != nil {
				b.Fatal(err)
			}
			tx.Findings = append(tx.Findings, found...)
		}
		n++
	}
}

// ordinary is a letter of a company in HTML: paragraphs, some links and pictures, a footer.
func ordinary(size, number int) string {
	words := strings.Fields(`the winter timetable begins on Sunday and your account shows which trains you have booked so far we are sorry that
 the service between harbour and station was not what you expect in October thank you for your patience please confirm the seat if you want
 to keep it after the meeting our team will publish a new document about the budget with all invoices payments refunds and the delivery of
 parcels for customers in the north who asked for an update today it may be that changes to a password or an address reach us late`)
	var text strings.Builder
	text.WriteString("<html><head><style>p{margin:0 0 12px;font:14px Arial}</style></head><body><table width=\"600\">")
	at := number * 7
	for i := 0; text.Len() < size-300; i++ {
		text.WriteString("<tr><td align=\"left\" valign=\"top\" style=\"padding:8px 16px;border-collapse:collapse;word-break:break-word\"><p style=\"margin:0 0 12px;font-family:Arial,Helvetica,sans-serif;font-size:14px;line-height:21px;color:#333333\">")
		for range 45 {
			at = (at*31 + 17) % 9973
			text.WriteString(words[at%len(words)] + " ")
		}
		text.WriteString("</p>")
		if i%3 == 0 {
			fmt.Fprintf(&text, "<a href=\"https://click.corner.test/e/%d?u=%d\" style=\"color:#1a73e8;text-decoration:underline\"><img src=\"https://img.corner.test/%d.png\" width=\"560\" alt=\"Corner\">Read more</a>", number, i, i)
		}
		text.WriteString("</td></tr>\r\n")
	}

	return "From: Corner Railways <news@corner.test>\r\nTo: eve@corp.example\r\nSubject: The winter timetable\r\nMIME-Version: 1.0\r\nContent-Type: text/html; charset=utf-8\r\n\r\n" +
		text.String() + "</table><p>Corner Railways, 1 Station Road. <a href=\"https://corner.test/leave\">Unsubscribe</a></p></body></html>\r\n"
}

func find(b *testing.B, name string) (filters.Spec, bool) {
	for _, spec := range specs(b) {
		if spec.Name == name {
			return spec, true
		}
	}

	return filters.Spec{}, false
}

// letter is an HTML letter of a shop.
func letter(lines, number int) string {
	var text strings.Builder
	for i := range lines {
		fmt.Fprintf(&text, "<tr><td style=\"color:#333;font-family:Arial\"><a href=\"https://shop.example/a/%d/%d\">Article %d</a> has been sent by DHL and was paid by your PayPal account, dear customer.</td></tr>\r\n", number, i, i)
	}

	return "From: The Shop <a@mail.shop.example>\r\nTo: eve@corp.example\r\nSubject: Your order\r\nContent-Type: text/html\r\n\r\n<html><body><table>" + text.String() + "</table></body></html>\r\n"
}
