package signature

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/emersion/go-msgauth/dkim"

	"postern/internal/dns"
	"postern/internal/mail"
)

func testKey() (ed25519.PrivateKey, string) {
	k := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{3}, 32))
	return k, "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(k.Public().(ed25519.PublicKey))
}

// oracle signs with another implementation.
func oracle(t testing.TB, message []byte, c dkim.Canonicalization) []byte {
	t.Helper()
	k, _ := testKey()
	var out bytes.Buffer
	err := dkim.Sign(&out, bytes.NewReader(message), &dkim.SignOptions{Domain: "example.org", Selector: "s", Signer: crypto.Signer(k),
		HeaderCanonicalization: c, BodyCanonicalization: c, HeaderKeys: []string{"From", "Subject", "To", "From"}})
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func verify(t testing.TB, message []byte) []Result {
	t.Helper()
	_, txt := testKey()
	r, err := dns.NewZoneResolver("s._domainkey.example.org TXT " + txt)
	if err != nil {
		t.Fatal(err)
	}
	results, err := Verifier{DNS: r, Now: time.Now, Max: 8}.Verify(t.Context(), mail.NewMessage(message))
	if err != nil {
		t.Fatal(err)
	}
	return results
}

// words are what random messages are made of: all that canonical forms look at.
func words() []string {
	return []string{"a", " ", "\t", "\r\n", "\r\n", "\r\n ", "  ", "word", "\r\n\r\n\r\n", "é", ":", ";", "="}
}

func randomText(rng *rand.Rand, n int) string {
	var b strings.Builder
	list := words()
	for range n {
		b.WriteString(list[rng.IntN(len(list))])
	}
	return b.String()
}

// Both implementations must agree on every message, changed or not.
func TestAgreesWithGoMsgauth(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	_, txt := testKey()
	for i := range 400 {
		subject := strings.NewReplacer("\r\n\r\n", "", "\r\n", "\r\n ").Replace(randomText(rng, 6))
		message := "From: bob@example.org\r\nSubject: x" + subject + "y\r\nTo:  eve@corp.example \r\n\r\n" + randomText(rng, rng.IntN(30))
		form := []dkim.Canonicalization{dkim.CanonicalizationSimple, dkim.CanonicalizationRelaxed}[i%2]
		signed := oracle(t, []byte(message), form)
		if i%4 >= 2 { // change something
			at := rng.IntN(len(signed))
			list := words()
			signed = append(append(signed[:at:at], list[rng.IntN(len(list))]...), signed[at:]...)
		}
		results := verify(t, signed)
		theirs, err := dkim.VerifyWithOptions(bytes.NewReader(signed), &dkim.VerifyOptions{LookupTXT: func(string) ([]string, error) { return []string{txt}, nil }})
		if err != nil || len(theirs) != len(results) {
			continue // the change hit the structure of the header, which we read more strictly
		}
		for j, r := range results {
			if want := theirs[j].Err == nil; (r.Status == "pass") != want {
				t.Errorf("message %d: %s (%s), go-msgauth says %v\n%q", i, r.Status, r.Why, theirs[j].Err, signed)
			}
		}
	}
}

// A field that is put on top of a signed one is what many readers show, and is not signed: RFC 6376 section 8.15.
func TestRepeatedFields(t *testing.T) {
	signed := string(oracle(t, []byte("From: bob@example.org\r\nTo: eve@corp.example\r\nSubject: Minutes\r\nDate: Mon, 02 Mar 2026 12:00:00 +0000\r\n\r\nx\r\n"), dkim.CanonicalizationRelaxed))
	for extra, want := range map[string]mail.AuthVerdict{
		"": "pass", "Subject: Pay this\r\n": "policy", "subject : Pay this\r\n": "policy", "To: all@corp.example\r\n": "policy",
		"From: ceo@corp.example\r\n":                              "fail", // h= names From twice
		"Subject:  Minutes\r\n":                                   "pass", // says the same
		"Received: x\r\n":                                         "pass",
		"X-Loop: a\r\nX-Loop: b\r\n":                              "pass",
		"Date: Tue, 03 Mar 2026 12:00:00 +0000\r\n":               "policy", // not signed at all: nobody stands for either
		"Content-Type: text/html\r\nContent-Type: text/plain\r\n": "policy",
	} {
		if r := verify(t, []byte(extra+signed)); len(r) != 1 || r[0].Status != want {
			t.Errorf("%q: %s (%s), want %s", extra, r[0].Status, r[0].Why, want)
		}
	}
	two := string(oracle(t, []byte("From: bob@example.org\r\nTo: eve@corp.example\r\nTo: ann@corp.example\r\nSubject: Minutes\r\n\r\nx\r\n"), dkim.CanonicalizationRelaxed))
	if r := verify(t, []byte(two)); r[0].Status != "policy" || !strings.Contains(r[0].Why, "2 fields To, 1 of them signed") {
		t.Errorf("%s %s", r[0].Status, r[0].Why)
	}
}

// RFC 6376 section 3.2: one semicolon may end a list of tags, and no more.
func TestEmptyTags(t *testing.T) {
	for list, ok := range map[string]bool{"a=b": true, "a=b;": true, "a=b ; \r\n": true, "a=b;;": false, "a=b;;c=d": false, ";a=b": false, "a=b; ;c=d;": false, "": true} {
		if _, err := ParseTags(list); (err == nil) != ok {
			t.Errorf("%q: %v", list, err)
		}
	}
}

func TestBodyForms(t *testing.T) {
	for _, c := range []struct{ body, simple, relaxed string }{
		{"", "\r\n", ""},         // RFC 6376 sections 3.4.3, 3.4.4
		{"\r\n\r\n", "\r\n", ""}, //
		{" \r\n", " \r\n", ""},   //
		{" C \r\nD \t E\r\n\r\n\r\n", " C \r\nD \t E\r\n", " C\r\nD E\r\n"}, // section 3.4.5
		{"no end", "no end\r\n", "no end\r\n"},
		{"a\rb\r", "a\rb\r\r\n", "a\rb\r\r\n"},
		{"a\nb\r\n", "a\nb\r\n", "a\nb\r\n"},
		{"\t\ta\t\r\n", "\t\ta\t\r\n", " a\r\n"},
	} {
		for form, want := range map[Canonical]string{Simple: c.simple, Relaxed: c.relaxed} {
			for _, chunk := range []int{1, 2, 3, 100} {
				w := newBodyWriter(form)
				for i := 0; i < len(c.body); i += chunk {
					_, _ = w.Write([]byte(c.body[i:min(i+chunk, len(c.body))]))
				}
				sum, size := w.sum()
				if expect := sha256.Sum256([]byte(want)); !bytes.Equal(sum, expect[:]) || size != int64(len(want)) {
					t.Errorf("%s form of %q in chunks of %d is not %q (size %d)", form, c.body, chunk, want, size)
				}
			}
		}
	}
}

type hostileMessage struct {
	text   string
	status mail.AuthVerdict
}

// hostileMessages are what would be dear to check signature by signature, and what comes of the first one.
func hostileMessages() map[string]hostileMessage {
	head := func(n int, tags string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "DKIM-Signature: v=1; a=ed25519-sha256; c=%s; d=example.org; s=s; b=AAAA; %s\r\n", []string{"simple/simple", "relaxed/relaxed"}[i%2], tags)
		}
		return b.String()
	}
	const empty = "bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; "
	from := "From: a@example.org\r\n\r\n"
	return map[string]hostileMessage{
		"empty lines":     {head(8, "bh=AAAA; h=from") + from + strings.Repeat("\r\n", 8<<20), "fail"},
		"one line behind": {head(8, "bh=AAAA; h=from") + from + strings.Repeat("\r\n", 8<<20) + "x", "fail"},
		"blank lines":     {head(8, "bh=AAAA; h=from") + from + strings.Repeat("\t \r\n", 4<<20), "fail"},
		"tabs":            {head(8, "bh=AAAA; h=from") + from + strings.Repeat("a\t", 8<<20), "fail"},
		"lengths":         {lengths() + from + strings.Repeat("a\r\n", 5<<20), "policy"},
		"signatures":      {head(mail.MaxHeaderFields-1, "bh=AAAA; h=from") + from + "x", "fail"},
		"names, most":     {head(8, empty+"h=from"+strings.Repeat(":x", MaxNames-1)) + strings.Repeat("X: y\r\n", mail.MaxHeaderFields-9) + from, "fail"},
		"names, too many": {head(1, empty+"h=from"+strings.Repeat(":x", 20_000)) + strings.Repeat("X: y\r\n", mail.MaxHeaderFields-2) + from, "permerror"},
		"tags":            {head(1, "bh=AAAA; h=from"+strings.Repeat("; x=1", 20_000)) + from, "permerror"},
		"long signature":  {head(1, "bh=AAAA; h=from; z="+strings.Repeat("A", 200<<10)) + from, "fail"},
	}
}

// lengths are signatures over different numbers of octets.
func lengths() string {
	var b strings.Builder
	for i := range 8 {
		fmt.Fprintf(&b, "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed; d=example.org; s=s; b=AAAA; bh=AAAA; h=from; l=%d\r\n", 1000*(8-i))
	}
	return b.String()
}

// What is hostile has an end and a result; what it costs the benchmark says.
func TestHostileMessages(t *testing.T) {
	for name, c := range hostileMessages() {
		results, err := Verifier{DNS: noDNS{}, Now: time.Now, Max: 8}.Verify(t.Context(), mail.NewMessage([]byte(c.text)))
		if err != nil || len(results) == 0 || len(results) > 8 || results[0].Status != c.status && !(c.status == "fail" && results[0].Status == "permerror") {
			t.Errorf("%s: %d results, %v, %v", name, len(results), results, err)
		}
	}
}

func BenchmarkHostile(b *testing.B) {
	for name, c := range hostileMessages() {
		m := mail.NewMessage([]byte(c.text))
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := (Verifier{DNS: noDNS{}, Now: time.Now, Max: 8}).Verify(b.Context(), m); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// Keys are chosen by whoever signs: what is too large is refused before it is calculated with.
func TestHostileKeys(t *testing.T) {
	for text, want := range map[string]string{
		"p=" + strings.Repeat("A", 64<<10):            "too long",
		"p=" + strings.Repeat("AAAA", 3000):           "not an RSA key",
		"k=ed25519; p=AAAA":                           "not an Ed25519 key",
		"p=" + strings.Repeat("\x00", 100):            "not base64",
		"x=1; x=2; p=AAAA":                            "twice",
		"p=; n=" + strings.Repeat("(", 60_000):        "revoked",
		"v=DKIM2; p=AAAA":                             "another version",
		"h=sha1; p=AAAA":                              "sha256",
		"s=tlsrpt; p=AAAA":                            "not for mail",
		strings.Repeat("a1=;", 10_000) + "a=; p=AAAA": "twice",
	} {
		if _, err := ParseKey(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %s", text, err, want)
		}
	}
}

// The front of a body that l= names is hashed in the same pass, whatever the chunks.
func TestLengths(t *testing.T) {
	const body = "one \t two\r\n\r\n three\r\n\r\n\r\n"
	for form, canonical := range map[Canonical]string{Simple: "one \t two\r\n\r\n three\r\n", Relaxed: "one two\r\n\r\n three\r\n"} {
		var all []*Signature
		for n := range len(canonical) + 3 {
			all = append(all, &Signature{Body: form, Length: int64(n)})
		}
		sums, err := HashBody(iotest.OneByteReader(strings.NewReader(body)), all...)
		if err != nil {
			t.Fatal(err)
		}
		for n := range len(canonical) + 3 {
			want := sha256.Sum256([]byte(canonical[:min(n, len(canonical))]))
			got, known := sums[form].Front[int64(n)]
			if known != (n <= len(canonical)) || known && !bytes.Equal(got, want[:]) {
				t.Errorf("%s, l=%d: wrong hash", form, n)
			}
		}
	}
}

type noDNS struct{}

func (noDNS) LookupTXT(context.Context, string) ([]string, error) { return nil, nil }

func FuzzParse(f *testing.F) {
	f.Add("v=1; a=rsa-sha256; d=example.org; s=x; h=from:to; bh=AAAA; b=BBBB; i=@EXAMPLE.org; l=0; t=1; x=2; c=relaxed; q=dns/txt", "v=DKIM1; k=rsa; p=AAAA; t=y:s; h=sha256; s=email")
	f.Add(";;=;", "p=")
	f.Fuzz(func(t *testing.T, field, key string) {
		raw := []byte("DKIM-Signature:" + field + "\r\n")
		s, err := Parse(mail.Field{Name: "DKIM-Signature", Raw: raw, ValueAt: 15})
		if err == nil {
			s.HashHeader(Fields{})
		}
		if k, err := ParseKey(key); err == nil && k.Check("rsa-sha256", make([]byte, 32), []byte(field)) == nil {
			t.Error("nonsense verifies")
		}
	})
}

func BenchmarkVerify10KB(b *testing.B) {
	message := oracle(b, []byte("From: bob@example.org\r\nSubject: x\r\nTo: e@corp.example\r\n\r\n"+strings.Repeat("some words on a line, seventy or so of them\r\n", 230)), dkim.CanonicalizationRelaxed)
	_, txt := testKey()
	r, err := dns.NewZoneResolver("s._domainkey.example.org TXT " + txt)
	if err != nil {
		b.Fatal(err)
	}
	m := mail.NewMessage(message)
	v := Verifier{DNS: r, Now: time.Now, Max: 8}
	for b.Loop() {
		if _, err := v.Verify(b.Context(), m); err != nil {
			b.Fatal(err)
		}
	}
}
