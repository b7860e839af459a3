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

// Import is the way of lessons that come many at once, from folders of an admin.
const Import = "import"

// ID names a message: the first octets of the SHA-256 that it has in the journal of lessons.
type ID [16]byte

// String is the ID in hexadecimal.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// UnmarshalText implements encoding.TextUnmarshaler.
func (id *ID) UnmarshalText(text []byte) (err error) {
	*id, err = ParseID(string(text))

	return err
}

// MarshalText implements encoding.TextMarshaler.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// ParseID reads an ID, or the whole SHA-256 of which it is the beginning.
func ParseID(text string) (id ID, err error) {
	octets, err := hex.DecodeString(text)
	if err != nil || len(octets) < len(id) {
		return ID{}, fmt.Errorf("%.80q: %w: want at least %d hexadecimal digits", text, ErrID, 2*len(id))
	}
	copy(id[:], octets)

	return id, nil
}

// Event is one thing that happened. It has no text of any message.
type Event struct {
	// Seq is its number, which the log gives.
	Seq  int64 `json:"seq"`
	Kind Kind  `json:"kind"`
	ID   ID    `json:"id"`
	Spam bool  `json:"spam"`
	// By is the login or name of who did it, Way the way it came: move, release, learn …
	By  string `json:"by"`
	Way string `json:"way"`
	// Trusted events are an admin's: they count at once and for all. Users' lessons wait for others that say the same.
	Trusted bool      `json:"trusted"`
	Time    time.Time `json:"time"`
	// Sketch tells messages that are nearly the same.
	Sketch model.Sketch `json:"-"`
	// From and To are the events that a roll-back voids, the trusted ones only with All.
	From int64 `json:"from,omitempty"`
	To   int64 `json:"to,omitempty"`
	All  bool  `json:"all,omitempty"`
	// Lesson is written by model.Lesson; it is left out where events are only listed.
	Lesson []byte `json:"-"`
}

// ErrID says that a text names no message.
var ErrID = errors.New("not the id of a message")

// ErrEvent says that octets are no event.
var ErrEvent = errors.New("not an event of the classifier's log")
