package house

import (
	"context"
	"strings"
	"sync"

	"postern/internal/config"
	"postern/proxy/imapd"
	"postern/proxy/listen"
	"postern/proxy/pop3d"
	"postern/proxy/smtpd"
)

// door is a listener and what speaks behind it.
type door struct {
	name     string
	listener *listen.Listener
	speaker  speaker
}

// speaker speaks a door's protocol.
type speaker interface {
	Serve(ctx context.Context, c *listen.Conn)
	// Refusal makes the record of a connection that is not let in, and gives the line to say.
	Refusal(ctx context.Context, c *listen.Conn, why string) string
	Shutdown(ctx context.Context)
}

func (d *door) close(ctx context.Context) {
	var both sync.WaitGroup
	both.Go(func() { _ = d.listener.Shutdown(ctx) }) // its only error is that time ran out
	both.Go(func() { d.speaker.Shutdown(ctx) })
	both.Wait()
}

// accepted is how many connections came, those that were refused included. Each leaves one record.
func (d *door) accepted() int64 { return d.listener.Counts().Accepted }

// openDoor opens the door that the settings describe.
func (h *House) openDoor(d config.Door) (*door, error) {
	opened := &door{name: d.Name}
	o := listen.Options{
		Name: d.Name, Address: string(d.Listen), ProxyProtocol: d.ProxyProtocol, Trusted: prefixes(d.ProxyNetworks),
		MaxConnections: h.cfg.SMTP.MaxConnections, MaxPerNetwork: h.cfg.SMTP.MaxPerNetwork, V4Bits: 24, V6Bits: 64, Log: h.out.Log,
		Banned: h.banned, Transparent: d.Transparent,
		Serve: func(ctx context.Context, c *listen.Conn) { opened.speaker.Serve(ctx, c) },
		Refuse: func(c *listen.Conn, why listen.Reason) string {
			return opened.speaker.Refusal(context.Background(), c, string(why))
		},
	}
	if d.Receives() {
		o.Reserve, o.Known = h.cfg.SMTP.Reserve, h.known
		options := h.doorOptions(d)
		// asked by sessions only, which begin when the listener is there
		options.Pressed = func() bool { return opened.listener.Pressed() }
		opened.speaker = smtpSpeaker{smtpd.New(options, h.Gateway, h.out.Log)}
	} else {
		o.MaxConnections, o.MaxPerNetwork = h.cfg.MailAccess.MaxConnections, h.cfg.MailAccess.MaxPerNetwork
		opened.speaker = h.accessSpeaker(d)
	}
	if d.MaxConnections > 0 {
		o.MaxConnections = d.MaxConnections
	}
	l, err := listen.New(o)
	opened.listener = l
	return opened, err
}

// smtpSpeaker lets the SMTP door be one.
type smtpSpeaker struct{ *smtpd.Server }

func peer(c *listen.Conn) smtpd.Peer {
	return smtpd.Peer{Remote: c.Peer, Client: c.Client, Local: c.Local}
}

// Serve implements speaker.
func (s smtpSpeaker) Serve(ctx context.Context, c *listen.Conn) { s.Server.Serve(ctx, c, peer(c)) }

// Refusal implements speaker.
func (s smtpSpeaker) Refusal(ctx context.Context, c *listen.Conn, why string) string {
	return s.Server.Refusal(ctx, peer(c), why)
}

// accessSpeaker makes the door for people who read their mail from outside.
func (h *House) accessSpeaker(d config.Door) speaker {
	a := h.cfg.MailAccess
	notice := strings.ReplaceAll(a.Notice, "\n", "\r\n")
	clear := !d.RequireTLSForAuth.On()
	if d.Protocol == "pop3" {
		o := pop3d.Options{Name: d.Name, Hostname: h.cfg.Hostname, Implicit: d.TLS == "implicit", AuthInClear: clear, Gate: h.gate, Desk: h.desk,
			Notice: notice, SpoolDir: h.dir("spool"), Now: h.out.Now, Log: h.out.Log}
		if d.TLS != "none" {
			o.TLS = h.doorTLS()
		}
		return pop3d.New(o)
	}
	o := imapd.Options{Name: d.Name, Hostname: h.cfg.Hostname, Implicit: d.TLS == "implicit", AuthInClear: clear, Gate: h.gate, Desk: h.desk,
		Notice: notice, SpoolDir: h.dir("spool"), MaxAppend: int64(a.MaxAppend), Now: h.out.Now, Log: h.out.Log}
	if h.teacher != nil {
		o.Learner, o.Junk = h.teacher, a.Junk
	}
	if d.TLS != "none" {
		o.TLS = h.doorTLS()
	}
	return imapd.New(o)
}
