package app

import (
	"context"

	"postern/internal/mail"
	"postern/proxy/probe"
)

// probeDoor is the address of the first SMTP door, as one connects to it from this machine.
func (h *App) probeDoor() string {
	for i, d := range h.cfg.Doors {
		if d.Protocol == mail.ProtocolSMTP && !d.ProxyProtocol && !d.Transparent && i < len(h.doors) {
			return probe.Reachable(h.doors[i].listener.Addr().String())
		}
	}
	return ""
}

// runProbe sends the test messages now and then, if the admin named a mailbox for them.
func (h *App) runProbe(ctx context.Context) {
	door := h.probeDoor()
	if door == "" {
		return
	}
	to := h.cfg.Probe.To
	results := probe.Send(ctx, door, h.cfg.Hostname, "postmaster@"+h.cfg.Hostname, to, h.out.Now(), h.held)
	h.probes.Note(results, h.out.Now())
	for _, r := range results {
		if !r.Good {
			h.out.Log.Warn("probe", "message", r.Name, "want", r.Want, "got", r.Reply)
		}
	}
}

// held reports whether the message with this Message-ID was accepted and held.
func (h *App) held(ctx context.Context, messageID string) bool {
	return probe.Held(ctx, h.Ledger, messageID)
}
