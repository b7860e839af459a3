// Package senderlogin compares who is logged in with who is said to write: the reverse-path and the From field of mail from
// a submission door (RFC 6409 section 6.1). A stolen password is worth less if it can't speak for everybody.
package senderlogin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"postern/filters"
	"postern/internal/config"
	"postern/internal/mail"
)

// Settings are the filter's settings. An address is written "info@example.com", all of a domain "@example.com", all that is
// ours "*".
type Settings struct {
	// Shared are the addresses that every login may write as: shared mailboxes.
	Shared []string `toml:"shared"`
	// MayWriteAs are the addresses that one login may write as, beside its own.
	MayWriteAs map[string][]string `toml:"may_write_as"`
}

// Spec is what is known of the filter.
var Spec = filters.Spec{
	Name:   "senderlogin",
	Help:   "Compares who is logged in with the sender and with From.",
	Stages: mail.StageMail | mail.StageMessage,
	Symbols: []filters.Symbol{
		{Name: "SENDER_NOT_OURS", Score: 5, Action: filters.ActionReject, Help: "A user who is logged in writes as somebody of a foreign domain",
			Reply: "You are logged in here, so the sender must be an address of ours"},
		{Name: "SENDER_LOGIN_MISMATCH", Score: 4, Action: filters.ActionReject, Help: "A user who is logged in writes as another of our addresses, which neither the directory nor may_write_as gives him",
			Reply: "This login may not write as that address. Use your own, or ask your administrator to allow it"},
	},
	Settings: func() any { return &Settings{} },
	New:      newFilter,
}

type filter struct {
	env    filters.Env
	shared []pattern
	may    map[string][]pattern // by login, see loginKey
}

// pattern is an address by its key, "@domain", or "*".
type pattern string

func newFilter(section config.Section, env filters.Env) (filters.Filter, error) {
	var s Settings
	if err := section.Decode(&s); err != nil {
		return nil, err
	}

	f := filter{env: env, may: map[string][]pattern{}}
	var err error
	if f.shared, err = patterns("shared", s.Shared); err != nil {
		return nil, err
	}
	for login, list := range s.MayWriteAs {
		if f.may[loginKey(login)], err = patterns("may_write_as."+login, list); err != nil {
			return nil, err
		}
	}

	return f, nil
}

func patterns(key string, texts []string) (all []pattern, err error) {
	for _, text := range texts {
		if domain, ok := strings.CutPrefix(text, "@"); ok && mail.ValidDomain(domain) {
			all = append(all, pattern("@"+mail.ASCIIDomain(domain)))
			continue
		}
		if text == "*" {
			all = append(all, "*")
			continue
		}
		a, err := mail.ParseAddress(text)
		if err != nil || a.Domain == "" {
			return nil, fmt.Errorf("[filters.senderlogin]: %s: %q: write \"info@example.com\", \"@example.com\" for all of a domain, or \"*\" for all that is ours", key, text)
		}
		all = append(all, pattern(a.Key()))
	}

	return all, nil
}

func (p pattern) fits(a mail.Address) bool {
	return p == "*" || string(p) == "@"+a.ASCIIDomain() || string(p) == a.Key()
}

// Inspect looks at the reverse-path at MAIL and at From once the message is there.
func (f filter) Inspect(ctx context.Context, tx *mail.Transaction) ([]filters.Finding, error) {
	user := tx.Session.User
	if user == "" {
		return nil, nil
	}
	if tx.Stage == mail.StageMail {
		if tx.From.IsNull() { // a receipt or a bounce speaks for nobody
			return nil, nil
		}
		return f.check(ctx, user, "MAIL FROM", tx.From)
	}

	var found []filters.Finding
	for _, field := range tx.Message.Header().All("From") {
		boxes, _, err := mail.ParseFrom(field.Value())
		if err != nil {
			continue // the filter headers says so
		}
		for _, b := range boxes {
			more, err := f.check(ctx, user, "From", b.Address)
			if err != nil {
				return found, err
			}
			found = append(found, more...)
		}
	}

	return found, nil
}

// errDirectory is the failure that lets the user try again later.
var errDirectory = errors.New("the directory can't say whose address it is")

func (f filter) check(ctx context.Context, user, where string, a mail.Address) ([]filters.Finding, error) {
	evidence := filters.Printable(user + ", " + where + " " + a.String())
	if !f.env.Local(a.ASCIIDomain()) {
		return []filters.Finding{{Symbol: "SENDER_NOT_OURS", Evidence: evidence}}, nil
	}

	switch own, err := f.owns(ctx, user, a); {
	case err != nil:
		return nil, err
	case !own:
		return []filters.Finding{{Symbol: "SENDER_LOGIN_MISMATCH", Evidence: evidence}}, nil
	}

	return nil, nil
}

// owns says whether a login may write as an address: it is its own by its name, the settings give it, or the directory does.
func (f filter) owns(ctx context.Context, user string, a mail.Address) (bool, error) {
	plain, _ := a.WithoutDetail()
	fits := func(p pattern) bool { return p.fits(a) || p.fits(plain) }

	if same(user, a) || same(user, plain) || slices.ContainsFunc(f.shared, fits) {
		return true, nil
	}
	for _, key := range []string{loginKey(user), loginName(user)} {
		if slices.ContainsFunc(f.may[key], fits) {
			return true, nil
		}
	}
	if f.env.Logins == nil {
		return false, nil
	}

	logins, ok := f.env.Logins(ctx, a)
	if !ok {
		return false, errDirectory
	}

	return slices.ContainsFunc(logins, func(l string) bool {
		return loginKey(l) == loginKey(user) || !strings.Contains(l, "@") && loginKey(l) == loginName(user) && f.ours(user)
	}), nil
}

// ours says whether what a login has behind its "@" is a domain of ours, or nothing: "ben@elsewhere.example" is not our ben.
func (f filter) ours(user string) bool {
	i := strings.LastIndexByte(user, '@')
	return i < 0 || f.env.Local(mail.ASCIIDomain(user[i+1:]))
}

// loginKey is a login for comparison, without the Windows domain in front. loginName is the same without what follows "@".
func loginKey(user string) string { return strings.ToLower(user[strings.LastIndexByte(user, '\\')+1:]) }

func loginName(user string) string {
	name, _, _ := strings.Cut(loginKey(user), "@")
	return name
}

// same compares a login, with or without a domain, with an address.
func same(user string, a mail.Address) bool {
	if i := strings.LastIndexByte(user, '@'); i >= 0 {
		return mail.Address{Local: user[:i], Domain: user[i+1:]}.Key() == a.Key()
	}

	return strings.EqualFold(loginKey(user), a.Local) // DOMAIN\user, as Exchange has it
}
