package ledger

import (
	"os"
	"sync"
)

// backlog is what waits to be written, in order: first what is in memory, then what was spilled into files.
type backlog struct {
	mu     sync.Mutex
	first  []entry
	spill  *spill
	added  uint64
	done   uint64
	queued []waiter
	closed bool
	away   bool          // the database is: what comes goes to a file at once, if there is one
	wake   chan struct{} // something has changed
}

// waiter waits until all that was added before it is written, or can't be.
type waiter struct {
	after uint64
	told  chan<- error
}

// maxMemory is how many records wait in memory before files are used.
const maxMemory = 8192

func newBacklog(s *spill) *backlog {
	b := &backlog{spill: s, wake: make(chan struct{}, 1)}
	if s != nil {
		b.added = uint64(s.left)
	}
	return b
}

func (b *backlog) rouse() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// add appends an entry. An error says that there is no room for it.
func (b *backlog) add(e entry) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.spill.empty() && len(b.first) < maxMemory && (!b.away || b.spill == nil) {
		b.first = append(b.first, e)
	} else {
		if b.spill == nil {
			return errSpillFull
		}
		if err := b.spill.add(e); err != nil {
			return err
		}
	}
	b.added++
	b.rouse()
	return nil
}

// wait signals on told when all that was added so far is written.
func (b *backlog) wait(told chan<- error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.queued = append(b.queued, waiter{b.added, told})
	b.release(nil, false)
	b.rouse()
}

// release wakes the waiters that are due, or all of them.
func (b *backlog) release(err error, all bool) {
	kept := b.queued[:0]
	for _, w := range b.queued {
		if !all && w.after > b.done {
			kept = append(kept, w)
			continue
		}
		w.told <- err
	}
	b.queued = kept
}

// giveUp notes that the database is down, and wakes all waiters with that error.
func (b *backlog) giveUp(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.away = true
	b.release(err, true)
}

// tell wakes all waiters, and does nothing else.
func (b *backlog) tell(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.release(err, true)
}

// goOn notes that the database is back.
func (b *backlog) goOn() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.away = false
}

// close says that nothing more will be added.
func (b *backlog) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.rouse()
}

// ready reports how much can be taken at once, whether a caller waits for it, and whether more may come.
func (b *backlog) ready() (n int, urgent, open bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n = len(b.first)
	if n == 0 && !b.spill.empty() {
		n = 1
	}
	return n, len(b.queued) > 0 || !b.spill.empty(), !b.closed
}

// next gives the oldest entries, which stay until finish. An error tells of records in a file that can't be read.
func (b *backlog) next(limit int) ([]entry, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var err error
	if len(b.first) == 0 && !b.spill.empty() {
		b.first, err = b.spill.take()
		// should there be more than was counted
		if ahead := b.done + uint64(len(b.first)); ahead > b.added {
			b.added = ahead
		}
	}
	return b.first[:min(limit, len(b.first)):min(limit, len(b.first))], err
}

// finish forgets the oldest n. It says how many more turned out to be lost, in files that could not be written or read.
func (b *backlog) finish(n int) (lost int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.first[:n] {
		if e.segment != "" {
			_ = os.Remove(e.segment) // left behind, it is written once more and changes nothing
		}
	}
	clear(b.first[:n])
	b.first = b.first[n:]
	if b.done += uint64(n); len(b.first) == 0 {
		b.first = nil
		if b.spill.empty() {
			lost = int(b.added - b.done)
			b.done = b.added
		}
	}
	b.release(nil, false)
	return lost
}

// waiting counts what is not written yet.
func (b *backlog) waiting() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return int(b.added - b.done)
}

// keep saves to files what is in memory, at the end. It says how many records that cost.
func (b *backlog) keep() (lost int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.release(errClosed, true)
	if b.spill == nil {
		return len(b.first), nil
	}
	if err := b.spill.rest(); err != nil {
		return len(b.first), err
	}
	if len(b.first) == 0 {
		return 0, nil
	}
	kept, err := b.spill.before(b.first)
	for _, e := range b.first {
		if e.segment != "" {
			_ = os.Remove(e.segment)
		}
	}
	return len(b.first) - kept, err
}
