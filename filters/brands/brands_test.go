package brands

import (
	"mime"
	"strconv"
	"strings"
	"testing"
	"time"

	"postern/filters"
	"postern/internal/config"
	"postern/internal/mail"
	"postern/internal/mimeview"
	"postern/internal/testing/cputime"
	"postern/internal/testing/filtertest"
)

func TestCases(t *testing.T) { filtertest.Run(t, Spec) }

func FuzzInspect(f *testing.F) { filtertest.Fuzz(f, Spec) }

// Each brand's own domains may use its names, and a stranger may use none of them.
func TestEachBrand(t *testing.T) {
	table, err := Shipped()
	if err != nil {
		t.Fatal(err)
	}
	if len(table.Brands) < 400 {
		t.Errorf("%d brands", len(table.Brands))
	}
	f := filter{table, func(string) bool { return false }}
	for _, b := range table.Brands {
		for _, name := range b.Names {
			if !found(t, f, name, "info@stranger.example", inName) {
				t.Errorf("%s is not known", name)
			}
			for _, d := range b.Domains {
				domain, wild := strings.CutSuffix(d, ".*")
				if wild {
					domain += ".co.uk"
				}
				if found(t, f, name, "info@mail."+domain, "") {
					t.Errorf("%s from %s", name, domain)
				}
			}
		}
	}
}

func found(t *testing.T, f filter, name, address, symbol string) bool {
	t.Helper()
	raw := "From: " + encoded(name) + " <" + address + ">\r\nTo: eve@corp.example\r\nSubject: x\r\n\r\nx\r\n"
	tx := &mail.Transaction{Session: &mail.Session{}, Message: mail.NewMessage([]byte(raw))}
	list, err := f.Inspect(t.Context(), tx)
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range list {
		if symbol == "" || one.Symbol == symbol {
			return true
		}
	}

	return false
}

// encoded is a name as a display name.
func encoded(name string) string {
	if mail.IsASCII(name) {
		return strconv.Quote(name)
	}

	return mime.BEncoding.Encode("utf-8", name)
}

func TestWrongLines(t *testing.T) {
	for line, want := range map[string]string{
		"bank | Corner Bank":              "write it as",
		"bank | Corner Bank | ":           "no domain that may send",
		"bank | , | corner.example":       "is no name",
		"bank | Corner | corner example":  "is no domain",
		"bank | Corner | cor ner.example": "is no domain",
	} {
		_, err := Spec.New(config.NewSection("filters.brands", map[string]any{"brands": []any{line}}), filters.Env{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", line, err, want)
		}
	}
}

func BenchmarkInspect(b *testing.B) {
	table, err := Shipped()
	if err != nil {
		b.Fatal(err)
	}
	f := filter{table, func(string) bool { return false }}
	text := strings.Repeat("<p>Follow us on Facebook. Your order has been sent by DHL and was paid by your PayPal account, dear customer.</p>\r\n", 100)
	tx := &mail.Transaction{Session: &mail.Session{}, Message: mail.NewMessage([]byte("From: The Shop <a@mail.shop.example>\r\nSubject: Your order\r\nContent-Type: text/html\r\n\r\n" + text))}
	mimeview.Of(tx.Message).Parts()
	b.ReportAllocs()
	for b.Loop() {
		_, _ = f.Inspect(b.Context(), tx)
	}
}

// A local part of many brands takes no longer than one of the same length without any.
func TestLongLocalPart(t *testing.T) {
	raw := "From: PayPal <" + strings.Repeat("paypal.", 50_000) + "a@shop.example>\r\nSubject: x\r\n\r\nx\r\n"
	tx := &mail.Transaction{Session: &mail.Session{}, Message: mail.NewMessage([]byte(raw))}
	table, err := Shipped()
	if err != nil {
		t.Fatal(err)
	}
	f := filter{table, func(string) bool { return false }}
	cost := cputime.Of(func() { _, err = f.Inspect(t.Context(), tx) })
	if err != nil || cost > time.Second {
		t.Errorf("%v, %v", cost, err)
	}
}

// What a bit says of each octet is what the words of ASCII are made of.
func TestIsPlain(t *testing.T) {
	for c := range 256 {
		want := strings.ContainsRune("+&0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", rune(c)) && c < 128
		if isPlain(byte(c)) != want {
			t.Errorf("%q: %v", rune(c), !want)
		}
	}
}
