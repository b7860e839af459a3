package policy

import (
	"math"
	"net/netip"
	"strings"
	"unicode/utf8"

	"postern/filters"
	"postern/internal/mail"
	"postern/internal/mimeview"
	"postern/policy/calendar"
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

	// Time is when it was judged, 0 if unknown: then no time window fits and nothing has expired.
	Time calendar.Minute `json:"time,omitempty"`
	// Groups are the directory's groups of an address, by its Key. An address that is not there has not been looked up.
	Groups map[string][]string `json:"groups,omitempty"`

	// The fields below are set only if the policy has rules: see Gather.

	// Size is that of the message in octets.
	Size int64 `json:"size,omitempty"`
	// Subject is decoded; it, MessageID, ListID and ReplyTo are UTF-8 of up to 1,000 octets each.
	Subject   string `json:"subject,omitempty"`
	MessageID string `json:"message_id,omitempty"`
	ListID    string `json:"list_id,omitempty"`
	ReplyTo   string `json:"reply_to,omitempty"`
	// Attachments are the files of the message, up to 100, under each name that a mail reader could show.
	Attachments []Attachment `json:"attachments,omitempty"`
	// AttachmentsPartial says that there are more, or that the message could not be read to its end: a rule that asks
	// for attachments then fails.
	AttachmentsPartial bool `json:"attachments_partial,omitempty"`
}

// Attachment is a file within a message.
type Attachment struct {
	// Name is as a reader shows it, Type the media type in lower case, as it was declared; Size is decoded, in octets.
	Name string `json:"name,omitempty" cel:"name"`
	Type string `json:"type,omitempty" cel:"type"`
	Size int64  `json:"size,omitempty" cel:"size"`
}

// Bounds of what facts hold.
const (
	maxFact        = 1000 // octets
	maxAttachments = 100
)

// attachments are the contents that have a name, or that are said to be attachments, in every reading.
func attachments(v *mimeview.View) (found []Attachment, partial bool) {
	for _, o := range v.Objects() {
		declared := len(o.Names) > 0
		for _, p := range o.Parts {
			declared = declared || p != nil && p.Attachment
		}
		if !declared {
			continue
		}
		names, types := o.Names, o.Types
		if len(names) == 0 {
			names = []string{""}
		}
		if len(types) == 0 {
			types = []string{""}
		}
		for _, name := range names {
			for _, kind := range types {
				if len(found) == maxAttachments {
					return found, true
				}
				found = append(found, Attachment{Name: fact(name), Type: fact(kind), Size: o.Size})
			}
		}
	}
	return found, len(v.Limits()) > 0 || v.Err() != nil
}

// fact bounds a text from outside, and makes it UTF-8, so that it is the same when it is read again from JSON.
func fact(text string) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= maxFact {
		return text
	}
	cut := maxFact
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut]
}

// Finding is a filter's finding as policy sees it.
type Finding struct {
	Symbol   string `json:"symbol"`
	Evidence string `json:"evidence,omitempty"`
	// Filter is the name of the filter that failed, for FILTER_FAILED.
	Filter string `json:"filter,omitempty"`
	// Away says that it failed because its server is down, and that mail may be judged without it.
	Away bool `json:"away,omitempty"`
	// Located says that what was found is a part that can be taken out.
	Located bool `json:"located,omitempty"`
	// Weight is the share of the symbol's score that counts: 0 for all of it, negative for none.
	Weight float64 `json:"weight,omitempty"`
}

// Proven reports whether SPF or DKIM authenticates this domain: only then does an allow entry for the sender apply.
func (f *Facts) Proven(domain string) bool { return aligned(mail.ASCIIDomain(domain), f.Authenticated) }

// Authenticated is a finding's value that authenticates the sender: that of SPF or DKIM when it passed.
type Authenticated interface {
	AuthenticatedDomains() []string
}

// Weighted is a finding's value with a confidence, such as a classifier's: only that share of its symbol's score
// counts, from 0 to 1.
type Weighted interface {
	Weight() float64
}

func finding(found mail.Finding) Finding {
	f := Finding{Symbol: found.Symbol, Evidence: found.Evidence}
	switch v := found.Value.(type) {
	case string:
		if found.Symbol == filters.Failed {
			f.Filter = v
		}
	case filters.Away:
		f.Filter, f.Away = string(v), true
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

// authors are the mailboxes of all From fields, read as every filter reads them. A field that can't be read gives none:
// a list entry then matches nothing, which is the safe side for allowing; filters flag such fields on their own.
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
