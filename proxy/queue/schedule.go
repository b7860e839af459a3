package queue

import (
	"cmp"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"postern/internal/mail"
)

// fullScan is how often the folder is read even if nothing seems to have changed.
const fullScan = time.Minute

// schedule starts what is due and looks for what others put into the folder, until Close.
func (q *Queue) schedule() {
	tick := time.NewTicker(q.o.Rescan)
	defer tick.Stop()
	var seen time.Time
	var scanned time.Time
	for {
		q.startDue(time.Now())
		select {
		case <-q.stop:
			return
		case <-q.wake:
		case now := <-tick.C:
			changed := latest(q.o.Dir, filepath.Join(q.o.Dir, requestDir))
			// A file that came in the same tick of the file system's clock as the last scan does not move the time again:
			// a folder that changed a short while ago is read once more.
			if !changed.Equal(seen) || scanned.Sub(changed) < 2*time.Second || now.Sub(scanned) > fullScan {
				seen, scanned = changed, now
				q.scan()
				q.serveRequests()
			}
		}
	}
}

func latest(paths ...string) time.Time {
	var last time.Time
	for _, p := range paths {
		if info, err := os.Stat(p); err == nil && info.ModTime().After(last) {
			last = info.ModTime()
		}
	}
	return last
}

// tidy removes what a crash left half done: files that were never renamed, states of messages that are gone.
func (q *Queue) tidy() {
	for _, dir := range []string{"", stateDir, failedDir, expiredDir} {
		for _, name := range names(q.path(dir, "")) {
			info, err := os.Lstat(q.path(dir, name))
			if err != nil {
				continue
			}
			half := strings.HasPrefix(name, ".new-") && time.Since(info.ModTime()) > 10*time.Minute
			orphan := dir == stateDir && mail.ValidID(name) && !q.exists("", name)
			if half || orphan {
				q.remove(q.path(dir, name))
			}
		}
	}
}

// scan takes up files that it does not know, and forgets those that are gone.
func (q *Queue) scan() {
	here := map[string]bool{}
	for _, id := range names(q.o.Dir) {
		if !mail.ValidID(id) {
			continue
		}
		here[id] = true
		q.mu.Lock()
		_, delivered := q.done[id]
		known := q.entries[id] != nil || q.puts[id] != nil || delivered
		q.mu.Unlock()
		if known {
			continue
		}
		if info, err := os.Lstat(q.path("", id)); err != nil || !info.Mode().IsRegular() {
			continue
		}
		e := &entry{id: id, next: time.Now()}
		if s, err := q.readState(id); err == nil {
			e.attempts = s.Attempts
			// After a jump of the clock a message must not wait for ever.
			e.next = s.Next
			if limit := time.Now().Add(q.o.MaxBackOff); e.next.After(limit) {
				e.next = limit
			}
		}
		q.mu.Lock()
		if q.entries[id] == nil {
			q.entries[id] = e
		}
		q.mu.Unlock()
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for id, e := range q.entries {
		if !here[id] && !e.busy && !q.exists("", id) {
			delete(q.entries, id)
		}
	}
	for id, when := range q.done {
		if time.Since(when) > time.Hour {
			delete(q.done, id)
		}
	}
}

// names lists a folder; an unreadable one is as good as empty until the next look.
func names(dir string) []string {
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	all := make([]string, 0, len(list))
	for _, one := range list {
		if !one.IsDir() {
			all = append(all, one.Name())
		}
	}
	return all
}

// startDue starts the attempts that are due, the longest due first, as far as workers are free.
func (q *Queue) startDue(now time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.stopping || q.running >= q.o.Workers {
		return
	}
	var due []*entry
	for _, e := range q.entries {
		if !e.busy && !e.next.After(now) {
			due = append(due, e)
		}
	}
	slices.SortFunc(due, func(a, b *entry) int {
		return cmp.Or(a.next.Compare(b.next), strings.Compare(a.id, b.id))
	})
	perRoute := max(1, (q.o.Workers+1)/2)
	for _, e := range due {
		if q.running >= q.o.Workers {
			return
		}
		if e.route != "" && q.byRoute[e.route] >= perRoute {
			continue
		}
		e.busy = true
		q.running++
		route := e.route
		q.byRoute[route]++
		q.work.Go(func() {
			result := q.attempt(e)
			q.finish(e, route, result)
		})
	}
}

// outcome is what an attempt means for the schedule.
type outcome struct {
	gone  bool // no recipient is left
	took  bool // the hop took something
	down  bool // the hop could not be reached
	pause time.Duration
	route string
}

func (q *Queue) finish(e *entry, route string, r outcome) {
	q.mu.Lock()
	e.busy = false
	q.running--
	if q.byRoute[route]--; q.byRoute[route] == 0 {
		delete(q.byRoute, route)
	}
	e.down, e.next = r.down, time.Now().Add(r.pause)
	if r.route != "" {
		e.route = r.route
	}
	if r.gone {
		delete(q.entries, e.id)
		if len(q.done) < 100_000 {
			q.done[e.id] = time.Now()
		}
	}
	if r.took {
		// The hop is back: what only waited for that need not wait on.
		for _, other := range q.entries {
			if other.down && other.route == e.route && !other.busy {
				other.down, other.next = false, time.Now()
			}
		}
	}
	q.mu.Unlock()
	q.poke()
}

// backOff is the pause behind the n-th attempt.
func (q *Queue) backOff(n int) time.Duration {
	return min(q.o.MaxBackOff, q.o.MinBackOff<<min(max(n-1, 0), 16))
}

func (q *Queue) attemptContext() (context.Context, context.CancelFunc) {
	return context.WithTimeout(q.ctx, q.o.Attempt)
}
