package imapd

import (
	"slices"

	"postern/proxy/imapd/wire"
	"postern/proxy/retrieval/ahead"
)

// reading is how a client goes through a mailbox that fetches one message after the other.
type reading struct {
	box  *selected
	uid  bool
	last uint32
	step int // 1 for upwards, -1 for downwards
	run  int // how many messages it went that way
}

// steady is how many messages in a row make a reading that is foreseen.
const steady = 3

// foresee has messages judged that a client will ask for next: it fetches one after the other, and each would wait for its
// judgement. They are fetched without a trace in the mailbox, and what is found the verdicts remembers.
//
// RFC 9051 section 6.4.5: BODY.PEEK sets no flag.
func (s *session) foresee(c *wire.Command, set wire.Set) error {
	numbers := set.Numbers(2)
	if set.Saved || len(numbers) != 1 || set.Open(^uint32(0)) {
		s.reading = reading{}
		return nil
	}
	n := numbers[0]
	if !s.reading.goes(s.selected(), c.UID, n) || !s.flow.quiet() {
		return nil
	}
	wanted := s.unknown(c.UID, s.selected().along(c.UID, n, s.reading.step, ahead.Window))
	if !slices.Contains(wanted, n) {
		return nil
	}
	slices.Sort(wanted)
	return s.ask(fetchCommand(c.UID, wire.Of(wanted).String(), "(UID BODY.PEEK[])"), &own{bodies: true, foresight: true})
}

// goes takes the next number, and says whether the client went one way for a while.
func (r *reading) goes(box *selected, uid bool, n uint32) bool {
	step := 0
	if r.box == box && r.uid == uid {
		step = box.step(uid, r.last, n)
	}
	run := 0
	if step != 0 {
		run = 1
		if step == r.step {
			run = r.run + 1
		}
	}
	*r = reading{box, uid, n, step, run}
	return run >= steady
}

// unknown leaves out what is known, what is judged already, and what nobody would remember.
func (s *session) unknown(byUID bool, numbers []uint32) []uint32 {
	return slices.DeleteFunc(numbers, func(n uint32) bool {
		uid := n
		if !byUID {
			uid = s.selected().uid(n)
		}
		if s.place(max(uid, 1)).UID == 0 || uid != 0 && s.line.Find(int64(uid)) != nil {
			return true
		}
		_, known := s.ruling(uid)
		return known
	})
}

// step says whether a message stands next to another one: 1 behind it, -1 before it, else 0.
func (b *selected) step(uid bool, from, to uint32) int {
	for _, step := range []int{1, -1} {
		if next := b.along(uid, from, step, 2); len(next) == 2 && next[1] == to {
			return step
		}
	}
	return 0
}

// along gives the numbers of a message and of those that stand next to it one way, as far as is known; of UIDs that nobody
// asked for those that may be there.
func (b *selected) along(uid bool, from uint32, step, limit int) []uint32 {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := []uint32{from}
	at, known := b.position(from)
	known = known && uid
	next := int64(from)
	for len(all) < limit {
		next += int64(step)
		at += step
		if known && at < 0 {
			break // it was the first
		}
		if known && at < len(b.uids) && b.uids[at] != 0 {
			next = int64(b.uids[at])
		}
		if next < 1 || next > 1<<32-1 {
			break
		}
		all = append(all, uint32(next))
	}
	return all
}

// position finds a UID among those that are known. They ascend: RFC 9051 section 2.3.1.1.
func (b *selected) position(uid uint32) (int, bool) {
	low, high := 0, len(b.uids)
	for low < high {
		middle := (low + high) / 2
		switch found := b.uids[middle]; {
		case found == 0:
			return 0, false
		case found == uid:
			return middle, true
		case found < uid:
			low = middle + 1
		default:
			high = middle
		}
	}
	return 0, false
}

// wholes says whether one whole message is asked for, and nothing else of its content.
func wholes(items []wire.Item) bool {
	n := 0
	for _, it := range items {
		if it.Class == wire.Whole {
			n++
		}
	}
	return n == 1
}
