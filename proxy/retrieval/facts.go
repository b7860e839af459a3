package retrieval

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"time"

	"postern/filters"
	"postern/policy"
)

// Bounds of what is remembered of findings, in octets: of one finding's evidence, and of all, which the memory takes.
const (
	maxEvidence = 80
	maxFacts    = 4 << 10
)

// found is what the filters found in a content. It is no verdict: that is made for each reader, by the reader's policy.
type found struct {
	At    int64        `json:"at"`
	Epoch uint64       `json:"epoch"`
	Facts policy.Facts `json:"facts"`
}

// facts gives what was found in these octets before, in this epoch and within the time of trust.
func (c *consultation) facts(ctx context.Context, sum [sha256.Size]byte) (policy.Facts, time.Time, bool) {
	d := c.verdicts
	if d.opt.Decide == nil {
		return policy.Facts{}, time.Time{}, false
	}
	value, ok := d.opt.State.Get(ctx, factsKey(sum))
	if !ok {
		return policy.Facts{}, time.Time{}, false
	}
	var f found
	if err := json.Unmarshal(value, &f); err != nil { // another version wrote it
		return policy.Facts{}, time.Time{}, false
	}
	at := time.UnixMilli(f.At)
	return f.Facts, at, f.Epoch == c.epoch && d.fresh(at)
}

// rememberFacts keeps what was found. What is too long is found again for the next reader.
func (c *consultation) rememberFacts(ctx context.Context, sum [sha256.Size]byte, facts policy.Facts) {
	d := c.verdicts
	if d.opt.Decide == nil {
		return
	}
	kept := policy.Facts{Stage: facts.Stage, Authenticated: facts.Authenticated, Findings: slices.Clone(facts.Findings)}
	for i := range kept.Findings {
		kept.Findings[i].Evidence = cut(filters.Printable(kept.Findings[i].Evidence), maxEvidence)
	}
	value, err := json.Marshal(found{At: c.started.UnixMilli(), Epoch: c.epoch, Facts: kept})
	if keep := c.started.Add(d.opt.Trust).Sub(d.opt.Now()); err == nil && len(value) <= maxFacts && keep > 0 {
		d.opt.State.Put(ctx, factsKey(sum), value, keep)
	}
}

func hasFailed(facts policy.Facts) bool {
	return slices.ContainsFunc(facts.Findings, isFailure)
}

func isFailure(f policy.Finding) bool { return f.Symbol == filters.Failed }

// withoutFailures are the facts as if nothing had failed.
func withoutFailures(facts policy.Facts) policy.Facts {
	facts.Findings = slices.DeleteFunc(slices.Clone(facts.Findings), isFailure)
	return facts
}

// granted asks whether an admin let the owner of the mailbox read the message.
func (d *VerdictCache) granted(ctx context.Context, p Place, sum [sha256.Size]byte, messageID, sealID string) bool {
	if d.opt.Grants == nil || p.User == "" {
		return false
	}
	return d.opt.Grants.Granted(ctx, Grant{SHA256: hex.EncodeToString(sum[:]), User: p.User, MessageID: messageID, SealID: sealID})
}
