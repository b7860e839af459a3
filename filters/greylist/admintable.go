package greylist

import (
	"context"
	"strings"

	"postern/filters"
)

// Verbs implements filters.AdminTable: "pass" lets the next try in, from wherever it comes; "forget" lets the wait begin anew.
func (f *filter) Verbs() []string { return []string{"pass", "forget"} }

// Rows implements filters.AdminTable: the waiting senders.
func (f *filter) Rows(ctx context.Context, limit int) ([]filters.Row, error) {
	var rows []filters.Row
	for _, about := range []string{aboutDomain, aboutNetwork} {
		for _, e := range f.env.State.List(ctx, kindWaiting+":{"+about+"|", limit-len(rows)) {
			rows = append(rows, filters.Row{Key: e.Key, Text: filters.Printable(unpack(e.Value).text), Since: since(e.Value), Until: e.Expires})
		}
		if len(rows) >= limit {
			break
		}
	}
	return rows, nil
}

// Apply implements filters.AdminTable.
func (f *filter) Apply(ctx context.Context, verb, key string) error {
	if verb != "pass" && verb != "forget" {
		return filters.ErrUnknownVerb
	}
	rest, ours := strings.CutPrefix(key, kindWaiting)
	value, kept := f.env.State.Get(ctx, key)
	if !kept || !ours || !strings.HasPrefix(rest, ":") {
		return filters.ErrNoRow
	}
	e := unpack(value)
	if verb == "pass" {
		f.let(ctx, waitKey(rest))
		if e.anywhere != "" {
			f.env.State.Put(ctx, e.anywhere.passed(), []byte{1}, f.settings.Retry.Std())
		}
	}
	for _, k := range []waitKey{waitKey(rest), e.anywhere, e.helo} {
		if k != "" {
			f.env.State.Delete(ctx, k.waiting())
		}
	}
	return nil
}
