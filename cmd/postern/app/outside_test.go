package app_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emersion/go-msgauth/dkim"

	"postern/internal/mail"
	"postern/internal/mimeview"
	"postern/policy/records/ledger"
	"postern/proxy/outbound"
)

// newSigningGate opens a gateway that signs for ours.test, and gives what its key says in DNS.
func newSigningGate(t *testing.T) (*gate, string) {
	t.Helper()
	key, txt, err := outbound.Keygen("ed25519")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(file, []byte(key), 0o600); err != nil {
		t.Fatal(err)
	}
	return newGate(t, "[outbound]\nsign = [\"ours.test\"]\n", "[dkim.\"ours.test\"]\nkeys = { s1 = \""+file+"\" }\n"), txt
}

// relayed is the message as the next server changes it: it adds missing fields and breaks overlong lines.
func relayed(text []byte) []byte {
	h := mail.ParseHeader(text[:bytes.Index(text, []byte("\r\n\r\n"))+2])
	var b []byte
	for _, name := range []string{"Date", "Message-ID"} {
		if h.Count(name) == 0 {
			b = append(b, name+": added\r\n"...)
		}
	}
	for line := range bytes.SplitAfterSeq(text, []byte("\r\n")) {
		for len(line) > 1000 {
			b = append(append(b, line[:998]...), "\r\n "...)
			line = line[998:]
		}
		b = append(b, line...)
	}
	return b
}

func signatureHolds(text []byte, txt string) bool {
	results, err := dkim.VerifyWithOptions(bytes.NewReader(text), &dkim.VerifyOptions{LookupTXT: func(name string) ([]string, error) {
		if name == "s1._domainkey.ours.test" {
			return []string{txt}, nil
		}
		return nil, errors.New("no such key")
	}})
	return err == nil && len(results) == 1 && results[0].Err == nil
}

// sentOut sends a message of ben's and gives the message as received outside.
func (g *gate) sentOut(text string) (code int, said string, got []byte) {
	g.t.Helper()
	g.outside.Forget()
	c := g.login("staff")
	defer c.conn.Close()
	code, said = c.message("ben@ours.test", "u@far.test", text)
	if code == 250 {
		got = g.outside.Messages()[0].Data
	}
	return code, said, got
}

// What goes out is complete, and its signature survives the next server, whatever that server adds or breaks.
func TestOutboundIsComplete(t *testing.T) {
	t.Parallel()
	g, txt := newSigningGate(t)
	word := "word word word word word word word. "
	references := "References: " + strings.Repeat("<AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA@f.example> ", 60) + "<last@f.example>\r\n"
	from := "From: Ben <ben@ours.test>\r\nTo: <u@far.test>\r\nSubject: minutes\r\n"
	html := "<p>" + strings.Repeat(word, 60) + "caf\xc3\xa9</p>"
	for name, text := range map[string]string{
		"no Date, no Message-ID": from + "\r\nHello.\r\n",
		"long References":        from + references + "\r\nHello.\r\n",
		"a long line":            from + "\r\n" + strings.Repeat(word, 60) + "\r\n",
		"a long line in a part": from + "MIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nHello.\r\n" +
			"--b\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + html + "\r\n--b--\r\n",
	} {
		code, said, got := g.sentOut(text)
		if code != 250 {
			t.Errorf("%s: %d %s", name, code, said)
			continue
		}
		if !signatureHolds(relayed(got), txt) {
			t.Errorf("%s: the signature does not survive:\n%s", name, got)
		}
		h := mail.ParseHeader(got)
		if h.Count("Date") != 1 || h.Count("Message-ID") != 1 {
			t.Errorf("%s: %d Date, %d Message-ID", name, h.Count("Date"), h.Count("Message-ID"))
		}
		was, is := mimeview.Of(mail.NewMessage([]byte(text))), mimeview.Of(mail.NewMessage(got))
		if a, b := shownTexts(was), shownTexts(is); a != b {
			t.Errorf("%s: a reader sees\n%q\nand saw\n%q", name, b, a)
		}
		if strings.Contains(name, "References") && strings.Join(strings.Fields(h.Get("References")), " ") != strings.Join(strings.Fields(references), " ")[len("References: "):] {
			t.Errorf("References: %q", h.Get("References"))
		}
	}
	sealed := from + "MIME-Version: 1.0\r\nContent-Type: multipart/signed; protocol=\"application/pgp-signature\"; micalg=pgp-sha256; boundary=b\r\n\r\n--b\r\n\r\n" +
		strings.Repeat(word, 60) + "\r\n--b\r\nContent-Type: application/pgp-signature\r\n\r\nx\r\n--b--\r\n"
	if code, said, _ := g.sentOut(sealed); code != 554 || !strings.Contains(said, "line of") {
		t.Errorf("a long line that is signed: %d %s", code, said)
	}
	if code, said, _ := g.sentOut(from + "X-Long: " + strings.Repeat("a", 1200) + "\r\n\r\nHello.\r\n"); code != 554 {
		t.Errorf("a long field without a space: %d %s", code, said)
	}
}

func shownTexts(v *mimeview.View) (all string) {
	for _, p := range v.Parts() {
		all += strings.TrimSpace(p.Text) + "|"
	}
	return all
}

// Strangers learn neither our verdict on our own users' mail nor the users' login names.
func TestOutboundTellsNothing(t *testing.T) {
	t.Parallel()
	g, _ := newSigningGate(t)
	code, said, got := g.sentOut(strings.Replace(hello, "Anna <anna@friend.example>", "ben@ours.test", 1))
	if code != 250 {
		t.Fatalf("%d %s", code, said)
	}
	h := mail.ParseHeader(got)
	if strings.Contains(string(got), "X-Postern") || strings.Contains(string(got), "smtp.auth") || h.Count("Authentication-Results") > 0 || h.Count("Received") != 1 {
		t.Errorf("%s", got)
	}
}

// A banner turns a message without MIME fields into one with them: then it must say so. RFC 2045 section 4.
func TestABannerIsMIME(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "policy.toml")
	if err := os.WriteFile(file, []byte("[[rule]]\nname = \"B\"\ndirection = \"in\"\nbanner = \"from outside\"\ncopy_to = [\"eva@ours.test\"]\n[rule.headers]\nX-Seen = \"yes\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	g := newGate(t, "[policy]\nfile = \""+file+"\"\n[filters.greylist]\nenabled = false")
	c := g.dial("mx")
	if code, said := c.message("anna@friend.example", "ben@ours.test", hello); code != 250 {
		t.Fatalf("%d %s", code, said)
	}
	c.say("QUIT", 221)
	got := g.inside.Messages()[0].Data
	h := mail.ParseHeader(got)
	if h.Count("MIME-Version") != 1 || h.Get("Content-Transfer-Encoding") != "base64" || !strings.Contains(shownTexts(mimeview.Of(mail.NewMessage(got))), "from outside") {
		t.Errorf("%s", got)
	}
	until(t, "the copy has a record of its own", func() bool {
		found, err := g.app.Ledger.Search(t.Context(), recipientQuery("eva@ours.test"))
		return err == nil && len(found) == 1 && found[0].Recipients[0].Last() == "delivered"
	})
	found, err := g.app.Ledger.Search(t.Context(), recipientQuery("ben@ours.test"))
	if err != nil || len(found) != 1 {
		t.Fatal(found, err)
	}
	r, err := g.app.Ledger.Explain(t.Context(), found[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := ledger.Describe(&text, r, ledger.Admin); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"banner added", "header field added: X-Seen: yes", "a copy that a rule asks for: " + found[0].ID + "-c1 to <eva@ours.test>"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("explain does not tell %q:\n%s", want, text.String())
		}
	}
}

// A smart host that takes no 8-bit text gets what our users write in 7 bits, and signed so (RFC 6152 section 3, RFC
// 6376 section 5.3). Mail signed by its author is refused with the reason.
func TestEightBitTextGoesOutInSeven(t *testing.T) {
	t.Parallel()
	g, txt := newSigningGate(t)
	g.outside.Reply("EHLO", "250-outside.test\n250 PIPELINING")
	g.outside.Hangup()
	from := "From: Ben <ben@ours.test>\r\nTo: <u@far.test>\r\nSubject: minutes\r\nMIME-Version: 1.0\r\n"
	if code, said, _ := g.sentOut(from + "\r\nHello.\r\n"); code != 250 {
		t.Fatalf("%d %s", code, said)
	}
	text := from + "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nGr\xc3\xbc\xc3\x9fe aus K\xc3\xb6ln, wo die Sonne scheint.\r\n"
	code, said, got := g.sentOut(text)
	if code != 250 || !signatureHolds(got, txt) || bytes.ContainsFunc(got, func(r rune) bool { return r > '~' }) {
		t.Errorf("%d %s\n%s", code, said, got)
	}
	was, is := mimeview.Of(mail.NewMessage([]byte(text))), mimeview.Of(mail.NewMessage(got))
	if a, b := shownTexts(was), shownTexts(is); a != b {
		t.Errorf("a reader sees\n%q\nand saw\n%q", b, a)
	}
	code, said, got = g.sentOut(from + "\r\n" + strings.Repeat("word ", 300) + "\r\n")
	if code != 250 || !signatureHolds(relayed(got), txt) {
		t.Errorf("a long line: %d %s\n%s", code, said, got)
	}

	sealed := from + "Content-Type: multipart/signed; protocol=\"application/pgp-signature\"; micalg=pgp-sha256; boundary=b\r\n\r\n--b\r\n" +
		"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nGr\xc3\xbc\xc3\x9fe\r\n--b\r\nContent-Type: application/pgp-signature\r\n\r\nx\r\n--b--\r\n"
	c := g.login("staff")
	defer c.conn.Close()
	for _, line := range []string{"MAIL FROM:<ben@ours.test> BODY=8BITMIME", "RCPT TO:<u@far.test>", "DATA"} {
		c.send(line + "\r\n")
		c.reply()
	}
	c.send(sealed + ".\r\n")
	if code, said := c.reply(); code != 554 || !strings.Contains(said, "5.6.3") {
		t.Errorf("%d %s", code, said)
	}
}
