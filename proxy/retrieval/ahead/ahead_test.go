package ahead

import (
	"sync"
	"testing"
)

// No session, no user and not all together take more than their bounds, in messages or in octets, and what was taken comes
// back.
func TestBounds(t *testing.T) {
	var room Room
	take := func(l *Line, octets int64) (all []*Job) {
		for {
			j := l.Take(octets)
			if j == nil {
				return all
			}
			all = append(all, j)
		}
	}
	one := room.Enter("ann")
	jobs := take(one, 1)
	if len(jobs) != Window {
		t.Errorf("a session takes %d", len(jobs))
	}
	jobs = append(jobs, take(room.Enter("ann"), 1)...)
	jobs = append(jobs, take(room.Enter("ann"), 1)...)
	if len(jobs) != 2*Window {
		t.Errorf("a user takes %d", len(jobs))
	}
	for range 100 {
		jobs = append(jobs, take(room.Enter(string(rune('a'+len(jobs)))), 1)...)
	}
	if int64(len(jobs)) != room.limit().messages {
		t.Errorf("all take %d, not %d", len(jobs), room.limit().messages)
	}
	for _, j := range jobs {
		j.Leave()
		j.Leave()
	}
	if room.all != (load{}) || len(room.users) != 0 || one.load != (load{}) {
		t.Errorf("left: %+v %v", room.all, room.users)
	}
	if n := len(take(room.Enter("ann"), 1<<20)); n != 4 {
		t.Errorf("%d messages of 1 MiB", n)
	}
}

func TestJobs(t *testing.T) {
	var room Room
	l := room.Enter("ann")
	var all sync.WaitGroup
	begin := make(chan struct{})
	for n := range int64(Window) {
		l.Take(1).Start(n, func() { <-begin })
		if l.Find(n) == nil {
			t.Errorf("%d is not there", n)
		}
	}
	all.Go(l.Wait)
	close(begin)
	all.Wait()
	if l.Find(0) != nil {
		t.Error("done, and still there")
	}
}
