package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"postern/cmd/postern/house"
	"postern/internal/admin/api"
	"postern/internal/config"
	"postern/policy/ledger"
)

type tokenCommand struct {
	Add    tokenAddCommand    `cmd:"" help:"Make a token for the JSON interface. It is shown once."`
	List   tokenListCommand   `cmd:"" help:"All tokens, without what is secret."`
	Remove tokenRemoveCommand `cmd:"" help:"Take a token away."`
}

func openActs(f where) (*api.Store, error) {
	cfg, err := f.read()
	if err != nil {
		return nil, err
	}
	if err := enter(cfg.DataDir, cfg.DataDir); err != nil {
		return nil, err
	}
	return api.OpenStore(house.AdminStore(cfg), quiet())
}

// noteAct writes down what an admin did on the command line.
func noteAct(w world, f where, verb, what string, done error) error {
	acts, err := openActs(f)
	if err != nil {
		return errors.Join(done, err)
	}
	outcome := "done"
	if done != nil {
		outcome = "failed"
	}
	err = acts.Note(w.ctx, api.Act{Time: time.Now(), Who: whoami(), Role: api.Admin, Client: "command line", Verb: verb, What: what, Outcome: outcome})
	return errors.Join(done, err, acts.Close())
}

type tokenAddCommand struct {
	where
	output
	Name    string          `arg:"" help:"For the log of acts: who or what it is for."`
	Role    string          `required:"" enum:"admin,domain-admin,helpdesk,auditor,user" help:"admin, domain-admin, helpdesk, auditor or user."`
	Domain  []string        `help:"Of a domain-admin."`
	Address []string        `help:"The mailboxes of a user."`
	Expires config.Duration `placeholder:"90d" help:"How long it holds (default: until it is removed)."`
}

// Run makes one.
func (c *tokenAddCommand) Run(w world) (err error) {
	acts, err := openActs(c.where)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, acts.Close()) }()
	t := api.Token{Name: c.Name, Role: api.Role(c.Role), Domains: c.Domain, Addresses: c.Address, Created: time.Now()}
	if c.Expires > 0 {
		t.Expires = t.Created.Add(c.Expires.Std())
	}
	made, secret, err := acts.Add(w.ctx, t)
	if err != nil {
		return usageError{err}
	}
	if err := c.tell(w, madeToken{made, secret}, secret+"\n"); err != nil {
		return err
	}
	return noteAct(w, c.where, "token add", c.Role+" "+c.Name, nil)
}

// madeToken is a token with its secret, which is told once.
type madeToken struct {
	api.Token
	Secret string `json:"secret"`
}

type tokenListCommand struct {
	where
	output
}

// Run lists.
func (c *tokenListCommand) Run(w world) (err error) {
	acts, err := openActs(c.where)
	if err != nil {
		return none(w, err)
	}
	defer func() { err = errors.Join(err, acts.Close()) }()
	all, err := acts.Tokens(w.ctx)
	if err != nil {
		return err
	}
	for _, t := range all {
		ends := "no end"
		if !t.Expires.IsZero() {
			ends = "until " + t.Expires.Local().Format("2006-01-02 15:04")
		}
		of := strings.Join(slices.Concat(t.Domains, t.Addresses), ",")
		if err := c.tell(w, t, fmt.Sprintf("%s  %-12s  %s  %s  %s\n", t.ID, t.Role, ledger.Printable(t.Name), of, ends)); err != nil {
			return err
		}
	}
	return nil
}

type tokenRemoveCommand struct {
	where
	output
	ID string `arg:"" help:"As token list shows it."`
}

// Run takes it away.
func (c *tokenRemoveCommand) Run(w world) (err error) {
	acts, err := openActs(c.where)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, acts.Close()) }()
	if err := acts.Remove(w.ctx, c.ID); errors.Is(err, api.ErrUnknownToken) {
		fmt.Fprintln(w.stderr, "postern: there is no such token; it goes by its id: postern token list")
		return errNo
	} else if err != nil {
		return err
	}
	if err := c.tell(w, deed{c.ID, "removed"}, ""); err != nil {
		return err
	}
	return noteAct(w, c.where, "token remove", c.ID, nil)
}

type auditCommand struct {
	where
	output
	Limit int `default:"100"`
}

// Run prints who did what, the newest first.
func (c *auditCommand) Run(w world) (err error) {
	acts, err := openActs(c.where)
	if err != nil {
		return none(w, err)
	}
	defer func() { err = errors.Join(err, acts.Close()) }()
	all, err := acts.Acts(w.ctx, c.Limit)
	if err != nil {
		return err
	}
	for _, a := range all {
		err = c.tell(w, a, fmt.Sprintf("%s  %s (%s, %s)  %s  %s  %s\n", a.Time.Local().Format("2006-01-02 15:04:05"), ledger.Printable(a.Who), a.Role,
			ledger.Printable(a.Client), a.Verb, ledger.Printable(a.What), a.Outcome))
		if err != nil {
			return err
		}
	}
	return nil
}
