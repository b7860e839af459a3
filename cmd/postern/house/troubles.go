package house

import (
	"fmt"
	"maps"
	"slices"
	"syscall"
	"time"
)

// Trouble is something that an admin should know of now. What it is about stands in Kind and Subject, which do not change
// while it lasts.
type Trouble struct {
	// Kind is one of a few words, for metrics: state, ledger, records, hop, queue, given_up, certificate, disk, probe.
	Kind    string `json:"kind"`
	Subject string `json:"subject,omitempty"`
	// Text says what is wrong, and what still works.
	Text  string    `json:"text"`
	Since time.Time `json:"since,omitzero"`
}

// Bounds beyond which there is trouble.
const (
	queueTooLong     = 1000
	certificateEnds  = 7 * 24 * time.Hour
	diskTooFull      = 256 << 20 // octets left
	hoursAndMinutes  = "15:04:05"
	probeFailsBefore = 2 // in a row
)

// Troubles are all that there are now, in a fixed order.
func (h *House) Troubles() []Trouble {
	var all []Trouble
	add := func(kind, subject string, since time.Time, format string, args ...any) {
		all = append(all, Trouble{kind, subject, fmt.Sprintf(format, args...), since})
	}
	if s := h.out.State.Health(); s.Degraded {
		add("state", "Redis", s.Since, "Redis is away since %s: this gateway counts on from its own memory", s.Since.Local().Format(hoursAndMinutes))
	}
	if l := h.Ledger.Health(); !l.Since.IsZero() {
		add("ledger", "database", l.Since, "the ledger's database is away since %s: mail flows, %d records wait", l.Since.Local().Format(hoursAndMinutes), l.Waiting)
	}
	if n := h.Ledger.Dropped(); n > 0 {
		add("records", "ledger", time.Time{}, "%d records found no room and are lost", n)
	}
	for _, hop := range h.Relay.Health() {
		if !hop.Up {
			add("hop", hop.Hop, time.Time{}, "next hop %s does not answer: senders are told to come again, or their mail is queued", hop.Hop)
		}
	}
	lost := h.lost.now(h.out.Now(), h.Queue.GivenUp())
	if n := h.Queue.Len(); n > queueTooLong {
		add("queue", "queue", time.Time{}, "%d messages wait for a next hop", n)
	}
	for _, route := range slices.Sorted(maps.Keys(lost)) {
		l := lost[route]
		add("given_up", route, l.since, "mail for %d recipients was not delivered by way of %s and is tried no more, see postern queue list: %s", l.n, route, l.why)
	}
	if h.certificates != nil {
		if end := h.certificates.Expiry(); !end.IsZero() && end.Sub(h.out.Now()) < certificateEnds {
			add("certificate", "certificate", time.Time{}, "a certificate ends at %s", end.Local().Format("2006-01-02 15:04"))
		}
	}
	var disk syscall.Statfs_t
	if err := syscall.Statfs(h.cfg.DataDir, &disk); err == nil {
		if left := disk.Bavail * uint64(disk.Bsize); left < diskTooFull { //nolint:gosec // block sizes are positive
			add("disk", "data_dir", time.Time{}, "data_dir has %d MB left: soon no mail can be taken", left>>20)
		}
	}
	for _, m := range h.Breaker.Muted() {
		add("muted", m.Symbol, m.Since, "%s weighs nothing until %s: %s", m.Symbol, m.Until.Local().Format(hoursAndMinutes), m.Why)
	}
	if failed := h.probe.failed(); failed != "" {
		add("probe", "probe", time.Time{}, "the last test messages did not fare as they should: %s", failed)
	}
	return all
}
