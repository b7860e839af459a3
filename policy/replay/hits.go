package replay

import (
	"context"
	"slices"
	"time"

	"postern/internal/mail"
	"postern/policy"
	"postern/policy/records/ledger"
)

// FatedSource is a Source that tells what became of messages later.
type FatedSource interface {
	Source
	Became(ctx context.Context, list []ledger.Transaction) error
}

// Hits is what a symbol did to the mail of a time.
type Hits struct {
	Symbol string `json:"symbol"`
	// Messages had it. Of these so many were kept away in the end (refused, or held and not released), and so many let in,
	// those that were released included; of the rest it is not known yet, or the next hop decided.
	Messages int `json:"messages"`
	Spam     int `json:"spam"`
	Ham      int `json:"ham"`
	// Released were held and then let go.
	Released int `json:"released"`
	// Changed is on how many messages the disposition would have been another without the symbol's score.
	Changed int `json:"changed"`
	// Last is when it was seen last.
	Last time.Time `json:"last,omitzero"`
}

// atOnce is how many messages are kept until their fates are asked for.
const atOnce = 500

// CountHits counts what symbols did since a time. Messages is how many messages there were.
func CountHits(ctx context.Context, source FatedSource, since time.Time, symbols map[string]bool) (all map[string]*Hits, messages int, err error) {
	all = map[string]*Hits{}
	var waiting []ledger.Transaction
	count := func() error {
		if err := source.Became(ctx, waiting); err != nil {
			return err
		}
		for i := range waiting {
			countOne(all, &waiting[i], symbols)
		}
		waiting = waiting[:0]
		return nil
	}
	err = source.Walk(ctx, since, time.Time{}, func(t *ledger.Transaction) error {
		if t.Kind != ledger.SMTP || t.Facts == nil || t.Facts.Stage != mail.StageMessage {
			return nil
		}
		messages++
		if !slices.ContainsFunc(t.Findings, func(r policy.Reason) bool { return symbols[r.Symbol] }) {
			return nil
		}
		if waiting = append(waiting, *t); len(waiting) < atOnce {
			return nil
		}
		return count()
	})
	if err == nil {
		err = count()
	}
	return all, messages, err
}

func countOne(all map[string]*Hits, t *ledger.Transaction, symbols map[string]bool) {
	spam, ham, released := endOf(t)
	for _, r := range t.Findings {
		if !symbols[r.Symbol] {
			continue
		}
		h := all[r.Symbol]
		if h == nil {
			h = &Hits{Symbol: r.Symbol}
			all[r.Symbol] = h
		}
		h.Messages++
		h.Last = t.Time
		switch {
		case ham:
			h.Ham++
		case spam:
			h.Spam++
		}
		if released {
			h.Released++
		}
		if changed(t, r.Score) {
			h.Changed++
		}
	}
}

// endOf says how a message ended: one copy that somebody got is enough to call it wanted.
func endOf(t *ledger.Transaction) (spam, ham, released bool) {
	for _, r := range t.Recipients {
		switch r.Last() {
		case ledger.Delivered, ledger.Queued, ledger.Redirected, ledger.Released, ledger.Restored:
			ham = true
			released = released || r.Disposition == policy.Quarantine
		case ledger.Refused, ledger.Held, ledger.Deleted, ledger.Expired, ledger.Recalled, ledger.Masked:
			spam = spam || r.Disposition >= policy.Quarantine || r.Last() == ledger.Recalled || r.Last() == ledger.Masked
		default: // undecided yet, or no verdict on the content
		}
	}
	return spam, ham, released
}

// changed says whether a score was what made a disposition for one of the recipients.
func changed(t *ledger.Transaction, score float64) bool {
	return score != 0 && slices.ContainsFunc(t.Recipients, func(r ledger.Recipient) bool {
		return reached(r.Required, r.Score) != reached(r.Required, r.Score-score)
	})
}

func reached(required policy.Thresholds, score float64) (n int) {
	const rounding = 1e-9 // scores are sums of tenths
	for _, from := range []float64{required.Tag, required.Quarantine, required.Reject} {
		if score+rounding >= from {
			n++
		}
	}
	return n
}
