// Package content applies the content rules (package rules) to a message. Each rule is a symbol of its own.
package content

import (
	"context"
	"time"

	"postern/filters"
	"postern/internal/config"
	"postern/internal/mail"
	"postern/internal/mimeview"
	"postern/internal/mimeview/contents"
	"postern/rules"
)

// Settings are the filter's settings.
type Settings struct {
	// Outbound says whether mail of our own users is looked at, too.
	Outbound bool `toml:"outbound"`
}

func defaults() Settings {
	return Settings{Outbound: true}
}

// exhausted is the symbol of rules that were given up.
const exhausted = "RULES_LIMIT"

// Spec is what is known of the filter when it works with these rules.
func Spec(set *rules.Set) filters.Spec {
	symbols := []filters.Symbol{{Name: exhausted, Score: 0, Help: "Content rules that took too long on this message, or again and again so that they are suspended for an hour: they count as not holding"}}
	for _, s := range set.Symbols() {
		help := s.Describe
		if help == "" {
			help = "Content rule of " + s.File
		}
		symbols = append(symbols, filters.Symbol{Name: s.Name, Score: s.Score, Help: help, Unweighed: s.Unweighed})
	}
	after := []string{"spf", "dkim", "arc", "dmarc"}
	if set.AsksFiles() { // the limits of that filter are those of the reading
		after = append(after, "attachments")
	}
	return filters.Spec{
		Name:   "content",
		Help:   "Applies the content rules to header, text and links.",
		Stages: mail.StageMessage, Content: true,
		After:    after,
		Symbols:  symbols,
		Settings: func() any { s := defaults(); return &s },
		New: func(section config.Section, env filters.Env) (filters.Filter, error) {
			s := defaults()
			if err := section.Decode(&s); err != nil {
				return nil, err
			}
			return &filter{set: set, settings: s, env: env}, nil
		},
	}
}

type filter struct {
	set       *rules.Set
	settings  Settings
	env       filters.Env
	offenders rules.Offenders
}

func (f *filter) Inspect(ctx context.Context, tx *mail.Transaction) ([]filters.Finding, error) {
	if tx.Session.Outbound() && !f.settings.Outbound {
		return nil, nil
	}
	v := mimeview.Of(tx.Message) // what of it is too much to read is MIME_LIMIT, of the filter mime
	if err := v.Err(); err != nil {
		return nil, err
	}
	in := f.input(v, tx)
	if in.ReverseName == "" && in.Client.IsValid() && f.set.Foreign() {
		in.ReverseName = f.reverseName(ctx, in.Client)
	}
	if f.set.AsksNetwork() && f.env.DNS != nil {
		in.Lists = f.ask(ctx, in)
	}
	if f.set.AsksFiles() {
		in.Files = files(ctx, tx.Message)
	}
	result := f.set.Run(in)
	var found []filters.Finding
	for _, h := range result.Hits {
		found = append(found, filters.Finding{Symbol: h.Rule, Evidence: filters.Printable(h.Evidence)})
	}
	return append(found, f.limits(result, filters.NetworkKey(in.Client), in.Now)...), nil
}

// files gives what a message carries. What could not be read is told by the filter attachments.
func files(ctx context.Context, m *mail.Message) func() []*contents.Item {
	return func() []*contents.Item {
		found, err := contents.Of(m).Read(ctx)
		if err != nil {
			return nil
		}
		return found.Items
	}
}

// limits tells of the rules that took too much, and of those that are left alone for that.
func (f *filter) limits(r rules.Result, network string, now time.Time) (found []filters.Finding) {
	for _, name := range r.Exhausted {
		found = append(found, filters.Finding{Symbol: exhausted, Evidence: filters.Printable(name)})
		until, suspended := f.offenders.Exceeded(name, network, now)
		if suspended && f.env.Log != nil {
			f.env.Log.Warn("a content rule took too long on mail from many networks and is suspended", "rule", name, "until", until)
		}
	}
	for _, name := range r.Suspended {
		found = append(found, filters.Finding{Symbol: exhausted, Evidence: filters.Printable(name) + " is suspended"})
	}
	if r.CutShort {
		found = append(found, filters.Finding{Symbol: exhausted, Evidence: "all rules together"})
	}
	return found
}

// input is what rules are told besides the message.
func (f *filter) input(v *mimeview.View, tx *mail.Transaction) rules.Input {
	s := tx.Session
	in := rules.Input{View: v, EnvelopeFrom: tx.From.String(), Client: s.Client, Helo: s.Helo, ReverseName: s.ClientName, User: s.User, Host: f.env.Hostname, Facts: facts(tx.AllFindings()), Offenders: &f.offenders, Maps: f.env.Maps, Costs: f.env.RuleCosts}
	if in.HasEnvelope = s.Client.IsValid(); in.HasEnvelope && in.EnvelopeFrom == "<>" {
		in.EnvelopeFrom = ""
	}
	if f.env.Now != nil {
		in.Now = f.env.Now()
	} else {
		in.Now = time.Now()
	}
	return in
}
