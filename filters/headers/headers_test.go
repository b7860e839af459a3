package headers

import (
	"context"
	"math/rand/v2"
	netmail "net/mail"
	"slices"
	"strings"
	"testing"

	"postern/filters"
	"postern/internal/config"
	"postern/internal/mail"
	"postern/internal/testing/filtertest"
)

func TestCases(t *testing.T) { filtertest.Run(t, Spec) }

func FuzzInspect(f *testing.F) { filtertest.Fuzz(f, Spec) }

// Thousands of From fields, each a good one with a few changes: either the filter has it refused, or another reader
// (net/mail) sees the addresses that DMARC judges, or none.
func TestMutatedFromIsReadAlike(t *testing.T) {
	f, err := Spec.New(config.NewSection("filters.headers", nil), filters.Env{})
	if err != nil {
		t.Fatal(err)
	}
	seeds := []string{"From: Bob <bob@attack.example>", "From: <x@attack.example>, <admin@bank.example>", "From: \"a, b\" (c) <d@attack.example> (admin@bank.example)",
		"From: bob@attack.example (Bob)", "From: =?utf-8?B?Qm9i?= <bob@attack.example>", "From: g: a@attack.example, b@bank.example;", "From: \"admin@bank.example\" <x@attack.example>"}
	parts := []string{",", ";", ":", "<", ">", "(", ")", "\"", "\\", "@", " ", "\t", "\r\n ", ".", "admin@bank.example", "<admin@bank.example>", "=?utf-8?Q?=3Cadmin=40bank.example=3E?=",
		"@bank.example", "\x00", "\u202e", "\u200b", "\r\nFrom: admin@bank.example", "\xff", "'", "[", "]", "`", "\r", "\n"}
	random := rand.New(rand.NewPCG(1, 2))
	refused, alike := 0, 0
	for range 30_000 {
		text := seeds[random.IntN(len(seeds))]
		for range 1 + random.IntN(3) {
			at := 5 + random.IntN(len(text)-5)
			switch random.IntN(3) {
			case 0:
				text = text[:at] + text[at+1:]
			default:
				text = text[:at] + parts[random.IntN(len(parts))] + text[at:]
			}
		}
		m := mail.NewMessage([]byte(text + "\r\nDate: x\r\n\r\nx\r\n"))
		found, err := f.Inspect(context.Background(), &mail.Transaction{Session: &mail.Session{}, From: mail.Address{Local: "x", Domain: "attack.example"}, Message: m})
		if err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(found, refuses) {
			refused++
			continue
		}
		ours, _, err := mail.ParseFrom(m.Header().Get("From"))
		theirs, theirErr := netmail.ParseAddressList(m.Header().Get("From"))
		if err != nil {
			t.Fatalf("%q is not refused: %v", text, err)
		}
		if theirErr != nil {
			continue
		}
		alike++
		same := slices.EqualFunc(ours, theirs, func(a mail.Mailbox, b *netmail.Address) bool {
			return strings.EqualFold(a.Address.Domain, b.Address[strings.LastIndexByte(b.Address, '@')+1:])
		})
		if !same {
			t.Errorf("%q: we read %v, another reader %v", text, ours, theirs)
		}
	}
	t.Logf("%d refused, %d read alike", refused, alike)
}

func refuses(found filters.Finding) bool {
	return slices.ContainsFunc(Spec.Symbols, func(s filters.Symbol) bool { return s.Name == found.Symbol && s.Action == filters.ActionReject })
}
