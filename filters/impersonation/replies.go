package impersonation

import (
	"context"
	"slices"

	"postern/filters"
	"postern/internal/mail"
)

// replies looks at where an answer would go. Lists set Reply-To to themselves, so their mail is left out.
func (f filter) replies(ctx context.Context, r *report, tx *mail.Transaction, s senders) {
	if len(s.from) == 0 || fromList(tx) {
		return
	}
	addressed := f.addressed(tx)
	author := s.from[0].Address
	from := author.ASCIIDomain()
	for _, b := range s.replyTo {
		to := b.Address.ASCIIDomain()
		if to == "" || addressed[b.Address.Key()] || f.organization(to) == f.organization(from) {
			continue
		}
		evidence := author.String() + ", replies to " + b.Address.String()
		kind, how := f.look.compare(to, from)
		switch free := filters.IsFreemail(to); {
		case f.env.Local(from) && !f.env.Local(to):
			r.add("REPLYTO_FROM_OWN", evidence)
		case f.expected(ctx, tx, b.Address):
		case filters.IsFreemail(from) && free:
			r.add("REPLYTO_FREEMAIL", evidence)
		case kind != apart && how != joinedWords: // many a company has a second domain of that kind
			r.add("REPLYTO_LOOKALIKE", evidence)
		case free:
			r.add("FREEMAIL_REPLYTO_NEQ_FROM", evidence)
		default:
			r.add("REPLYTO_DOM_NEQ_FROM_DOM", evidence)
		}
	}
}

// fromList says whether a mail has a mailing list's name: RFC 2919, and what lists without it write.
func fromList(tx *mail.Transaction) bool {
	h := tx.Message.Header()

	return h.Count("List-Id") > 0 || h.Count("Mailing-List") > 0
}

// addressed are the addresses in To and Cc: a mail that asks for answers to one of these is a letter to a group.
func (f filter) addressed(tx *mail.Transaction) map[string]bool {
	all := map[string]bool{}
	for _, name := range []string{"To", "Cc"} {
		for _, field := range tx.Message.Header().All(name) {
			boxes, _, err := mail.ParseFrom(field.Value())
			if err != nil {
				continue
			}
			for _, b := range boxes[:min(len(boxes), maxSenders)] {
				all[b.Address.Key()] = true
			}
		}
	}

	return all
}

// expected says whether it is usual that answers go to an address: it is one of ours or a correspondent of the recipients,
// or its organisation is proven to have sent the mail, as a service that sends for others does.
func (f filter) expected(ctx context.Context, tx *mail.Transaction, to mail.Address) bool {
	domain := to.ASCIIDomain()
	if f.env.Local(domain) {
		return true
	}
	spf, dkim := filters.ProvenDomains(tx)
	proven := func(d string) bool { return f.organization(mail.ASCIIDomain(d)) == f.organization(domain) }
	if !filters.IsFreemail(domain) && slices.ContainsFunc(append(spf, dkim...), proven) {
		return true
	}
	if f.env.State == nil {
		return false
	}
	for _, rcpt := range tx.Recipients[:min(len(tx.Recipients), maxSenders)] {
		if filters.Corresponds(ctx, f.env.State, rcpt.Address, to) {
			return true
		}
	}

	return false
}
