// Package campaigns recognises mail that is sent many times in small variations, without asking anybody: by its words, its
// attachments, its pictures and the structure of its HTML. What became of the first mails of a wave (held, let in,
// released, reported) is known when the next arrive.
package campaigns

import (
	"context"
	"fmt"
	"time"

	"postern/filters"
	"postern/internal/config"
	"postern/internal/mail"
	"postern/internal/state"
)

// Settings are the filter's settings.
type Settings struct {
	// HalfLife is the time after which a mail of a campaign counts half.
	HalfLife config.Duration `toml:"half_life"`
	// Least is how many mails of a campaign must have been held before it counts, Networks from how many networks they must
	// have come, Reports how many users must have called one spam (one admin is enough).
	Least    float64 `toml:"least"`
	Networks int     `toml:"networks"`
	Reports  int     `toml:"reports"`
}

func defaults() Settings {
	return Settings{HalfLife: config.Duration(3 * 24 * time.Hour), Least: 3, Networks: 2, Reports: 3}
}

// The symbols.
const (
	campaign         = "CAMPAIGN"
	campaignBad      = "CAMPAIGN_BAD"
	campaignReported = "CAMPAIGN_REPORTED"
	campaignReleased = "CAMPAIGN_RELEASED"
)

// What the symbols weigh. Mail that is like held mail is not held for that alone: otherwise whoever sends a copy of an
// honest letter with a virus would have the letter held.
func symbols() []filters.Symbol {
	return []filters.Symbol{
		{Name: campaign, Score: 0, Help: "Mail like this was seen before"},
		{Name: campaignBad, Score: 4, Help: "Mail like this was held or refused, and came from several networks"},
		{Name: campaignReported, Score: 6, Help: "Mail like this was reported as spam by an admin or by several users"},
		{Name: campaignReleased, Score: -3, Help: "Mail like this, of the same author's domain, was released or called good by an admin or by several users"},
	}
}

// Spec is what is known of the filter.
var Spec = filters.Spec{
	Name:     "campaigns",
	Help:     "Recognises mail that is sent many times, by its words, attachments, pictures and structure, and knows what became of the first.",
	Stages:   mail.StageMessage,
	Symbols:  symbols(),
	Settings: func() any { s := defaults(); return &s },
	New:      newFilter,
}

type filter struct {
	settings Settings
	memory   memory
	scores   map[string]float64
}

func newFilter(section config.Section, env filters.Env) (filters.Filter, error) {
	s := defaults()
	if err := section.Decode(&s); err != nil {
		return nil, err
	}
	if counts := s.Least >= 1 && s.Networks >= 1 && s.Reports >= 1; !counts || s.HalfLife.Std() < time.Hour {
		return nil, fmt.Errorf("[filters.campaigns]: half_life must be 1h or more, least, networks and reports 1 or more")
	}
	if env.Now == nil {
		env.Now = time.Now
	}
	f := &filter{settings: s, memory: memory{env.State, s.HalfLife.Std(), env.Now}, scores: map[string]float64{}}
	for _, symbol := range symbols() {
		f.scores[symbol.Name] = symbol.Score
	}

	return f, nil
}

// share is the part of a symbol's score that counts.
type share float64

// Weight implements policy.Weighted.
func (s share) Weight() float64 { return float64(s) }

// Inspect implements filters.Filter.
func (f *filter) Inspect(ctx context.Context, tx *mail.Transaction) ([]filters.Finding, error) {
	if tx.Session.Outbound() {
		return nil, nil
	}

	author := provenAuthor(tx)
	var best [4]filters.Finding // one of each symbol
	for i, p := range f.resolved(ctx, tx.Message) {
		h := f.memory.history(ctx, p, author)
		if i == 0 {
			filters.SetCampaign(tx.Message, p.key())
		}
		for at, found := range f.judge(p, h) {
			if found.Symbol != "" && weightOf(found) > weightOf(best[at]) {
				best[at] = found
			}
		}
	}

	if best[2].Symbol != "" {
		best[1] = filters.Finding{} // one fact is not counted twice, so that no campaign is held for that alone
	}
	var all []filters.Finding
	for _, found := range best {
		if found.Symbol != "" {
			all = append(all, found)
		}
	}

	return all, nil
}

// provenAuthor is the author's organisation if SPF or DKIM stands for it, else "".
func provenAuthor(tx *mail.Transaction) string {
	author := filters.AuthorOrganization(tx.Message)
	spf, dkim := filters.ProvenDomains(tx)
	for _, d := range append(spf, dkim...) {
		if filters.RegisteredDomain(mail.ASCIIDomain(d)) == author {
			return author
		}
	}

	return ""
}

func weightOf(f filters.Finding) float64 {
	if s, ok := f.Value.(share); ok {
		return float64(s)
	}
	if f.Symbol != "" {
		return 1
	}

	return 0
}

// judge says what the history of a fingerprint means: a finding for each symbol, in the order of symbols.
func (f *filter) judge(p fingerprint, h history) (found [4]filters.Finding) {
	n := h.fates[0] + h.fates[1]
	text := fmt.Sprintf("%s: %.0f held, %.0f let in, %d networks", p.key(), h.fates[0], h.fates[1], h.networks)
	if n >= 1.5 {
		found[0] = filters.Finding{Symbol: campaign, Evidence: text}
	}
	least, networks := f.settings.Least, f.settings.Networks
	strength := 1.0
	if p.kind == kindStructure || p.kind == kindPicture { // more is alike in honest mail
		least, networks, strength = 2*least, networks+1, 0.6
	}
	if bad := h.fates[0] / max(n, 1); n >= least && bad >= badShare && h.networks >= networks {
		found[1] = filters.Finding{Symbol: campaignBad, Evidence: text, Value: share(strength * n / (n + f.settings.Least))}
	}
	if p.kind == kindStructure {
		return found // a letter's form is nobody's opinion on its content
	}
	f.opinions(p, h, strength, &found)

	return found
}

// opinions adds what people have said of a fingerprint: they know better than the verdicts.
func (f *filter) opinions(p fingerprint, h history, strength float64, found *[4]filters.Finding) {
	if !h.trusted && h.users < f.settings.Reports {
		return
	}
	spam, good := h.lessons[0], h.lessons[1]
	said := fmt.Sprintf("%s: %.0f times called spam, %.0f times good", p.key(), spam, good)
	switch {
	case spam > 0 && spam >= lessonRatio*good:
		found[2] = filters.Finding{Symbol: campaignReported, Evidence: said, Value: share(strength)}
	case good > 0 && good >= lessonRatio*spam:
		found[1] = filters.Finding{}
		if h.goodFrom {
			found[3] = filters.Finding{Symbol: campaignReleased, Evidence: said, Value: share(strength)}
		}
	}
}

// badShare is the share of held mail from which a campaign is bad, lessonRatio how much one opinion must outweigh the other.
const (
	badShare    = 0.8
	lessonRatio = 3
)

// resolved are the fingerprints of a message, that of its text under the name of the campaign that it belongs to.
func (f *filter) resolved(ctx context.Context, m *mail.Message) []fingerprint {
	all := append([]fingerprint(nil), fingerprintsOf(m)...)
	for i := range all {
		if all[i].text != nil {
			all[i].id, all[i].known = f.memory.like(ctx, all[i].text)
		}
	}

	return all
}

// Decided implements filters.MessageLearner.
func (f *filter) Decided(ctx context.Context, tx *mail.Transaction, judged []filters.Decision) {
	if tx.Session.Outbound() {
		return
	}
	bad, good := filters.VerdictLesson(judged, f.ownShare(tx))
	if bad == 0 && good == 0 {
		return
	}
	network := ""
	if filters.Public(tx.Session.Client) && bad > 0 {
		network = filters.NetworkKey(tx.Session.Client)
	}
	for _, p := range f.resolved(ctx, tx.Message) {
		f.memory.add(ctx, p, state.Tally{bad, good}, network)
	}
}

// ownShare is what this filter's findings have added to the score, by their default scores.
func (f *filter) ownShare(tx *mail.Transaction) float64 {
	sum := 0.0
	for _, found := range tx.Findings {
		score := f.scores[found.Symbol]
		if s, ok := found.Value.(share); ok {
			score *= float64(s)
		}
		sum += score
	}

	return sum
}

// Taught implements filters.LessonLearner.
func (f *filter) Taught(ctx context.Context, m *mail.Message, l filters.Lesson) {
	if l.Withdrawn { // what was counted decays by itself
		return
	}
	add := state.Tally{0, 1}
	if l.Spam {
		add = state.Tally{1, 0}
	}
	author := filters.AuthorOrganization(m)
	for _, p := range f.resolved(ctx, m) {
		if p.kind != kindStructure {
			f.memory.teach(ctx, p, add, l, author)
		}
	}
}
