// Package headers looks at the structure of a header section (RFC 5322 section 3.6) and at what it shows a reader. The
// address that DMARC judged must be the one that every reader shows; where that can't be said, policy refuses.
package headers

import (
	"context"
	"fmt"
	"strings"

	"postern/filters"
	"postern/internal/config"
	"postern/internal/mail"
)

// Settings are the filter's settings.
type Settings struct {
	// MaxHops is how many Received fields a message may have (RFC 5321 section 6.3: at least 100), MaxOwnHops how many
	// of them may be ours.
	MaxHops    int `toml:"max_hops"`
	MaxOwnHops int `toml:"max_own_hops"`
}

func defaults() Settings { return Settings{MaxHops: 100, MaxOwnHops: 4} }

// Spec is what is known of the filter.
var Spec = filters.Spec{
	Name:   "headers",
	Help:   "Looks at the structure of the header section and at the sender it shows.",
	Stages: mail.StageMessage, Content: true,
	Symbols: []filters.Symbol{
		{Name: "MULTIPLE_FROM", Score: 6, Action: filters.ActionReject, Form: true, Help: "There is more than one From field",
			Reply: "The mail has more than one From field, so nobody can tell who sent it (RFC 5322 section 3.6)"},
		{Name: "MISSING_FROM", Score: 6, Action: filters.ActionReject, Form: true, Help: "There is no From field",
			Reply: "The mail has no From field (RFC 5322 section 3.6)"},
		{Name: "FROM_INVALID", Score: 6, Action: filters.ActionReject, Form: true, Help: "From is read as one address by some readers and as another by others, or as none",
			Reply: "The From field can't be read without doubt (RFC 5322 section 3.4)"},
		{Name: "FROM_SLOPPY", Score: 0.5, Form: true, Help: "From breaks the rules of form, but only one address can be read in it"},
		{Name: "FROM_NO_ADDRESS", Score: 2, Form: true, Help: "From names no address; a bounce or an automatic answer that says it is one counts a quarter"},
		{Name: "FROM_UNQUALIFIED", Score: 1, Form: true, Help: "The domain in From has no dot, so it is nobody's on the Internet"},
		{Name: "FROM_GROUP", Score: 3, Action: filters.ActionQuarantine, Form: true, Help: "From is a group (RFC 6854): no domain stands for the mail"},
		{Name: "FROM_SEVERAL", Score: 2, Form: true, Help: "From holds several addresses"},
		{Name: "FROM_CONTROL", Score: 6, Action: filters.ActionReject, Form: true, Help: "From holds control characters or marks that turn the reading direction",
			Reply: "The From field holds characters that hide what it says"},
		{Name: "BROKEN_HEADERS", Score: 6, Action: filters.ActionReject, Form: true, Help: "The header section has a structure that readers read differently",
			Reply: "The header section is malformed (RFC 5322 section 2.2)"},
		{Name: "HEADER_SLOPPY", Score: 1, Form: true, Help: "The header section has small faults of form"},
		{Name: "HEADER_LIMIT", Score: 6, Action: filters.ActionReject, Form: true, Help: "The header section is larger than any honest one",
			Reply: "The header section is too large"},
		{Name: "HOPS_LIMIT", Score: 6, Action: filters.ActionReject, Help: "The mail goes round in a loop",
			Reply: "The mail goes round in a loop: too many hops (RFC 5321 section 6.3)"},
		{Name: "MULTIPLE_UNIQUE_HEADERS", Score: 2, Form: true, Help: "A field that may stand once stands there more often"},
		{Name: "MISSING_DATE", Score: 1, Form: true, Help: "There is no Date field"},
		{Name: "MISSING_MID", Score: 1, Form: true, Help: "There is no Message-ID field"},
		{Name: "FROM_NEQ_DISPLAY_NAME", Score: 3, Help: "The name shown with From is another address than the true one"},
		{Name: "SPOOF_DISPLAY_NAME", Score: 4, Help: "The name shown with From is an address of ours, the true one is not"},
	},
	Settings: func() any { s := defaults(); return &s },
	New: func(section config.Section, env filters.Env) (filters.Filter, error) {
		s := defaults()
		if err := section.Decode(&s); err != nil {
			return nil, err
		}
		if s.MaxHops < 10 || s.MaxOwnHops < 1 {
			return nil, fmt.Errorf("[filters.headers]: max_hops = %d and max_own_hops = %d: set at least 10 and 1", s.MaxHops, s.MaxOwnHops)
		}
		return filter{env, s}, nil
	},
}

type filter struct {
	env      filters.Env
	settings Settings
}

func (f filter) Inspect(_ context.Context, tx *mail.Transaction) ([]filters.Finding, error) {
	h := tx.Message.Header()
	var r report
	f.from(&r, tx)
	defects(&r, h)
	f.hops(&r, h)
	if names := repeated(h); len(names) > 0 {
		r.add("MULTIPLE_UNIQUE_HEADERS", strings.Join(names, ", "))
	}
	// RFC 5322 section 3.6: Date must be there, Message-ID should. RFC 6409 section 8 lets a submission lack both.
	if tx.Session.User == "" {
		if h.Count("Date") == 0 {
			r.add("MISSING_DATE", "")
		}
		if h.Count("Message-ID") == 0 {
			r.add("MISSING_MID", "")
		}
	}
	return r.found, nil
}

type report struct{ found []filters.Finding }

func (r *report) add(symbol, evidence string) {
	r.found = append(r.found, filters.Finding{Symbol: symbol, Evidence: filters.Printable(evidence)})
}

// addWeighed reports a symbol that counts for a part of its score.
func (r *report) addWeighed(symbol, evidence string, part share) {
	r.add(symbol, evidence)
	r.found[len(r.found)-1].Value = part
}

// share is the part of a symbol's score that counts, from 0 to 1.
type share float64

// Weight implements policy.Weighted.
func (s share) Weight() float64 { return float64(s) }

// defects sorts what the lexer of record found: what lets two readers see two things, and what is only bad form.
func defects(r *report, h *mail.Header) {
	var broken, sloppy, limits []string
	for _, d := range h.Defects {
		switch d {
		case mail.DefectTooManyFields, mail.DefectTooLong:
			limits = append(limits, string(d))
		case mail.DefectEmptyFold, mail.DefectNoBlankLine:
			sloppy = append(sloppy, string(d))
		case mail.DefectControl:
			if nul(h) {
				broken = append(broken, string(d))
			} else {
				sloppy = append(sloppy, string(d))
			}
		case mail.DefectSpaceBeforeColon, mail.DefectFieldName, mail.DefectNoColon:
			if harmless(h, d) {
				sloppy = append(sloppy, string(d))
			} else {
				broken = append(broken, string(d))
			}
		default:
			broken = append(broken, string(d))
		}
	}
	for _, group := range []struct {
		symbol string
		what   []string
	}{{"BROKEN_HEADERS", broken}, {"HEADER_SLOPPY", sloppy}, {"HEADER_LIMIT", limits}} {
		if len(group.what) > 0 {
			r.add(group.symbol, strings.Join(group.what, ", "))
		}
	}
}

func nul(h *mail.Header) bool {
	for _, f := range h.Fields {
		if strings.IndexByte(string(f.Raw), 0) >= 0 {
			return true
		}
	}
	return false
}

// harmless holds for a fault that no reader can take for one of the fields that say who, to whom, what and how.
func harmless(h *mail.Header, d mail.Defect) bool {
	if d == mail.DefectNoColon {
		return false
	}
	for _, f := range h.Fields {
		name := f.Raw[:max(f.ValueAt-1, 0)]
		spaced := len(name) != len(f.Name)
		if !spaced && isToken(f.Name) {
			continue
		}
		if f.Name == "" || !isToken(f.Name) && !isPrintable(f.Name) || spaced && matters(f.Name) {
			return false
		}
	}
	return true
}

func isToken(name string) bool {
	for i := range len(name) {
		if name[i] <= ' ' || name[i] >= 0x7f {
			return false
		}
	}
	return name != ""
}

// isPrintable allows the spaces that a few programs put into names of their own ("X-My Field:").
func isPrintable(name string) bool {
	for i := range len(name) {
		if name[i] < ' ' || name[i] >= 0x7f {
			return false
		}
	}
	return !matters(strings.ReplaceAll(name, " ", ""))
}

func matters(name string) bool {
	name = strings.ToLower(name)
	switch name {
	case "from", "sender", "reply-to", "to", "cc", "bcc", "subject", "date", "message-id", "return-path", "received",
		"dkim-signature", "authentication-results", "mime-version":
		return true
	}
	return strings.HasPrefix(name, "content-") || strings.HasPrefix(name, "resent-") || strings.HasPrefix(name, "arc-")
}

// hops counts the Received fields, and those that this gateway wrote.
func (f filter) hops(r *report, h *mail.Header) {
	all, own := 0, 0
	for _, field := range h.Fields {
		if !field.Is("Received") {
			continue
		}
		all++
		if f.isOwn(field.Value()) {
			own++
		}
	}
	switch {
	case all > f.settings.MaxHops:
		r.add("HOPS_LIMIT", fmt.Sprintf("%d Received fields", all))
	case own > f.settings.MaxOwnHops:
		r.add("HOPS_LIMIT", fmt.Sprintf("was here %d times", own))
	}
}

// isOwn looks for "by HOSTNAME" in a Received field.
func (f filter) isOwn(value string) bool {
	before := ""
	for word := range strings.FieldsSeq(value) {
		if strings.EqualFold(before, "by") && f.env.Hostname != "" && strings.EqualFold(strings.TrimRight(word, ".;"), f.env.Hostname) {
			return true
		}
		before = word
	}
	return false
}

// repeated names the fields that stand there more often than RFC 5322 section 3.6 and RFC 2045 section 3 allow.
func repeated(h *mail.Header) []string {
	once := []string{"Sender", "Reply-To", "To", "Cc", "Subject", "Date", "Message-ID", "In-Reply-To", "References",
		"MIME-Version", "Content-Type", "Content-Transfer-Encoding", "Content-Disposition"}
	count := map[string]int{}
	for _, f := range h.Fields {
		count[strings.ToLower(f.Name)]++
	}
	var names []string
	for _, name := range once {
		if count[strings.ToLower(name)] > 1 {
			names = append(names, name)
		}
	}
	return names
}
