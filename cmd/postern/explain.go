package main

import (
	"fmt"
	"log/slog"

	"postern/cmd/postern/app"
	"postern/internal/mail"
	"postern/policy"
	"postern/policy/records/ledger"
)

// quiet is the log of commands that say what is wrong by themselves.
func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func openLedger(f where) (*ledger.Ledger, error) {
	cfg, err := f.read()
	if err != nil {
		return nil, err
	}
	file := cfg.LedgerFile()
	if cfg.SharedDatabase() {
		file = cfg.DataDir
	}
	if err := enter(cfg.DataDir, file); err != nil {
		return nil, err
	}
	flush(cfg)
	return app.ReadLedger(cfg, quiet())
}

type explainCommand struct {
	where
	output
	For string `enum:"admin,user,sender" default:"admin" help:"Audience: admin, user or sender."`
	ID  string `arg:"" help:"The id from a reply, a header or the log; a unique prefix is enough."`
}

// Run prints the record; an unknown id is the answer no.
func (c *explainCommand) Run(w world) error {
	return inLedger(c.where, func(l *ledger.Ledger) error {
		record, err := explained(w, l, c.ID)
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(w, record)
		}
		if err := ledger.Describe(w.stdout, record, ledger.Voice(c.For)); err != nil || ledger.Voice(c.For) != ledger.Admin {
			return err
		}
		return c.flips(w, record)
	})
}

// flips prints what would change the verdict, by the policy in force.
func (c *explainCommand) flips(w world, record *ledger.Record) error {
	cfg, err := c.read()
	if err != nil {
		return err
	}
	text, err := app.PolicyText(cfg)
	if err != nil {
		return err
	}
	p, err := app.CompilePolicy(cfg, cfg.PolicyFile(), text)
	if err != nil {
		return nil // `postern config check` reports it; the record is printed all the same
	}
	for _, t := range record.Transactions {
		if t.Facts != nil && t.Facts.Stage >= mail.StageMessage {
			flipsOf(w, p, t)
		}
	}
	return nil
}

// flipsOf prints it for the first recipient that has any.
func flipsOf(w world, p *policy.Policy, t ledger.Transaction) {
	for _, r := range t.Recipients {
		to, err := mail.ParseAddress(r.Address)
		if err != nil || r.Required == (policy.Thresholds{}) {
			continue
		}
		lines := p.Counterfactuals(t.Facts, to)
		if len(lines) == 0 {
			continue
		}
		fmt.Fprintf(w.stdout, "  what would have changed it (by policy %s)\n", p.Version())
		for _, line := range lines {
			fmt.Fprintf(w.stdout, "           %s\n", ledger.Printable(line))
		}
		return
	}
}
