package policy

import (
	"math"
	"net/netip"
	"slices"

	"postern/filters"
	"postern/internal/mail"
)

// Facts are all that policy knows of a message. They are plain values that can be kept and judged again.
type Facts struct {
	Stage    mail.Stage   `json:"stage"`
	Outbound bool         `json:"outbound,omitempty"`
	Client   netip.Addr   `json:"client"`
	From     mail.Address `json:"from"`
	// HeaderFrom are the authors that the From field names, in order.
	HeaderFrom []mail.Address `json:"header_from,omitempty"`
	User       string         `json:"user,omitempty"`
	Findings   []Finding      `json:"findings,omitempty"`
	// Authenticated are the domains for which SPF or DKIM passed, sorted.
	Authenticated []string `json:"authenticated,omitempty"`
}

// Finding is a filter's finding as policy sees it.
type Finding struct {
	Symbol   string `json:"symbol"`
	Evidence string `json:"evidence,omitempty"`
	// Filter is the name of the filter that failed, for FILTER_FAILED.
	Filter string `json:"filter,omitempty"`
	// Located says that what was found is a part that can be taken out.
	Located bool `json:"located,omitempty"`
	// Weight is the share of the symbol's score that counts: 0 for all of it, negative for none.
	Weight float64 `json:"weight,omitempty"`
}

// Authenticated is a finding's value that proves who sent the message: that of SPF or DKIM when it passed.
type Authenticated interface {
	AuthenticatedDomains() []string
}

// Weighted is a finding's value that is more or less sure, such as a classifier's: only that share of its symbol's
// score counts, from 0 to 1.
type Weighted interface {
	Weight() float64
}

// FactsOf gathers the facts of a transaction at its stage.
func FactsOf(tx *mail.Transaction) Facts {
	f := Facts{
		Stage: tx.Stage, Outbound: tx.Session.Outbound(), Client: tx.Session.Client.Unmap().WithZone(""),
		From: tx.From, User: tx.Session.User,
	}
	if tx.Message != nil {
		f.HeaderFrom = authors(tx.Message.Header())
	}
	all := tx.AllFindings()
	f.Findings = make([]Finding, len(all))
	for i, found := range all {
		f.Findings[i] = finding(found)
		if a, ok := found.Value.(Authenticated); ok {
			for _, domain := range a.AuthenticatedDomains() {
				f.Authenticated = append(f.Authenticated, mail.ASCIIDomain(domain))
			}
		}
	}
	slices.Sort(f.Authenticated)
	f.Authenticated = slices.Compact(f.Authenticated)
	return f
}

func finding(found mail.Finding) Finding {
	f := Finding{Symbol: found.Symbol, Evidence: found.Evidence}
	switch v := found.Value.(type) {
	case string:
		if found.Symbol == filters.Failed {
			f.Filter = v
		}
	case filters.Located:
		f.Located = len(v.Spans) > 0
	case Weighted:
		w := v.Weight()
		switch {
		case math.IsNaN(w) || w <= 0:
			f.Weight = -1
		case w < 1:
			f.Weight = w
		}
	}
	return f
}

// authors are the mailboxes of all From fields, read as every filter reads them. A field that can't be read gives none: a
// list entry then finds nothing to match, which is the safe side for allowing; filters flag such fields on their own.
func authors(h *mail.Header) []mail.Address {
	var found []mail.Address
	for _, field := range h.All("From") {
		boxes, _, err := mail.ParseFrom(field.Value())
		if err != nil {
			return nil
		}
		for _, b := range boxes {
			found = append(found, b.Address)
		}
	}
	return found
}
