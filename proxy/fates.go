package proxy

import "sync/atomic"

// fates counts recipients by what became of them since the start.
type fates struct {
	delivered, queued, held, refused, deferred, abandoned atomic.Int64
}

// Verdicts are the counters by fate, for the metrics and the console.
func (g *Gateway) Verdicts() map[string]*atomic.Int64 {
	c := &g.counts
	return map[string]*atomic.Int64{"delivered": &c.delivered, "queued": &c.queued, "held": &c.held, "refused": &c.refused,
		"deferred": &c.deferred, "abandoned": &c.abandoned}
}

func (c *fates) count(fate string) {
	switch fate {
	case "delivered":
		c.delivered.Add(1)
	case "queued":
		c.queued.Add(1)
	case "held":
		c.held.Add(1)
	case "refused":
		c.refused.Add(1)
	case "deferred":
		c.deferred.Add(1)
	default:
		c.abandoned.Add(1)
	}
}
