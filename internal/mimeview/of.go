package mimeview

import (
	"time"

	"postern/internal/mail"
)

// sharedTime is how long the shared view of a message may take to read it, below the time that a filter has by default.
const sharedTime = 8 * time.Second

type sharedKey struct{}

// Of gives the one view of a message that all who look at it share, with the default limits. It is closed with the
// message. What takes longer than 8 s to read ends with LimitTime.
func Of(m *mail.Message) *View {
	return m.Derive(sharedKey{}, func() any {
		end := time.Now().Add(sharedTime)
		return New(m, Options{Stop: func() bool { return time.Now().After(end) }})
	}).(*View)
}
