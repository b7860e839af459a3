package proxy

import (
	"slices"
	"sync/atomic"

	"postern/policy/records/ledger"
)

// fates counts recipients by fate since the start, in the order of ledger.Answered.
type fates [8]atomic.Int64

// Verdicts are the counters by fate, for the metrics and the console.
func (g *Gateway) Verdicts() map[ledger.Word]*atomic.Int64 {
	all := map[ledger.Word]*atomic.Int64{}
	for i, word := range ledger.Answered() {
		all[word] = &g.counts[i]
	}

	return all
}

func (c *fates) count(fate ledger.Word) {
	c[slices.Index(ledger.Answered(), fate)].Add(1)
}
