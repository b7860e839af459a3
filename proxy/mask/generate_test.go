package mask

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"mime/quotedprintable"
	"strings"
)

// generator writes well-formed messages.
type generator struct {
	r *rand.Rand
	n int
	// secrets are the decoded contents of all leaves.
	secrets [][]byte
}

func newGenerator(seed uint64) *generator { return &generator{r: rand.New(rand.NewPCG(seed, 1))} }

func (g *generator) message() string {
	header := "From: a@b.example\r\nTo: c@d.example\r\nSubject: Invoice\r\nDate: Mon, 2 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@b.example>\r\nMIME-Version: 1.0\r\n"
	return header + g.entity(0)
}

// entity gives the content fields, an empty line and a body without a line end behind it.
func (g *generator) entity(depth int) string {
	kinds := 5
	if depth < 4 {
		kinds = 8
	}
	switch g.r.IntN(kinds) {
	case 0:
		return "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + g.secret(g.lines("größer "))
	case 1, 2:
		return "Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\nX-Odd: some thing\r\n\tfolded\r\n\r\n" + g.quoted()
	case 3, 4:
		return "Content-Type: application/octet-stream;\r\n\tname=a.exe\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename=a.exe\r\n\r\n" + g.base64()
	case 5:
		return "Content-Type: message/rfc822\r\n\r\n" + g.message()
	default:
		return g.multipart(depth)
	}
}

func (g *generator) multipart(depth int) string {
	g.n++
	boundary := fmt.Sprintf("=_%d_%x", g.n, g.r.Uint32())
	var b strings.Builder
	fmt.Fprintf(&b, "Content-Type: multipart/mixed;\r\n boundary=\"%s\"\r\n\r\n", boundary)
	if g.r.IntN(2) == 0 {
		b.WriteString(g.secret("This is a multi-part message.\r\n") + "\r\n")
	}
	for range 1 + g.r.IntN(3) {
		fmt.Fprintf(&b, "--%s\r\n%s\r\n", boundary, g.entity(depth+1))
	}
	b.WriteString("--" + boundary + "--\r\n")
	if g.r.IntN(3) == 0 {
		b.WriteString(g.secret("something behind\r\n"))
	}
	return b.String()
}

func (g *generator) secret(s string) string {
	g.secrets = append(g.secrets, []byte(s))
	return s
}

func (g *generator) lines(word string) string {
	var b strings.Builder
	for range g.r.IntN(8) {
		for range g.r.IntN(12) {
			fmt.Fprintf(&b, "%s%x ", word, g.r.Uint32())
		}
		b.WriteString("\r\n")
		if g.r.IntN(5) == 0 {
			b.WriteString(".dot\r\n")
		}
	}
	return b.String() + "end"
}

func (g *generator) quoted() string {
	var b strings.Builder
	w := quotedprintable.NewWriter(&b)
	_, _ = w.Write([]byte(g.secret(g.lines("日本 a=b "))))
	_ = w.Close()
	return b.String()
}

func (g *generator) base64() string {
	raw := make([]byte, g.r.IntN(600))
	for i := range raw {
		raw[i] = byte(g.r.Uint32())
	}
	g.secrets = append(g.secrets, raw)
	text := base64.StdEncoding.EncodeToString(raw)
	width := []int{76, 72, 60, 73, 4, 1000}[g.r.IntN(6)]
	var b strings.Builder
	for len(text) > width {
		end := "\r\n"
		switch g.r.IntN(30) {
		case 0:
			end = " \r\n"
		case 1:
			end = "\r\n\r\n"
		case 2:
			end = "\t \r\n"
		}
		b.WriteString(text[:width] + end)
		text = text[width:]
		if g.r.IntN(20) == 0 {
			width = 1 + g.r.IntN(76)
		}
	}
	b.WriteString(text)
	return b.String()
}
