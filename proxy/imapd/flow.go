package imapd

import (
	"errors"
	"sync"

	"postern/proxy/imapd/wire"
)

// errEnded says that the session ended while a command was under way.
var errEnded = errors.New("the session ended")

// pending is a command that the backend has and has not completed yet.
type pending struct {
	tag, verb string
	// own marks one of our own commands: its answer is for nobody else.
	own *own
	// mailbox is that of SELECT, EXAMINE, COPY, MOVE, APPEND and REPLACE, as the client named it.
	mailbox string
	// status is "OK", "NO" or "BAD" once done.
	status string
	done   bool
	// asks is what a FETCH asks for, nil for none. putOff says that a message of it was left out: the client is told so.
	asks   *asked
	putOff string
	// whole says that it asks for whole messages and no other content; answered, that its completion came and waits for its
	// turn.
	whole, answered bool
	// completed is called when the tagged answer comes, before it is passed to the client. It may be nil.
	completed func(status, code, args string)
}

// asked is the set of a FETCH; uid says that it is of UIDs.
type asked struct {
	set wire.Set
	uid bool
}

func (p *pending) wants(number, uid uint32) bool {
	if p.asks == nil {
		return false
	}
	if p.asks.uid {
		return uid != 0 && p.asks.set.Has(uid)
	}
	return p.asks.set.Has(number)
}

// own is what a command of our own asked for and got.
type own struct {
	bodies bool // whole messages, to be judged; else numbers and UIDs
	found  []found
	count  int64 // of messages
	limit  int   // of found, 0 for no limit
	// keep asks for the front of messages, which are kept; lists for LIST; features for CAPABILITY.
	keep, lists, features bool
	kept                  []*kept
	// header asks for a header, to see in end where one of its readers could see the body begin.
	header, headers bool
	end             int64
	// foresight says that nobody asked for the bodies yet.
	foresight bool
	// moved is called with each message that comes.
	moved func()
}

// found is one message: its sequence number and its UID.
type found struct{ number, uid uint32 }

// of is what names it in a command of UIDs, or of sequence numbers.
func (f found) of(uid bool) uint32 {
	if uid {
		return f.uid
	}
	return f.number
}

// flow is what the two goroutines of a session agree on: which commands are under way, and whether the backend gave leave
// to send more of one.
type flow struct {
	mu      sync.Mutex
	change  *sync.Cond
	pending []*pending
	wanted  leave
	given   bool
	over    bool
}

// leave is what becomes of the backend's next continuation.
type leave uint8

const (
	leaveNone          leave = iota // nobody waits for one
	continuationOurs                // it is for us
	continuationTheirs              // the client waits for it
)

func newFlow() *flow {
	f := &flow{}
	f.change = sync.NewCond(&f.mu)
	return f
}

// maxPending is how many commands of a client may be under way; more stay unread.
const maxPending = 500

// add notes a command that is about to be sent. want says what the backend may ask while it is.
func (f *flow) add(p *pending, want leave) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.pending) >= maxPending && !f.over {
		f.change.Wait()
	}
	if f.over {
		return errEnded
	}
	f.pending = append(f.pending, p)
	f.wanted, f.given = want, false
	return nil
}

// full says whether add would have to wait.
func (f *flow) full() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.pending) >= maxPending
}

// want says what the next continuation is for.
func (f *flow) want(l leave) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wanted, f.given = l, false
}

// leave waits until the backend gave leave, or completed the command instead.
func (f *flow) leave(p *pending) (given bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for !f.given && !p.done && !f.over {
		f.change.Wait()
	}
	given = f.given
	f.wanted, f.given = leaveNone, false
	if f.over {
		return false, errEnded
	}
	return given && !p.done, nil
}

// give takes a continuation. It says what it is for; leaveNone means that the backend must not have sent it.
func (f *flow) give() leave {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.given {
		return leaveNone
	}
	l := f.wanted
	f.wanted = leaveNone
	if l != leaveNone {
		f.given = true
		f.change.Broadcast()
	}
	return l
}

// find gives the first command under way with this tag, nil if there is none. RFC 9051 section 2.2.1 wants tags to be
// unique; a client that repeats one gets its answers in the order of its commands.
func (f *flow) find(tag string) *pending {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.pending {
		if p.tag == tag && !p.answered {
			return p
		}
	}
	return nil
}

// answered notes that the completion of a command came.
func (f *flow) answered(p *pending) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p.answered = true
}

// first gives the first command under way that fits, nil if there is none.
func (f *flow) first(fits func(*pending) bool) *pending {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.pending {
		if fits(p) {
			return p
		}
	}
	return nil
}

// complete takes a command off.
func (f *flow) complete(p *pending, status string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, one := range f.pending {
		if one == p {
			f.pending = append(f.pending[:i], f.pending[i+1:]...)
			break
		}
	}
	p.status, p.done = status, true
	if len(f.pending) == 0 {
		f.pending = nil
	}
	f.change.Broadcast()
}

// drain waits until no command is under way.
func (f *flow) drain() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.pending) > 0 && !f.over {
		f.change.Wait()
	}
	if f.over {
		return errEnded
	}
	return nil
}

// wait waits until one command is completed.
func (f *flow) wait(p *pending) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for !p.done && !f.over {
		f.change.Wait()
	}
	if !p.done {
		return errEnded
	}
	return nil
}

// quiet says whether no command is under way.
func (f *flow) quiet() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.pending) == 0
}

// ownUnderWay gives the command of our own that the backend works on, nil if there is none.
func (f *flow) ownUnderWay() *own {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.pending) == 1 {
		return f.pending[0].own
	}
	return nil
}

// stop ends all waiting.
func (f *flow) stop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.over = true
	f.change.Broadcast()
}
