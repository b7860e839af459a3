package unpack

import (
	"bytes"
	"context"
	"math/rand/v2"
	"strings"
	"testing"

	"postern/internal/mimeview/unpack/filetype"
)

func BenchmarkDetect(b *testing.B) {
	random := make([]byte, 10<<10)
	r := rand.NewChaCha8([32]byte{})
	_, _ = r.Read(random) // never fails
	for name, content := range map[string][]byte{
		"text": []byte(strings.Repeat("A line of plain text, as people write it.\r\n", 240)),
		"html": []byte("<!DOCTYPE html><html><body>" + strings.Repeat("<p>A paragraph of a page.</p>\r\n", 330)),
		"png":  append([]byte("\x89PNG\r\n\x1a\n"), random[8:]...),
		"none": random,
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				filetype.Detect(content, []string{".txt"})
			}
		})
	}
}

func benchmarkWalk(b *testing.B, content []byte, name string) {
	b.ReportAllocs()
	b.SetBytes(int64(len(content)))
	for b.Loop() {
		Walk(context.Background(), []string{name}, bytes.NewReader(content), int64(len(content)), Options{}, func(*Object) {})
	}
}

// A MiB of text that packs three to one, in ten files.
func BenchmarkZip1MB(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	var pairs []string
	for i := range 10 {
		var text strings.Builder
		for text.Len() < 300<<10 {
			text.WriteString([]string{"invoice ", "amount ", "the ", "of "}[r.IntN(4)])
			text.WriteByte(byte('a' + r.IntN(26)))
			text.WriteByte(byte('a' + r.IntN(26)))
		}
		pairs = append(pairs, string(rune('a'+i))+".txt", text.String())
	}
	benchmarkWalk(b, zipOf(b, pairs...), "a.zip")
}

// A PDF of 1 MiB: packed pages, a picture, links.
func BenchmarkPDF1MB(b *testing.B) {
	picture := make([]byte, 600<<10)
	r := rand.NewChaCha8([32]byte{})
	_, _ = r.Read(picture) // never fails
	objects := []string{pdfStream("/Subtype /Image /Filter /DCTDecode", string(picture))}
	for range 100 {
		text := make([]byte, 3<<10)
		_, _ = r.Read(text) // never fails
		objects = append(objects, pdfStream("/Filter /FlateDecode", flateOf(b, "BT /F1 12 Tf (Hello) Tj "+string(text)+" ET")), "<< /A << /S /URI /URI (https://a.example/x) >> >>")
	}
	benchmarkWalk(b, pdfOf(objects...), "a.pdf")
}
