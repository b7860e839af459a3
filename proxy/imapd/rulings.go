package imapd

import (
	"container/list"
	"sync"

	"postern/proxy/mask"
	"postern/proxy/retrieval"
)

// cover overwrites b, the octets at off of a content.
type cover func(b []byte, off int64)

// maxPlans is how many plans a session keeps.
const maxPlans = 128

// rulings are what the session knows of messages in the selected mailbox, by UID. It is safe for both goroutines.
type rulings struct {
	mu     sync.Mutex
	judged map[uint32]retrieval.Ruling // of the command that is held back
	plans  map[uint32]*list.Element    // of planned
	order  list.List
}

type planned struct {
	uid  uint32
	plan *mask.Plan
}

// clear forgets all: another mailbox, other UIDs.
func (r *rulings) clear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.judged, r.plans = nil, nil
	r.order.Init()
}

// begin forgets what was judged for the command before.
func (r *rulings) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.judged = nil
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

// keep keeps a plan. The one not used for the longest time goes.
func (r *rulings) keep(uid uint32, p *mask.Plan) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if uid == 0 {
		return
	}
	if e, known := r.plans[uid]; known {
		e.Value = planned{uid, p}
		r.order.MoveToFront(e)
		return
	}
	if r.plans == nil {
		r.plans = map[uint32]*list.Element{}
	}
	r.plans[uid] = r.order.PushFront(planned{uid, p})
	if r.order.Len() > maxPlans {
		old := r.order.Remove(r.order.Back()).(planned)
		delete(r.plans, old.uid)
	}
}

// ruling gives what is known of a message, without looking into it.
func (s *session) ruling(uid uint32) (retrieval.Ruling, bool) {
	if uid == 0 {
		return retrieval.Ruling{}, false
	}
	if r, known := s.rulings.get(uid); known {
		return r, true
	}
	p := s.place(uid)
	if p.UID == 0 {
		return retrieval.Ruling{}, false
	}
	return s.opt.Desk.Known(s.ctx, p)
}
