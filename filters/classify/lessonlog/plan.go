package lessonlog

import (
	"bytes"
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"
)

// Rules say which lessons count.
type Rules struct {
	// Quorum is how many users have to say the same of a message, or of messages that are nearly the same, before it is
	// learned. An admin's word counts by itself.
	Quorum int
	// Daily is how many lessons of one user count in a day (UTC).
	Daily int
}

// Bounds of what is compared with other users' lessons, and how alike messages have to be.
const (
	maxWaiting = 2000
	waitFor    = 30 * 24 * time.Hour
	alike      = 0.6
)

// Decision is a message that is to be learned.
type Decision struct {
	ID   ID
	Spam bool
	// At is the event that decided it, From the one whose lesson is learned.
	At, From int64
	// Trusted says that an admin decided it, Imported that it came with many others.
	Trusted, Imported bool
}

// Plan finds out which messages are to be learned, and in which order, from events that come in one by one. The same events
// give the same plan.
type Plan struct {
	rules   Rules
	ballots map[ID]*ballot
	waiting []ID // undecided messages of users, the oldest first
	daily   map[day]int
	latest  int64 // the latest day in daily
	seq     int64
}

const secondsOfDay = 86400

type day struct {
	by  string
	day int64
}

// ballot has what is said of one message.
type ballot struct {
	votes  map[string]*Event // by who says it
	answer Decision
	done   bool
}

// NewPlan makes an empty plan.
func NewPlan(r Rules) *Plan {
	return &Plan{rules: r, ballots: map[ID]*ballot{}, daily: map[day]int{}}
}

// Seq is the number of the last event that was added.
func (p *Plan) Seq() int64 { return p.seq }

// Passed says that there was nothing more up to an event.
func (p *Plan) Passed(seq int64) { p.seq = max(p.seq, seq) }

// Add takes the next event. It gives the messages that are to be learned now; redo says that an earlier decision has changed,
// so that all has to be learned anew.
func (p *Plan) Add(e *Event) (learn []Decision, redo bool) {
	p.seq = e.Seq
	switch e.Kind {
	case Taught:
		learn, redo = p.taught(e)
		// imports are mixed, see Decisions
		return learn, redo || slices.ContainsFunc(learn, func(d Decision) bool { return d.Imported })
	case Forgotten:
		return nil, p.known(e)
	case RolledBack:
		return nil, true
	}

	return nil, false
}

// known says whether a lesson is there that an event takes back.
func (p *Plan) known(e *Event) bool {
	b := p.ballots[e.ID]

	return b != nil && (e.By == "" || b.votes[e.By] != nil)
}

func (p *Plan) taught(e *Event) (learn []Decision, redo bool) {
	if !e.Trusted {
		today := day{e.By, e.Time.Unix() / secondsOfDay}
		p.newDay(today.day)
		if p.daily[today]++; p.daily[today] > p.rules.Daily {
			return nil, false
		}
	}
	b := p.ballots[e.ID]
	if b == nil {
		b = &ballot{votes: map[string]*Event{}}
		p.ballots[e.ID] = b
	}
	if was := b.votes[e.By]; was != nil && was.saysAll(e) {
		return nil, false
	}
	b.votes[e.By] = e

	return p.count(b, e)
}

// newDay leaves out days that are over. A clock that is a day behind is still counted.
func (p *Plan) newDay(now int64) {
	if now <= p.latest {
		return
	}
	p.latest = now
	maps.DeleteFunc(p.daily, func(d day, _ int) bool { return d.day < now-1 })
}

// saysAll holds if another event adds nothing to what this one says.
func (e *Event) saysAll(other *Event) bool {
	return e.Spam == other.Spam && (e.Trusted || !other.Trusted)
}

// count looks whether what is said of a message decides it now.
func (p *Plan) count(b *ballot, e *Event) (learn []Decision, redo bool) {
	answer, ok := b.decide(p.rules.Quorum, e)
	switch {
	case !ok && b.done:
		b.done = false
		return nil, true
	case !ok:
		return p.join(e), false
	case b.done && b.answer.Spam == answer.Spam:
		return nil, false
	case b.done:
		b.answer = answer
		return nil, true
	}
	b.answer, b.done = answer, true

	return []Decision{answer}, false
}

// decide counts votes. The last admin's word decides, without one so many users who agree.
func (b *ballot) decide(quorum int, e *Event) (Decision, bool) {
	d := Decision{ID: e.ID, At: e.Seq, From: e.Seq}
	var last *Event
	forSpam, forHam := map[string]bool{}, map[string]bool{}
	for _, v := range b.votes {
		switch {
		case v.Trusted:
			if last == nil || v.Seq > last.Seq {
				last = v
			}
		case v.Spam:
			forSpam[v.By] = true
		default:
			forHam[v.By] = true
		}
	}
	spam, ham := people(forSpam), people(forHam)
	if last != nil {
		d.Spam, d.From, d.Trusted, d.Imported = last.Spam, last.Seq, true, last.Way == Import
		return d, true
	}
	d.Spam = spam > ham
	if d.Spam != e.Spam { // the lesson to learn is one that says so
		for _, v := range b.votes {
			if v.Spam == d.Spam && (d.From == e.Seq || v.Seq < d.From) {
				d.From = v.Seq
			}
		}
	}

	return d, max(spam, ham) >= quorum && spam != ham
}

// people counts who says something. A login without a domain may be the same person's as one with it: "ann" at the IMAP door, where
// the server knows its domain, and "ann@corp.example" in a report.
func people(by map[string]bool) int {
	n, known := 0, map[string]bool{}
	for name := range by {
		if local, _, ok := strings.Cut(name, "@"); ok {
			known[local] = true
			n++
		}
	}
	for name := range by {
		if !strings.Contains(name, "@") && !known[name] {
			n++
		}
	}

	return n
}

// join looks for messages nearly the same of which other users said the same, enough of them to decide all.
func (p *Plan) join(e *Event) (learn []Decision) {
	kin, users := []*Event{}, map[string]bool{e.By: true}
	p.waiting = slices.DeleteFunc(p.waiting, func(id ID) bool {
		b := p.ballots[id]
		if b == nil || b.done || len(b.votes) == 0 {
			return true
		}
		old := true
		for _, by := range slices.Sorted(maps.Keys(b.votes)) {
			v := b.votes[by]
			old = old && e.Time.Sub(v.Time) > waitFor
			if v.ID != e.ID && v.Spam == e.Spam && v.Sketch.Alike(&e.Sketch) >= alike {
				kin, users[v.By] = append(kin, v), true
			}
		}

		return old
	})
	if people(users) < p.rules.Quorum {
		p.waiting = append(p.waiting, e.ID)
		p.waiting = p.waiting[max(0, len(p.waiting)-maxWaiting):]
		return nil
	}
	kin = append(kin, e)
	slices.SortFunc(kin, func(a, b *Event) int { return cmp.Compare(a.Seq, b.Seq) })
	for _, v := range kin {
		if b := p.ballots[v.ID]; !b.done {
			b.answer, b.done = Decision{ID: v.ID, Spam: v.Spam, At: e.Seq, From: v.Seq}, true
			learn = append(learn, b.answer)
		}
	}

	return learn
}

// Decisions are all messages that are to be learned, in their order. Those that were imported change places among each other,
// in an order of chance that their IDs decide: they come in blocks, a folder of spam and one of honest mail, and a model
// learns less from blocks than from mail as it comes in.
func (p *Plan) Decisions() []Decision {
	var all []Decision
	for _, b := range p.ballots {
		if b.done {
			all = append(all, b.answer)
		}
	}
	slices.SortFunc(all, func(a, b Decision) int {
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.From, b.From))
	})
	var places []int
	var mixed []Decision
	for i, d := range all {
		if d.Imported {
			places, mixed = append(places, i), append(mixed, d)
		}
	}
	slices.SortFunc(mixed, func(a, b Decision) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	for n, i := range places {
		all[i] = mixed[n]
	}

	return all
}

// Waiting counts messages of which too few say the same.
func (p *Plan) Waiting() int {
	n := 0
	for _, b := range p.ballots {
		if !b.done && len(b.votes) > 0 {
			n++
		}
	}

	return n
}

// Holding leaves out what was rolled back, and lessons that were forgotten: as if they had never been. What takes back is
// itself void once it is rolled back.
func Holding(all []Event) []Event {
	void := map[int64]bool{}
	type who struct {
		id ID
		by string
	}
	forgotten := map[who]bool{}
	var ranges []*Event
	for i := range slices.Backward(all) {
		e := &all[i]
		back := slices.ContainsFunc(ranges, func(r *Event) bool {
			return e.Seq >= r.From && e.Seq <= r.To && (r.All || !e.Trusted)
		})
		switch {
		case back, e.Kind == Taught && (forgotten[who{e.ID, e.By}] || forgotten[who{e.ID, ""}]):
			void[e.Seq] = true
		case e.Kind == RolledBack:
			ranges = append(ranges, e)
		case e.Kind == Forgotten:
			forgotten[who{e.ID, e.By}] = true
		}
	}

	return slices.DeleteFunc(slices.Clone(all), func(e Event) bool { return void[e.Seq] || e.Kind != Taught })
}
