package mimeview

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/internal/mail"
	"postern/internal/testing/cputime"
)

func view(text string, o Options) *View {
	return New(mail.NewMessage([]byte(strings.ReplaceAll(text, "\n", "\r\n"))), o)
}

func texts(v *View) string {
	var all []string
	for _, p := range v.Parts() {
		all = append(all, p.Type+":"+strings.TrimSpace(p.Text))
	}
	return strings.Join(all, " | ")
}

func TestWhatAReaderShows(t *testing.T) {
	for name, c := range map[string]struct{ message, want string }{
		"plain":           {"Subject: x\n\nHello http://a.example/x.\n", "text/plain:Hello http://a.example/x."},
		"base64":          {"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: BASE64\n\nSsO8cmdl\n!bg=\n", "text/plain:Jürgen"},
		"qp":              {"Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\nJ=FCr=\ngen =zz\n", "text/plain:Jürgen =zz"},
		"html":            {"Content-Type: text/html\n\n<style>x</style><p>Buy<b>now</b></p>&amp;<a href='http://b.example/'>here</a>\n", "text/html:Buynow\n&here"},
		"multipart":       {"Content-Type: multipart/mixed; boundary=\"a b\"\n\npreamble\n--a b\n\none\n--a b\nContent-Type: application/pdf\n\nbinary\n--a b\nContent-Type: text/html\n\n<i>two</i>\n--a b--\nepilogue\n", "text/plain:one | application/pdf: | text/html:two"},
		"nested":          {"Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/alternative; boundary=b\n\n--b\n\none\n--b--\n--a\n\ntwo\n--a--\n", "text/plain:one | text/plain:two"},
		"message":         {"Content-Type: message/rfc822\n\nSubject: inner\nContent-Type: text/plain\n\ninner text\n", "text/plain:inner text"},
		"not closed":      {"Content-Type: multipart/mixed; boundary=a\n\n--a\n\none\n", "text/plain:one"},
		"no boundary":     {"Content-Type: multipart/mixed\n\nstill shown\n", "multipart/mixed:still shown"},
		"unknown charset": {"Content-Type: text/plain; charset=klingon\n\nJ\xfcrgen\n", "text/plain:Jürgen"},
	} {
		if got := texts(view(c.message, Options{})); strings.ReplaceAll(got, "\r", "") != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestLinks(t *testing.T) {
	v := view("Content-Type: text/html\n\n<a href=\"http://a.example/x?y=1&amp;z\">www.b.example/c</a> see https://u@d.example:8/). http://a.example/x?y=1&z <img src=cid:1>\n", Options{})
	if got := fmt.Sprint(v.URLs()); got != "[http://a.example/x?y=1&z http://www.b.example/c https://u@d.example:8/]" {
		t.Error(got)
	}
}

func TestSubjectIsDecoded(t *testing.T) {
	v := view("Subject: =?utf-8?Q?J=C3=BCr?=\n =?iso-8859-1?B?Z2Vu?= x\n\n", Options{})
	if v.Subject() != "Jürgen x" {
		t.Errorf("%q", v.Subject())
	}
}

func TestLimitsAreNamed(t *testing.T) {
	deep := "Content-Type: multipart/mixed; boundary=b0\n\n"
	for i := range 30 {
		deep += fmt.Sprintf("--b%d\nContent-Type: multipart/mixed; boundary=b%d\n\n", i, i+1)
	}
	many := "Content-Type: multipart/mixed; boundary=a\n\n" + strings.Repeat("--a\n\nx\n", 2000)
	for want, message := range map[string]string{
		LimitDepth:  deep,
		LimitParts:  many,
		LimitText:   "Subject: x\n\n" + strings.Repeat("word ", 7<<20),
		LimitHeader: "Content-Type: multipart/mixed; boundary=a\n\n--a\nX: " + strings.Repeat("y", 1<<21) + "\n\nz\n",
		LimitURLs:   "Content-Type: text/html\n\n" + manyLinks(5500),
	} {
		if got := view(message, Options{}).Limits(); len(got) == 0 || got[0] != want {
			t.Errorf("limits %v, want %s", got, want)
		}
	}
	if got := view("Subject: x\n\nfine\n", Options{}).Limits(); len(got) != 0 {
		t.Errorf("a plain message hits %v", got)
	}
}

func manyLinks(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "<a href=http://x%d.example/>x</a>\n", i)
	}
	return b.String()
}

// The time for twice the size is about twice the time, whatever the text is made of.
func TestHostileTextIsLinear(t *testing.T) {
	for _, piece := range []string{"http://", "www.a ", "a.a.", "@@@@", "<a ", "<div>", "&amp;", "=?", "=?a?q?", "<a b=c ", "--a\n", "\n", "=\n", "ww.", "<!--", "<script>"} {
		for _, kind := range []string{"text/plain", "text/html", "multipart/mixed; boundary=a"} {
			message := "Content-Type: " + kind + "\nSubject: x\n\n--a\n\n" + strings.Repeat(piece, 8*scale/len(piece)) + "://\n"
			took := cputime.Of(func() { view(message, Options{}).Parts() })
			if took > 3*time.Second {
				t.Errorf("%d octets of %q as %s take %v", 8*scale, piece, kind, took)
			}
		}
	}
}

func BenchmarkView10KB(b *testing.B) {
	raw := []byte("Content-Type: text/html\r\n\r\n" + strings.Repeat("<p>some words on a <b>line</b>, and http://link.example/x too</p>\r\n", 150))
	m := mail.NewMessage(raw)
	for b.Loop() {
		New(m, Options{}).Parts()
	}
}

func TestTreeAndOffsets(t *testing.T) {
	message := "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n\r\none\r\n--a\r\nContent-Type: application/pdf; name=x.pdf\r\nContent-ID: <1@x>\r\nContent-Disposition: attachment; filename=\"=?utf-8?q?J=C3=BCr.pdf?=\"\r\n\r\ntwo\r\n--a--\r\n"
	v := New(mail.NewMessage([]byte(message)), Options{})
	root := v.Root()
	if root.Type != "multipart/mixed" || len(root.Parts) != 2 {
		t.Fatalf("%+v", root)
	}
	second := root.Parts[1]
	if message[second.Start:second.End] != "two" || !strings.HasPrefix(message[second.Header:], "Content-Type: application/pdf") {
		t.Errorf("%+v", second)
	}
	if !second.Attachment || second.ID != "1@x" || second.Depth != 1 || strings.Join(second.Names, " ") != "Jür.pdf x.pdf" {
		t.Errorf("%+v", second)
	}
	objects := v.Objects()
	if len(objects) != 2 || objects[1].Size != 3 || objects[1].Offset != second.Start || strings.Join(objects[1].Types, " ") != "application/pdf" {
		t.Errorf("%+v", objects)
	}
}

// A message of some kinds of trouble may be asked by several goroutines.
func TestSeveralGoroutinesMayAsk(t *testing.T) {
	v := New(mail.NewMessage([]byte(nested(30)+"QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo=\r\n")), Options{})
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			_, _, _ = v.Limits(), v.Parts(), v.Err()
			for _, o := range v.Objects() {
				if _, err := o.Head(100); err != nil {
					t.Error(err)
				}
			}
			v.Ambiguities()
		})
	}
	all.Wait()
}
