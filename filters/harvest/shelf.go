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
	rest = strings.TrimSuffix(rest, "}")
	for _, name := range []string{fast, slow, asks} { // of the form that state.Key gives
		f.env.State.Delete(ctx, kindCount+rest+"|"+name+"}")
	}
	f.env.State.Delete(ctx, key)
	return nil
}
