package defaultrules

import (
	"strings"
	"testing"

	"postern/internal/mail"
	"postern/internal/mimeview"
	"postern/rules"
)

func load(t testing.TB) *rules.Set {
	t.Helper()
	set, problems, err := Load(Folders{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s:%d: %s: %s", p.File, p.Line, p.Text, p.Why)
	}
	return set
}

func TestEachRuleHasScoreAndSentence(t *testing.T) {
	for _, s := range load(t).Symbols() {
		if s.Describe == "" || s.Score == 1 && s.Describe == "" {
			t.Errorf("%s has no description", s.Name)
		}
	}
}

func hits(t testing.TB, message string) map[string]bool {
	found := map[string]bool{}
	v := mimeview.New(mail.NewMessage([]byte(strings.ReplaceAll(message, "\n", "\r\n"))), mimeview.Options{})
	for _, h := range load(t).Match(rules.Input{View: v, EnvelopeFrom: "bob@example.org"}) {
		found[h.Rule] = true
	}
	return found
}

func TestWhatTheyFind(t *testing.T) {
	const from = "From: Bob <bob@example.org>\nTo: eve@corp.example\nSubject: x\n\n"
	for text, want := range map[string]string{
		from + "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X\n":                                                                                                 "GTUBE",
		from + "I am a barrister to the late President. The sum of US$ 25 million must be transferred: funds, transfer, in strict confidence, to a foreign partner, the next of kin.\n": "ADVANCE_FEE_4",
		from + "Your e-mail address has won the prize of our lottery: you have been selected for the jackpot.\n":                                                                        "LOTTERY_WIN",
		from + "Your mailbox has been suspended. Click here to verify your account within 24 hours.\n":                                                                                  "PHISH_CREDENTIALS",
		from + "Cheap V1agra\n":                                                                        "PILLS_NAME",
		from + "http://192.0.2.7/login\n":                                                              "URI_IP",
		from + "http://www.bank.example@attack.example/x\n":                                            "URI_USERINFO",
		from + "http://3221225985/\n":                                                                  "URI_NUMBER",
		"From: a@example.org\nSubject: GREAT OFFER TODAY\n\nx\n":                                       "SUBJ_SHOUTS",
		"From: a@example.org\nSubject: =?utf-8?q?WOW!!!?=\n\nx\n":                                      "SUBJ_EXCLAIM",
		"From: a@example.org\nSubject: Your parcel\n\nYour package: customs fee must be paid first.\n": "PARCEL_FEE",
	} {
		if !hits(t, text)[want] {
			t.Errorf("%s is not found in %q, but %v", want, text, hits(t, text))
		}
	}
}

func TestHonestMailHitsNothing(t *testing.T) {
	const letter = "From: Bob <bob@example.org>\nTo: eve@corp.example\nSubject: Minutes of the meeting on Friday\nMessage-ID: <1@example.org>\n\n" +
		"Dear Eve,\n\nthe minutes are at https://wiki.example.org/minutes?user=bob@example.org, please have a look.\nThe invoice for the venue is attached, 1,250 euros in all.\n\nBob\n"
	if got := hits(t, letter); len(got) != 0 {
		t.Errorf("%v", got)
	}
}

func BenchmarkMatch10KB(b *testing.B) {
	set := load(b)
	text := strings.Repeat("The minutes of the meeting say that the budget was agreed, with two votes against it.\r\n", 116)
	m := mail.NewMessage([]byte("From: Bob <bob@example.org>\r\nTo: e@corp.example\r\nSubject: Minutes\r\n\r\n" + text))
	b.Run("rules", func(b *testing.B) {
		v := mimeview.New(m, mimeview.Options{})
		v.Parts()
		for b.Loop() {
			set.Match(rules.Input{View: v})
		}
	})
	b.Run("with view", func(b *testing.B) {
		for b.Loop() {
			set.Match(rules.Input{View: mimeview.New(m, mimeview.Options{})})
		}
	})
}
