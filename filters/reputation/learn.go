package reputation

import (
	"context"
	"net/url"
	"strings"
	"time"

	"postern/filters"
	"postern/internal/mail"
	"postern/internal/state"
)

// Decided implements filters.MessageLearner.
func (f *filter) Decided(ctx context.Context, tx *mail.Transaction, judged []filters.Decision) {
	if tx.Session.Outbound() {
		return
	}
	bad, good := filters.VerdictLesson(judged, f.ownShare(tx))
	add := state.Tally{bad, good}
	if add == (state.Tally{}) {
		return
	}
	client := tx.Session.Client
	if filters.Public(client) {
		t := f.add(ctx, sortClient, filters.ClientKey(client), add)
		f.add(ctx, sortNetwork, filters.NetworkKey(client), add)
		if as := f.system(client); as != "" {
			f.add(ctx, sortASN, as, add)
		}
		f.name(ctx, tx, t)
	}
	spf, dkim := filters.ProvenDomains(tx)
	for _, d := range distinct(spf, true) {
		f.add(ctx, sortSPF, d, add)
	}
	for _, d := range distinct(dkim, true) {
		f.add(ctx, sortDKIM, d, add)
	}
	if !f.settings.Links {
		return
	}
	for _, d := range f.strange(linked(tx.Message)) {
		f.add(ctx, sortURL, d, add)
	}
}

func (f *filter) add(ctx context.Context, sort, who string, add state.Tally) state.Tally {
	return f.env.State.Tally(ctx, key(sort, who), add, f.half)
}

// name stores a good reputation for filters.GoodClient: enough good mail, and hardly any bad.
func (f *filter) name(ctx context.Context, tx *mail.Transaction, t state.Tally) {
	good := t[0] <= t[1]/20
	if good && t[1] < f.settings.Least {
		return
	}
	filters.SetGoodClient(ctx, f.env.State, tx.Session.Client, good, 2*f.half)
}

// ownShare is what this filter's findings have added to the score, by their default scores.
func (f *filter) ownShare(tx *mail.Transaction) float64 {
	sum := 0.0
	for _, list := range [][]filters.Finding{tx.Session.Findings, tx.Findings} {
		for i := range list {
			if score, ours := f.scores[list[i].Symbol]; ours {
				if n, ok := list[i].Value.(name); ok {
					score *= float64(n)
				}
				sum += score
			}
		}
	}
	return sum
}

// A connection in which recipients were permanently refused and no message was accepted counts as slightly bad. The
// mark is set from the first such refusal to the end of the connection; deferrals (greylisting, a server that is down)
// set none.
const (
	littleBad = 0.1
	markFor   = time.Hour
)

func mark(s *mail.Session) string { return key("refused", s.ID) }

// Answered implements filters.RecipientLearner.
func (f *filter) Answered(ctx context.Context, tx *mail.Transaction, _ mail.Address, r mail.Reply) {
	if r.Permanent() && !tx.Session.Outbound() && filters.Public(tx.Session.Client) {
		f.env.State.PutNew(ctx, mark(tx.Session), []byte{1}, markFor)
	}
}

// Ended implements filters.SessionLearner.
func (f *filter) Ended(ctx context.Context, s *mail.Session, c filters.Conduct) {
	if c.Refused == 0 || s.Outbound() || !filters.Public(s.Client) {
		return
	}
	if _, refused := f.env.State.Get(ctx, mark(s)); !refused {
		return
	}
	f.env.State.Delete(ctx, mark(s))
	if c.Delivered == 0 && c.Junk == 0 { // junk was learned as a message
		f.add(ctx, sortClient, filters.ClientKey(s.Client), state.Tally{littleBad, 0})
		f.add(ctx, sortNetwork, filters.NetworkKey(s.Client), state.Tally{littleBad, 0})
	}
}

// host is the host of a link, in A-labels; "" if it has none.
func host(link string) string {
	u, err := url.Parse(link)
	if err != nil || u.Host == "" {
		return ""
	}
	return mail.ASCIIDomain(strings.TrimSuffix(u.Hostname(), "."))
}
