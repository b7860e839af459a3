// Package senderlogin compares who is logged in with who is said to write: the reverse-path and the From field of mail from
// a submission door (RFC 6409 section 6.1). A stolen password is worth less if it can't speak for everybody.
package senderlogin

import (
	"context"
	"strings"

	"postern/filters"
	"postern/internal/config"
	"postern/internal/mail"
)

// Spec is what is known of the filter.
var Spec = filters.Spec{
	Name:   "senderlogin",
	Help:   "Compares who is logged in with the sender and with From.",
	Stages: mail.StageMail | mail.StageMessage,
	Inline: true,
	Symbols: []filters.Symbol{
		{Name: "SENDER_NOT_OURS", Score: 5, Action: "reject", Help: "A user who is logged in writes as somebody of a foreign domain",
			Reply: "You are logged in here, so the sender must be an address of ours"},
		{Name: "SENDER_LOGIN_MISMATCH", Score: 0, Help: "A user who is logged in writes as another of our addresses"},
	},
	New: func(section config.Section, env filters.Env) (filters.Filter, error) {
		return filter{env}, section.Decode(&struct{}{})
	},
}

type filter struct{ env filters.Env }

// Inspect looks at the reverse-path at MAIL and at From once the message is there.
func (f filter) Inspect(_ context.Context, tx *mail.Transaction) ([]filters.Finding, error) {
	user := tx.Session.User
	if user == "" {
		return nil, nil
	}
	if tx.Stage == mail.StageMail {
		if tx.From.IsNull() { // a receipt or a bounce speaks for nobody
			return nil, nil
		}
		return f.judge(user, "MAIL FROM", tx.From), nil
	}
	var found []filters.Finding
	for _, field := range tx.Message.Header().All("From") {
		boxes, _, err := mail.ParseFrom(field.Value())
		if err != nil {
			continue // the filter headers says so
		}
		for _, b := range boxes {
			found = append(found, f.judge(user, "From", b.Address)...)
		}
	}
	return found, nil
}

func (f filter) judge(user, where string, a mail.Address) []filters.Finding {
	evidence := filters.Printable(user + ", " + where + " " + a.String())
	switch {
	case !f.env.Local(a.ASCIIDomain()):
		return []filters.Finding{{Symbol: "SENDER_NOT_OURS", Evidence: evidence}}
	case !same(user, a):
		return []filters.Finding{{Symbol: "SENDER_LOGIN_MISMATCH", Evidence: evidence}}
	}
	return nil
}

// same compares a login, with or without a domain, with an address.
func same(user string, a mail.Address) bool {
	if i := strings.LastIndexByte(user, '@'); i >= 0 {
		return mail.Address{Local: user[:i], Domain: user[i+1:]}.Key() == a.Key()
	}
	if i := strings.LastIndexByte(user, '\\'); i >= 0 { // DOMAIN\user, as Exchange has it
		user = user[i+1:]
	}
	return strings.EqualFold(user, a.Local)
}
