package relays

import (
	"net/netip"
	"strings"
	"testing"
)

// What common servers write, and what is read of it.
func TestFormats(t *testing.T) {
	for field, want := range map[string]string{
		"from mail.a.example (mail.a.example [203.0.113.7]) by mx.b.example (Postfix) with ESMTP id 4AB for <x@b.example>; Mon, 2 Nov 2026 10:00:05 +0000": "[ ip=203.0.113.7 rdns=mail.a.example helo=mail.a.example by=mx.b.example ident= envfrom= intl=0 id=4AB auth= msa=0 ]",
		"from [192.0.2.9] (unknown [198.51.100.3]) by mx.b.example (Postfix) with ESMTPSA id 9; Mon, 2 Nov 2026 10:00:05 +0000":                            "[ ip=198.51.100.3 rdns= helo=!192.0.2.9! by=mx.b.example ident= envfrom= intl=0 id= auth=ESMTPSA msa=0 ]",
		"from a.example ([203.0.113.7] helo=h.example) by mx.b.example with esmtp (Exim 4.96) (envelope-from <s@a.example>) id 1abc-0002; x":               "[ ip=203.0.113.7 rdns=a.example helo=h.example by=mx.b.example ident= envfrom=s@a.example intl=0 id=1abc-0002 auth= msa=0 ]",
		"from unknown (HELO a.example) (203.0.113.7) by mx.b.example with SMTP; 2 Nov 2026 10:00:05 -0000":                                                 "[ ip=203.0.113.7 rdns= helo=a.example by=mx.b.example ident= envfrom= intl=0 id= auth= msa=0 ]",
		"from a.example (2001:db8::7) by mx.b.example (15.20.1.2) with Microsoft SMTP Server (version=TLS1_2) id 15.20.5.6 via Frontend; x":                "[ ip=2001:db8::7 rdns=a.example helo=a.example by=mx.b.example ident= envfrom= intl=0 id=15.20.5.6 auth= msa=0 ]",
	} {
		p := parseField(field)
		if p.skip || p.unknown {
			t.Errorf("%s: not read", field)
			continue
		}
		if got := p.relay.String(); got != want {
			t.Errorf("%s:\n got %s\nwant %s", field, got, want)
		}
	}
}

func TestHandoversThatAreNone(t *testing.T) {
	for field, unknown := range map[string]bool{
		"by mx.b.example (Postfix, from userid 1000) id 4AB; x":                                  false,
		"from localhost by mx.b.example with LMTP id 4":                                          false,
		"from a.example by b.example with HTTP id 9":                                             false,
		"(qmail 123 invoked by uid 80); 2 Nov 2026":                                              false,
		"from mail.a.example (mail.a.example [no address]) by mx.b.example (Foo) somehow; today": true,
	} {
		if p := parseField(field); p.unknown != unknown || !unknown && !p.skip {
			t.Errorf("%s: unknown %v, skipped %v", field, p.unknown, p.skip)
		}
	}
}

// Our own relays come first, and end where the first stranger stands.
func TestTrust(t *testing.T) {
	fields := []string{
		"from in.ours.example (in.ours.example [192.0.2.10]) by mx.ours.example (Postfix) with ESMTP id 1",
		"from a.example (a.example [203.0.113.7]) by in.ours.example (Postfix) with ESMTP id 2",
		"from b.example (b.example [192.0.2.11]) by a.example (Postfix) with ESMTP id 3",
	}
	nets := Networks{Trusted: []Network{{Prefix: netip.MustParsePrefix("192.0.2.0/24")}}}
	p := Read(nil, fields, nil, nets)
	if len(p.Trusted) != 1 || len(p.Untrusted) != 2 || p.LastTrusted != 0 || !p.Trusted[0].Internal {
		t.Errorf("%+v", p)
	}
	first := &Relay{IP: "203.0.113.99", By: "mx.ours.example"}
	if p = Read(first, fields, nil, nets); len(p.Trusted) != 0 || len(p.Untrusted) != 4 {
		t.Errorf("behind a stranger nobody is trusted: %+v", p)
	}
	if p = Read(nil, fields, []string{"198.51.100.1"}, Networks{}); len(p.Untrusted) != 4 {
		t.Errorf("without networks public addresses are strangers: %+v", p)
	}
}

func FuzzField(f *testing.F) {
	for _, s := range commonFormats() {
		f.Add("from " + strings.NewReplacer("%h", "a.example", "%r", "r.example", "%i", "203.0.113.7", "%b", "mx.example", "%*", "x", "%?", "x", "~", "").Replace(s.pattern) + "; Mon, 2 Nov 2026 10:00:05 +0000")
	}
	for _, s := range skipped() {
		f.Add("from " + strings.ReplaceAll(s, "%w", "x"))
	}
	f.Fuzz(func(t *testing.T, text string) {
		p := Read(nil, []string{text, text}, nil, Networks{})
		for _, r := range append(p.Trusted, p.Untrusted...) {
			if strings.ContainsAny(r.IP+r.RDNS+r.Helo+r.By+r.Ident, " []()<>\n") {
				t.Errorf("%q: %s", text, r)
			}
		}
	})
}
