package lures

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"postern/filters"
	"postern/internal/config"
	"postern/internal/mail"
	"postern/internal/testing/filtertest"
)

func TestCases(t *testing.T) { filtertest.RunCases(t, Spec) }

func FuzzInspect(f *testing.F) { filtertest.Fuzz(f, Spec) }

func open(t testing.TB, lines ...any) filters.Filter {
	t.Helper()
	values := map[string]any{}
	if len(lines) > 0 {
		values["lines"] = lines
	}
	f, err := Spec.New(config.NewSection("filters.lures", values), filters.Env{})
	if err != nil {
		t.Fatal(err)
	}

	return f
}

func inspect(t testing.TB, f filters.Filter, raw string) []filters.Finding {
	t.Helper()
	tx := &mail.Transaction{Session: &mail.Session{}, Message: mail.NewMessage([]byte(raw))}
	found, err := f.Inspect(t.Context(), tx)
	if err != nil {
		t.Fatal(err)
	}

	return found
}

// Each line of letters.txt is a letter: "+ SYMBOL subject || text" must have the symbol, "- SYMBOL" must not have it. Of a
// "-" alone the letter has none at all. " [link]" stands for a link.
func TestLetters(t *testing.T) {
	text, err := os.ReadFile("testdata/letters/letters.lst")
	if err != nil {
		t.Fatal(err)
	}
	f := open(t)
	seen := map[string]int{}
	for i, line := range strings.Split(string(text), "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		sign, rest, _ := strings.Cut(line, " ")
		symbol := ""
		if strings.HasPrefix(rest, "LURE_") {
			symbol, rest, _ = strings.Cut(rest, " ")
		}
		found := inspect(t, f, letter(rest))
		has := slices.ContainsFunc(found, func(one filters.Finding) bool { return symbol == "" || one.Symbol == symbol })
		if has != (sign == "+") {
			t.Errorf("line %d: %v %s: %s", i+1, found, symbol, rest)
		}
		seen[sign+symbol]++
	}
	for _, s := range symbols() {
		if s.name != "LURE_ORDER" && seen["+"+s.name] == 0 { // that one needs a file
			t.Errorf("no letter has %s", s.name)
		}
	}
}

func letter(text string) string {
	subject, body, ok := strings.Cut(text, " || ")
	if !ok {
		subject, body = "hello", text
	}
	body = strings.ReplaceAll(body, "[link]", "https://site.example/a")
	body = strings.ReplaceAll(body, " / ", "\r\n")

	return fmt.Sprintf("From: a <a@one.example>\r\nTo: b@corp.example\r\nSubject: %s\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"+
		"Content-Transfer-Encoding: 8bit\r\n\r\n%s\r\n", subject, body)
}

func TestCoins(t *testing.T) {
	for word, want := range map[string]bool{
		"1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa":         true, // the first block of Bitcoin
		"1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb":         false,
		"bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4": true, // BIP 173
		"bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5": false,
		"bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0": true, // BIP 350
		"qpm2qsznhks23z7629mms6s4cwef74vcwvy22gdx6a":                     true, // the specification of CashAddr
		"qpm2qsznhks23z7629mms6s4cwef74vcwvy22gdx6b":                     false,
		"abcdefghijkmnopqrstuvwxyzabcdefg":                               false,
	} {
		if got := len(coins("pay to " + word + ", now")) == 1; got != want {
			t.Errorf("%s: %v", word, got)
		}
	}
}

func TestLinesOfTheAdmin(t *testing.T) {
	f := open(t, "slot fax en facsimile", "slot fax sv telefax*", "lure LURE_DOCUMENT 0.5 10 fax click")
	if found := inspect(t, f, letter("telefaxet: klicka")); len(found) != 0 {
		t.Error(found)
	}
	if found := inspect(t, f, letter("A facsimile: click here")); len(found) != 1 || found[0].Evidence != "facsimile, click" && found[0].Evidence != "facsimile, click here" {
		t.Error(found)
	}
}

func TestBadLinesAreExplained(t *testing.T) {
	for line, want := range map[string]string{
		"word a b":                      "none of slot, lure",
		"slot a":                        "NAME LANGUAGE",
		"slot a en a* b":                "no phrase",
		"lure LURE_X 1 10 a b":          "none of the filter's symbols",
		"lure LURE_TAX 2 10 tax pay":    "no part",
		"lure LURE_TAX 1 0 tax pay":     "no number of words",
		"lure LURE_TAX 1 10 tax nosuch": `no slot "nosuch"`,
		"lure LURE_TAX 1 10":            "wanted are",
	} {
		_, err := Spec.New(config.NewSection("filters.lures", map[string]any{"lines": []any{line}}), filters.Env{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", line, err)
		}
	}
}

// A mail of ten kilobytes.
func BenchmarkInspect(b *testing.B) {
	f := open(b)
	for name, text := range map[string]string{
		"english": "Your parcel could not be delivered because the address that you gave us is wrong, so please look at it when you have time for that. ",
		"russian": "Ваша посылка не может быть доставлена, потому что адрес указан неверно, поэтому посмотрите его, когда у вас будет время на это. ",
		"chinese": "您的包裹无法派送,因为您提供的地址有误,请您有空的时候看一下这个地址并且告诉我们正确的地址。",
	} {
		body := strings.Repeat(text, 10<<10/len(text))
		tx := &mail.Transaction{Session: &mail.Session{}, Message: mail.NewMessage([]byte(letter(body)))}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := f.Inspect(b.Context(), tx); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
