package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"time"

	"postern/cmd/postern/house"
	"postern/internal/config"
	"postern/policy"
	"postern/policy/ledger"
	"postern/policy/lists"
)

type listsCommand struct {
	List   listsListCommand   `cmd:"" help:"Entries, the newest first, with their owners, ends and hits."`
	Search listsListCommand   `cmd:"" help:"The same as list."`
	Add    listsAddCommand    `cmd:"" help:"Allow or block a sender or a network. It holds within seconds."`
	Remove listsRemoveCommand `cmd:"" help:"Take entries out."`
	Import listsImportCommand `cmd:"" help:"Read the lists of another program."`
}

// withLists opens the lists for one thing.
func withLists(f where, o lists.Options, do func(*lists.Store) error) error {
	cfg, err := f.read()
	if err != nil {
		return err
	}
	if err := enter(cfg.DataDir, cfg.DataDir); err != nil {
		return err
	}
	s, err := lists.Open(house.ListsStore(cfg), o)
	if err != nil {
		return err
	}
	err = do(s)
	return errors.Join(err, s.Close(context.Background()))
}

type listsListCommand struct {
	where
	output
	Text   string          `arg:"" optional:"" help:"Only those with this text in sender, network, recipient, owner or reason."`
	List   string          `name:"of" enum:"allow,block,both" default:"both" help:"allow, block or both."`
	Scope  string          `enum:"admin,domain,user,all" default:"all" help:"admin, domain, user or all."`
	Unused config.Duration `placeholder:"90d" help:"Only those without a hit for so long."`
	Limit  int             `default:"100"`
}

// Run lists.
func (c *listsListCommand) Run(w world) error {
	q := lists.Query{Text: c.Text}
	if c.List != "both" {
		q.List = policy.ListName(c.List)
	}
	if c.Scope != "all" {
		q.Scope = lists.Scope(c.Scope)
	}
	if c.Unused > 0 {
		q.Unused = time.Now().Add(-c.Unused.Std())
	}
	return none(w, withLists(c.where, lists.Options{}, func(s *lists.Store) error {
		for shown := 0; shown < c.Limit; {
			q.Limit = min(c.Limit-shown, 1000)
			found, next, err := s.Search(w.ctx, q)
			if err != nil {
				return err
			}
			for _, e := range found {
				if err := c.show(w, e); err != nil {
					return err
				}
			}
			if shown, q.After = shown+len(found), next; next == "" {
				return nil
			}
		}
		return nil
	}))
}

func (c *listsListCommand) show(w world, e lists.Entry) error {
	parts := []string{e.ID, fmt.Sprintf("%-5s", e.List)}
	for _, p := range []struct{ name, text string }{{"", e.Sender}, {"from ", network(e.Network)}, {"to ", e.Recipient}} {
		if p.text != "" {
			parts = append(parts, p.name+ledger.Printable(p.text))
		}
	}
	parts = append(parts, strings.TrimSpace(string(e.Scope)+" "+ledger.Printable(e.ScopeOf)), fmt.Sprintf("%d hits", e.Hits))
	if e.Unauthenticated {
		parts = append(parts, "UNAUTHENTICATED")
	}
	if e.Monitored {
		parts = append(parts, "only watched")
	}
	if !e.Expires.IsZero() {
		parts = append(parts, "until "+e.Expires.Local().Format(time.DateOnly))
	}
	return c.tell(w, e, strings.Join(append(parts, "by "+ledger.Printable(e.Owner), ledger.Printable(e.Reason)), "  ")+"\n")
}

func network(p netip.Prefix) string {
	if !p.IsValid() {
		return ""
	}
	return p.String()
}

type listsAddCommand struct {
	where
	output
	List            string          `arg:"" enum:"allow,block" help:"allow or block."`
	Sender          string          `arg:"" optional:"" help:"An address, a domain, .domain for those below it, or <>."`
	Network         string          `placeholder:"ADDRESS|NETWORK" help:"The client's."`
	Recipient       string          `placeholder:"ADDRESS|DOMAIN" help:"Only for mail to it."`
	Domain          string          `help:"The word of who looks after this domain." xor:"scope"`
	User            string          `placeholder:"ADDRESS" help:"The word of this user." xor:"scope"`
	Unauthenticated bool            `help:"Let in who only claims to be the sender, too: anybody can."`
	Monitored       bool            `help:"It decides nothing."`
	Reason          string          `help:"For the record."`
	Expires         config.Duration `placeholder:"90d" help:"How long it holds (default: until it is removed)."`
}

// Run adds.
func (c *listsAddCommand) Run(w world) error {
	e := lists.Entry{List: policy.ListName(c.List), Scope: lists.Admin, Sender: c.Sender, Recipient: c.Recipient, Unauthenticated: c.Unauthenticated, Monitored: c.Monitored,
		Reason: c.Reason, Owner: whoami()}
	switch {
	case c.Domain != "":
		e.Scope, e.ScopeOf = lists.Domain, c.Domain
	case c.User != "":
		e.Scope, e.ScopeOf = lists.User, c.User
	}
	if c.Network != "" {
		p, err := netip.ParsePrefix(c.Network)
		if a, aerr := netip.ParseAddr(c.Network); aerr == nil {
			p, err = a.Prefix(a.BitLen())
		}
		if err != nil {
			return usageError{fmt.Errorf("--network: %q is neither an address nor a network", c.Network)}
		}
		e.Network = p
	}
	if c.Expires > 0 {
		e.Expires = time.Now().Add(c.Expires.Std())
	}
	err := withLists(c.where, lists.Options{}, func(s *lists.Store) error {
		added, err := s.Add(w.ctx, e)
		switch {
		case errors.Is(err, lists.ErrInvalid):
			return usageError{err}
		case err != nil:
			return err
		}
		return c.tell(w, added, added.ID+"\n")
	})
	if err != nil {
		return err
	}
	return noteAct(w, c.where, "lists add", strings.TrimSpace(c.List+" "+c.Sender+" "+c.Network), nil)
}

type listsRemoveCommand struct {
	where
	output
	IDs []string `arg:"" name:"id" help:"As lists list shows them."`
}

// Run takes out.
func (c *listsRemoveCommand) Run(w world) error {
	var no error
	err := withLists(c.where, lists.Options{}, func(s *lists.Store) error {
		for _, id := range c.IDs {
			switch err := s.Remove(w.ctx, id); {
			case errors.Is(err, lists.ErrUnknown):
				fmt.Fprintf(w.stderr, "postern: %s: %v\n", ledger.Printable(id), err)
				no = errNo
				continue
			case err != nil:
				return err
			}
			if err := c.tell(w, deed{id, "removed"}, id+": removed\n"); err != nil {
				return err
			}
			if err := noteAct(w, c.where, "lists remove", id, nil); err != nil {
				return err
			}
		}
		return nil
	})
	return errors.Join(err, no)
}

type listsImportCommand struct {
	where
	output
	Format string `arg:"" enum:"pmg,spamassassin,rspamd,assp,exchange" help:"pmg, spamassassin, rspamd, assp or exchange."`
	File   string `arg:"" help:"Its list."`
	List   string `name:"as" enum:"allow,block" default:"allow" help:"Where the file does not say: allow or block."`
	Domain string `help:"Only for this domain's mail." xor:"scope"`
	User   string `placeholder:"ADDRESS" help:"Only for this user's mail." xor:"scope"`
	Reason string `help:"For entries that bring none."`
	Widen  bool   `help:"Take entries that hold for more mail here than there, too."`
	DryRun bool   `help:"Only tell what would be taken."`
}

// Run imports. What could not be taken is told line by line, and is the answer no.
func (c *listsImportCommand) Run(w world) error {
	f, err := os.Open(c.File)
	if err != nil {
		return usageError{err}
	}
	defer func() { _ = f.Close() }() // opened for reading only
	o := lists.ImportOptions{List: policy.ListName(c.List), Owner: whoami(), Reason: c.Reason, Widen: c.Widen}
	switch {
	case c.Domain != "":
		o.Scope, o.ScopeOf = lists.Domain, c.Domain
	case c.User != "":
		o.Scope, o.ScopeOf = lists.User, c.User
	}
	report, err := lists.Import(lists.Format(c.Format), f, o)
	if err != nil {
		return usageError{err}
	}
	added := 0
	if !c.DryRun {
		bar := newProgress(w, "import")
		if err := withLists(c.where, lists.Options{Progress: bar.show}, func(s *lists.Store) error {
			defer bar.done()
			added, err = s.AddAll(w.ctx, report.Entries)
			return err
		}); err != nil {
			return err
		}
		if err := noteAct(w, c.where, "lists import", c.Format+" "+c.File, nil); err != nil {
			return err
		}
	}
	return c.sumUp(w, report, added)
}

func (c *listsImportCommand) sumUp(w world, r *lists.Report, added int) error {
	for _, l := range r.Lines {
		if !c.JSON && (l.Outcome != lists.Taken || l.Why != "") {
			fmt.Fprintf(w.stderr, "%s:%d: %s: %s: %s\n", c.File, l.Number, l.Text, l.Outcome, l.Why)
		}
	}
	all := struct {
		*lists.Report
		New int `json:"new"`
	}{r, added}
	if err := c.tell(w, all, fmt.Sprintf("%d taken, %d widened, %d refused; %d entries are new\n", r.Taken, r.Widened, r.Refused, added)); err != nil {
		return err
	}
	if r.Refused > 0 {
		return errNo
	}
	return nil
}
