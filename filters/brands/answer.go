package brands

import (
	"postern/filters"
	"postern/internal/mail"
)

// Answer is what is known of a brand that a sender or a subject names.
type Answer struct {
	Brand Brand `json:"brand"`
	// Symbol says where the brand is named, Evidence how.
	Symbol   string `json:"symbol"`
	Evidence string `json:"evidence"`
	// Excused is the domain of the brand's line that the author's belongs to, "" for none: then the symbol is given.
	Excused string `json:"excused,omitempty"`
}

// Claims are the brands that a mail of this author and subject claims to come from, those that it is excused for
// included. Nothing is proven here: the author's domain is taken as true.
func (t *Table) Claims(author mail.Mailbox, subject string) (all []Answer) {
	domain := author.Address.ASCIIDomain()
	add := func(brand int, symbol, evidence string) {
		by, _ := t.OwnedBy(brand, domain)
		if filters.IsFreemail(domain) && !isReserved(author.Address.Local) {
			by = ""
		}
		all = append(all, Answer{t.Brands[brand], symbol, evidence, by})
	}
	shown := withoutAddress(author.Name[:min(len(author.Name), maxName)], author.Address)
	claims, words := t.Find(shown)
	if len(claims) == 0 {
		claims = t.disguised(shown)
	}
	for _, c := range claims {
		if branch := c.Common && t.branch(c.Brand, domain); !branch && c.Speaks(words) {
			add(c.Brand, inName, author.Name)
		}
	}
	if !answers(subject) {
		claims, _ = t.Find(withoutAddresses(subject[:min(len(subject), maxName)]))
		for _, c := range claims {
			if !c.Common {
				add(c.Brand, inSubject, subject)
			}
		}
	}

	return append(all, t.inAddress(author)...)
}

// inAddress are the claims of the address itself.
func (t *Table) inAddress(author mail.Mailbox) (all []Answer) {
	l := look{filter: filter{table: t}, senders: []string{author.Address.ASCIIDomain()}}
	l.claimed = func(brand int, symbol, evidence string) {
		all = append(all, Answer{t.Brands[brand], symbol, evidence, ""})
	}
	l.address(author.Address)
	l.lookalike("From", author.Address)

	return all
}
