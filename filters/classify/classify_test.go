package classify

import (
	"context"
	"strings"
	"testing"

	"postern/filters"
	"postern/internal/config"
	"postern/internal/mail"
)

// fixed is a classifier that always says the same.
type fixed struct {
	odds      float64
	ham, spam int
}

func (fixed) Decided(context.Context, *mail.Transaction, []filters.Decision) {}

func (f fixed) Judge(*mail.Transaction) filters.Judgement {
	return filters.Judgement{Odds: f.odds, Ham: f.ham, Spam: f.spam, Why: func() (spam, ham []string) { return []string{"subject: prize"}, nil }}
}

func (fixed) Taught(context.Context, *mail.Message, filters.Lesson) {}

// It says nothing until it has learned enough, little until it is sure, and never more than its score.
func TestWhatCounts(t *testing.T) {
	for name, c := range map[string]struct {
		classifier filters.Classifier
		user       string
		symbol     string
		share      float64
	}{
		"none":            {nil, "", "", 0},
		"too little ham":  {fixed{9, 199, 5000}, "", "", 0},
		"too little spam": {fixed{9, 5000, 199}, "", "", 0},
		"not sure yet":    {fixed{9, 200, 200}, "", bayesSpam, 0.4},
		"sure":            {fixed{9, 800, 200}, "", bayesSpam, 1},
		"half":            {fixed{0.75, 800, 200}, "", bayesSpam, 0.5},
		"neither":         {fixed{0.4, 800, 200}, "", "", 0},
		"ham":             {fixed{-9, 800, 200}, "", bayesHam, 1},
		"ham not yet":     {fixed{-9, 300, 200}, "", bayesHam, 0.4},
		"our own user":    {fixed{9, 800, 200}, "ann", "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := Spec.New(config.NewSection("filters.classify", nil), filters.Env{Classifier: c.classifier})
			if err != nil {
				t.Fatal(err)
			}
			found, err := f.Inspect(context.Background(), &mail.Transaction{Session: &mail.Session{User: c.user}})
			if err != nil {
				t.Fatal(err)
			}
			if c.symbol == "" {
				if len(found) > 0 {
					t.Errorf("%v, want nothing", found)
				}
				return
			}
			if len(found) != 1 || found[0].Symbol != c.symbol || found[0].Value != share(c.share) || !strings.Contains(found[0].Evidence, "subject: prize; against: nothing") {
				t.Errorf("%v, want %s %.1f", found, c.symbol, c.share)
			}
		})
	}
}

func TestWrongSettings(t *testing.T) {
	_, err := Spec.New(config.NewSection("filters.classify", map[string]any{"quorum": int64(0)}), filters.Env{})
	if err == nil || !strings.Contains(err.Error(), "quorum = 0: want 1 or more") {
		t.Error(err)
	}
}
