package dnslists

import (
	"context"
	"fmt"

	"postern/filters"
)

// Rows shows each list: what it was asked and whether it is muted.
func (f *filter) Rows(_ context.Context, limit int) ([]filters.Row, error) {
	var rows []filters.Row
	for _, l := range f.lists[:min(limit, len(f.lists))] {
		rows = append(rows, l.kept())
	}
	return rows, nil
}

func (l *list) kept() filters.Row {
	h := &l.health
	h.mu.Lock()
	defer h.mu.Unlock()
	row := filters.Row{Key: l.name, Text: fmt.Sprintf("%s: asked %d, hits %d, unanswered %d", l.name, h.asked, h.hits, h.unanswered)}
	switch h.phase {
	case muted:
		row.Text += ", muted: " + h.reason
		row.Since, row.Until = h.since, h.until
	case fresh:
		row.Text += ", not probed yet"
	}
	if h.noIPv6 {
		row.Text += ", knows no IPv6"
	}
	return row
}

// Verbs are what an admin can do with a list.
func (f *filter) Verbs() []string { return []string{"mute", "unmute"} }

// Apply mutes a list until it is unmuted, or unmutes it after a probe.
func (f *filter) Apply(_ context.Context, verb, key string) error {
	for _, l := range f.lists {
		if l.name != key {
			continue
		}
		switch verb {
		case "mute":
			l.mute("by an admin", 0)
		case "unmute":
			l.unmute()
		default:
			return filters.ErrUnknownVerb
		}
		return nil
	}
	return filters.ErrNoRow
}

func (l *list) unmute() {
	h := &l.health
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.phase == muted {
		l.env.Log.Info("DNS list is asked again", "list", l.name, "was", h.reason)
		h.phase, h.reason = fresh, ""
	}
}
