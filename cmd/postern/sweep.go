package main

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"postern/cmd/postern/app"
	"postern/policy/records/ledger"
	"postern/policy/records/recall"
	"postern/proxy/access"
	"postern/proxy/console/api"
	"postern/proxy/retrieval/sweep"
)

type sweepCommand struct {
	where
	output
	Backend string   `placeholder:"NAME" help:"The [mail_backend] whose mailboxes are swept. It needs a master_user."`
	To      string   `default:"Quarantine" help:"The mailbox of each user that the messages are moved to."`
	User    []string `placeholder:"LOGIN" help:"Only these users; without, all who logged in through the gateway."`
	DryRun  bool     `help:"Change nothing, only report."`
}

// Run moves recalled messages out of users' mailboxes.
func (c *sweepCommand) Run(w world) error {
	cfg, err := c.read()
	if err != nil {
		return err
	}
	routes, err := app.MailRoutes(cfg)
	if err != nil {
		return err
	}
	if c.Backend == "" {
		return usageError{fmt.Errorf("say whose mailboxes are swept: --backend NAME. %s", backendNames(routes))}
	}
	i := slices.IndexFunc(routes, func(r access.Route) bool { return r.Name == c.Backend })
	if i < 0 {
		return usageError{fmt.Errorf("there is no [mail_backend.%q]. %s", c.Backend, backendNames(routes))}
	}
	var recalls []recall.Entry
	if err := act(w, c.where, http.MethodGet, "/recalls", nil, &recalls); err != nil {
		return refused(w, "", err)
	}
	if _, others := sweep.Searchable(recalls); others > 0 {
		fmt.Fprintf(w.stderr, "postern: %d recalls have only a hash and can't be looked for: name their Message-ID\n", others)
	}
	users := c.User
	if len(users) == 0 {
		if users, err = knownUsers(w, c.where, c.Backend, routes); err != nil {
			return err
		}
	}
	return c.sweep(w, users)
}

func (c *sweepCommand) sweep(w world, users []string) (err error) {
	p, err := openPlane(w, c.where, "/sweeps")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	failed, bar := false, newProgress(w, "sweep")
	for i, user := range users {
		bar.show(float64(i)/float64(len(users)), i)
		var r sweep.Report
		err := p.act(http.MethodPost, "/sweeps", api.SweepOrder{Backend: c.Backend, User: user, To: c.To, DryRun: c.DryRun}, &r)
		bar.done()
		if err != nil {
			return refused(w, user, err)
		}
		failed = failed || r.Error != ""
		err = c.tell(w, r, sweepLine(r)+"\n")
		if err = errors.Join(err, w.ctx.Err()); err != nil {
			return err
		}
	}
	if failed {
		return errNo
	}
	return nil
}

// backendNames lists the valid values of --backend.
func backendNames(routes []access.Route) string {
	var names []string
	for _, r := range routes {
		names = append(names, fmt.Sprintf("%q", r.Name))
	}
	if names == nil {
		return "The configuration has no [mail_backend]"
	}
	return "The configuration has " + strings.Join(names, ", ")
}

func sweepLine(r sweep.Report) string {
	line := fmt.Sprintf("%-30s  %4d mailboxes  %4d found  %4d moved", ledger.Printable(r.User), r.Mailboxes, r.Found, r.Moved)
	if r.Others > 0 {
		line += fmt.Sprintf("  %d with the Message-ID but another content", r.Others)
	}
	if r.Marked > 0 {
		line += fmt.Sprintf("  %d copied and marked as deleted: the server can't expunge single messages", r.Marked)
	}
	if r.Error != "" {
		line += "  failed: " + ledger.Printable(r.Error)
	}
	return line
}

// knownUsers are the users in the ledger who logged in at the doors and whom the backend serves.
func knownUsers(w world, f where, backend string, routes []access.Route) (users []string, err error) {
	l, err := openLedger(f)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	connections, err := l.Connections(w.ctx, ledger.Query{Limit: ledger.MaxLimit})
	for _, c := range connections {
		if c.User != "" && access.Serving(routes, c.User) == backend {
			users = append(users, strings.ToLower(c.User))
		}
	}
	if len(connections) == ledger.MaxLimit {
		fmt.Fprintf(w.stderr, "postern: only the users of the last %d connections are known here: name others with --user\n", ledger.MaxLimit)
	}
	slices.Sort(users)
	return slices.Compact(users), err
}
