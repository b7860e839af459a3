package proxy

import (
	"context"

	"postern/internal/mail"
	"postern/policy"
	"postern/policy/calendar"
)

// JudgeFetched judges a message that a user fetches from a mailbox: by the same policy, with the filters that need no
// SMTP client. Form alone gives no verdict here (policy.ForReading). The transaction's one recipient is the user; its
// findings are filled in. Filters that failed or timed out are among the findings, so that policy can decide on them.
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

// Epoch identifies the policy, rules and settings that judge content now.
func (g *Gateway) Epoch() string { return g.setup.Load().Epoch }
