package links

import (
	"context"
	"fmt"
	"strings"
	"time"

	"postern/filters"
	"postern/internal/mail"
	"postern/internal/mimeview"
	"postern/internal/state"
)

// What is learned of top-level domains: of so many messages with links there, so large a part was bad. Half of it is
// forgotten in a month.
const (
	leastTLD = 30
	badTLD   = 0.8
	halfTLD  = 30 * 24 * time.Hour
	maxTLDs  = 10 // of a message
)

const urlTLDBad = "URL_TLD_BAD"

func tldKey(name string) string { return state.Key("links", "tld", name) }

// topLevels are the top-level domains of links that may be followed, each once, but for those of the sender and our own.
func (l *look) topLevels(all []mimeview.Link) (tops []string) {
	seen := map[string]bool{}
	for i := range all[:min(len(all), maxLinks)] {
		link := &all[i]
		if link.Domain == "" || !clickable(link) || l.own(link.Host, link.Domain) {
			continue
		}
		top := link.Host[strings.LastIndexByte(link.Host, '.')+1:]
		if !seen[top] && len(tops) < maxTLDs {
			seen[top] = true
			tops = append(tops, top)
		}
	}

	return tops
}

// tld reports the top-level domain with the worst record.
func (f *filter) tld(ctx context.Context, l *look, all []mimeview.Link) {
	if f.state == nil {
		return
	}
	worst := 0.0
	for _, top := range l.topLevels(all) {
		t := f.state.Tally(ctx, tldKey(top), state.Tally{}, halfTLD)
		n := t[0] + t[1]
		if n < leastTLD || t[0]/n <= max(worst, badTLD) {
			continue
		}
		worst = t[0] / n
		l.found[urlTLDBad] = fmt.Sprintf(".%s: %.0f bad, %.0f good", top, t[0], t[1])
	}
}

// Decided implements filters.MessageLearner.
func (f *filter) Decided(ctx context.Context, tx *mail.Transaction, judged []filters.Decision) {
	if f.state == nil || tx.Session.Outbound() {
		return
	}
	bad, good := filters.VerdictLesson(judged, ownShare(tx))
	if bad == 0 && good == 0 {
		return
	}
	l := f.look(tx)
	for _, top := range l.topLevels(mimeview.Of(tx.Message).Links()) {
		f.state.Tally(ctx, tldKey(top), state.Tally{bad, good}, halfTLD)
	}
}

// ownShare is what the top-level domain has added to the score.
func ownShare(tx *mail.Transaction) float64 {
	for _, finding := range tx.Findings {
		if finding.Symbol == urlTLDBad {
			return scoreTLD
		}
	}

	return 0
}
