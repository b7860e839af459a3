package app

import (
	"fmt"
	"maps"
	"slices"
	"syscall"
	"time"

	"postern/proxy/health"
)

// Bounds beyond which there is trouble.
const (
	queueTooLong    = 1000
	certificateEnds = 7 * 24 * time.Hour
	diskTooFull     = 256 << 20 // free octets
	hoursAndMinutes = "15:04:05"
	watchEvery      = time.Second // interval of the check
)

// Troubles are all current troubles, in a fixed order.
func (a *App) Troubles() []health.Trouble {
	var all []health.Trouble
	add := func(kind, subject string, since time.Time, format string, args ...any) {
		all = append(all, health.Trouble{Kind: kind, Subject: subject, Text: fmt.Sprintf(format, args...), Since: since})
	}
	for _, d := range a.Dependencies() {
		if d.State != health.Up {
			add(d.Trouble(), d.Name, d.Since, "%s", d.Text())
			all[len(all)-1].State = d.State
		}
	}
	if n := a.Ledger.Dropped(); n > 0 {
		add("records", "ledger", time.Time{}, "%d records found no room and are lost", n)
	}
	for _, hop := range a.Relay.Health() {
		if !hop.Up && !slices.ContainsFunc(all, func(t health.Trouble) bool { return t.Kind == "hop" && t.Subject == hop.Route+" "+hop.Hop }) {
			add("hop", hop.Route+" "+hop.Hop, hop.LastErrorAt, "next hop %s does not take mail (%s): senders are told to come again, or their mail is queued", hop.Hop, hop.LastError)
		}
	}
	lost := a.lost.now(a.out.Now(), a.Queue.GivenUp())
	if n := a.Queue.Len(); n > queueTooLong {
		add("queue", "queue", time.Time{}, "%d messages wait for a next hop", n)
	}
	for _, route := range slices.Sorted(maps.Keys(lost)) {
		l := lost[route]
		add("given_up", route, l.since, "mail for %d recipients was not delivered by way of %s and is tried no more, see postern queue list: %s", l.n, route, l.why)
	}
	if a.certificates != nil {
		if end := a.certificates.Expiry(); !end.IsZero() && end.Sub(a.out.Now()) < certificateEnds {
			add("certificate", "certificate", time.Time{}, "a certificate ends at %s", end.Local().Format("2006-01-02 15:04"))
		}
	}
	for _, m := range a.Breaker.Muted() {
		add("muted", m.Symbol, m.Since, "%s weighs nothing until %s: %s", m.Symbol, m.Until.Local().Format(hoursAndMinutes), m.Why)
	}
	all = append(all, a.frozen.troubles(a.out.Now())...)
	all = append(all, a.folders.troubles()...)
	if failed := a.probes.Failed(); failed != "" {
		add("probe", "probe", time.Time{}, "the last test messages did not fare as they should: %s", failed)
	}
	return all
}

// diskLeft is the free space of a folder's disk, in octets.
func diskLeft(dir string) (int64, error) {
	var disk syscall.Statfs_t
	if err := syscall.Statfs(dir, &disk); err != nil {
		return 0, err
	}
	return int64(disk.Bavail) * disk.Bsize, nil //nolint:gosec // no disk is that large
}
