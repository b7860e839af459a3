package retrieval

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"sync"

	"postern/internal/mail"
	"postern/policy"
	"postern/policy/records/ledger"
)

// record writes the record of a judgement and gives its id, that of the original if one is kept. Facts that are nil are
// those of the transaction. It stands with the connection that fetched the message.
func (c *consultation) record(tx *mail.Transaction, facts *policy.Facts, v policy.Verdict, r Ruling) string {
	if tx == nil {
		tx = c.transaction()
	}
	if c.kept {
		tx.ID = r.ID
	}
	d, s := c.verdicts, c.session
	if d.opt.Ledger == nil {
		return tx.ID
	}
	if facts == nil {
		of := policy.FactsOf(tx)
		facts = &of
	}
	h := c.message.Header()
	rec := ledger.Transaction{
		ID: tx.ID, ConnID: s.ID, Kind: ledger.Fetch, Time: c.started, Door: s.Door, Client: s.Client, User: s.User, Size: c.message.Size(),
		Subject: h.Get("Subject"), MessageID: h.Get("Message-ID"), HeaderFrom: h.Get("From"), SHA256: hex.EncodeToString(r.SHA256[:]),
		Findings: v.Reasons, Decisive: v.Decisive, PolicyVersion: v.PolicyVersion, Facts: facts, Reply: word(r),
		Took: map[string]float64{"judge": float64(d.opt.Now().Sub(c.started).Microseconds()) / 1000},
	}
	rec.Recipients = []ledger.Recipient{{Address: s.User, Disposition: v.Disposition, Score: v.Score, Required: v.Required,
		Decisive: v.Decisive, Fate: ledger.Word(word(r))}}
	d.opt.Ledger.Transaction(rec)
	return tx.ID
}

// word says what a ruling means for the user.
func word(r Ruling) string {
	switch {
	case r.Later:
		return "not judged, to be asked for again"
	case r.Masked:
		return string(ledger.Masked)
	}
	return "passed"
}

// Fetched tells that the user got the message or a part of it: one record for each session and message, up to 1,000 for
// a session.
func (d *VerdictCache) Fetched(_ context.Context, s *mail.Session, p Place, r Ruling) {
	if d.opt.Ledger == nil || !d.fetched.first(s.ID, r.SHA256) {
		return
	}
	disposition := policy.Accept
	if r.Masked {
		disposition = policy.Quarantine
	}
	d.opt.Ledger.Transaction(ledger.Transaction{
		// the same fetch again has the same id, and so leaves one record
		ID: s.ID + ".F" + hex.EncodeToString(r.SHA256[:6]), ConnID: s.ID, Kind: ledger.Fetch, Time: d.opt.Now(), Door: s.Door, Client: s.Client, User: s.User,
		SHA256: hex.EncodeToString(r.SHA256[:]), MessageID: r.MessageID, Decisive: r.Why, Reply: "fetched, " + word(r) + ", judged as " + r.ID,
		Recipients: []ledger.Recipient{{Address: s.User, Disposition: disposition, Decisive: r.Why, Fate: ledger.Word("fetched, " + word(r)), Route: mail.RouteTo(p.Backend)}},
	})
}

// Bounds of what is remembered of fetches. A session that is forgotten may leave the same record a second time.
const (
	maxFetches       = 1000
	maxFetchSessions = 20_000
	maxFetchedEver   = 400_000
)

// fetches are the messages that sessions got, in two generations: once the younger is full, the elder is forgotten.
type fetches struct {
	mu         sync.Mutex
	now, older map[string]map[[8]byte]struct{}
	total      int
}

// first says whether a session gets this message for the first time, as far as is remembered.
func (f *fetches) first(session string, sum [sha256.Size]byte) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.now == nil || len(f.now) >= maxFetchSessions || f.total >= maxFetchedEver {
		f.now, f.older, f.total = map[string]map[[8]byte]struct{}{}, f.now, 0
	}
	seen := f.now[session]
	if seen == nil {
		if seen = f.older[session]; seen == nil {
			seen = map[[8]byte]struct{}{}
		}
		f.now[session] = seen
		f.total += len(seen)
	}
	key := [8]byte(sum[:8])
	if _, ok := seen[key]; ok || len(seen) >= maxFetches {
		return false
	}
	seen[key] = struct{}{}
	f.total++
	return true
}
