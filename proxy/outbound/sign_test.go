package outbound

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-msgauth/dkim"

	"postern/internal/mail"
	"postern/internal/testing/cputime"
)

const letter = "From: Bob <bob@sub.corp.example>\r\nTo: eve@example.org\r\nSubject: x\r\nX-Secret: y\r\n\r\nHello.\r\n\r\n\r\n"

// verify says which selectors verify, by another implementation.
func verify(t *testing.T, message []byte, zone map[string]string) string {
	t.Helper()
	results, err := dkim.VerifyWithOptions(bytes.NewReader(message), &dkim.VerifyOptions{LookupTXT: func(name string) ([]string, error) {
		if txt := zone[name]; txt != "" {
			return []string{txt}, nil
		}
		return nil, errors.New("no such key " + name)
	}})
	if err != nil {
		t.Fatal(err)
	}
	var words []string
	for _, r := range results {
		if r.Err == nil {
			words = append(words, "pass")
		} else {
			words = append(words, "fail")
		}
	}
	return strings.Join(words, " ")
}

func signer(t *testing.T, now time.Time) (*Signer, map[string]string) {
	t.Helper()
	zone := map[string]string{}
	var keys []Key
	for _, k := range []struct {
		kind, selector string
		from           time.Time
	}{{"rsa", "old", time.Time{}}, {"rsa", "new", now.Add(-time.Hour)}, {"rsa", "next", now.Add(time.Hour)}, {"ed25519", "ed", time.Time{}}} {
		text, txt, err := Keygen(k.kind)
		if err != nil {
			t.Fatal(err)
		}
		zone[k.selector+"._domainkey.corp.example"] = txt
		keys = append(keys, Key{Domain: "Corp.example", Selector: k.selector, PEM: []byte(text), From: k.from})
	}
	s, err := NewSigner(keys, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	return s, zone
}

func TestSignaturesVerify(t *testing.T) {
	s, zone := signer(t, time.Now())
	m := mail.NewMessage([]byte(letter))
	secret := m.Header().All("X-Secret")[0]
	c := mail.Copy{Top: []byte("Received: from here\r\n"), Message: m, Omit: []mail.Span{{From: int64(secret.Offset), To: int64(secret.Offset + len(secret.Raw))}}}
	fields, err := s.Sign(t.Context(), c, "sub.corp.example")
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(fields), "DKIM-Signature:"); n != 2 || !strings.HasSuffix(string(fields), "\r\n") {
		t.Fatalf("%d fields: %q", n, fields)
	}
	if !strings.Contains(string(fields), "s=new;") || !strings.Contains(string(fields), "s=ed;") {
		t.Errorf("not the keys in use: %s", fields)
	}
	c.Top = append(fields, c.Top...)
	var b bytes.Buffer
	if _, err := c.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	if got := verify(t, b.Bytes(), zone); got != "pass pass" {
		t.Errorf("signed: %s", got)
	}
	for what, add := range map[string]string{"From": "From: ceo@corp.example\r\n", "Subject": "Subject: other\r\n", "Reply-To": "Reply-To: x@attack.example\r\n"} {
		if got := verify(t, append([]byte(add), b.Bytes()...), zone); got != "fail fail" {
			t.Errorf("with a %s put on top: %s", what, got)
		}
	}
}

func TestNoKeyNoSignature(t *testing.T) {
	s, _ := signer(t, time.Now())
	fields, err := s.Sign(t.Context(), mail.Copy{Message: mail.NewMessage([]byte(letter))}, "other.example")
	if fields != nil || err != nil {
		t.Errorf("%q, %v", fields, err)
	}
}

func TestKeysAreChecked(t *testing.T) {
	text, _, err := Keygen("ed25519")
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []Key{{"corp.example", "s", []byte("junk"), time.Time{}}, {"corp example", "s", []byte(text), time.Time{}}, {"corp.example", "a b", []byte(text), time.Time{}}} {
		if _, err := NewSigner([]Key{k}, time.Now); err == nil {
			t.Errorf("%s/%s is taken", k.Domain, k.Selector)
		}
	}
	if _, _, err := Keygen("rot13"); err == nil {
		t.Error("rot13 is a kind of key")
	}
}

// What is signed may be of a compromised account: a body of line ends costs no more than another.
func TestSigningIsLinear(t *testing.T) {
	s, _ := signer(t, time.Now())
	for _, filler := range []string{"\r\n", " \t", "a\t", "\t\r\n"} {
		m := mail.NewMessage([]byte(letter + strings.Repeat(filler, 8<<20/len(filler)) + "x\r\n"))
		took := cputime.Of(func() {
			if _, err := s.Sign(t.Context(), mail.Copy{Message: m}, "corp.example"); err != nil {
				t.Error(err)
			}
		})
		if took > 30*time.Second {
			t.Errorf("8 MiB of %q: %v", filler, took)
		} else {
			t.Logf("8 MiB of %q: %v", filler, took)
		}
	}
}
