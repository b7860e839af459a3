// Package correspondents remembers the addresses that our users wrote to: their replies are welcome, bounces of mail
// that we never sent are not, and a user who suddenly writes to many strangers is stopped, as the password may be
// stolen.
package correspondents

import (
	"context"
	"fmt"
	"strings"
	"time"

	"postern/filters"
	"postern/internal/config"
	"postern/internal/mail"
	"postern/internal/state"
)

// Settings are the filter's settings.
type Settings struct {
	// Keep is how long a correspondent is remembered after the last mail to it, MessageIDs how long the Message-ID of what
	// we sent.
	Keep       config.Duration `toml:"keep"`
	MessageIDs config.Duration `toml:"message_ids"`
	// Backscatter reports bounces of mail that we did not send. All outbound mail must go through this gateway, or
	// honest bounces are reported too.
	Backscatter bool `toml:"backscatter"`
	// Strangers is how many strangers a user may write to within an hour, unless that is usual; 0 is no limit. Usual is
	// the multiple of the user's usual number that must be exceeded as well. Freeze is how long the user is stopped.
	Strangers int             `toml:"strangers"`
	Usual     float64         `toml:"usual"`
	Freeze    config.Duration `toml:"freeze"`
	// Learning is how long after the first mail of our users ten times as many strangers are let pass: on the first day
	// every recipient is a stranger. `postern learn correspondents` shortens it.
	Learning config.Duration `toml:"learning"`
	// Exempt are users that are never stopped: those who send newsletters. They are named by login; where a server of ours
	// sends for them without one, by sender address.
	Exempt []string `toml:"exempt"`
}

func defaults() Settings {
	const day = config.Duration(24 * time.Hour)
	return Settings{Keep: 180 * day, MessageIDs: 30 * day, Strangers: 50, Usual: 5, Freeze: day / 2, Learning: 7 * day}
}

// Spec is what is known of the filter.
var Spec = filters.Spec{
	Name:   "correspondents",
	Help:   "Remembers whom our users write to: knows answers, and stops a user who suddenly writes to many strangers.",
	Stages: mail.StageRcpt | mail.StageMessage,
	Inline: true,
	After:  []string{"spf", "dkim", "arc", "dmarc"},
	Symbols: []filters.Symbol{
		{Name: "CORRESPONDENT", Score: 0, Help: "The recipient has written to this sender before; nothing proves the sender yet"},
		{Name: "KNOWN_SENDER", Score: -3, Help: "The recipient has written to this sender before, and SPF or DKIM stands for him"},
		{Name: "KNOWN_SENDER_UNPROVEN", Score: 0, Help: "The recipient has written to this sender before, but nothing proves that it is he"},
		{Name: "REPLY", Score: -4, Help: "It answers a message that the recipient has sent"},
		{Name: "BOUNCE_UNSOLICITED", Score: 0, Help: "It returns a message that we did not send; needs all outbound mail to go through this gateway"},
		{Name: "USER_FROZEN", Score: 0, Action: filters.ActionDefer, Help: "One of our users suddenly wrote to many strangers and was stopped",
			Reply: "Your account sends to many new recipients and was stopped; ask your postmaster"},
	},
	Settings: func() any { s := defaults(); return &s },
	New:      newFilter,
}

// The kinds of what is remembered.
const (
	kindMessageID = "msgid"
	kindWrote     = "wrote"
	kindFrozen    = "frozen"
	kindStrangers = "strangers"
	kindBegan     = "correspondents-began"
)

type filter struct {
	env      filters.Env
	settings Settings
	exempt   map[string]bool
}

func newFilter(section config.Section, env filters.Env) (filters.Filter, error) {
	s := defaults()
	if err := section.Decode(&s); err != nil {
		return nil, err
	}
	if s.Strangers < 0 || !(s.Usual >= 1) {
		return nil, fmt.Errorf("[filters.correspondents]: strangers must be 0 or more, usual 1 or more")
	}
	if env.Local == nil {
		env.Local = func(string) bool { return false }
	}
	f := &filter{env: env, settings: s, exempt: map[string]bool{}}
	for _, u := range s.Exempt {
		f.exempt[strings.ToLower(u)] = true
	}
	return f, nil
}

// Inspect implements filters.Filter.
func (f *filter) Inspect(ctx context.Context, tx *mail.Transaction) ([]filters.Finding, error) {
	outbound := tx.Session.Outbound()
	switch {
	case tx.Stage == mail.StageRcpt && outbound:
		return f.frozen(ctx, tx), nil
	case tx.Stage == mail.StageRcpt:
		to := filters.LastRecipient(tx)
		if filters.Corresponds(ctx, f.env.State, to, tx.From) {
			return []filters.Finding{{Symbol: "CORRESPONDENT", Evidence: filters.Printable(tx.From.String())}}, nil
		}
		return nil, nil
	case outbound:
		return nil, nil
	}
	found := f.known(ctx, tx)
	if tx.From.IsNull() && f.settings.Backscatter {
		b, err := f.bounce(ctx, tx)
		return append(found, b...), err
	}
	return append(found, f.reply(ctx, tx)...), nil
}

// share is the value of KNOWN_SENDER: the share of the recipients who know the sender.
type share float64

// Weight implements policy.Weighted.
func (s share) Weight() float64 { return float64(s) }

// maxRecipients bounds how many recipients are asked about, the first ones: each may be a question to Redis.
const maxRecipients = 100

// known looks for the author, else the envelope's sender, among the recipients' correspondents.
func (f *filter) known(ctx context.Context, tx *mail.Transaction) []filters.Finding {
	unproven := ""
	for i, sender := range []mail.Address{author(tx), tx.From} {
		if sender.IsNull() || i == 1 && sender.Key() == author(tx).Key() {
			continue
		}
		n := 0
		asked := tx.Recipients[:min(len(tx.Recipients), maxRecipients)]
		for _, r := range asked {
			if filters.Corresponds(ctx, f.env.State, r.Address, sender) {
				n++
			}
		}
		if n == 0 {
			continue
		}
		evidence := filters.Printable(sender.String())
		if proven(tx, sender, i == 0) {
			return []filters.Finding{{Symbol: "KNOWN_SENDER", Evidence: evidence, Value: share(float64(n) / float64(len(asked)))}}
		}
		if unproven == "" {
			unproven = evidence
		}
	}
	if unproven != "" {
		return []filters.Finding{{Symbol: "KNOWN_SENDER_UNPROVEN", Evidence: unproven}}
	}
	return nil
}

// author is the one mailbox in From; the null address if there is not exactly one.
func author(tx *mail.Transaction) mail.Address {
	fields := tx.Message.Header().All("From")
	if len(fields) != 1 {
		return mail.Address{}
	}
	boxes, _, err := mail.ParseFrom(fields[0].Value())
	if err != nil || len(boxes) != 1 {
		return mail.Address{}
	}
	return boxes[0].Address
}

// proven reports whether SPF or DKIM authenticates a sender: for an author aligned as DMARC has it (RFC 9989 section
// 3.2), or, where DMARC says nothing, relaxed; for the envelope's sender SPF alone.
func proven(tx *mail.Transaction, sender mail.Address, isAuthor bool) bool {
	spf, dkim := filters.ProvenDomains(tx)
	domain := sender.ASCIIDomain()
	if !isAuthor {
		for _, d := range spf {
			if mail.ASCIIDomain(d) == domain {
				return true
			}
		}
		return false
	}
	for _, found := range tx.AllFindings() {
		if d, ok := found.Value.(filters.DMARC); ok && (d.Result == mail.AuthPass || d.Result == mail.AuthFail) {
			return d.Result == mail.AuthPass && mail.ASCIIDomain(d.Domain) == domain
		}
	}
	org := filters.RegisteredDomain(domain)
	for _, d := range append(spf, dkim...) {
		if filters.RegisteredDomain(mail.ASCIIDomain(d)) == org {
			return true
		}
	}
	return false
}

// Decided implements filters.MessageLearner.
func (f *filter) Decided(ctx context.Context, tx *mail.Transaction, judged []filters.Decision) {
	if !tx.Session.Outbound() {
		f.heard(ctx, tx, judged)
		return
	}
	ours := f.ours(tx)
	taken := false
	for _, j := range judged {
		if j.Disposition > mail.Tag {
			continue
		}
		taken = true
		if automatic(tx) || f.env.Local(j.Recipient.ASCIIDomain()) {
			continue
		}
		for _, a := range ours {
			filters.SetCorrespondent(ctx, f.env.State, a, j.Recipient, f.settings.Keep.Std())
		}
	}
	if id := firstID(tx.Message.Header().Get("Message-ID")); taken && id != "" && len(ours) > 0 {
		f.env.State.Put(ctx, state.Key(kindMessageID, id), sentBy(ours), f.settings.MessageIDs.Std())
	}
}

// heard remembers senders that wrote to us, so that a reply does not count as mail to a stranger.
func (f *filter) heard(ctx context.Context, tx *mail.Transaction, judged []filters.Decision) {
	for _, j := range judged {
		if j.Disposition != mail.Accept {
			return
		}
	}
	if a := author(tx); !a.IsNull() && proven(tx, a, true) {
		f.env.State.Put(ctx, state.Key(kindWrote, a.Key()), []byte{1}, f.settings.Keep.Std())
	}
}

// ours are the addresses of ours that send this: in the envelope and in From.
func (f *filter) ours(tx *mail.Transaction) []mail.Address {
	var all []mail.Address
	for _, a := range []mail.Address{tx.From, author(tx)} {
		if !a.IsNull() && f.env.Local(a.ASCIIDomain()) && (len(all) == 0 || all[0].Key() != a.Key()) {
			all = append(all, a)
		}
	}
	return all
}

// automatic reports whether a message is automatic: an automatic reply makes no correspondent, or spammers would become
// known by writing to a user on holiday. RFC 3834 section 5.
func automatic(tx *mail.Transaction) bool {
	if tx.From.IsNull() {
		return true
	}
	h := tx.Message.Header()
	auto, _, _ := strings.Cut(h.Get("Auto-Submitted"), ";")
	if auto = strings.TrimSpace(auto); auto != "" && !strings.EqualFold(auto, "no") {
		return true
	}
	switch strings.ToLower(strings.TrimSpace(h.Get("Precedence"))) {
	case "bulk", "junk", "auto_reply":
		return true
	}
	return h.Get("X-Autoreply") != ""
}
