// Package breaker watches what single symbols do to mail. One that begins to convict message after message all by itself,
// where everything else speaks for them, is more likely broken than right: a rule that went wrong, a list that lists the
// world. Package breaker says when to mute it; what muting means is for others.
package breaker

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"postern/policy"
)

// Options say when a symbol is muted. Zero values mean the defaults.
type Options struct {
	// Convictions (default 10) within the last Window (default 200) judged messages, from Sources (default 3) different
	// sender domains or more, mute a symbol for For (default 1 hour).
	Convictions, Window, Sources int
	For                          time.Duration
	// Never are symbols that are not muted.
	Never []string
	// Proof says what it takes to mute a symbol; nil asks for Volume of all.
	Proof func(symbol string) Proof
	Now   func() time.Time
}

// Proof is what it takes to mute a symbol.
type Proof int

// The proofs. Strangers can send as much mail as they like, so what they trip must be a symbol that speaks of content alone.
const (
	// Volume: enough convictions, regardless of the sender.
	Volume Proof = iota
	// Vouched: enough convictions of mail whose sender is known to be good.
	Vouched
	// Never: the symbol stands for a proven fact, or an admin set its action on purpose.
	Never
)

// vouches says whether a symbol stands for a sender whose mail was wanted before, which no stranger has.
func vouches(symbol string) bool {
	switch symbol {
	case "KNOWN_SENDER", "REPLY", "SPF_REPUTATION_HAM", "DKIM_REPUTATION_HAM":
		return true
	}

	return false
}

// Muting is one symbol that was muted.
type Muting struct {
	Symbol string    `json:"symbol"`
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until"`
	Why    string    `json:"why"`
	// Messages are the ids of those that it convicted, for judging them again.
	Messages []string `json:"messages"`
}

// Breaker is safe for use by many goroutines.
type Breaker struct {
	o Options

	mu sync.Mutex
	// last are the judged messages in a ring: the symbol that convicted each alone, "" for none.
	last  []conviction
	next  int
	seen  int
	usual map[string]float64 // the share of messages that each symbol convicts alone, in the long run
	muted map[string]Muting
}

type conviction struct {
	symbol, source, id string
	vouched            bool
}

// New makes a breaker.
func New(o Options) *Breaker {
	set := func(n *int, v int) {
		if *n == 0 {
			*n = v
		}
	}
	set(&o.Convictions, 10)
	set(&o.Window, 200)
	set(&o.Sources, 3)
	if o.For == 0 {
		o.For = time.Hour
	}
	if o.Proof == nil {
		o.Proof = func(string) Proof { return Volume }
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Breaker{o: o, usual: map[string]float64{}, muted: map[string]Muting{}}
}

// alone gives the symbol that convicted a message all by itself: the score is what holds or refuses it, and all the rest
// together is less than half of what it takes to tag it. A symbol with an action of its own is no case for the breaker:
// the admin, or the filter, wanted just that.
func alone(v policy.Verdict) string {
	if v.Disposition < policy.Quarantine || v.Score < v.Required.Quarantine || v.Required.Quarantine <= 0 {
		return ""
	}
	for _, r := range v.Reasons {
		if r.Score >= v.Required.Quarantine && v.Score-r.Score < v.Required.Tag/2 {
			return r.Symbol
		}
	}
	return ""
}

// long is over how many messages the usual share is formed.
const long = 5000

// Judged hears of a message and its strictest verdict. It gives the muting that this begins, if it does.
func (b *Breaker) Observe(id, senderDomain string, v policy.Verdict) (Muting, bool) {
	symbol := alone(v)
	if symbol != "" && (slices.Contains(b.o.Never, symbol) || b.o.Proof(symbol) == Never) {
		symbol = ""
	}
	vouched := slices.ContainsFunc(v.Reasons, func(r policy.Reason) bool { return vouches(r.Symbol) })
	b.mu.Lock()
	defer b.mu.Unlock()
	b.keep(conviction{symbol, strings.ToLower(senderDomain), id, vouched})
	if symbol == "" {
		return Muting{}, false
	}
	if _, already := b.muted[symbol]; already { // verdicts that were on their way
		return Muting{}, false
	}
	ids, enough := b.convicted(symbol)
	if !enough {
		return Muting{}, false
	}
	now := b.o.Now()
	m := Muting{Symbol: symbol, Since: now, Until: now.Add(b.o.For), Messages: ids,
		Why: "it alone held or refused " + strconv.Itoa(len(ids)) + " of the last " + strconv.Itoa(len(b.last)) + " messages, against which nothing else spoke"}
	b.muted[symbol] = m
	for i := range b.last {
		if b.last[i].symbol == symbol {
			b.last[i].symbol = "" // it begins anew when the muting ends
		}
	}
	return m, true
}

// convicted gives the messages of late that a symbol alone convicted, and says whether they are enough to mute it.
func (b *Breaker) convicted(symbol string) (ids []string, enough bool) {
	sources := map[string]bool{}
	counted := 0
	for _, c := range b.last {
		if c.symbol != symbol {
			continue
		}
		ids = append(ids, c.id)
		if c.vouched || b.o.Proof(symbol) == Volume {
			counted++
			sources[c.source] = true
		}
	}
	share := float64(len(ids)) / float64(len(b.last))

	return ids, counted >= b.o.Convictions && len(sources) >= b.o.Sources && share >= 3*b.usual[symbol]
}

// keep puts a message into the ring and lets what falls out of it count for the usual shares.
func (b *Breaker) keep(c conviction) {
	if len(b.last) < b.o.Window {
		b.last = append(b.last, c)
		return
	}
	old := b.last[b.next]
	b.last[b.next] = c
	b.next = (b.next + 1) % b.o.Window
	b.seen++
	weight := 1 / math.Min(float64(b.seen), long)
	for s, share := range b.usual {
		if share *= 1 - weight; share < 1e-6 {
			delete(b.usual, s)
		} else {
			b.usual[s] = share
		}
	}
	if old.symbol != "" {
		b.usual[old.symbol] += weight
	}
}

// Muted are the symbols that are muted now, by name.
func (b *Breaker) Muted() []Muting {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.o.Now()
	var all []Muting
	for s, m := range b.muted {
		if !now.Before(m.Until) {
			delete(b.muted, s)
			continue
		}
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b Muting) int { return strings.Compare(a.Symbol, b.Symbol) })
	return all
}

// Mute mutes a symbol by hand.
func (b *Breaker) Mute(symbol, why string, until time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.muted[symbol] = Muting{Symbol: symbol, Since: b.o.Now(), Until: until, Why: why}
}

// Lift ends a muting, automatic or manual, and reports whether there was one.
func (b *Breaker) Lift(symbol string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, ok := b.muted[symbol]
	delete(b.muted, symbol)
	return ok
}
