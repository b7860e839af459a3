package mail

import (
	"errors"
	"io"
	"sync"
)

// derived is what others made of a message, once for all who ask.
type derived struct {
	mu      sync.Mutex
	known   map[any]func() any
	closers []io.Closer
	closed  bool
}

// Derive gives what build makes of the message, which is made once for each key, whoever asks first. The key is of a
// type of the caller's own. It serves several goroutines. What is made is closed with the message if it is an io.Closer.
func (m *Message) Derive(key any, build func() any) any {
	m.derived.mu.Lock()
	once := m.derived.known[key]
	if once == nil {
		once = sync.OnceValue(func() any { return m.derived.keep(build()) })
		if m.derived.known == nil {
			m.derived.known = map[any]func() any{}
		}
		m.derived.known[key] = once
	}
	m.derived.mu.Unlock()
	return once()
}

// keep has a value closed with the message; one that comes too late is closed at once.
func (d *derived) keep(value any) any {
	c, ok := value.(io.Closer)
	if !ok {
		return value
	}
	d.mu.Lock()
	late := d.closed
	if !late {
		d.closers = append(d.closers, c)
	}
	d.mu.Unlock()
	if late {
		_ = c.Close() // there is no caller left to report the error to
	}
	return value
}

// close closes what was derived, the last first.
func (d *derived) close() error {
	d.mu.Lock()
	closers := d.closers
	d.closers, d.closed = nil, true
	d.mu.Unlock()
	var err error
	for i := len(closers) - 1; i >= 0; i-- {
		err = errors.Join(err, closers[i].Close())
	}
	return err
}
