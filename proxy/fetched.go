package proxy

import (
	"context"

	"postern/internal/mail"
	"postern/policy"
	"postern/policy/calendar"
)

// JudgeFetched judges a message that its recipient fetches from his mailbox: by the same policy, with the filters that
// need nothing of the client that once brought it. Form alone convicts nothing here (policy.ForReading). The transaction's
// one recipient is the user, its findings are filled in. What could not be found out in time, or failed, is among them, so
// that policy can say what then.
func (g *Gateway) JudgeFetched(ctx context.Context, tx *mail.Transaction) policy.Verdict {
	setup := g.setup.Load()
	run := setup.Fetched.Start(ctx, tx)
	defer run.Close()
	run.Stage(ctx, mail.StageMessage)
	facts := setup.reading.FactsOf(tx)
	return g.decideFetched(ctx, setup, tx, &facts)
}

// DecideFetched is the verdict on what was found in the message before, for the transaction's recipient.
func (g *Gateway) DecideFetched(ctx context.Context, tx *mail.Transaction, found policy.Facts) policy.Verdict {
	setup := g.setup.Load()
	facts := setup.reading.FactsOf(tx)
	facts.Findings, facts.Authenticated = found.Findings, found.Authenticated
	return g.decideFetched(ctx, setup, tx, &facts)
}

func (g *Gateway) decideFetched(ctx context.Context, setup *Setup, tx *mail.Transaction, facts *policy.Facts) policy.Verdict {
	facts.Time = calendar.Of(g.Now())
	if setup.needsGroups() {
		facts.Groups = setup.lookUp(ctx, map[string][]string{}, tx.Recipients, tx)
	}
	var to mail.Address
	if len(tx.Recipients) > 0 {
		to = tx.Recipients[0].Address
	}
	return setup.reading.Decide(facts, to)
}

// Epoch names what decides on the content of a message now.
func (g *Gateway) Epoch() string { return g.setup.Load().Epoch }
