package policy

import (
	"cmp"
	"strings"

	"postern/filters"
	"postern/internal/mail"
)

// cause is what decided a verdict.
type cause struct {
	kind causeKind
	name string // the symbol, filter, entry or rule
	rule *rule
}

type causeKind int

const (
	causeScore causeKind = iota
	causeForced
	causeFailure
	causeAllow
	causeBlock
	causeEarly
	causeEarlyScore
	causeRule
)

// sentence says it plainly, for the admin.
func (c cause) sentence(d Disposition, t *tally, s *scope) string {
	switch c.kind {
	case causeBlock:
		return done(d) + ": the block list names it (" + c.name + ")."
	case causeAllow:
		return done(d) + ": the allow list names it (" + c.name + "), so the score does not count."
	case causeRule:
		return done(d) + ": the rule \"" + c.name + "\" says so."
	case causeForced:
		if t.by != nil && t.by.is(filters.ActionDeferIfPermit) && d == Defer {
			return done(d) + ": " + c.name + " puts off what would be delivered" + about(t.by) + "."
		}
		return done(d) + ": " + c.name + " always leads to " + d.String() + about(t.by) + "."
	case causeFailure:
		name := cmp.Or(c.name, "a filter")
		if name == ruleFailures {
			name = "a rule"
		}
		return done(d) + ": " + name + " could not do its work, and the policy for that is " + d.String() + "."
	case causeEarlyScore:
		return done(d) + ": before there is a message, the score of " + decimal(t.score) + " reaches " + decimal(s.early) + "."
	case causeEarly:
		return "Nothing so far refuses it."
	}

	return done(d) + ": the score of " + decimal(t.score) + s.reaches(d)
}

// reaches says which threshold a score met.
func (s *scope) reaches(d Disposition) string {
	switch d {
	case Accept:
		return " is below " + decimal(s.limits[0]) + "."
	case Tag:
		return " reaches " + decimal(s.limits[0]) + "."
	case Quarantine:
		return " reaches " + decimal(s.limits[1]) + "."
	default: // reject; a score never defers
		return " reaches " + decimal(s.limits[2]) + "."
	}
}

func about(by *symbol) string {
	if by == nil || by.help == "" {
		return ""
	}
	return " (" + by.help + ")"
}

func done(d Disposition) string {
	return [...]string{"Accepted", "Accepted and tagged", "Held", "Deferred", "Refused"}[d]
}

// maxReply leaves room for the id behind the text: RFC 5321 section 4.5.3.1.5 has 512 octets for a line.
const maxReply = 400

// Constant texts for a disposition that is not to be explained to the sender.
const (
	shortReject = "Refused by policy. Please ask the recipient's postmaster and quote the id in this reply"
	shortDefer  = "Not accepted just now. Please try again later"
)

// reply is the reply to the sender: the reason, and what to do. Evidence is never in it: it may tell a spammer what to
// change, or hold text of a third party.
func (p *Policy) reply(f *Facts, d Disposition, why cause, t *tally) mail.Reply {
	direction := 0
	if f.Outbound {
		direction = 1
	}
	switch d {
	case Reject:
		text := shortReject
		if !p.short[direction] {
			text = rejectText(why, t, f.Outbound)
		}
		// RFC 3463 section 3.8: X.7.1, delivery not authorized, message refused.
		return mail.Reply{Code: 550, Enhanced: "5.7.1", Text: bounded(text)}
	case Defer:
		text := shortDefer
		if !p.short[direction] {
			text = deferText(why, t)
		}
		return mail.Reply{Code: 451, Enhanced: "4.7.1", Text: bounded(text)}
	default: // accept, tag and quarantine all mean accepted: a spammer learns nothing more
		return mail.Reply{Code: 250, Enhanced: "2.0.0", Text: "Message accepted"}
	}
}

func rejectText(why cause, t *tally, outbound bool) string {
	remedy := ". If this is wrong, please tell the recipient by other means, or ask their postmaster, and quote the id in this reply"
	if outbound {
		remedy = ". If this is wrong, please ask your own postmaster and quote the id in this reply"
	}
	switch why.kind {
	case causeBlock:
		return "Mail from this sender is not accepted here" + remedy
	case causeRule:
		if why.rule.symbol.reply != "" {
			return why.rule.symbol.reply
		}
		return "Such mail is not accepted here" + remedy
	case causeForced:
		if t.by.reply != "" {
			return t.by.reply
		}
		if t.by.help != "" {
			return "Refused: " + t.by.help + remedy
		}
		return "Refused by policy" + remedy
	}
	if top := t.heaviest(); top != "" {
		return "Refused, this looks like spam: " + top + remedy
	}
	return "Refused, this looks like spam" + remedy
}

func deferText(why cause, t *tally) string {
	if why.kind == causeFailure {
		// our own fault: the sender learns only that trying again helps
		return "We could not check this message just now. Nothing was lost, please try again later"
	}
	if why.kind == causeRule {
		return cmp.Or(why.rule.symbol.reply, shortDefer)
	}
	if t.by != nil && t.by.reply != "" {
		return t.by.reply
	}
	if t.by != nil && t.by.help != "" {
		return "Not accepted just now: " + t.by.help + ". Please try again later"
	}
	return shortDefer
}

// heaviest names up to three symbols that weigh most towards spam, by their help.
func (t *tally) heaviest() string {
	var top [3]int // indexes into reasons, plus 1
	for i := range t.reasons {
		if t.weights[i] <= 0 || t.reasons[i].Help == "" {
			continue
		}
		for k := range top {
			// only a greater one goes before: of equals the first found stays first
			if top[k] == 0 || t.weights[i] > t.weights[top[k]-1] {
				copy(top[k+1:], top[k:])
				top[k] = i + 1
				break
			}
		}
	}
	var parts []string
	for _, i := range top {
		if i > 0 {
			parts = append(parts, t.reasons[i-1].Help)
		}
	}
	return strings.Join(parts, "; ")
}

// bounded cuts a text at a word's end.
func bounded(text string) string {
	if len(text) <= maxReply {
		return text
	}
	cut := text[:maxReply-4]
	if i := strings.LastIndexByte(cut, ' '); i > maxReply/2 {
		cut = cut[:i]
	}
	return cut + " ..."
}

// ascii makes a text fit for a one-line reply to a client that didn't ask for SMTPUTF8.
func ascii(text string) string {
	text = strings.TrimRight(strings.TrimSpace(text), ".")
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case r < ' ' || r > '~':
			return '?'
		}
		return r
	}, text)
}
