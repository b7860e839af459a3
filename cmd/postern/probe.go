package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"postern/internal/config"
	"postern/internal/mail"
	"postern/policy/records/ledger"
	"postern/proxy/probe"
)

type probeCommand struct {
	where
	output
	To   string `help:"The mailbox for the honest message (default: [probe] to)."`
	Door string `placeholder:"HOST:PORT" help:"The SMTP door (default: the first of the configuration)."`
}

// Run sends the test messages once; an unexpected outcome is the answer no.
func (c *probeCommand) Run(w world) (err error) {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	to, door := cmp.Or(c.To, cfg.Probe.To), cmp.Or(c.Door, plainDoor(cfg))
	if to == "" || door == "" {
		return usageError{errors.New("say where to: --to probe@example.com, and --door HOST:PORT where the configuration has no plain SMTP door")}
	}
	l, err := openLedger(c.where)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	held := func(ctx context.Context, id string) bool {
		time.Sleep(200 * time.Millisecond) // the gateway writes its records a moment later
		return probe.Held(ctx, l, id)
	}

	bad := false
	for _, r := range probe.Send(w.ctx, door, cfg.Hostname, "postmaster@"+cfg.Hostname, to, time.Now(), held) {
		bad = bad || !r.Good
		mark := "ok "
		if !r.Good {
			mark = "BAD"
		}
		line := fmt.Sprintf("%s  %-6s wanted %-15s got %s (%.0f ms)\n", mark, r.Name, r.Want, ledger.Printable(r.Reply), r.Took)
		if err := c.tell(w, r, line); err != nil {
			return err
		}
	}
	if bad {
		return errNo
	}

	return nil
}

// plainDoor is the first door open to any client, as HOST:PORT.
func plainDoor(cfg *config.Config) string {
	for _, d := range cfg.Doors {
		if d.Protocol == mail.ProtocolSMTP && !d.ProxyProtocol && !d.Transparent {
			return probe.Reachable(string(d.Listen))
		}
	}

	return ""
}
