package access

import (
	"context"
	"errors"
	"strings"

	"postern/internal/mail"
)

// Prove logs in at a backend for the client of a session, and leaves. Its errors are those of Enter.
type Prove func(ctx context.Context, s *mail.Session, b *Backend, as Attempt) error

// Checker checks passwords at the mailbox servers for a door that reads no mail: submission. The user's server, the
// login name there, the client data sent and the TLS settings are as for the IMAP doors.
type Checker struct {
	o       Options
	prove   Prove
	resting resting
}

// NewChecker makes a checker. Of the options it needs the routes, the directory, Away, Now and Log.
func NewChecker(o Options, prove Prove) *Checker {
	o.fill()
	return &Checker{o: o, prove: prove}
}

// Login says whether this is the user's password. An error means that no server could be asked, so nothing is known of
// the password.
func (c *Checker) Login(ctx context.Context, s *mail.Session, user, password string) (bool, error) {
	if !plainName(user) {
		return false, nil
	}
	w, err := c.o.choose(ctx, key(user), mail.ProtocolIMAP)
	if err != nil {
		return false, err
	}
	if len(w.backends) == 0 { // no server serves the user
		return false, nil
	}
	// a name with the master user's separator would act as another user
	if sep := w.route.Separator; sep != "" && strings.Contains(user, sep) {
		return false, nil
	}
	as := Attempt{Mechanism: "LOGIN", User: w.route.rewritten(user), Password: password}
	err = c.resting.tryAll(ctx, &c.o, w.backends, as, func(ctx context.Context, b *Backend, as Attempt) error {
		return c.prove(ctx, s, b, as)
	})
	if errors.Is(err, ErrPassword) {
		return false, nil
	}
	return err == nil, err
}
