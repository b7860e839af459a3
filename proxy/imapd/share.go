package imapd

import "sync"

// Bounds of what is remembered of masked messages and of lessons, in octets: one session's, one user's in all sessions,
// and all users'.
const (
	maxShare     = 4 << 20
	maxUserShare = 16 << 20
	maxAllShares = 256 << 20
)

// room is what all sessions of a door share.
type room struct {
	mu    sync.Mutex
	all   int64
	users map[string]int64
}

// share is one session's part of the room. It is safe for use by several goroutines.
type share struct {
	room  *room
	user  string
	taken int64
}

func (r *room) share(user string) *share { return &share{room: r, user: user} }

// take takes so many octets, if they are there.
func (s *share) take(octets int64) bool {
	r := s.room
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.taken+octets > maxShare || r.users[s.user]+octets > maxUserShare || r.all+octets > maxAllShares {
		return false
	}
	if r.users == nil {
		r.users = map[string]int64{}
	}
	s.taken += octets
	r.users[s.user] += octets
	r.all += octets
	return true
}

// give gives octets back.
func (s *share) give(octets int64) {
	if octets == 0 {
		return
	}
	r := s.room
	r.mu.Lock()
	defer r.mu.Unlock()
	s.taken -= octets
	r.all -= octets
	if r.users[s.user] -= octets; r.users[s.user] <= 0 {
		delete(r.users, s.user)
	}
}

// close gives all back.
func (s *share) close() {
	s.room.mu.Lock()
	taken := s.taken
	s.room.mu.Unlock()
	s.give(taken)
}
