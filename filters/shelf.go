package filters

import (
	"context"
	"errors"
	"time"
)

// Shelf is what a filter remembers that an admin may look into and correct: who waits on the greylist, who is frozen.
type Shelf interface {
	// Kept lists what is on it, most rows at most.
	Kept(ctx context.Context, most int) ([]Kept, error)
	// Verbs are what Correct can do.
	Verbs() []string
	// Correct does what a verb says with the row of a key. ErrNotKept if there is none.
	Correct(ctx context.Context, verb, key string) error
}

// Kept is one row of a shelf.
type Kept struct {
	Key   string    `json:"key"`
	Text  string    `json:"text,omitempty"`
	Since time.Time `json:"since,omitzero"`
	Until time.Time `json:"until,omitzero"`
}

// Errors of Correct.
var (
	ErrNotKept     = errors.New("there is no such entry")
	ErrUnknownVerb = errors.New("that can't be done here")
)

// Shelves are those of the chain's filters, by the filter's name.
func (c *Chain) Shelves() map[string]Shelf {
	all := map[string]Shelf{}
	for _, wave := range c.waves {
		for _, l := range wave {
			if s, ok := l.Filter.(Shelf); ok {
				all[l.Spec.Name] = s
			}
		}
	}
	return all
}
