package mail

import "sync"

// derived is what others made of a message, once for all who ask.
type derived struct {
	mu    sync.Mutex
	known map[any]func() any
}

// Derive gives what build makes of the message, which is made once for each key, whoever asks first. The key is of a
// type of the caller's own. It serves several goroutines.
func (m *Message) Derive(key any, build func() any) any {
	m.derived.mu.Lock()
	once := m.derived.known[key]
	if once == nil {
		once = sync.OnceValue(build)
		if m.derived.known == nil {
			m.derived.known = map[any]func() any{}
		}
		m.derived.known[key] = once
	}
	m.derived.mu.Unlock()
	return once()
}
