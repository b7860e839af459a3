package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"strings"

	"postern/internal/config"
	"postern/internal/mail"
	"postern/policy/records/ledger"
)

type ledgerCommand struct {
	Search      ledgerSearchCommand      `cmd:"" help:"Find messages by words, sender, recipient, client, verdict, symbol, time."`
	Connections ledgerConnectionsCommand `cmd:"" help:"Connections, newest first, including those without a message."`
	Fetched     ledgerFetchedCommand     `cmd:"" help:"Users who fetched a message by POP3 or IMAP."`
	Export      ledgerExportCommand      `cmd:"" help:"Export all matches as CSV or JSON lines, newest first."`
}

// ledgerQuery are the flags that say what is looked for.
type ledgerQuery struct {
	Text        string `arg:"" optional:"" help:"Words of subject, sender, recipients, Message-ID, client name, HELO or login; word* is the front of one."`
	Sender      string `placeholder:"ADDRESS|DOMAIN"`
	Recipient   string `placeholder:"ADDRESS|DOMAIN"`
	Domain      string `help:"Of the sender or of a recipient."`
	Client      string `placeholder:"ADDR|NETWORK"`
	Disposition string `placeholder:"WORD" help:"accept, tag, quarantine, defer or reject."`
	Fate        string `placeholder:"WORD" help:"Fate after the reply: deferred, delivered, refused, expired, bounced, released, requeued, redirected, deleted, masked, recalled or restored."`
	Symbol      string `placeholder:"NAME"`
	SHA256      string `name:"sha256" placeholder:"HEX" help:"The message's hash."`
	MessageID   string `name:"message-id" placeholder:"<ID>"`
	User        string `help:"The login."`
	Door        string `help:"The door's name."`
	Policy      string `placeholder:"VERSION"`
	Direction   string `enum:",in,out" default:"" help:"in or out."`
	Kind        string `enum:",smtp,fetch" default:"" help:"smtp for mail that came, fetch for mail that was fetched by POP3 or IMAP."`
	Since       when   `placeholder:"2h" help:"Only what came since then: 2h or 3d ago, or a date as in 2026-11-23 or 2026-11-23T14:00."`
	Until       when   `placeholder:"1h" help:"Only what came before then, written likewise."`
}

func (c *ledgerQuery) query(limit int) (ledger.Query, error) {
	q := ledger.Query{Text: c.Text, Sender: c.Sender, Recipient: c.Recipient, Domain: c.Domain, Symbol: c.Symbol, SHA256: c.SHA256, MessageID: c.MessageID,
		User: c.User, Door: c.Door, PolicyVersion: c.Policy, Direction: c.Direction, Limit: limit}
	q.Since, q.Until = c.Since.Time, c.Until.Time
	if c.Kind != "" {
		kind := ledger.SMTP
		if c.Kind == "fetch" {
			kind = ledger.Fetch
		}
		q.Kind = &kind
	}
	if c.Fate != "" {
		word, err := ledger.ParseWord(c.Fate)
		if err != nil {
			return q, fmt.Errorf("--fate: %w", err)
		}
		q.Fate = word
	}
	if c.Disposition != "" {
		d, err := mail.ParseDisposition(c.Disposition)
		if err != nil {
			return q, fmt.Errorf("--disposition: %w", err)
		}
		q.Disposition = &d
	}
	if c.Client != "" {
		network, err := parseNetwork(c.Client)
		if err != nil {
			return q, fmt.Errorf("--client %s: want an address or a network", c.Client)
		}
		q.Client = network
	}
	return q, nil
}

type ledgerSearchCommand struct {
	where
	output
	ledgerQuery
	Limit int `default:"50" help:"Maximum number of results, newest first."`
}

// Run prints what was found; nothing is the answer no.
func (c *ledgerSearchCommand) Run(w world) error {
	query, err := c.query(c.Limit)
	if err != nil {
		return usageError{err}
	}
	return inLedger(c.where, func(l *ledger.Ledger) error {
		found, err := l.Search(w.ctx, query)
		return tellFound(w, c.output, found, err, transactionLine)
	})
}

// inLedger does something with the ledger open.
func inLedger(f where, do func(*ledger.Ledger) error) (err error) {
	l, err := openLedger(f)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()

	return do(l)
}

// tellFound prints what a search found, a line each; nothing is the answer no.
func tellFound[T any](w world, o output, found []T, err error, line func(T) string) error {
	if errors.Is(err, ledger.ErrQuery) {
		return usageError{err}
	}
	if err != nil {
		return err
	}
	for _, one := range found {
		if err := o.tell(w, one, line(one)); err != nil {
			return err
		}
	}
	if len(found) == 0 {
		fmt.Fprintln(w.stderr, "postern: nothing found")
		return errNo
	}
	return nil
}

type ledgerConnectionsCommand struct {
	where
	output
	Client string `placeholder:"ADDR|NETWORK"`
	Door   string `help:"The door's name."`
	User   string `help:"The login."`
	Symbol string `placeholder:"NAME"`
	Since  when   `placeholder:"2h" help:"Only what came since then: 2h or 3d ago, or a date."`
	Until  when   `placeholder:"1h" help:"Only what came before then, written likewise."`
	Limit  int    `default:"50"`
}

// Run lists; nothing is the answer no.
func (c *ledgerConnectionsCommand) Run(w world) error {
	search := ledgerQuery{Client: c.Client, Door: c.Door, User: c.User, Symbol: c.Symbol, Since: c.Since, Until: c.Until}
	query, err := search.query(c.Limit)
	if err != nil {
		return usageError{err}
	}
	return inLedger(c.where, func(l *ledger.Ledger) error {
		found, err := l.Connections(w.ctx, query)
		return tellFound(w, c.output, found, err, connectionLine)
	})
}

func connectionLine(c ledger.Connection) string {
	return fmt.Sprintf("%s  %s  %-10s  %s  %s  %s\n", c.Started.Local().Format(second), c.ID, c.Door, c.Client, ledger.Printable(c.User), ledger.Printable(c.End))
}

type ledgerFetchedCommand struct {
	where
	output
	ID string `arg:"" help:"The message's id in the ledger."`
}

// Run looks for fetches of the message: by its hash, and by its Message-ID, as the server may have put fields on top.
// No fetch is the answer no.
func (c *ledgerFetchedCommand) Run(w world) error {
	return inLedger(c.where, func(l *ledger.Ledger) error {
		record, err := explained(w, l, c.ID)
		if err != nil {
			return err
		}
		found, err := fetches(w, l, record)
		if err == nil && len(found) == 0 {
			fmt.Fprintln(w.stderr, "postern: nobody has fetched it through this gateway")
			return errNo
		}
		return tellFound(w, c.output, found, err, fetchLine)
	})
}

// explained is the record of an id; one that is unknown or ambiguous is the answer no.
func explained(w world, l *ledger.Ledger, id string) (*ledger.Record, error) {
	record, err := l.Explain(w.ctx, id)
	if errors.Is(err, ledger.ErrUnknown) || errors.Is(err, ledger.ErrAmbiguous) {
		fmt.Fprintf(w.stderr, "postern: %v\n", err)
		return nil, errNo
	}
	return record, err
}

// fetches finds the users who fetched the messages of a record. A record with facts says how a fetched message was
// judged, not that it was shown.
func fetches(w world, l *ledger.Ledger, record *ledger.Record) (all []ledger.Transaction, err error) {
	kind, seen := ledger.Fetch, map[string]bool{}
	for _, t := range record.Transactions {
		for _, q := range []ledger.Query{{SHA256: t.SHA256}, {MessageID: t.MessageID}} {
			if q.SHA256 == "" && q.MessageID == "" {
				continue
			}
			q.Kind, q.Limit = &kind, ledger.MaxLimit
			found, err := l.Search(w.ctx, q)
			if err != nil {
				return nil, err
			}
			for _, f := range found {
				if !seen[f.ID] && f.Facts == nil {
					seen[f.ID], all = true, append(all, f)
				}
			}
		}
	}
	return all, nil
}

func fetchLine(f ledger.Transaction) string {
	return fmt.Sprintf("%s  %s  %s  %s  %s\n", f.Time.Local().Format(second), ledger.Printable(f.User), f.Client, f.Door, ledger.Printable(f.Reply))
}

type ledgerExportCommand struct {
	where
	output
	ledgerQuery
	Format string `enum:"csv,json" default:"csv" help:"csv, with a row of names first, or json, one object a line, which --json says, too."`
	Output string `short:"o" placeholder:"FILE" help:"Output file (default: standard output)."`
	Force  bool   `help:"Overwrite an existing file."`
}

// Run writes all of it, without a limit.
func (c *ledgerExportCommand) Run(w world) error {
	query, err := c.query(0)
	if err != nil {
		return usageError{err}
	}
	return inLedger(c.where, func(l *ledger.Ledger) (err error) {
		counted := &counter{to: w.stdout, bar: newProgress(w, "export").aside()}
		if c.Output != "" {
			f, err := c.create()
			if err != nil {
				return usageError{err}
			}
			defer func() { err = errors.Join(err, f.Close()) }()
			counted = &counter{to: f, bar: newProgress(w, "export")}
		}
		defer counted.bar.done()
		write := l.WriteCSV
		if c.JSON || c.Format == "json" {
			write = l.WriteJSONLines
		}
		if err = write(w.ctx, counted, query); errors.Is(err, ledger.ErrQuery) {
			return usageError{err}
		}
		return err
	})
}

// create makes the file to write to.
func (c *ledgerExportCommand) create() (*os.File, error) {
	how := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	if c.Force {
		how = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	}
	f, err := os.OpenFile(c.Output, how, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("%s is there already: name another file, or say --force", c.Output)
	}
	return f, err
}

// counter shows how many octets were written.
type counter struct {
	to  io.Writer
	bar *progress
	n   int
}

// Write hands on.
func (c *counter) Write(p []byte) (int, error) {
	n, err := c.to.Write(p)
	c.n += n
	c.bar.show(endless, c.n)
	return n, err
}

func parseNetwork(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil {
		return a.Prefix(a.BitLen())
	}
	var n config.Network
	err := n.UnmarshalText([]byte(text))
	return n.Prefix, err
}

// second is how times are written in lists.
const second = "2006-01-02 15:04:05"

// transactionLine is one line a message, text from outside made safe for a terminal.
func transactionLine(t ledger.Transaction) string {
	var to []string
	fate := ledger.Refused
	for _, r := range t.Recipients {
		to = append(to, r.Address)
		fate = r.Last()
	}
	return fmt.Sprintf("%s  %s  %-9s  <%s> -> %s  %s\n", t.Time.Local().Format(second), t.ID, fate,
		ledger.Printable(t.From), ledger.Printable(strings.Join(to, ", ")), ledger.Printable(t.PlainSubject()))
}
