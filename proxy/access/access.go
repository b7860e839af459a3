// Package access controls logins at POP3 and IMAP doors: which users may log in, from where and how often, and which
// server behind the gateway serves them. The doors speak the protocols and ask this package.
package access

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"unicode"
	"unicode/utf8"

	"postern/proxy/sasl"
)

// Attempt is one try to log in.
type Attempt struct {
	// Mechanism is "LOGIN" for IMAP's command, "USER" for POP3's USER and PASS, else the SASL mechanism's name with the
	// prefix "SASL ", as in "SASL PLAIN".
	Mechanism string
	// User is the login name given (RFC 4616: authcid), Authzid the user to act as, "" for the same.
	User, Authzid string
	// Password is that of the mechanisms that have one. Token is the client's whole first response, decoded, of XOAUTH2 and
	// OAUTHBEARER (RFC 7628).
	Password, Token string
}

// SASL is the attempt of a SASL exchange.
func SASL(mechanism string, c sasl.Credentials) Attempt {
	return Attempt{Mechanism: "SASL " + mechanism, User: c.User, Authzid: c.Authzid, Password: c.Password, Token: c.Token}
}

// LogValue keeps secrets out of every log.
func (a Attempt) LogValue() slog.Value { return slog.StringValue(a.Mechanism) }

// String keeps secrets out of every text.
func (a Attempt) String() string { return a.Mechanism }

// GoString keeps secrets out of every text.
func (a Attempt) GoString() string { return a.Mechanism }

// Enter logs in at a backend as the attempt that it is given says: its user and password may differ from those the client
// gave. ErrPassword says that the backend refused the login; after any other error the next backend is tried.
type Enter func(ctx context.Context, b *Backend, as Attempt) error

// Errors of a login.
var (
	// ErrPassword means that the backend refused the login.
	ErrPassword = errors.New("the backend refused the login")
	// ErrRefused is the answer to a client for every failure that is not ours: the text must be the same for all.
	ErrRefused = errors.New("login refused")
	// ErrUnavailable means that no server could be asked (RFC 5530: UNAVAILABLE; RFC 3206: SYS/TEMP).
	ErrUnavailable = errors.New("no backend can be asked")
)

// maxUser is the longest name of a user, in octets: that of an address (RFC 5321 section 4.5.3.1).
const maxUser = 254

// plainName says whether a name can be given to a backend, a directory and a log: text, not too long, no controls.
func plainName(user string) bool {
	return user != "" && len(user) <= maxUser && utf8.ValidString(user) &&
		!strings.ContainsFunc(user, func(r rune) bool { return unicode.IsControl(r) || !unicode.IsPrint(r) })
}

// key is the form in which a user is compared and counted.
func key(user string) string { return strings.ToLower(strings.TrimSpace(user)) }
