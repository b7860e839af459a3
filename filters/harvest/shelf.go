package harvest

import (
	"context"
	"strings"

	"postern/filters"
)

// Verbs implements filters.Shelf.
func (f *filter) Verbs() []string { return []string{"forgive"} }

// Kept implements filters.Shelf: the harvesters that are kept out.
func (f *filter) Kept(ctx context.Context, most int) ([]filters.Kept, error) {
	var rows []filters.Kept
	for _, e := range f.env.State.List(ctx, kindBlock+":", most) {
		rows = append(rows, filters.Kept{Key: e.Key, Text: filters.Printable(string(e.Value)), Until: e.Expires})
	}
	return rows, nil
}

// Correct implements filters.Shelf: who is forgiven begins anew.
func (f *filter) Correct(ctx context.Context, verb, key string) error {
	if verb != "forgive" {
		return filters.ErrUnknownVerb
	}
	rest, ours := strings.CutPrefix(key, kindBlock)
	if _, kept := f.env.State.Get(ctx, key); !kept || !ours || rest == "" || rest[0] != ':' {
		return filters.ErrNotKept
	}
	for _, kind := range []string{kindBlock, kindFast, kindSlow, kindAsks} {
		f.env.State.Delete(ctx, kind+rest)
	}
	return nil
}
