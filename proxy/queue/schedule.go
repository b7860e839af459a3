package queue

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"time"

	"postern/internal/mail"
)

// fullScan is how often the folder is read even without a visible change.
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

// tidy removes leftovers of a crash: files that were never renamed, states of messages that are gone.
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
		if !q.knows(id) {
			q.takeUp(id)
		}
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

// knows says whether a message waits here, is being put here, or was delivered a short while ago.
func (q *Queue) knows(id string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	_, delivered := q.done[id]

	return q.entries[id] != nil || q.puts[id] != nil || delivered
}

// takeUp makes an entry of a file.
func (q *Queue) takeUp(id string) {
	info, err := os.Lstat(q.path("", id))
	if err != nil || !info.Mode().IsRegular() {
		return
	}
	e := &entry{id: id, next: time.Now(), expires: info.ModTime().Add(q.o.Expiry)}
	if s, err := q.readState(id); err == nil {
		e.attempts = s.Attempts
		// After a jump of the clock a message must not wait for ever.
		e.next = s.Next
		if limit := time.Now().Add(q.o.MaxBackOff); e.next.After(limit) {
			e.next = limit
		}
	}

	q.mu.Lock()
	defer q.mu.Unlock()
	if q.entries[id] == nil {
		q.entries[id] = e
		q.due.set(e, e.next)
	}
}

// names lists a folder; an unreadable one counts as empty until the next scan.
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
	perRoute := max(1, (q.o.Workers+1)/2)
	valid := func(e *entry) bool { return q.entries[e.id] == e }
	for !q.stopping && q.running < q.o.Workers {
		e, l := q.due.next(now, perRoute, valid)
		if e == nil {
			return
		}
		e.busy, e.started, e.beside = true, now, l.running > 0
		q.running++
		l.running++
		l.probe = false
		q.work.Go(func() {
			result := q.attempt(e)
			q.finish(e, l, result)
		})
	}
}

// outcome is what an attempt means for the schedule.
type outcome struct {
	gone    bool // no recipient is left
	reached bool // the hop answered
	down    bool // the hop could not be reached
	pause   time.Duration
	route   mail.Route
}

func (q *Queue) finish(e *entry, l *line, r outcome) {
	q.mu.Lock()
	now := time.Now()
	e.busy = false
	q.running--
	l.running--
	if !r.route.IsZero() {
		e.route = r.route
	}
	of := q.due.line(e.route)
	// Another attempt was requested while this one ran, or it missed the hop's return, or another one was trying the hop
	// and nothing was tried for this one: it says nothing about the hop.
	again := e.again || r.down && (e.started.Before(of.answered) || e.asked && e.beside)
	e.again, e.asked = false, false

	switch {
	case r.reached:
		of.reached(now)
	case r.down && !again:
		of.unreachable(now, min(q.backOff(of.failures+1), q.o.MinBackOff*5))
	}
	if again {
		r.down, r.pause, of.probe = false, 0, true
	}
	e.down = r.down
	if r.gone {
		delete(q.entries, e.id)
		if len(q.done) < 100_000 {
			q.done[e.id] = now
		}
	} else {
		q.due.set(e, now.Add(r.pause))
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
