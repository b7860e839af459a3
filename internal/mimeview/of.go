package mimeview

import (
	"time"

	"postern/internal/mail"
)

// sharedTime is how long the shared view of a message may take to read it, below the time that a filter has by default.
const sharedTime = 8 * time.Second

type sharedKey struct{}

// Bounds are the limits on text that an administrator sets. A zero is the default.
type Bounds struct{ Text, MaxText int }

type boundsKey struct{}

// Bound sets the limits of a message's shared view. It has no effect once the view was made, or the limits were set.
func Bound(m *mail.Message, b Bounds) {
	m.Derive(boundsKey{}, func() any { return b })
}

// Of gives the one view of a message that all who look at it share, with the limits of Bound, else the default ones. It is
// closed with the message. What takes longer than 8 s to read ends with LimitTime.
func Of(m *mail.Message) *View {
	return m.Derive(sharedKey{}, func() any {
		end := time.Now().Add(sharedTime)
		b, _ := m.Derive(boundsKey{}, func() any { return Bounds{} }).(Bounds)
		return New(m, Options{Text: b.Text, MaxText: b.MaxText, Stop: func() bool { return time.Now().After(end) }})
	}).(*View)
}
