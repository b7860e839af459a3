package app

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Trouble is something that an admin should know of now. What it is about stands in Kind and Subject, which do not change
// while it lasts.
type Trouble struct {
	// Kind is one of a few words, for metrics: those of troubleKinds.
	Kind    string `json:"kind"`
	Subject string `json:"subject,omitempty"`
	// State tells what is slow from what is away; trouble that changes from one to the other is told anew.
	State Standing `json:"state,omitempty"`
	// Text says what is wrong, and what still works.
	Text  string    `json:"text"`
	Since time.Time `json:"since,omitzero"`
}

func (t Trouble) key() string { return t.Kind + " " + t.Subject }

// troubleKinds are the words of Trouble.Kind.
func troubleKinds() []string {
	return []string{"filter", "dns", "ldap", "hop", "mail_backend", "state", "ledger", "disk", "records", "queue", "given_up", "certificate",
		"probe", "muted", "frozen"}
}

// Bounds beyond which there is trouble.
const (
	queueTooLong    = 1000
	certificateEnds = 7 * 24 * time.Hour
	diskTooFull     = 256 << 20 // octets left
	hoursAndMinutes = "15:04:05"
	watchEvery      = time.Second // how often is looked for trouble
)

// Troubles are all that there are now, in a fixed order.
func (h *App) Troubles() []Trouble {
	var all []Trouble
	add := func(kind, subject string, since time.Time, format string, args ...any) {
		all = append(all, Trouble{Kind: kind, Subject: subject, Text: fmt.Sprintf(format, args...), Since: since})
	}
	for _, d := range h.Dependencies() {
		if d.State != StandingUp {
			add(d.trouble(), d.Name, d.Since, "%s", d.text())
			all[len(all)-1].State = d.State
		}
	}
	if n := h.Ledger.Dropped(); n > 0 {
		add("records", "ledger", time.Time{}, "%d records found no room and are lost", n)
	}
	for _, hop := range h.Relay.Health() {
		if !hop.Up && !slices.ContainsFunc(all, func(t Trouble) bool { return t.Kind == "hop" && t.Subject == hop.Route+" "+hop.Hop }) {
			add("hop", hop.Route+" "+hop.Hop, hop.LastErrorAt, "next hop %s does not take mail (%s): senders are told to come again, or their mail is queued", hop.Hop, hop.LastError)
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
	for _, m := range h.Breaker.Muted() {
		add("muted", m.Symbol, m.Since, "%s weighs nothing until %s: %s", m.Symbol, m.Until.Local().Format(hoursAndMinutes), m.Why)
	}
	all = append(all, h.frozen.troubles(h.out.Now())...)
	if failed := h.probes.Failed(); failed != "" {
		add("probe", "probe", time.Time{}, "the last test messages did not fare as they should: %s", failed)
	}
	return all
}

// trouble is the kind of trouble that it is if a dependency is away.
func (d Dependency) trouble() string {
	switch d.Kind {
	case "redis":
		return "state"
	case "database":
		return "ledger"
	}
	return d.Kind
}

// text says that a dependency is slow or away, and what that means.
func (d Dependency) text() string {
	what := strings.TrimSpace(map[string]string{"filter": "the scanner of filter", "dns": "DNS:", "ldap": "the directory for", "hop": "next hop",
		"mail_backend": "mail_backend", "redis": "", "database": "the database of the", "disk": "the disk of"}[d.Kind] + " " + d.Name)
	what += " is " + string(d.State)
	if !d.Since.IsZero() {
		what += " since " + d.Since.Local().Format(hoursAndMinutes)
	}
	if d.Address != "" {
		what += " (" + d.Address + ")"
	}
	if d.Why != "" {
		what += ": " + d.Why
	}
	if d.State == StandingSlow && !d.Late {
		return what + ": what needs it waits that long"
	}
	return what + ": " + d.Without
}

// diskLeft is how much room a folder's disk has, in octets.
func diskLeft(dir string) (int64, error) {
	var disk syscall.Statfs_t
	if err := syscall.Statfs(dir, &disk); err != nil {
		return 0, err
	}
	return int64(disk.Bavail) * disk.Bsize, nil //nolint:gosec // no disk is that large
}
