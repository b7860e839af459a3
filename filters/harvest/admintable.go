package harvest

import (
	"context"
	"strings"

	"postern/filters"
)

// Verbs implements filters.AdminTable.
func (f *filter) Verbs() []string { return []string{"forgive"} }

// Rows implements filters.AdminTable: the harvesters that are kept out.
func (f *filter) Rows(ctx context.Context, limit int) ([]filters.Row, error) {
	var rows []filters.Row
	for _, e := range f.env.State.List(ctx, kindBlock+":", limit) {
		rows = append(rows, filters.Row{Key: e.Key, Text: filters.Printable(string(e.Value)), Until: e.Expires})
	}
	return rows, nil
}

// Apply implements filters.AdminTable: a forgiven client starts anew.
func (f *filter) Apply(ctx context.Context, verb, key string) error {
	if verb != "forgive" {
		return filters.ErrUnknownVerb
	}
	rest, ours := strings.CutPrefix(key, kindBlock)
	if _, kept := f.env.State.Get(ctx, key); !kept || !ours || rest == "" || rest[0] != ':' {
		return filters.ErrNoRow
	}
	rest = strings.TrimSuffix(rest, "}")
	for _, name := range []string{fast, slow, asks} { // of the form that state.Key gives
		f.env.State.Delete(ctx, kindCount+rest+"|"+name+"}")
	}
	f.env.State.Delete(ctx, key)
	return nil
}
