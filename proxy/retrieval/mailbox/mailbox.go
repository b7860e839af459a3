// Package mailbox opens connections to the servers with the mailboxes, for what the gateway does there by itself.
package mailbox

import (
	"context"
	"errors"
	"fmt"

	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-sasl"

	"postern/proxy/access"
)

// Login is who logs in. With an Authzid it is done in that user's name (RFC 4616).
type Login struct{ Authzid, User, Password string }

// ErrNoServer says that a backend has no IMAP server.
var ErrNoServer = errors.New("the backend has no IMAP server")

// Open connects to a server and logs in. The caller ends the connection with Close.
func Open(ctx context.Context, b access.Backend, as Login) (*imapclient.Client, error) {
	conn, err := b.Dial(ctx)
	if err != nil {
		return nil, err
	}
	var c *imapclient.Client
	if b.TLS == access.TLSStartTLS {
		c, err = imapclient.NewStartTLS(conn, &imapclient.Options{TLSConfig: b.Config()})
	} else {
		c = imapclient.New(conn, nil)
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	stop := context.AfterFunc(ctx, func() { _ = c.Close() }) // a pending read or write then fails
	defer stop()
	if as.Authzid != "" {
		err = c.Authenticate(sasl.NewPlainClient(as.Authzid, as.User, as.Password))
	} else {
		err = c.Login(as.User, as.Password).Wait()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("login as %s: %w", as.User, err), c.Close())
	}

	return c, nil
}

// Close logs out and closes the connection.
func Close(c *imapclient.Client) {
	_ = c.Logout().Wait() // all is done or failed
	_ = c.Close()         // it may be closed already
}
