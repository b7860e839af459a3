package ledger

import (
	"errors"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"postern/policy"
)

func TestWords(t *testing.T) {
	for in, want := range map[string]string{
		"":                               "",
		"Hello, World!":                  "hello world",
		"o'neil@mail-1.example.org":      "o neil mail 1 example org",
		"İstanbul ÅNGSTRÖM straße":       "istanbul angstrom strabe",
		"ｆｕｌｌ ｗｉｄｔｈ １２":                  "full width 12",
		"zero\u200bwidth soft\u00adhyph": "zerowidth softhyph",
		"請求書 2026":                       "請 請求 求 求書 書 2026",
		"mixed請求x":                       "mixed 請 請求 求 x",
		"e\u0301te\u0301":                "ete",
		"a\x00b\xffc":                    "a b c",
		"_abc __":                        "abc",
	} {
		if got := strings.Join(words(in, true), " "); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	if got := words(strings.Repeat("ü1", 100), true); len(got) != 1 || len(got[0]) > maxWord || !utf8.ValidString(got[0]) {
		t.Errorf("%q", got)
	}
}

// Whoever is in a network has one of its tokens.
func TestNetworksHaveTheirClients(t *testing.T) {
	c := newChance(3)
	for range 5000 {
		b := make([]byte, []int{4, 16}[c.IntN(2)])
		for i := range b {
			b[i] = byte(c.IntN(256))
		}
		if c.IntN(3) == 0 { // at the edges, where carrying happens
			for i := range b {
				b[i] = []byte{0, 255}[c.IntN(2)]
			}
		}
		a, _ := netip.AddrFromSlice(b)
		p, err := a.Prefix(c.IntN(a.BitLen() + 1))
		if err != nil {
			t.Fatal(err)
		}
		tokens, has := networks(p), newTerms()
		has.client(a)
		if len(tokens) > 256 || len(tokens) == 0 && p.Bits() >= 8 && a.Unmap() == a {
			t.Fatalf("%s: %d tokens", p, len(tokens))
		}
		if a.Unmap() == a && len(tokens) > 0 && !slices.ContainsFunc(tokens, func(token string) bool { return slices.Contains(has.list, token) }) {
			t.Fatalf("%s has no token of %s", a, p)
		}
	}
}

// What is looked for is never read as SQL, FTS5 or anything but words and values.
func FuzzSearch(f *testing.F) {
	l, err := Open(filepath.Join(f.TempDir(), "ledger.db"), nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = l.Close() })
	keep(f, l, 3, nil)
	for _, s := range []string{"cheap pills", `"a" OR b*`, "NEAR(a b)", "^a:b", "a* b*", "'; DROP TABLE message; --", "\x00", "\xff*", "請求*", "{terms}:x", "-a +b", "a AND", "%_"} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, text, value string) {
		for _, q := range []Query{{Text: text, Sender: value}, {Recipient: text, User: value}, {ID: text, Text: value}, {SHA256: text, Symbol: value}, {After: text, MessageID: value}, {Domain: text, Subject: value}} {
			if _, err := l.Search(t.Context(), q); err != nil && !errors.Is(err, ErrQuery) {
				t.Fatalf("%+v: %v", q, err)
			}
		}
	})
}

// Whatever is written comes back as it was, and its terms can be terms.
func FuzzRecord(f *testing.F) {
	f.Add("subject", "ann@example.com", "X")
	f.Add("\xff\x00\U0010FF80", "\"a b\"@[192.0.2.1]", "\\ufffd")
	f.Add("=?utf-8?B?/w==?= 請", "@", "\u202e")
	f.Fuzz(func(t *testing.T, subject, address, symbol string) {
		_, tx := sample(1)
		tx.Subject, tx.From, tx.HeaderFrom, tx.Recipients[0].Address = subject, address, address, address
		tx.Findings[0] = policy.Reason{Symbol: symbol, Evidence: []string{subject}}
		tx = tx.bounded()
		e, err := tx.entry()
		if err != nil {
			t.Fatal(err)
		}
		got, err := decode[Transaction](e.record)
		if err != nil || got.Subject != tx.Subject || got.From != tx.From || got.Findings[0].Symbol != tx.Findings[0].Symbol || !slices.Equal(got.Findings[0].Evidence, tx.Findings[0].Evidence) {
			t.Fatalf("%+v, %v", got, err)
		}
		if !utf8.ValidString(e.terms) || strings.ContainsAny(e.terms, "\x00\"'\\*:()&|") || strings.Contains(e.terms, "  ") || !utf8.Valid(e.record) {
			t.Fatalf("%q", e.terms)
		}
		again, err := got.entry()
		if err != nil || again.terms != e.terms {
			t.Fatalf("%q, then %q", e.terms, again.terms)
		}
		if masked := tx.masked(); len(masked.masked().From) != len(masked.From) {
			t.Fatalf("%q masked twice is %q", masked.From, masked.masked().From)
		}
	})
}
