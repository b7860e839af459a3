package app

import (
	"context"

	"postern/internal/mail"
	"postern/proxy/probe"
)

// probeDoor is the address of the first SMTP door, as one connects to it from this machine.
func (a *App) probeDoor() string {
	for i, d := range a.cfg.Doors {
		if d.Protocol == mail.ProtocolSMTP && !d.ProxyProtocol && !d.Transparent && i < len(a.doors) {
			return probe.Reachable(a.doors[i].listener.Addr().String())
		}
	}
	return ""
}

// runProbe sends the test messages now and then, if the admin named a mailbox for them.
func (a *App) runProbe(ctx context.Context) {
	door := a.probeDoor()
	if door == "" {
		return
	}
	to := a.cfg.Probe.To
	results := probe.Send(ctx, door, a.cfg.Hostname, "postmaster@"+a.cfg.Hostname, to, a.out.Now(), a.held)
	a.probes.Note(results, a.out.Now())
	for _, r := range results {
		if !r.Good {
			a.out.Log.Warn("probe", "message", r.Name, "want", r.Want, "got", r.Reply)
		}
	}
}

// held reports whether the message with this Message-ID was accepted and held.
func (a *App) held(ctx context.Context, messageID string) bool {
	return probe.Held(ctx, a.Ledger, messageID)
}
