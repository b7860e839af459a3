// Package tally counts what happens to mail, hour by hour, for the last week: what an overview shows without reading the ledger.
package tally

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"postern/policy"
	"postern/policy/records/ledger"
)

// Bounds of what is kept.
const (
	// Keep is how long hours are kept.
	Keep = 7 * 24 * time.Hour
	// maxNames is how many names of each kind are counted in the running hour, keptNames how many are kept of it when it is over;
	// all others are counted together, as Others.
	maxNames  = 2000
	keptNames = 200
	// Others is the name under which they are counted.
	Others = "(others)"
)

// Verdict is what became of a message, for all its recipients together: the strictest of them.
type Verdict string

// The verdicts. Early is refused before there was a message.
const (
	Delivered Verdict = "delivered"
	Tagged    Verdict = "tagged"
	Held      Verdict = "held"
	Rejected  Verdict = "rejected"
	Early     Verdict = "early"
	Deferred  Verdict = "deferred"
)

// Verdicts are all of them, the mildest first.
func Verdicts() []Verdict { return []Verdict{Delivered, Tagged, Held, Rejected, Early, Deferred} }

// Count is a name with its number.
type Count struct {
	Name string `json:"name"`
	N    int    `json:"n"`
}

// Hour is one hour's numbers by verdict.
type Hour struct {
	Start  time.Time       `json:"start"`
	Counts map[Verdict]int `json:"counts"`
}

// Summary is what happened since a time, in full hours.
type Summary struct {
	// Since is the first hour's start, Known that from which on everything was counted: later than Since if the gateway knows no
	// more.
	Since time.Time       `json:"since"`
	Known time.Time       `json:"known"`
	Hours []Hour          `json:"hours"`
	Total map[Verdict]int `json:"total"`
	Out   int             `json:"outbound"`
	// The names seen most: symbols that scored, domains and networks of senders whose mail was held or rejected, recipients of
	// mail from outside, and what senders heard before there was a message.
	Symbols    []Count `json:"symbols"`
	Senders    []Count `json:"senders"`
	Networks   []Count `json:"networks"`
	Recipients []Count `json:"recipients"`
	Refusals   []Count `json:"refusals"`
}

// kinds of names.
type kind int

const (
	symbols kind = iota
	senders
	networks
	recipients
	refusals
	kinds
)

type hour struct {
	counts map[Verdict]int
	out    int
	names  [kinds]map[string]int
}

// Tally counts. It is safe for use by many goroutines.
type Tally struct {
	now func() time.Time

	mu    sync.Mutex
	hours map[int64]*hour
	known time.Time
}

// New makes one that has seen nothing.
func New(now func() time.Time) *Tally {
	return &Tally{now: now, hours: map[int64]*hour{}, known: now()}
}

// Knows says that everything since a time was added.
func (t *Tally) Knows(since time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.known = since
}

// Add counts a transaction.
func (t *Tally) Add(tx *ledger.Transaction) {
	verdict, ok := verdictOf(tx)
	if !ok {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	h := t.hour(tx.Time)
	h.counts[verdict]++
	if tx.Outbound {
		h.out++
	}
	for _, f := range tx.Findings {
		if f.Score != 0 {
			h.name(symbols, f.Symbol)
		}
	}
	if tx.Outbound {
		return
	}
	switch verdict {
	case Held, Rejected:
		h.name(senders, domainOf(tx.From))
		h.name(networks, networkOf(tx.Client))
	case Early:
		h.name(refusals, tx.Reply)
		h.name(networks, networkOf(tx.Client))
	default: // nothing speaks against the sender
	}
	for _, r := range tx.Recipients[:min(len(tx.Recipients), maxNames)] {
		h.name(recipients, r.Address)
	}
}

func (t *Tally) hour(at time.Time) *hour {
	n := at.Unix() / 3600
	h := t.hours[n]
	if h == nil {
		h = &hour{counts: map[Verdict]int{}}
		for i := range h.names {
			h.names[i] = map[string]int{}
		}
		now := t.now()
		oldest := now.Add(-Keep).Unix() / 3600
		maps.DeleteFunc(t.hours, func(k int64, _ *hour) bool { return k < oldest })
		for k, one := range t.hours {
			if k < now.Unix()/3600 {
				one.compact()
			}
		}
		t.hours[n] = h
	}

	return h
}

// compact keeps the names of an hour that were seen most.
func (h *hour) compact() {
	for i, all := range h.names {
		if len(all) <= keptNames+1 {
			continue
		}
		kept, rest := map[string]int{}, 0
		for _, c := range most(all, len(all)) {
			if len(kept) < keptNames && c.Name != Others {
				kept[c.Name] = c.N
			} else {
				rest += c.N
			}
		}
		kept[Others] = rest
		h.names[i] = kept
	}
}

func (h *hour) name(k kind, name string) {
	if _, ok := h.names[k][name]; !ok && len(h.names[k]) >= maxNames {
		name = Others
	}
	h.names[k][name]++
}

// verdictOf is what became of a message; not ok for a transaction that is no message's: one that the client gave up.
func verdictOf(tx *ledger.Transaction) (Verdict, bool) {
	strictest, taken := policy.Accept, false
	for _, r := range tx.Recipients {
		strictest = max(strictest, r.Disposition)
		taken = taken || r.Fate != ledger.Abandoned && r.Fate != ledger.Refused && r.Fate != ledger.Deferred
	}
	switch {
	case tx.Kind == ledger.Fetch:
		return "", false
	case tx.Size == 0:
		return withoutMessage(tx, strictest)
	case strictest == policy.Defer, strictest < policy.Quarantine && !taken:
		return Deferred, true
	}
	switch strictest {
	case policy.Reject:
		return Rejected, true
	case policy.Quarantine:
		return Held, true
	case policy.Tag:
		return Tagged, true
	default:
		return Delivered, true
	}
}

// withoutMessage is what became of a transaction that ended before there was a message.
func withoutMessage(tx *ledger.Transaction, strictest policy.Disposition) (Verdict, bool) {
	switch {
	case strings.HasPrefix(tx.Reply, "4"), strictest == policy.Defer:
		return Deferred, true
	case strings.HasPrefix(tx.Reply, "5"), strictest == policy.Reject:
		return Early, true
	}

	return "", false
}

func domainOf(address string) string {
	if _, domain, ok := strings.Cut(address, "@"); ok {
		return strings.ToLower(domain)
	}

	return "<>"
}

// networkOf is the network that is most often one host's or one owner's.
func networkOf(a netip.Addr) string {
	bits := 24
	if a.Is6() && !a.Is4In6() {
		bits = 48
	}
	p, err := a.Unmap().Prefix(bits)
	if err != nil {
		return "(unknown)"
	}

	return p.String()
}

// Since sums up what happened since a time, with so many names of each kind.
func (t *Tally) Since(since time.Time, names int) Summary {
	t.mu.Lock()
	defer t.mu.Unlock()
	first, last := since.Unix()/3600, t.now().Unix()/3600
	first = max(first, last-int64(Keep/time.Hour))
	s := Summary{Since: time.Unix(first*3600, 0).UTC(), Known: t.known.UTC(), Total: map[Verdict]int{}}
	sum := [kinds]map[string]int{}
	for i := range sum {
		sum[i] = map[string]int{}
	}
	for n := first; n <= last; n++ {
		one := Hour{Start: time.Unix(n*3600, 0).UTC(), Counts: map[Verdict]int{}}
		if h := t.hours[n]; h != nil {
			s.Out += h.out
			for v, c := range h.counts {
				one.Counts[v] += c
				s.Total[v] += c
			}
			for i := range h.names {
				for name, c := range h.names[i] {
					sum[i][name] += c
				}
			}
		}
		s.Hours = append(s.Hours, one)
	}
	for k, list := range map[kind]*[]Count{symbols: &s.Symbols, senders: &s.Senders, networks: &s.Networks, recipients: &s.Recipients, refusals: &s.Refusals} {
		*list = most(sum[k], names)
	}

	return s
}

// most are the names with the largest numbers.
func most(counts map[string]int, limit int) []Count {
	all := []Count{}
	for name, n := range counts {
		all = append(all, Count{name, n})
	}
	slices.SortFunc(all, func(a, b Count) int { return cmp.Or(cmp.Compare(b.N, a.N), cmp.Compare(a.Name, b.Name)) })

	return all[:min(len(all), limit)]
}

// Ledger counts what goes into a ledger.
type Ledger struct {
	*ledger.Ledger
	Tally *Tally
}

// Transaction counts it and puts it into the ledger.
func (l Ledger) Transaction(tx ledger.Transaction) {
	l.Tally.Add(&tx)
	l.Ledger.Transaction(tx)
}
