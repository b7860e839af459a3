// Package lessonlog is the log of all lessons of the classifier: who taught what, when and how, and what was taken back. It
// is only ever appended to, so what the classifier knows can be told, repeated and rolled back to any point. It has the hashed
// features of messages, never their text.
package lessonlog

import (
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"postern/filters/classify/model"
)

// Kind says what an event is.
type Kind string

// The kinds.
const (
	// Taught is a lesson: somebody says of a message that it is spam, or that it is none.
	Taught Kind = "taught"
	// Forgotten takes back what By said of a message, or, without By, what anybody said.
	Forgotten Kind = "forgotten"
	// RolledBack takes back the events From to To.
	RolledBack Kind = "rolled back"
)

// ID names a message: the first octets of the SHA-256 that it has in the journal of lessons.
type ID [16]byte

// String is the ID in hexadecimal.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// ParseID reads an ID, or the whole SHA-256 of which it is the beginning.
func ParseID(text string) (id ID, err error) {
	octets, err := hex.DecodeString(text)
	if err != nil || len(octets) < len(id) {
		return ID{}, fmt.Errorf("%.80q is no message's id: want at least %d hexadecimal digits", text, 2*len(id))
	}
	copy(id[:], octets)

	return id, nil
}

// Event is one thing that happened. It has no text of any message.
type Event struct {
	// Seq is its number, which the log gives.
	Seq  int64
	Kind Kind
	ID   ID
	Spam bool
	// By is the login or name of who did it, Way the way it came: move, release, learn …
	By, Way string
	// Trusted events are an admin's: they count at once and for all. Users' lessons wait for others that say the same.
	Trusted bool
	Time    time.Time
	// Sketch tells messages that are nearly the same.
	Sketch model.Sketch
	// From and To are the events that a roll-back voids, the trusted ones only with All.
	From, To int64
	All      bool
	// Lesson is written by model.Lesson; it is left out where events are only listed.
	Lesson []byte
}

// ErrEvent says that octets are no event.
var ErrEvent = errors.New("not an event of the classifier's log")
