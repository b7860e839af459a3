package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"postern/cmd/postern/app"
	"postern/internal/config"
	"postern/policy"
	"postern/policy/records/ledger"
	"postern/policy/records/lists"
)

type listsCommand struct {
	List   listsListCommand   `cmd:"" help:"Entries, newest first, with owner, expiry and hits."`
	Search listsListCommand   `cmd:"" help:"The same as list."`
	Add    listsAddCommand    `cmd:"" help:"${lists_add}"`
	Remove listsRemoveCommand `cmd:"" help:"${lists_remove}"`
	Import listsImportCommand `cmd:"" help:"${lists_import}"`
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
	s, err := lists.Open(app.ListsStore(cfg), o)
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
	Unused config.Duration `placeholder:"90d" help:"Only entries without a hit for this long."`
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
	Network         string          `placeholder:"ADDRESS|NETWORK" help:"The client's network."`
	Recipient       string          `placeholder:"ADDRESS|DOMAIN" help:"Only for mail to it."`
	Domain          string          `help:"Entries for this domain." xor:"scope"`
	User            string          `placeholder:"ADDRESS" help:"Entries of this user." xor:"scope"`
	Unauthenticated bool            `help:"Also match unauthenticated mail: anybody can forge the sender."`
	Monitored       bool            `help:"A comment; it has no effect on verdicts."`
	Reason          string          `help:"A note for the audit log."`
	Expires         config.Duration `placeholder:"90d" help:"How long the entry is valid (default: until it is removed)."`
}

// Run adds.
func (c *listsAddCommand) Run(w world) error {
	body := map[string]any{"list": c.List, "scope": lists.Admin, "sender": c.Sender, "network": c.Network, "recipient": c.Recipient,
		"unauthenticated": c.Unauthenticated, "monitored": c.Monitored, "reason": c.Reason}
	switch {
	case c.Domain != "":
		body["scope"], body["scope_of"] = lists.Domain, c.Domain
	case c.User != "":
		body["scope"], body["scope_of"] = lists.User, c.User
	}
	if c.Expires > 0 {
		body["expires"] = time.Now().Add(c.Expires.Std())
	}
	var added lists.Entry
	if err := act(w, c.where, http.MethodPost, "/lists", body, &added); err != nil {
		return refused(w, "", err)
	}
	return c.tell(w, added, added.ID+"\n")
}

type listsRemoveCommand struct {
	where
	output
	IDs []string `arg:"" name:"id" help:"As lists list shows them."`
}

// Run takes out.
func (c *listsRemoveCommand) Run(w world) (err error) {
	p, err := openPlane(w, c.where, "/lists")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	var no error
	for _, id := range c.IDs {
		err := refused(w, id, p.act(http.MethodDelete, "/lists/"+url.PathEscape(id), nil, nil))
		if errors.Is(err, errNo) {
			no = errNo
			continue
		}
		if err != nil {
			return err
		}
		if err := c.tell(w, deed{id, "removed"}, id+": removed\n"); err != nil {
			return err
		}
	}
	return no
}

type listsImportCommand struct {
	where
	output
	Format string `arg:"" enum:"pmg,spamassassin,rspamd,assp,exchange" help:"pmg, spamassassin, rspamd, assp or exchange."`
	File   string `arg:"" help:"Its list."`
	List   string `name:"as" enum:"allow,block" default:"allow" help:"List for entries that name none: allow or block."`
	Domain string `help:"Only for this domain's mail." xor:"scope"`
	User   string `placeholder:"ADDRESS" help:"Only for this user's mail." xor:"scope"`
	Reason string `help:"Default for entries without one."`
	Widen  bool   `help:"Also import entries that match more mail here than in the other product."`
	DryRun bool   `help:"Dry run: only report what would be imported."`
}

// Run imports. Entries that can't be imported are listed line by line, and are the answer no.
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
	var done imported
	if c.DryRun { // it needs no gateway's data
		if done.Report, err = lists.Import(lists.Format(c.Format), f, o); err != nil {
			return usageError{err}
		}
		return c.sumUp(w, done)
	}
	text, err := io.ReadAll(io.LimitReader(f, lists.MaxImport+1)) // the reader of the list says that it is too long
	if err != nil {
		return usageError{err}
	}
	body := map[string]any{"format": c.Format, "text": string(text), "list": o.List, "scope": o.Scope, "scope_of": o.ScopeOf, "reason": o.Reason, "widen": o.Widen}
	if err := act(w, c.where, http.MethodPost, "/lists/import", body, &done); err != nil {
		return refused(w, "", err)
	}
	return c.sumUp(w, done)
}

// imported is what became of another program's list.
type imported struct {
	*lists.Report
	New int `json:"new"`
}

func (c *listsImportCommand) sumUp(w world, r imported) error {
	for _, l := range r.Lines {
		if !c.JSON && (l.Outcome != lists.Taken || l.Why != "") {
			fmt.Fprintf(w.stderr, "%s:%d: %s: %s: %s\n", c.File, l.Number, l.Text, l.Outcome, l.Why)
		}
	}
	if err := c.tell(w, r, fmt.Sprintf("%d taken, %d widened, %d refused; %d entries are new\n", r.Taken, r.Widened, r.Refused, r.New)); err != nil {
		return err
	}
	if r.Refused > 0 {
		return errNo
	}
	return nil
}
