package app

import (
	"context"
	"strings"

	"postern/internal/config"
	"postern/internal/mail"
	"postern/proxy/frame"
	"postern/proxy/imapd"
	"postern/proxy/pop3d"
	"postern/proxy/smtpd"
)

// door is a listener with its protocol.
type door struct {
	name     string
	listener *frame.Listener
}

func (d *door) close(ctx context.Context) { _ = d.listener.Shutdown(ctx) } // its only error is a timeout

// accepted is how many connections were accepted or refused. Each leaves one record.
func (d *door) accepted() int64 { return d.listener.Counts().Accepted }

// openDoor opens the door that the settings describe.
func (h *App) openDoor(d config.Door) (*door, error) {
	opened := &door{name: d.Name}
	o := frame.Options{
		Name: d.Name, Address: string(d.Listen), ProxyProtocol: d.ProxyProtocol, Trusted: prefixes(d.ProxyNetworks),
		MaxConnections: h.cfg.SMTP.MaxConnections, MaxPerNetwork: h.cfg.SMTP.MaxPerNetwork, V4Bits: 24, V6Bits: 64, Log: h.out.Log,
		Banned: h.banned, Transparent: d.Transparent,
	}
	var protocol frame.Protocol
	if d.Receives() {
		o.Reserve, o.Known = h.cfg.SMTP.Reserve, h.known
		options := h.doorOptions(d)
		// asked by sessions only, which begin when the listener is there
		options.Pressed = func() bool { return opened.listener.Pressed() }
		protocol = smtpd.New(options, h.Gateway, h.out.Log)
	} else {
		o.MaxConnections, o.MaxPerNetwork = h.cfg.MailAccess.MaxConnections, h.cfg.MailAccess.MaxPerNetwork
		protocol = h.accessProtocol(d)
	}
	if d.MaxConnections > 0 {
		o.MaxConnections = d.MaxConnections
	}
	l, err := frame.New(o, protocol)
	opened.listener = l
	return opened, err
}

// accessProtocol makes the POP3 or IMAP door for users outside.
func (h *App) accessProtocol(d config.Door) frame.Protocol {
	a := h.cfg.MailAccess
	notice := strings.ReplaceAll(a.Notice, "\n", "\r\n")
	clear := !d.RequireTLSForAuth.On()
	if d.Protocol == mail.ProtocolPOP3 {
		o := pop3d.Options{Name: d.Name, Hostname: h.cfg.Hostname, Implicit: d.TLS == "implicit", AuthInClear: clear, Gate: h.gate, VerdictCache: h.verdicts,
			Notice: notice, SpoolDir: h.dir("spool"), Now: h.out.Now, Log: h.out.Log}
		if d.TLS != "none" {
			o.TLS = h.doorTLS()
		}
		return pop3d.New(o)
	}
	o := imapd.Options{Name: d.Name, Hostname: h.cfg.Hostname, Implicit: d.TLS == "implicit", AuthInClear: clear, Gate: h.gate, VerdictCache: h.verdicts,
		Notice: notice, SpoolDir: h.dir("spool"), MaxAppend: int64(a.MaxAppend), Now: h.out.Now, Log: h.out.Log}
	if h.teacher != nil {
		o.Learner, o.Junk = h.teacher, a.Junk
	}
	if d.TLS != "none" {
		o.TLS = h.doorTLS()
	}
	return imapd.New(o)
}
