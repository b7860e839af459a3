package mimeview

import (
	"postern/internal/testing/cputime"
	"strings"
	"testing"
	"time"
)

// hostileText is text that costs time where a reader is careless: RX-06, RX-07, RX-09, MN-12, MN-15.
func hostileText() map[string]func(n int) string {
	plain, page := "Content-Type: text/plain; charset=utf-8\r\n\r\n", "Content-Type: text/html; charset=utf-8\r\n\r\n"
	fill := func(front, piece, end string) func(int) string {
		return func(n int) string { return front + strings.Repeat(piece, 1+n/len(piece)) + end + "\r\n" }
	}
	return map[string]func(int) string{
		"schemes":          fill(plain, "http://", ""),
		"names":            fill(plain, "a.", "com/x"),
		"at signs":         fill(plain, "@", ""),
		"brackets":         fill(plain, "http://[::[::[", ""),
		"closing brackets": fill(plain, "http://a.example/"+strings.Repeat(")", 3000)+" ", ""),
		"colons":           fill(plain, "a:", "//"),
		"defanged":         fill(plain, "[.]", ""),
		"open tags":        fill(plain, "<http", ""),
		"marks":            fill(plain, "\u0300", ""),
		"invisible":        fill(plain, "a\u200b", ""),
		"UTF-7":            fill("Content-Type: text/html\r\n\r\n", "+A", ""),
		"UTF-7 pieces":     fill("Content-Type: text/html\r\n\r\n", "+ADw-", ""),
		"ISO-2022-JP":      fill("Content-Type: text/plain\r\n\r\n", "\x1B$B\x1B(B", ""),
		"HZ":               fill("Content-Type: text/plain\r\n\r\n", "~{~}", ""),
		"UTF-16":           fill("Content-Type: text/plain; charset=utf-16\r\n\r\n", "\xd8\x00", ""),
		"octets":           fill("Content-Type: text/plain\r\n\r\n", "\xe3\xd0", ""),
		"tags":             fill(page, "<div>", ""),
		"paragraphs":       fill(page, "<p>", "<table>"),
		"other tags":       fill(page, "<a><b><c>", ""),
		"end tags":         fill(page, "</x>", ""),
		"open and end":     fill(page+strings.Repeat("<i>", 900), "<b></u>", ""),
		"tag starts":       fill(page, "<", ""),
		"attribute":        fill(page+"<a href='", "x", "'>"),
		"attributes":       fill(page+"<a ", "href=http://a.example/ ", ">"),
		"no end":           fill(page+"<a style='", "display:none;", ""),
		"styles":           fill(page, "<p style='display:none;color:#fff!important'>x", ""),
		"classes":          fill(page+"<style>.a{display:none}</style><p class='", "a ", "'>"),
		"sheets":           fill(page, "<style>.a,.b{color:#fff}</style>", ""),
		"rules":            fill(page+"<style>", ".a{color:#fff}", "</style>"),
		"braces":           fill(page+"<style>", "@x{", "</style>"),
		"css comments":     fill(page+"<style>", "/*", "</style>"),
		"urls in css":      fill(page+"<style>", "url(", "</style>"),
		"imports":          fill(page+"<style>", "@import ", "</style>"),
		"scripts":          fill(page+"<script>", "http://", "</script>"),
		"entities":         fill(page, "&amp;", ""),
		"entity":           fill(page, "&", ""),
		"nested entities":  fill(page, "&amp;amp;lt;", ""),
		"conditions":       fill(page, "<!--[if x]><p>a<![endif]-->", ""),
		"open conditions":  fill(page, "<!--[if x]>", ""),
		"pages in pages":   fill(page, "<iframe srcdoc='<p>x'>", ""),
		"srcset":           fill(page+"<img srcset='", "a 1x, ", "'>"),
		"links":            fill(page+"<base href=http://b.example/>", "<a href=x>www.x.com</a> ", ""),
		"carried":          fill(page, "<a href='http://a.example/?u="+strings.Repeat("http%3a%2f%2fb.example%2f%3fu%3d", 60)+"'>x</a>", ""),
		"words":            fill("Subject: ", "=?", "\r\n\r\nx"),
		"calendar":         fill("Content-Type: text/calendar\r\n\r\n", "URL:http://\r\n ", ""),
	}
}

func TestHostileTextIsReadInLinearTime(t *testing.T) {
	for name, build := range hostileText() {
		var took [3]time.Duration
		for i := range took {
			message := []byte(build(scale << i))
			took[i] = time.Hour
			for range 2 {
				took[i] = min(took[i], cputime.Of(func() {
					v := view(string(message), Options{Text: 8 << 20})
					v.Links()
					for _, p := range v.Parts() {
						if got := len(p.Text) + len(p.Hidden); got > 16*len(message) {
							t.Errorf("%s: %d octets of %d", name, got, len(message))
						}
					}
				}))
			}
		}
		t.Logf("%-17s %v", name, took)
		// the third is twice the second: more than that is a matter of the machine, up to a point
		if took[2] > 400*time.Millisecond && took[2] > took[0]*14 || took[2] > 5*time.Second {
			t.Errorf("%s: %d octets and twice and four times as many take %v", name, scale, took)
		}
	}
}
