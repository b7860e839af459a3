package relay

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"postern/proxy/listen"
)

// dial makes a connection ready for MAIL: greeting, EHLO, TLS, login.
func (h *hopState) dial(ctx context.Context) (*conn, error) {
	c, err := h.dialTLS(ctx, h.Hop.TLS)
	var failed *startTLSError
	if h.Hop.TLS == TLSOpportunistic && errors.As(err, &failed) && ctx.Err() == nil {
		// RFC 7435 section 3: TLS where possible, mail either way. A reply followed by further octets is an attack, not a
		// failure, and does not get here.
		h.log.Warn("STARTTLS failed, going on in clear as tls = opportunistic says", "hop", h.Address, "error", err)
		c, err = h.dialTLS(ctx, TLSNone)
	}
	if err != nil {
		return nil, err
	}
	if err := c.login(ctx); err != nil {
		c.close()
		return nil, err
	}
	h.learn(c)
	return c, nil
}

// startTLSError is a failure after a hop said it could do STARTTLS.
type startTLSError struct{ err error }

func (e *startTLSError) Error() string { return "starttls: " + e.err.Error() }
func (e *startTLSError) Unwrap() error { return e.err }

func (h *hopState) connect(ctx context.Context) (net.Conn, error) {
	network := "tcp"
	if h.onSocket() {
		network = "unix"
	}
	ctx, cancel := context.WithTimeout(ctx, h.times.Connect)
	defer cancel()
	dialer := listen.Dialer(h.Source)
	dialer.Resolver = h.names
	nc, err := dialer.DialContext(ctx, network, h.Address)
	if err != nil {
		return nil, err
	}
	if tcp, ok := nc.(*net.TCPConn); ok {
		_ = tcp.SetNoDelay(true) // Go's default; said because replies in many small pieces depend on it
	}
	return nc, nil
}

func (h *hopState) dialTLS(ctx context.Context, policy TLSPolicy) (*conn, error) {
	nc, err := h.connect(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	c := &conn{hop: h, nc: nc, times: h.times, r: bufio.NewReaderSize(nc, maxReplyLine)}
	if err := c.open(ctx, policy); err != nil {
		c.broken = true
		c.close()
		return nil, err
	}
	return c, nil
}

func (c *conn) open(ctx context.Context, policy TLSPolicy) error {
	if policy == TLSImplicit {
		if err := c.handshake(ctx); err != nil {
			return fmt.Errorf("%w: %w", errInsecure, err)
		}
	}
	if err := c.greeting(ctx); err != nil {
		return err
	}
	if err := c.ehlo(ctx); err != nil {
		return err
	}
	if policy == TLSNone || policy == TLSImplicit {
		return nil
	}
	if !c.offer.startTLS {
		if policy == TLSRequired {
			return fmt.Errorf("%w: STARTTLS is not offered", errInsecure)
		}
		return nil
	}
	return c.startTLS(ctx)
}

func (c *conn) greeting(ctx context.Context) error {
	return c.step(ctx, c.times.Command, func() error {
		reply, err := c.read()
		if err != nil {
			return fmt.Errorf("greeting: %w", err)
		}
		// RFC 5321 section 4.3.2: 220, or 554 for "no service here". A refusal of us is no refusal of the mail.
		if reply.Code != 220 {
			return &refusal{"greeting", reply}
		}
		// RFC 2920 says nothing before EHLO is a group: octets behind the greeting are not ours.
		if c.r.Buffered() > 0 {
			return fmt.Errorf("greeting: %w", errInjected)
		}
		return nil
	})
}

// ehlo sends our name: RFC 5321 section 4.1.1.1; LHLO in LMTP (RFC 2033 section 4.1).
func (c *conn) ehlo(ctx context.Context) error {
	verb := "EHLO "
	if c.hop.protocol == LMTP {
		verb = "LHLO "
	}
	reply, err := c.command(ctx, c.times.Command, verb+c.hop.helo)
	if err != nil {
		return fmt.Errorf("%s: %w", verb, err)
	}
	c.offer = offer{}
	switch {
	case c.broken:
		return fmt.Errorf("%s: %w", verb, errInjected)
	case reply.Code == 250:
		c.offer = parseOffer(reply.Text)
		return nil
	// RFC 5321 section 3.2: a server that knows no EHLO gets HELO.
	case reply.Permanent() && c.hop.protocol == SMTP && c.tls == nil:
		reply, err = c.command(ctx, c.times.Command, "HELO "+c.hop.helo)
		if err != nil {
			return fmt.Errorf("HELO: %w", err)
		}
		if reply.Code == 250 && !c.broken {
			return nil
		}
	}
	return &refusal{verb, reply}
}

// startTLS turns the connection into a secure one: RFC 3207 section 4.
func (c *conn) startTLS(ctx context.Context) error {
	reply, err := c.command(ctx, c.times.Command, "STARTTLS")
	if err != nil {
		return fmt.Errorf("%w: %w", errInsecure, &startTLSError{err})
	}
	if c.broken {
		// RFC 3207 section 4.2 and CVE-2011-0411: what was sent in clear must not be read as if it came within TLS.
		c.hop.log.Error("clear text behind the reply to STARTTLS: someone may be tampering with the connection", "hop", c.hop.Address)
		return fmt.Errorf("%w: starttls: %w", errInsecure, errInjected)
	}
	if reply.Code != 220 {
		return fmt.Errorf("%w: %w", errInsecure, &startTLSError{&refusal{"STARTTLS", reply}})
	}
	if err := c.handshake(ctx); err != nil {
		return fmt.Errorf("%w: %w", errInsecure, &startTLSError{err})
	}
	// RFC 3207 section 4.2: all earlier knowledge is discarded and EHLO is sent again.
	return c.ehlo(ctx)
}

func (c *conn) handshake(ctx context.Context) error {
	return c.step(ctx, c.times.Connect, func() error {
		t := tls.Client(c.nc, c.hop.tlsConfig)
		if err := t.HandshakeContext(ctx); err != nil {
			return err
		}
		c.nc, c.r = t, bufio.NewReaderSize(t, maxReplyLine)
		state := t.ConnectionState()
		c.tls = &state
		return nil
	})
}

// login sends our own credentials to a smart host: RFC 4954. They are never sent in clear unless the settings allow it.
func (c *conn) login(ctx context.Context) error {
	if c.hop.User == "" {
		return nil
	}
	if !c.mayAuth() {
		return fmt.Errorf("%w: no login without it", errInsecure)
	}
	ok, err := c.auth(ctx, c.hop.User, c.hop.Password)
	if err == nil && !ok {
		err = errors.New("AUTH: the hop refuses our user and password")
	}
	return err
}

func (c *conn) mayAuth() bool { return c.tls != nil || c.hop.onSocket() || c.hop.ClearAuth }

// auth tries a user and a password. An error means that the hop could not be asked.
func (c *conn) auth(ctx context.Context, user, password string) (bool, error) {
	if strings.ContainsRune(user+password, 0) {
		return false, nil
	}
	encode := base64.StdEncoding.EncodeToString
	var lines []string
	switch {
	case slices.Contains(c.offer.auth, "PLAIN"):
		// RFC 4616 section 2: NUL parts the fields, so none may hold one.
		lines = []string{"AUTH PLAIN " + encode([]byte("\x00"+user+"\x00"+password))}
	case slices.Contains(c.offer.auth, "LOGIN"):
		lines = []string{"AUTH LOGIN", encode([]byte(user)), encode([]byte(password))}
	default:
		return false, errors.New("AUTH: the hop offers neither PLAIN nor LOGIN")
	}
	for i, line := range lines {
		reply, err := c.command(ctx, c.times.Command, line)
		switch {
		case err != nil:
			return false, fmt.Errorf("AUTH: %w", err)
		case c.broken:
			return false, fmt.Errorf("AUTH: %w", errInjected)
		case reply.Code == 235 && i == len(lines)-1:
			return true, nil
		// RFC 4954 section 6: 535 5.7.8 is the only reply about the credentials themselves.
		case reply.Code == 535:
			return false, nil
		case reply.Code != 334 || i == len(lines)-1:
			return false, &refusal{"AUTH", reply}
		}
	}
	return false, errGarbled
}

// alive says whether a connection from the pool can be used.
func (c *conn) alive() bool {
	return !c.broken && c.r.Buffered() == 0 && c.uses < maxUses && quiet(c.nc)
}
