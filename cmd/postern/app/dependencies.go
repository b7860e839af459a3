package app

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"postern/proxy/health"
	"postern/proxy/relay/recipients"
)

// watchDependencies makes the health table's rows for the configuration in force.
func (a *App) watchDependencies(j *Pipeline) error {
	var list []*health.Pinger
	add := func(row health.Dependency, ping func(context.Context) error) *health.Pinger {
		p := &health.Pinger{Row: row, Ping: ping}
		list = append(list, p)
		return p
	}
	servers := j.Chain.Servers()
	for _, name := range slices.Sorted(maps.Keys(servers)) {
		s := servers[name]
		row := health.Dependency{Kind: "filter", Name: name, Address: s.Address(), Without: "mail is judged without it, and says so", Required: s.Required()}
		if s.Required() {
			row.Without = "mail that it would look at waits: the sender hears 451"
		}
		add(row, s.Ping)
	}
	if a.out.Resolver == nil {
		add(health.Dependency{Kind: "dns", Name: "resolver", Without: "SPF, DKIM, DMARC and DNS lists say temperror, see docs/operations.md"}, j.DNS.Ping)
	}
	directories := a.directories()
	for _, name := range slices.Sorted(maps.Keys(directories)) {
		l := directories[name]
		add(health.Dependency{Kind: "ldap", Name: name, Address: l.URL,
			Without: "what the directory would tell is not known: recipients are asked for at the next hop, rules about groups wait"}, l.Ping)
	}
	for _, hop := range a.Relay.Health() {
		row := health.Dependency{Kind: "hop", Name: hop.Route + " " + hop.Hop, Address: hop.Hop, Without: "senders hear 451 and keep their mail", Required: true}
		if s, ok := a.cfg.NextHops[hop.Route]; ok && s.WhenDown == "queue" || hop.Route == outboundHop && a.cfg.Outbound.WhenDown == "queue" {
			row.Without = "mail for it is taken and queued"
		}
		add(row, a.hopPing(hop.Route, hop.Hop)).Every = health.TalkEvery
	}
	mailboxes, err := a.mailboxes()
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(mailboxes)) {
		m := mailboxes[name]
		add(health.Dependency{Kind: "mail_backend", Name: name, Address: m.backend.Address,
			Without: "users can't log in there, and hear that it is not their password; another address of the same backend is tried first"},
			func(ctx context.Context) error { return m.ping(ctx, m.backend) }).Every = health.TalkEvery
	}
	if len(a.cfg.State.Redis) > 0 {
		add(health.Dependency{Kind: "redis", Name: "Redis", Without: "this gateway counts on from its own memory"}, a.out.State.Ping)
	}
	add(health.Dependency{Kind: "database", Name: "ledger"}, a.Ledger.Ping)
	add(health.Dependency{Kind: "disk", Name: "data_dir", Address: a.cfg.DataDir, Required: true, Without: "mail that has to be stored hears 451"}, a.diskPing())

	a.table.Use(list)
	j.Chain.Watch(&a.table)
	j.Fetched.Watch(&a.table)
	return nil
}

// directories are the directories in use, by purpose.
func (a *App) directories() map[string]*recipients.LDAP {
	all := map[string]*recipients.LDAP{"recipients": a.asked, "servers of users": a.directory}
	if a.groups != nil {
		all["groups"] = a.groups.directory
	}
	if a.logins != nil {
		all["logins"] = a.logins.directory
	}
	maps.DeleteFunc(all, func(_ string, l *recipients.LDAP) bool { return l == nil })
	return all
}

// hopPing connects to a next hop and expects its greeting.
func (a *App) hopPing(route, address string) func(context.Context) error {
	return func(ctx context.Context) error {
		network := "tcp"
		if strings.HasPrefix(address, "/") {
			network = "unix"
		}
		var d net.Dialer
		conn, err := d.DialContext(ctx, network, address)
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }() // the connection is no longer needed
		if deadline, ok := ctx.Deadline(); ok {
			if err := conn.SetDeadline(deadline); err != nil {
				return err
			}
		}
		if a.implicitTLS(route) {
			secure := tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // only a check that it answers: nothing secret is sent
			if err := secure.HandshakeContext(ctx); err != nil {
				return err
			}
			conn = secure
		}
		const limit = 4096
		line, err := bufio.NewReader(io.LimitReader(conn, limit)).ReadString('\n')
		switch {
		case err != nil:
			return err
		case !strings.HasPrefix(line, "220"): // RFC 5321 section 4.2
			return fmt.Errorf("it greets with %q", strings.TrimSpace(line))
		}
		_, _ = io.WriteString(conn, "QUIT\r\n") // for its log
		return nil
	}
}

func (a *App) implicitTLS(route string) bool {
	if route == outboundHop {
		return a.cfg.Outbound.TLS == "implicit"
	}
	return a.cfg.NextHops[route].TLS == "implicit"
}

// diskPing checks that a file can be written and that there is free space. A disk that hangs, as network storage may,
// blocks one check only.
func (a *App) diskPing() func(context.Context) error {
	room := make(chan struct{}, 1)
	return func(ctx context.Context) error {
		select {
		case room <- struct{}{}:
		case <-ctx.Done(): // the previous check still hangs
			return ctx.Err()
		}
		done := make(chan error, 1)
		go func() {
			done <- a.lookAtDisk()
			<-room
		}()
		select {
		case err := <-done:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (a *App) lookAtDisk() error {
	left, err := a.out.DiskLeft(a.cfg.DataDir)
	if err != nil {
		return err
	}
	if left < diskTooFull {
		return fmt.Errorf("%d MB left", left>>20)
	}
	sign := filepath.Join(a.cfg.DataDir, ".alive")
	f, err := os.OpenFile(sign, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString("The gateway writes here every now and then, to see whether it can.\n")
	return errors.Join(err, f.Close())
}

// dependencyChanged logs the change and alerts the admin without waiting for the next check.
func (a *App) dependencyChanged(d health.Dependency) {
	switch d.State {
	case health.Up:
		a.out.Log.Info("dependency is back", "kind", d.Kind, "name", d.Name, "address", d.Address)
	case health.Slow:
		a.out.Log.Warn("dependency is slow", "kind", d.Kind, "name", d.Name, "address", d.Address, "why", d.Why)
	case health.Away:
		a.out.Log.Warn("dependency is away", "kind", d.Kind, "name", d.Name, "address", d.Address, "why", d.Why, "without", d.Without)
	}
}

// Dependencies are the rows of the health table.
func (a *App) Dependencies() []health.Dependency {
	all := a.table.List()
	for i := range all {
		if all[i].Kind == "database" {
			all[i].Without = fmt.Sprintf("mail flows, %d records wait", a.Ledger.Health().Waiting)
		}
	}
	return all
}
