package seal

import (
	"crypto/sha256"
	"strings"
	"testing"
	"time"

	"postern/internal/mail"
)

const (
	id    = "01HXYZ0123456789.1"
	body  = "From: a@b.example\r\nSubject: hi\r\n\r\nhello\r\n"
	epoch = "p12.r34"
)

func key() []byte         { return []byte("0123456789abcdef0123456789abcdef") }
func calendar() time.Time { return time.Unix(1800000000, 0) }
func field(s string) string {
	return string(Field(key(), id, epoch, calendar(), sha256.Sum256([]byte(s))))
}

func TestASealedMessageIsKnown(t *testing.T) {
	top := "Return-Path: <a@b.example>\r\nDelivered-To: c@d.example\r\nReceived: from x\r\n\tby y;\r\n\tMon, 2 Nov 2026 10:00:00 +0000\r\n" +
		"Authentication-Results: gw.example; spf=pass\r\nARC-Seal: i=1\r\nX-Postern: A.1 accept 0.0\r\n"
	for name, above := range map[string]string{"nothing above": "", "trace above": top} {
		s, ok := Open(key(), mail.NewMessage([]byte(above+field(body)+body)))
		if !ok || s.ID != id || !s.At.Equal(calendar()) || !s.Epoch(epoch) || s.Epoch("p12.r35") || s.Epoch("") {
			t.Errorf("%s: %+v %v", name, s, ok)
		}
	}
	odd := "policy of\r\nX: 1; v=2"
	if s, ok := Open(key(), mail.NewMessage(append(Field(key(), id, odd, calendar(), sha256.Sum256([]byte(body))), body...))); !ok || !s.Epoch(odd) {
		t.Error("an epoch that can't stand in a field")
	}
	for _, line := range strings.Split(field(body), "\r\n") {
		if len(line) > 78 {
			t.Errorf("a line of %d octets: %s", len(line), line)
		}
	}
}

func TestALargeMessageIsHashedFromItsFile(t *testing.T) {
	large := body + strings.Repeat("0123456789abcdef\r\n", 40000)
	var spool mail.Spool
	if _, err := spool.Write([]byte(field(large) + large)); err != nil {
		t.Fatal(err)
	}
	m, err := spool.Finish()
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if _, ok := Open(key(), m); !ok {
		t.Error("not known")
	}
}

func TestNobodyElseSeals(t *testing.T) {
	whole := field(body) + body
	other := string(Field([]byte("another key of 32 octets, as it is"), id, epoch, calendar(), sha256.Sum256([]byte(body))))
	change := func(from, to string) string {
		if !strings.Contains(whole, from) {
			t.Fatalf("no %q in %q", from, whole)
		}
		return strings.Replace(whole, from, to, 1)
	}
	cases := map[string]string{
		"no seal":                     body,
		"another key":                 other + body,
		"a content type above":        "Content-Type: multipart/mixed; boundary=A\r\n" + whole,
		"an encoding above":           "Content-Transfer-Encoding: base64\r\n" + whole,
		"an author above":             "From: boss@corp.example\r\n" + whole,
		"a subject above":             "Subject: urgent\r\n" + whole,
		"an author below a trace":     "Received: x\r\nFrom: boss@corp.example\r\n" + whole,
		"a line without a colon":      "Content-Type text/html\r\n" + whole,
		"the same behind a trace":     "Received: x\r\nContent-Type text/html\r\n" + whole,
		"a header that ends":          "Received: x\r\n\r\n" + whole,
		"a blank line of spaces":      "Received: x\r\n \r\n" + whole,
		"a bare LF":                   "Received: x\nFrom: boss@corp.example\r\n" + whole,
		"a bare CR":                   "Received: x\rFrom: boss@corp.example\r\n" + whole,
		"a NUL":                       "Received: x\x00\r\n" + whole,
		"a space before the colon":    "Received : x\r\n" + whole,
		"folded first line":           " Received: x\r\n" + whole,
		"a longer body":               whole + "more\r\n",
		"a shorter body":              whole[:len(whole)-1],
		"another body":                change("hello", "hullo"),
		"a field below added":         strings.Replace(whole, "From:", "Reply-To: x@evil.example\r\nFrom:", 1),
		"another time":                change("t=1800000000", "t=1800000001"),
		"a time with a sign":          change("t=1800000000", "t=+1800000000"),
		"a time with zeros":           change("t=1800000000", "t=01800000000"),
		"another id":                  change("i="+id, "i=X"+id),
		"another epoch":               change("e="+epoch, "e=p13"),
		"another version":             change("v=1;", "v=2;"),
		"a tag twice":                 change("v=1;", "v=1; v=1;"),
		"a tag behind":                change("=\r\nFrom", "=; x=1\r\nFrom"),
		"a forged seal above":         other + whole,
		"white space in the hash":     change("\r\n\th=", "\r\n\th= "),
		"its own field in lower case": strings.Replace(whole, "v=1", "V=1", 1),
	}
	for name, text := range cases {
		if s, ok := Open(key(), mail.NewMessage([]byte(text))); ok {
			t.Errorf("%s: taken for ours: %+v\n%s", name, s, text)
		}
	}
	if _, ok := Open(nil, mail.NewMessage([]byte(whole))); ok {
		t.Error("without a key")
	}
	if Field([]byte("short"), id, epoch, calendar(), sha256.Sum256(nil)) != nil || Field(key(), "a\r\nb", epoch, calendar(), sha256.Sum256(nil)) != nil {
		t.Error("sealed with what can't be")
	}
}

func FuzzOpen(f *testing.F) {
	whole := field(body) + body
	f.Add([]byte("Received: x\r\n"), []byte("more"))
	f.Add([]byte("X-A: b\r\n\tc\r\nARC-Seal: d\r\n"), []byte(""))
	f.Add([]byte("From: x\r\n"), []byte(""))
	f.Fuzz(func(t *testing.T, above, behind []byte) {
		s, ok := Open(key(), mail.NewMessage([]byte(string(above)+whole+string(behind))))
		if !ok {
			return
		}
		if s.ID != id || len(behind) > 0 {
			t.Fatalf("%q and %q change nothing", above, behind)
		}
		h := mail.ParseHeader([]byte(string(above) + "\r\n"))
		for _, got := range h.Fields {
			if !trace(got.Name) && !got.Is(Name) {
				t.Fatalf("%s above the seal", got.Name)
			}
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add(strings.TrimPrefix(field(body), Name+": "))
	f.Add("v=1; i=a; t=1; e=b; h=; s=")
	f.Fuzz(func(t *testing.T, value string) {
		s, _, ok := parse(value)
		if ok && !strings.HasPrefix(s.signed(), "v=1; i="+s.ID+"; t=") {
			t.Fatalf("%q: %+v", value, s)
		}
	})
}
