package contents

import (
	"math/rand/v2"
	"strings"
	"testing"

	"postern/internal/mimeview"
)

// Mails as they come every day: what looking into them costs beyond the view that all filters share.
func BenchmarkRead(b *testing.B) {
	words := make([]byte, 1<<20)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range words {
		words[i] = byte(random.IntN(256))
	}
	stream := string(words)
	for name, text := range map[string]string{
		"text 10 KB": "From: a@b.example\nMIME-Version: 1.0\nContent-Type: text/plain\n\n" + strings.Repeat("The minutes say that the budget was agreed, with two votes against it.\n", 140),
		"PDF 1 MB":   letter("hello", "a.pdf", "%PDF-1.7\n1 0 obj\n<< /Length 1048576 >>\nstream\n"+stream+"\nendstream\nendobj\ntrailer << >>\n%%EOF\n"),
		"zip 1 MB":   letter("hello", "a.zip", zipOf(b, "a.bin", stream)),
	} {
		b.Run(name, func(b *testing.B) {
			m := message(text)
			defer m.Close()
			mimeview.Of(m).Objects()
			b.SetBytes(m.Size())
			for b.Loop() {
				w := newWalk(Of(m), Limits{})
				w.ctx = b.Context()
				if err := w.message(); err != nil || len(w.found.Limits) > 0 {
					b.Fatal(err, w.found.Limits)
				}
			}
		})
	}
}
