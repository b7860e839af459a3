package proxy_test

import (
	"bytes"
	"testing"

	"postern/internal/mail"
)

// Results that could pass for ours are left out, however they are written; others' stay. RFC 8601 section 5.
func TestForgedResultsAreLeftOut(t *testing.T) {
	for field, gone := range map[string]bool{
		"gw.test; dmarc=pass":                       true,
		"\vgw.test; dmarc=pass":                     true,
		"\xc2\xa0gw.test; dmarc=pass":               true,
		"\xef\xbb\xbfgw.test; dmarc=pass":           true,
		"(gw.test; dmarc=pass":                      true,
		"gw.test, x; dmarc=pass":                    true,
		"gw.test/1; dmarc=pass":                     true,
		"gw (c) .test; dmarc=pass":                  true,
		`"gw".test; dmarc=pass`:                     true,
		`gw."test"; dmarc=pass`:                     true,
		"<gw.test>; dmarc=pass":                     true,
		"gw.test dmarc=pass":                        true,
		"'gw.test'; dmarc=pass":                     true,
		"other.test; spf=pass smtp.helo=gw.test":    false,
		"sub.gw.test; dmarc=pass":                   false,
		"gw.test.example; dmarc=pass":               false,
		"other.test; dkim=pass (a, b) header.d=x.y": false,
	} {
		b := newBench(t, "")
		b.step(t, "to", "a@accept.one.test")
		m := mail.NewMessage([]byte("Authentication-Results: " + field + "\r\nFrom: bob@example.org\r\n\r\nhello\r\n"))
		if r := b.gateway.Handle(t.Context(), b.transaction, m); !r.Positive() {
			t.Fatal(r)
		}
		if kept := bytes.Contains(b.hops["one"].Messages()[0].Data, []byte(field)); kept == gone {
			t.Errorf("%q: kept %v", field, kept)
		}
	}
}
