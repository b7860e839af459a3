package dnslists

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"postern/filters"
	"postern/internal/dns"
)

const (
	// mailKinds are asked before the message comes.
	mailKinds = kindClient | kindHelo | kindSender
	// maxQuestions bounds what one message may make us ask.
	maxQuestions = 400
)

// question is one of one list, with its answer.
type question struct {
	about subject
	name  string
	ips   []netip.Addr
	err   error
	// silent says that no answer came.
	silent bool
	hits   []code
}

// round is what one list is asked at one stage.
type round struct {
	list      *list
	questions []question
	probe     <-chan struct{}
	// muted is why it is not asked, or why its answers do not count; before says that it was so already.
	muted    string
	before   bool
	timedOut bool
}

// start begins to ask all lists about a subject, and begins to look after those that were not asked for a while.
func (f *filter) start(ctx context.Context, about subject) {
	for _, l := range f.lists {
		if l.kinds&mailKinds == 0 {
			continue
		}
		l.watch()
		if _, why := l.state(); why != "" {
			continue
		}
		if name := l.question(about); name != "" {
			_, _, _ = f.env.DNS.StartA(ctx, name)
		}
	}
}

// report asks the lists of these kinds and waits for the answers until the deadline.
func (f *filter) report(parent context.Context, about []subject, kinds kind) ([]filters.Finding, error) {
	rounds, over := f.rounds(about, kinds)
	if len(rounds) == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(parent, f.timeout)
	defer cancel()
	// a budget of its own: many links must not leave SPF, DKIM and DMARC without answers
	ctx = dns.WithBudget(ctx, dns.Budget{Queries: 2 * maxQuestions, Time: f.timeout})
	f.await(ctx, rounds)
	if errors.Is(parent.Err(), context.Canceled) { // the client is gone, which says nothing about the lists
		return nil, parent.Err()
	}
	for i := range rounds {
		rounds[i].settle()
	}
	compare(rounds)
	found := findings(rounds, kinds)
	if over {
		found = append(found, filters.Finding{Symbol: limitSymbol, Evidence: fmt.Sprintf("more than %d questions", maxQuestions)})
	}
	return found, nil
}

// rounds says what is to be asked; over if that is too much.
func (f *filter) rounds(about []subject, kinds kind) (rounds []round, over bool) {
	rounds = make([]round, 0, len(f.lists))
	n := 0
	for _, l := range f.lists {
		if l.kinds&kinds == 0 {
			continue
		}
		r := round{list: l, probe: l.watch()}
		if _, why := l.state(); why != "" {
			r.muted, r.before = why, true
			rounds = append(rounds, r)
			continue
		}
		for _, s := range about {
			name := l.question(s)
			if name == "" {
				continue
			}
			if n++; n > maxQuestions {
				over = true
				break
			}
			r.questions = append(r.questions, question{about: s, name: name})
		}
		rounds = append(rounds, r)
	}
	return rounds, over
}

// await gets the answers: those that are known at once, the others side by side.
func (f *filter) await(ctx context.Context, rounds []round) {
	var all sync.WaitGroup
	for i := range rounds {
		for j := range rounds[i].questions {
			q := &rounds[i].questions[j]
			var known bool
			if q.ips, known, q.err = f.env.DNS.StartA(ctx, q.name); known {
				continue
			}
			select {
			case f.slots <- struct{}{}:
			case <-ctx.Done():
				continue
			}
			all.Go(func() {
				defer func() { <-f.slots }()
				q.ips, q.err = f.env.DNS.LookupA(ctx, q.name)
			})
		}
	}
	all.Wait()
	for _, r := range rounds {
		if r.probe == nil || len(r.questions) == 0 {
			continue
		}
		select {
		case <-r.probe:
		case <-ctx.Done():
		}
	}
}

// judge says what the answers mean, and whether the list is to be believed.
func (r *round) settle() {
	if r.before || len(r.questions) == 0 {
		return
	}
	phase, why := r.list.state()
	if why != "" {
		r.muted = why
		return
	}
	if phase == fresh { // its first probe is not over
		r.timedOut = true
		return
	}
	if !r.list.knowsIPv6() { // which the first probe may have found only now
		r.questions = slices.DeleteFunc(r.questions, func(q question) bool { return q.about.isIPv6() })
	}
	for i := range r.questions {
		q := &r.questions[i]
		if q.silent = dns.IsTemporary(q.err); q.silent {
			r.timedOut = true
			continue
		}
		if why := r.list.refusal(q.ips); why != "" {
			r.muted = r.list.mute(why, muteWrong)
			return
		}
		q.hits = r.list.meanings(q.ips, q.about.kind)
	}
	r.muted = r.list.count(r.questions)
}

// compare finds lists that suddenly list the world: those that list nearly all, and are nearly alone with it.
func compare(rounds []round) {
	agreed := map[subject]int{}
	each := func(visit func(l *list, q *question)) {
		for i := range rounds {
			r := &rounds[i]
			if phase, _ := r.list.state(); r.muted != "" || phase != good {
				continue
			}
			for j := range r.questions {
				if q := &r.questions[j]; !q.silent {
					visit(r.list, q)
				}
			}
		}
	}
	each(func(l *list, q *question) {
		if len(q.hits) > 0 && !l.allow {
			agreed[q.about]++
		}
	})
	each(func(l *list, q *question) { l.observe(q.about.text, len(q.hits) > 0, agreed[q.about] > 1) })
	for i := range rounds {
		if r := &rounds[i]; r.muted == "" {
			_, r.muted = r.list.state()
		}
	}
}

// findings are in the order of the lists, then of what they were asked. Own lists come last, added up.
func findings(rounds []round, kinds kind) (found []filters.Finding) {
	var block, allow sum
	for _, r := range rounds {
		switch {
		case r.muted != "":
			// what was said at MAIL is not said again for the message
			if !r.before || kinds&mailKinds != 0 || r.list.kinds&mailKinds == 0 {
				found = append(found, filters.Finding{Symbol: mutedSymbol, Evidence: filters.Printable(r.list.name + ": " + r.muted)})
			}
			continue
		case r.timedOut:
			found = append(found, filters.Finding{Symbol: timeoutSymbol, Evidence: r.list.name})
		}
		side := &block
		if r.list.allow {
			side = &allow
		}
		highest := 0.0
		for _, q := range r.questions {
			for _, c := range q.hits {
				evidence := q.about.kind.String() + " " + q.about.text + " on " + r.list.name
				if c.symbol != "" {
					found = append(found, filters.Finding{Symbol: c.symbol, Evidence: filters.Printable(evidence)})
					continue
				}
				if c.label != "" {
					evidence += " (" + c.label + ")"
				}
				side.evidence = append(side.evidence, evidence)
				highest = max(highest, c.weight)
			}
		}
		side.weight += highest
	}
	return allow.finding(allowSymbol, block.finding(blockSymbol, found))
}

// sum is what own lists say together: each with the highest of its weights.
type sum struct {
	weight   float64
	evidence []string
}

func (s sum) finding(symbol string, found []filters.Finding) []filters.Finding {
	if len(s.evidence) == 0 {
		return found
	}
	evidence := filters.Printable(strings.Join(s.evidence, ", "))
	return append(found, filters.Finding{Symbol: symbol, Evidence: evidence, Value: Share(min(s.weight/ownScore, 1))})
}

// Share is the value of DNSLIST_BLOCK and DNSLIST_ALLOW: the share of the symbol's score that the lists' weights make.
type Share float64

// Weight is the share, from 0 to 1.
func (s Share) Weight() float64 { return float64(s) }

// refusal gives the reason why an answer is not a listing, "" if it is one.
func (l *list) refusal(ips []netip.Addr) string {
	for _, ip := range ips {
		n := number(ip)
		switch {
		case n>>24 != 127: // RFC 5782 section 2.3; domain parkers of an expired list answer so
			return "answers outside 127.0.0.0/8: " + ip.String()
		case n>>8 == 0x7fffff: // 127.255.255.0/24, by Spamhaus' custom
			return "refuses our questions: " + ip.String() + meaning(n)
		case n == 0x7f000001 && !l.listsWith127001():
			return "refuses our questions: 127.0.0.1"
		}
		for _, p := range l.refused {
			if p.matches(n) {
				return "refuses our questions: " + ip.String()
			}
		}
	}
	return ""
}

func meaning(code uint32) string {
	switch code & 0xff {
	case 252:
		return ", the zone's name is wrong"
	case 254:
		return ", they come through a public resolver"
	case 255:
		return ", there are too many"
	}
	return ""
}

func (l *list) listsWith127001() bool {
	for _, c := range l.codes {
		if !c.bit && c.mask == ^uint32(0) && c.value == 0x7f000001 {
			return true
		}
	}
	return false
}

// meanings gives the codes of an answer: of those that name addresses the first, of bits each that is set.
func (l *list) meanings(ips []netip.Addr, about kind) (hits []code) {
	known := false
	for _, c := range l.codes {
		for _, ip := range ips {
			if !c.matches(number(ip)) || !c.bit && l.firstFor(ip) != c.pattern {
				continue
			}
			known = true
			if c.kinds&about != 0 && !sameSymbol(hits, c) {
				hits = append(hits, c)
			}
			break
		}
	}
	if !known && len(ips) > 0 && l.weight > 0 {
		hits = append(hits, code{weight: l.weight, kinds: allKinds})
	}
	return hits
}

// firstFor is the first pattern of the list that matches an address.
func (l *list) firstFor(ip netip.Addr) pattern {
	for _, c := range l.codes {
		if !c.bit && c.matches(number(ip)) {
			return c.pattern
		}
	}
	return pattern{}
}

func sameSymbol(hits []code, c code) bool {
	for _, h := range hits {
		if c.symbol != "" && h.symbol == c.symbol {
			return true
		}
	}
	return false
}
