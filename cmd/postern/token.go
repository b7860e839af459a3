package main

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"postern/internal/config"
	"postern/policy/records/ledger"
	"postern/proxy/console/api"
)

type tokenCommand struct {
	Add    tokenAddCommand    `cmd:"" help:"${token_add}"`
	List   tokenListCommand   `cmd:"" help:"All tokens, without their secrets."`
	Remove tokenRemoveCommand `cmd:"" help:"${token_remove}"`
}

type tokenAddCommand struct {
	where
	output
	Name    string          `arg:"" help:"Who or what the token is for, for the audit log."`
	Role    string          `required:"" enum:"admin,domain-admin,helpdesk,auditor,user" help:"admin, domain-admin, helpdesk, auditor or user."`
	Domain  []string        `help:"Of a domain-admin."`
	Address []string        `help:"The mailboxes of a user."`
	Expires config.Duration `placeholder:"90d" help:"How long the entry is valid (default: until it is removed)."`
}

// Run makes one.
func (c *tokenAddCommand) Run(w world) error {
	body := map[string]any{"name": c.Name, "role": c.Role, "domains": c.Domain, "addresses": c.Address}
	if c.Expires > 0 {
		body["expires"] = time.Now().Add(c.Expires.Std())
	}
	var made struct {
		api.Token
		Secret string `json:"token"`
	}
	if err := act(w, c.where, http.MethodPost, "/tokens", body, &made); err != nil {
		return refused(w, "", err)
	}
	return c.tell(w, madeToken(made), made.Secret+"\n")
}

// madeToken is a token with its secret, which is printed once.
type madeToken struct {
	api.Token
	Secret string `json:"secret"`
}

type tokenListCommand struct {
	where
	output
}

// Run lists.
func (c *tokenListCommand) Run(w world) error {
	var all []api.Token
	if err := act(w, c.where, http.MethodGet, "/tokens", nil, &all); err != nil {
		return none(w, plainly(err))
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
func (c *tokenRemoveCommand) Run(w world) error {
	if err := act(w, c.where, http.MethodDelete, "/tokens/"+url.PathEscape(c.ID), nil, nil); err != nil {
		return refused(w, "", err)
	}
	return c.tell(w, deed{c.ID, "removed"}, "")
}

type auditCommand struct {
	where
	output
	Limit int `default:"100"`
}

// Run prints the audit log, the newest first.
func (c *auditCommand) Run(w world) error {
	var all []api.Act
	if err := act(w, c.where, http.MethodGet, "/audit?limit="+strconv.Itoa(c.Limit), nil, &all); err != nil {
		return none(w, refused(w, "", err))
	}
	for _, a := range all {
		if err := c.tell(w, a, actLine(a)); err != nil {
			return err
		}
	}
	return nil
}

// actLine is one act as text: time, actor, origin, command and result.
func actLine(a api.Act) string {
	from := string(a.Role)
	for _, more := range []string{string(a.From), a.Client} {
		if more != "" && !(a.From == api.CLI && more == a.Client) {
			from += ", " + more
		}
	}
	name := cmp.Or(a.Name, a.Verb)
	if a.Verb == tableVerbOf {
		name = "" // the name is part of the command: bans lift and the row
	}
	parts := []string{a.Time.Local().Format("2006-01-02 15:04:05"), fmt.Sprintf("%s (%s)", ledger.Printable(a.Who), from)}
	for _, part := range []string{name, ledger.Printable(a.What), a.Outcome} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, "  ") + "\n"
}

// tableVerbOf is the verb that corrects a row.
const tableVerbOf = "POST /shelves/{name}/{verb}"
