package health

import (
	"strings"
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

// TroubleKinds are the words of Trouble.Kind.
func TroubleKinds() []string {
	return []string{"filter", "dns", "ldap", "hop", "mail_backend", "state", "ledger", "disk", "records", "queue", "given_up", "certificate",
		"probe", "muted", "frozen", "learn_folder"}
}

// Trouble is the kind of trouble that it is if a dependency is away.
func (d Dependency) Trouble() string {
	switch d.Kind {
	case "redis":
		return "state"
	case "database":
		return "ledger"
	}
	return d.Kind
}

// Text says that a dependency is slow or away, and what that means.
func (d Dependency) Text() string {
	what := strings.TrimSpace(map[string]string{"filter": "the scanner of filter", "dns": "DNS:", "ldap": "the directory for", "hop": "next hop",
		"mail_backend": "mail_backend", "redis": "", "database": "the database of the", "disk": "the disk of"}[d.Kind] + " " + d.Name)
	what += " is " + string(d.State)
	if !d.Since.IsZero() {
		what += " since " + d.Since.Local().Format("15:04:05")
	}
	if d.Address != "" {
		what += " (" + d.Address + ")"
	}
	if d.Why != "" {
		what += ": " + d.Why
	}
	if d.State == Slow && !d.Late {
		return what + ": what needs it waits that long"
	}
	return what + ": " + d.Without
}
