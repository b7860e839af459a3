package imapd

import (
	"container/list"
	"sync"

	"postern/proxy/mask"
	"postern/proxy/retrieval"
)

// cover overwrites b, the octets at off of a content.
type cover func(b []byte, off int64)

// maxPlans is how many plans a session keeps; share bounds their octets.
const maxPlans = 128

// rulings are what the session knows of messages in the selected mailbox, by UID. It is safe for both goroutines.
type rulings struct {
	share *share

	mu     sync.Mutex
	judged map[uint32]retrieval.Ruling // of the command that is held back
	ends   map[slice]int64             // the same: where readers could see the body begin
	lost   map[uint32]bool             // the same: plans that there was no room for
	plans  map[uint32]*list.Element    // of planned
	order  list.List
}

// slice names a header of a message, or some fields of it.
type slice struct {
	uid     uint32
	section string
}

type planned struct {
	uid    uint32
	plan   *mask.Plan
	octets int64
}

// clear forgets all: another mailbox, other UIDs.
func (r *rulings) clear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.judged, r.ends, r.lost, r.plans = nil, nil, nil, nil
	for r.order.Len() > 0 {
		r.share.give(r.order.Remove(r.order.Back()).(planned).octets)
	}
}

// begin forgets what was found out for the command before.
func (r *rulings) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.judged, r.ends, r.lost = nil, nil, nil
}

func (r *rulings) set(uid uint32, ruling retrieval.Ruling) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.judged == nil {
		r.judged = map[uint32]retrieval.Ruling{}
	}
	r.judged[uid] = ruling
}

func (r *rulings) get(uid uint32) (retrieval.Ruling, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	ruling, known := r.judged[uid]
	return ruling, known
}

func (r *rulings) setEnd(uid uint32, section string, end int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ends == nil {
		r.ends = map[slice]int64{}
	}
	r.ends[slice{uid, section}] = end
}

// end gives where in a header some reader could see the body begin.
func (r *rulings) end(uid uint32, section string) (int64, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	end, known := r.ends[slice{uid, section}]
	return end, known
}

// plan gives the plan of a message, nil if there is none.
func (r *rulings) plan(uid uint32) *mask.Plan {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, known := r.plans[uid]
	if !known {
		return nil
	}
	r.order.MoveToFront(e)
	return e.Value.(planned).plan
}

// over says whether the plan of a message was made for this command, and there was no room for it.
func (r *rulings) over(uid uint32) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lost[uid]
}

// keep keeps a plan, if there is room. Those not used for the longest time go first.
func (r *rulings) keep(uid uint32, p *mask.Plan) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if uid == 0 {
		return
	}
	if e, known := r.plans[uid]; known {
		r.drop(e)
	}
	octets := p.Octets()
	for r.order.Len() >= maxPlans || !r.share.take(octets) {
		oldest := r.order.Back()
		if oldest == nil {
			r.lose(uid)
			return
		}
		r.lose(oldest.Value.(planned).uid)
		r.drop(oldest)
	}
	if r.plans == nil {
		r.plans = map[uint32]*list.Element{}
	}
	r.plans[uid] = r.order.PushFront(planned{uid, p, octets})
	delete(r.lost, uid)
}

func (r *rulings) drop(e *list.Element) {
	p := r.order.Remove(e).(planned)
	delete(r.plans, p.uid)
	r.share.give(p.octets)
}

func (r *rulings) lose(uid uint32) {
	if r.lost == nil {
		r.lost = map[uint32]bool{}
	}
	r.lost[uid] = true
}

// ruling gives what is known of a message, without looking into it. What the verdicts knows now goes before what was found out
// for the command that is under way.
func (s *session) ruling(uid uint32) (retrieval.Ruling, bool) {
	if uid == 0 {
		return retrieval.Ruling{}, false
	}
	if p := s.place(uid); p.UID != 0 {
		if r, known := s.opt.VerdictCache.Known(s.Ctx, p); known {
			return r, true
		}
	}
	return s.rulings.get(uid)
}
