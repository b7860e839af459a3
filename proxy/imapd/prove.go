package imapd

import (
	"context"

	"postern/internal/mail"
	"postern/proxy/access"
	"postern/proxy/line"
)

// Prove logs in at a backend for a client of a door that reads no mail, as one of this package's doors would, and leaves. Its
// errors are those of access.Enter.
func Prove(ctx context.Context, s *mail.Session, b *access.Backend, as access.Attempt) error {
	from := origin{client: s.Client.Unmap(), local: s.Local, id: s.ID}
	if s.Peer.Addr().Unmap() == from.client {
		from.port = s.Peer.Port()
	}
	back, err := connect(ctx, b, from, access.LoginDeadline(ctx), &line.Buffers{})
	if err != nil {
		return err
	}
	defer back.close()
	if err := back.login(as); err != nil {
		return err
	}
	back.leave()
	return nil
}

// Probe looks whether a backend is there: greeting, TLS with its certificate, capabilities. Nobody logs in.
func Probe(ctx context.Context, b *access.Backend) error {
	back, err := connect(ctx, b, origin{}, access.LoginDeadline(ctx), &line.Buffers{})
	if err != nil {
		return err
	}
	defer back.close()
	back.leave()
	return nil
}

// leave says good-bye, for the server's log. Nothing waits for the answer.
func (k *backend) leave() { _ = k.out.send([]byte(k.tag() + " LOGOUT\r\n")) }
