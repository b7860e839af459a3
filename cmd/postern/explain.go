package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"postern/internal/config"
	"postern/policy"
	"postern/policy/ledger"
)

// quiet is the log of commands that say what is wrong by themselves.
func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func openLedger(f where) (*ledger.Ledger, error) {
	cfg, err := f.read()
	if err != nil {
		return nil, err
	}
	if err := enter(cfg.DataDir, cfg.LedgerFile()); err != nil {
		return nil, err
	}
	return ledger.Open(cfg.LedgerFile(), quiet())
}

type explainCommand struct {
	where
	For  string `enum:"admin,user,sender" default:"admin" help:"Whom it is for: admin, user or sender."`
	JSON bool   `name:"json" help:"The whole record as JSON."`
	ID   string `arg:"" help:"The id in a reply, a header or the log; its front is enough."`
}

// Run prints the record; an unknown id is the answer no.
func (c *explainCommand) Run(w world) (err error) {
	l, err := openLedger(c.where)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	record, err := l.Explain(w.ctx, c.ID)
	if errors.Is(err, ledger.ErrUnknown) || errors.Is(err, ledger.ErrAmbiguous) {
		fmt.Fprintf(w.stderr, "postern: %v\n", err)
		return errNo
	}
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(w, record)
	}
	return ledger.Describe(w.stdout, record, ledger.Voice(c.For))
}

// printJSON prints one value on one line.
func printJSON(w world, v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w.stdout, "%s\n", line)
	return err
}

type ledgerCommand struct {
	Search ledgerSearchCommand `cmd:"" help:"Find messages by sender, recipient, client, verdict, symbol, time."`
}

type ledgerSearchCommand struct {
	where
	Sender      string        `placeholder:"ADDRESS|DOMAIN"`
	Recipient   string        `placeholder:"ADDRESS|DOMAIN"`
	Client      string        `placeholder:"ADDR|NETWORK"`
	Disposition string        `placeholder:"WORD" help:"accept, tag, quarantine, defer or reject."`
	Symbol      string        `placeholder:"NAME"`
	Since       time.Duration `placeholder:"2h" help:"Only what came within this time."`
	Limit       int           `default:"50" help:"How many, the newest first."`
	JSON        bool          `name:"json" help:"One JSON object a line."`
}

// Run prints what was found; nothing is the answer no.
func (c *ledgerSearchCommand) Run(w world) (err error) {
	filter, err := c.filter()
	if err != nil {
		return usageError{err}
	}
	l, err := openLedger(c.where)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	found, err := l.Search(w.ctx, filter)
	if err != nil {
		return err
	}
	for _, t := range found {
		if c.JSON {
			err = printJSON(w, t)
		} else {
			err = printTransaction(w, t)
		}
		if err != nil {
			return err
		}
	}
	if len(found) == 0 {
		fmt.Fprintln(w.stderr, "postern: nothing found")
		return errNo
	}
	return nil
}

func (c *ledgerSearchCommand) filter() (ledger.Filter, error) {
	f := ledger.Filter{Sender: c.Sender, Recipient: c.Recipient, Symbol: c.Symbol, Limit: c.Limit}
	if c.Since > 0 {
		f.Since = time.Now().Add(-c.Since)
	}
	if c.Disposition != "" {
		d, err := policy.ParseDisposition(c.Disposition)
		if err != nil {
			return f, fmt.Errorf("--disposition: %w", err)
		}
		f.Disposition = &d
	}
	if c.Client != "" {
		network, err := parseNetwork(c.Client)
		if err != nil {
			return f, fmt.Errorf("--client %s: want an address or a network", c.Client)
		}
		f.Client = network
	}
	return f, nil
}

func parseNetwork(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil {
		return a.Prefix(a.BitLen())
	}
	var n config.Network
	err := n.UnmarshalText([]byte(text))
	return n.Prefix, err
}

// printTransaction prints one line a message, text from outside made safe for a terminal.
func printTransaction(w world, t ledger.Transaction) error {
	var to []string
	fate := "refused"
	for _, r := range t.Recipients {
		to = append(to, r.Address)
		fate = r.Fate
	}
	_, err := fmt.Fprintf(w.stdout, "%s  %s  %-9s  <%s> -> %s  %s\n", t.Time.Local().Format("2006-01-02 15:04:05"), t.ID, fate,
		ledger.Printable(t.From), ledger.Printable(strings.Join(to, ", ")), ledger.Printable(t.Subject))
	return err
}
