package all

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"postern/filters"
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
