package filters

import (
	"context"
	"errors"
	"time"
)

// AdminTable is a filter's state that an admin may read and correct: greylisted clients, frozen users.
type AdminTable interface {
	// Rows lists what is on it, most rows at most.
	Rows(ctx context.Context, limit int) ([]Row, error)
	// Verbs are what Apply can do.
	Verbs() []string
	// Apply does what a verb says with the row of a key. ErrNoRow if there is none.
	Apply(ctx context.Context, verb, key string) error
}

// Row is one row of an admin table.
type Row struct {
	Key   string    `json:"key"`
	Text  string    `json:"text,omitempty"`
	Since time.Time `json:"since,omitzero"`
	Until time.Time `json:"until,omitzero"`
}

// Errors of Apply.
var (
	ErrNoRow       = errors.New("there is no such entry")
	ErrUnknownVerb = errors.New("that can't be done here")
)

// AdminTables are those of the chain's filters, by the filter's name.
func (c *Chain) AdminTables() map[string]AdminTable {
	all := map[string]AdminTable{}
	for _, wave := range c.waves {
		for _, l := range wave {
			if s, ok := l.Filter.(AdminTable); ok {
				all[l.Spec.Name] = s
			}
		}
	}
	return all
}
