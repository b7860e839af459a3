// Package ahead bounds the judgements that reading doors make before the client's turn comes: several side by side, so
// many messages and octets for each session, each user and the program. Who gets no place judges in turn, as before.
package ahead

import (
	"runtime"
	"sync"
)

// bound is how many messages may be under way, and how many octets they may have.
type bound struct{ messages, octets int64 }

func (b bound) holds(l load) bool { return l.messages <= b.messages && l.octets <= b.octets }

// Bounds of one session and of one user in all sessions.
func forSession() bound { return bound{Window, 4 << 20} }
func forUser() bound    { return bound{2 * Window, 8 << 20} }

// Window is how many messages of a session may be under way.
const Window = 16

// load is what is under way.
type load struct{ messages, octets int64 }

func (l load) plus(octets int64) load { return load{l.messages + 1, l.octets + octets} }

// Room is what all sessions of a door share. Its zero value is ready.
type Room struct {
	mu    sync.Mutex
	all   load
	users map[string]load
}

// most is the bound of all sessions: enough to keep every processor busy while others wait for a name server or a scanner.
func (r *Room) limit() bound {
	return bound{int64(max(4*Window, 8*runtime.GOMAXPROCS(0))), 64 << 20}
}

// Enter lets a session in.
func (r *Room) Enter(user string) *Line {
	return &Line{room: r, user: user, jobs: map[int64]*Job{}}
}

// Line is what one session has under way. It is safe for use by several goroutines.
type Line struct {
	room *Room
	user string

	// below room.mu
	load load
	jobs map[int64]*Job
}

// Job is one message that is judged ahead.
type Job struct {
	line   *Line
	octets int64
	done   chan struct{}
	once   sync.Once
}

// Take takes a place for a message of so many octets, nil if there is none. The place is the caller's until Leave.
func (l *Line) Take(octets int64) *Job {
	r := l.room
	r.mu.Lock()
	defer r.mu.Unlock()
	mine, users, all := l.load.plus(octets), r.users[l.user].plus(octets), r.all.plus(octets)
	if !forSession().holds(mine) || !forUser().holds(users) || !r.limit().holds(all) {
		return nil
	}
	if r.users == nil {
		r.users = map[string]load{}
	}
	l.load, r.users[l.user], r.all = mine, users, all
	return &Job{line: l, octets: octets, done: make(chan struct{})}
}

// Leave gives the place back. It may be called again.
func (j *Job) Leave() { j.once.Do(j.leave) }

func (j *Job) leave() {
	l, r := j.line, j.line.room
	r.mu.Lock()
	defer r.mu.Unlock()
	less := func(from load) load { return load{from.messages - 1, from.octets - j.octets} }
	l.load, r.all = less(l.load), less(r.all)
	if left := less(r.users[l.user]); left.messages > 0 {
		r.users[l.user] = left
	} else {
		delete(r.users, l.user)
	}
}

// Start lets work judge the message in its own goroutine, which must not panic. Until it is done Find gives the job for
// this number.
func (j *Job) Start(number int64, work func()) {
	l := j.line
	l.room.mu.Lock()
	l.jobs[number] = j
	l.room.mu.Unlock()
	go func() {
		defer close(j.done)
		work()
		l.room.mu.Lock()
		defer l.room.mu.Unlock()
		if l.jobs[number] == j {
			delete(l.jobs, number)
		}
	}()
}

// Done is closed once the judgement is there.
func (j *Job) Done() <-chan struct{} { return j.done }

// Find gives the judgement of a message that is under way, nil for none.
func (l *Line) Find(number int64) *Job {
	l.room.mu.Lock()
	defer l.room.mu.Unlock()
	return l.jobs[number]
}

// Wait waits for all judgements that are under way.
func (l *Line) Wait() {
	for {
		var one *Job
		l.room.mu.Lock()
		for _, one = range l.jobs {
			break
		}
		l.room.mu.Unlock()
		if one == nil {
			return
		}
		<-one.done
	}
}
