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

// Eight signatures over a large body of empty lines, and a header of many fields that are all signed, cost no more
// than reading them.
func TestHostileMessagesAreCheap(t *testing.T) {
	var head strings.Builder
	for i := range 8 {
		fmt.Fprintf(&head, "DKIM-Signature: v=1; a=ed25519-sha256; c=%s; d=example.org; s=s; h=from; bh=AAAA; b=AAAA\r\n", []string{"simple/simple", "relaxed/relaxed"}[i%2])
	}
	head.WriteString("From: a@example.org\r\n\r\n")
	lines := head.String() + strings.Repeat("\r\n", 8<<20) + "x"
	blanks := head.String() + strings.Repeat("\t \r\n", 4<<20)
	tabs := head.String() + strings.Repeat("a\t", 8<<20)
	manyNames := "DKIM-Signature: v=1; a=ed25519-sha256; d=example.org; s=s; bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; c=relaxed/relaxed; b=AAAA; h=from" +
		strings.Repeat(":x", MaxNames-1) + "\r\n" + strings.Repeat("X: y\r\n", mail.MaxHeaderFields-2) + "From: a@example.org\r\n\r\n"
	for name, text := range map[string]string{"empty lines": lines, "blank lines": blanks, "tabs": tabs, "names": strings.Repeat(manyNames, 1)} {
		m := mail.NewMessage([]byte(text))
		start := time.Now()
		if _, err := (Verifier{DNS: noDNS{}, Now: time.Now, Max: 8}).Verify(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took > 5*time.Second { // tens of milliseconds without the race detector
			t.Errorf("%s: %v", name, took)
		} else {
			t.Logf("%s: %v", name, took)
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
