package spf

import (
	"testing"

	"postern/filters/filtertest"
)

func TestCases(t *testing.T) { filtertest.Run(t, Spec) }

// RFC 7208 section 4.6: a syntax error anywhere is an error, also behind what matches.
func TestGrammar(t *testing.T) {
	for terms, want := range map[string]bool{
		"": true, "-all": true, "mx a:a.example/24//64 include:b.example ?all": true, "ip4:192.0.2.0/24 ip6:2001:db8::/32": true,
		"exists:%{ir}.%{l1r+-}._spf.%{d}": true, "redirect=_spf.example.org": true, "exp=why.%{d}": true, "x-other=%%ok%_": true, "a:%{d}": true,
		"ip4:1.2.3.4 junk": false, "ip4:192.0.2.300": false, "ip4:192.0.2.0/032": false, "ip4:192.0.2.0/33": false, "ip6": false,
		"a:": false, "a:1.2.3.4": false, "a:example.-com": false, "a:example": false, "mx:a.example:8080": false, "all:x.example": false,
		"redirect=": false, "redirect=a.example redirect=b.example": false, "exp=a.example exp=b.example": false, "include:a.example/24": false,
		"a\x07": false, "a:b\u00e9.example": false, "exists:%{c}.example.org": false, "exists:%{d0}.example.org": false, "x=%": false, "-": false,
	} {
		if got := checkTerms(terms) == nil; got != want {
			t.Errorf("%q: %v, want %v", terms, got, want)
		}
	}
}

func FuzzGrammar(f *testing.F) {
	f.Add("mx a:a.example/24//64 exists:%{ir}.%{l1r+-}._spf.%{d} redirect=_spf.example.org -all")
	f.Fuzz(func(_ *testing.T, terms string) { _ = checkTerms(terms) })
}
