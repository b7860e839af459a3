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
func (a *App) openDoor(d config.Door) (*door, error) {
	opened := &door{name: d.Name}
	o := frame.Options{
		Name: d.Name, Address: string(d.Listen), ProxyProtocol: d.ProxyProtocol, Trusted: prefixes(d.ProxyNetworks),
		MaxConnections: a.cfg.SMTP.MaxConnections, MaxPerNetwork: a.cfg.SMTP.MaxPerNetwork, V4Bits: 24, V6Bits: 64, Log: a.out.Log,
		Banned: a.banned, Transparent: d.Transparent,
	}
	var protocol frame.Protocol
	if d.Receives() {
		o.Reserve, o.Known = a.cfg.SMTP.Reserve, a.known
		options := a.doorOptions(d)
		// asked by sessions only, which begin when the listener is there
		options.Pressed = func() bool { return opened.listener.Pressed() }
		protocol = smtpd.New(options, a.Gateway, a.out.Log)
	} else {
		o.MaxConnections, o.MaxPerNetwork = a.cfg.MailAccess.MaxConnections, a.cfg.MailAccess.MaxPerNetwork
		protocol = a.accessProtocol(d)
	}
	if d.MaxConnections > 0 {
		o.MaxConnections = d.MaxConnections
	}
	l, err := frame.New(o, protocol)
	opened.listener = l
	return opened, err
}

// accessProtocol makes the POP3 or IMAP door for users outside.
func (a *App) accessProtocol(d config.Door) frame.Protocol {
	access := a.cfg.MailAccess
	notice := strings.ReplaceAll(access.Notice, "\n", "\r\n")
	clear := !d.RequireTLSForAuth.On()
	if d.Protocol == mail.ProtocolPOP3 {
		o := pop3d.Options{Name: d.Name, Hostname: a.cfg.Hostname, Implicit: d.TLS == "implicit", AuthInClear: clear, Gate: a.gate, VerdictCache: a.verdicts,
			Notice: notice, SpoolDir: a.dir("spool"), Now: a.out.Now, Log: a.out.Log}
		if d.TLS != "none" {
			o.TLS = a.doorTLS()
		}
		return pop3d.New(o)
	}
	o := imapd.Options{Name: d.Name, Hostname: a.cfg.Hostname, Implicit: d.TLS == "implicit", AuthInClear: clear, Gate: a.gate, VerdictCache: a.verdicts,
		Notice: notice, SpoolDir: a.dir("spool"), MaxAppend: int64(access.MaxAppend), Now: a.out.Now, Log: a.out.Log}
	if a.teacher != nil {
		o.Learner, o.Junk = a.teacher, access.Junk
	}
	if d.TLS != "none" {
		o.TLS = a.doorTLS()
	}
	return imapd.New(o)
}
