// Package classify asks the classifier what it makes of a message, from what admins and users said of others.
package classify

import (
	"context"
	"fmt"
	"math"
	"strings"

	"postern/filters"
	"postern/internal/config"
	"postern/internal/mail"
)

// Settings are the filter's settings.
type Settings struct {
	// Ham and Spam are how many messages of each it must have learned from before it says anything.
	Ham  int `toml:"ham"`
	Spam int `toml:"spam"`
	// Sure is how many messages it must have learned from before it may use its whole score; with fewer it uses two fifths.
	Sure int `toml:"sure"`
	// Quorum is how many users must say the same of a message, or of messages nearly the same, before it is learned from. What
	// admins say counts by itself.
	Quorum int `toml:"quorum"`
	// Daily is how many lessons of one user count in a day.
	Daily int `toml:"daily"`
}

// Default are the settings unless the admin says otherwise.
func Default() Settings { return Settings{Ham: 200, Spam: 200, Sure: 1000, Quorum: 2, Daily: 50} }

// Configured reads the settings.
func Configured(section config.Section) (Settings, error) {
	s := Default()
	if err := section.Decode(&s); err != nil {
		return s, err
	}
	for key, n := range map[string]int{"ham": s.Ham, "spam": s.Spam, "sure": s.Sure, "quorum": s.Quorum, "daily": s.Daily} {
		if n < 1 {
			return s, fmt.Errorf("[filters.classify]: %s = %d: want 1 or more", key, n)
		}
	}

	return s, nil
}

// The symbols have Rspamd's names, as what they mean is the same.
const (
	bayesSpam = "BAYES_SPAM"
	bayesHam  = "BAYES_HAM"
)

// Spec is what is known of the filter.
var Spec = filters.Spec{
	Name:   "classify",
	Help:   "Weighs what the gateway has learned from its admins and users; it says nothing until it has learned enough.",
	Stages: mail.StageMessage, Content: true,
	Inline: true,
	After:  []string{"spf", "dkim", "dmarc"},
	Symbols: []filters.Symbol{
		{Name: bayesSpam, Score: 4.5, Help: "The classifier takes the message for spam, from what it was taught"},
		{Name: bayesHam, Score: -2, Help: "The classifier takes the message for honest mail, from what it was taught"},
	},
	Settings: func() any { s := Default(); return &s },
	New:      newFilter,
}

type filter struct {
	settings   Settings
	classifier filters.Classifier // nil if there is none
}

func newFilter(section config.Section, env filters.Env) (filters.Filter, error) {
	s, err := Configured(section)
	if err != nil {
		return nil, err
	}

	return filter{s, env.Classifier}, nil
}

// share is the part of a symbol's score that counts.
type share float64

// Weight implements policy.Weighted.
func (s share) Weight() float64 { return float64(s) }

const (
	// faint are odds that nothing is said about, sureOdds those that give the whole score.
	faint    = 0.5
	sureOdds = 1.5
	// unsure is the part of the score that counts until enough was learned.
	unsure = 0.4
)

// Inspect implements filters.Filter.
func (f filter) Inspect(_ context.Context, tx *mail.Transaction) ([]filters.Finding, error) {
	if f.classifier == nil || tx.Session.Outbound() {
		return nil, nil
	}
	j := f.classifier.Judge(tx)
	if j.Ham < f.settings.Ham || j.Spam < f.settings.Spam {
		return nil, nil
	}
	part, symbol := j.Odds/sureOdds, bayesSpam
	if j.Odds < 0 {
		part, symbol = -part, bayesHam
	}
	if part < faint/sureOdds {
		return nil, nil
	}
	part = min(part, 1)
	if j.Ham+j.Spam < f.settings.Sure {
		part = min(part, unsure)
	}

	return []filters.Finding{{Symbol: symbol, Evidence: filters.Printable(evidence(j)), Value: share(part)}}, nil
}

// evidence is what speaks for and against, the probability first.
func evidence(j filters.Judgement) string {
	spam, ham := j.Why()

	return fmt.Sprintf("probability of spam %s; for spam: %s; against: %s", percent(j.Odds), list(spam), list(ham))
}

func list(tokens []string) string {
	if len(tokens) == 0 {
		return "nothing"
	}

	return strings.Join(tokens, ", ")
}

// Decided implements filters.MessageLearner.
func (f filter) Decided(ctx context.Context, tx *mail.Transaction, judged []filters.Decision) {
	if f.classifier != nil && !tx.Session.Outbound() {
		f.classifier.Decided(ctx, tx, judged)
	}
}

// Taught implements filters.LessonLearner.
func (f filter) Taught(ctx context.Context, m *mail.Message, l filters.Lesson) {
	if f.classifier != nil {
		f.classifier.Taught(ctx, m, l)
	}
}

// percent writes the probability of log-odds.
func percent(odds float64) string {
	p := 100 / (1 + math.Exp(-odds))
	switch {
	case p > 99.99:
		return "over 99.99 %"
	case p < 0.01:
		return "under 0.01 %"
	}

	return fmt.Sprintf("%.2f %%", p)
}
