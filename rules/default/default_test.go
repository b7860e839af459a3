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

func hits(set *rules.Set, message string) map[string]bool {
	found := map[string]bool{}
	v := mimeview.New(mail.NewMessage([]byte(strings.ReplaceAll(message, "\n", "\r\n"))), mimeview.Options{})
	for _, h := range set.Match(rules.Input{View: v, EnvelopeFrom: "bob@example.org"}) {
		found[h.Rule] = true
	}
	return found
}

func TestHonestMailHitsNothing(t *testing.T) {
	const minutes = "From: Bob <bob@example.org>\nTo: eve@corp.example\nSubject: Minutes of the meeting on Friday\nMessage-ID: <1@example.org>\n\n" +
		"Dear Eve,\n\nthe minutes are at https://wiki.example.org/minutes?user=bob@example.org, please have a look.\nThe invoice for the venue is attached, 1,250 euros in all.\n\nBob\n"
	if got := hits(load(t), minutes); len(got) != 0 {
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

// How to be left alone counts once: with an offer as a part of it, without one for what it is in the form of spam.
func TestRemovalCountsOnce(t *testing.T) {
	set := load(t)
	const form = "Subject: FREE MONEY FOR YOU!!|From: abc12345@hotmail.com|To: undisclosed-recipients:; || Dear friend, click here now, only $5, absolutely free! Type \"remove\" in the subject."
	for content, want := range map[string][2]bool{form: {true, false}, form + " Make money from home.": {false, true}} {
		found := hits(set, caseLetter(content))
		if got := [2]bool{found["REMOVE_CLAIM"], found["BULK_REMOVE"]}; got != want {
			t.Errorf("%q: %v, want %v: %v", content, got, want, found)
		}
	}
}
