package house

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"postern/filters"
	"postern/policy/ledger"
	"postern/proxy/relay/recipients"
)

// Dependency is one row of the health table: something that this gateway needs and that is not part of it.
type Dependency struct {
	// Kind is filter, dns, ldap, hop, redis, database or disk; Name tells those of a kind apart, Address is where it is.
	Kind    string `json:"kind"`
	Name    string `json:"name"`
	Address string `json:"address,omitempty"`
	Up      bool   `json:"up"`
	// Since is when it came to be so; Why is what is wrong.
	Since time.Time `json:"since,omitzero"`
	Why   string    `json:"why,omitempty"`
	// Without says what happens to mail as long as it is away.
	Without string `json:"without"`
	// Required is set where no mail passes without it.
	Required bool `json:"required,omitempty"`
}

// How often is asked, and how long one waits for an answer. What is silent for that long is away at once; what refuses, or
// answers nonsense, is asked once more before it is called away, and twice before it is called back.
const (
	healthTick   = time.Second
	pingEvery    = 2 * time.Second
	pingWait     = 2 * time.Second
	hopPingEvery = 4 * time.Second
	hopPingWait  = 3 * time.Second
)

// pinger is what the table asks about one dependency.
type pinger struct {
	row   Dependency
	ping  func(context.Context) error
	every time.Duration
	wait  time.Duration

	last        time.Time
	bad, good   int
	hurry, busy bool
}

// table is the health table.
type table struct {
	mu   sync.Mutex
	rows map[string]*pinger
	now  func() time.Time
	// changed hears that a row has changed.
	changed func(Dependency)
}

func (t *table) key(kind, name string) string { return kind + " " + name }

// use puts these dependencies in place of those that were asked before; what is known of them is kept.
func (t *table) use(list []*pinger) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fresh := map[string]*pinger{}
	for _, p := range list {
		key := t.key(p.row.Kind, p.row.Name)
		p.row.Up, p.row.Since = true, t.now()
		if old := t.rows[key]; old != nil && old.row.Address == p.row.Address {
			p.row.Up, p.row.Since, p.row.Why = old.row.Up, old.row.Since, old.row.Why
		}
		fresh[key] = p
	}
	t.rows = fresh
}

// list gives the rows, in a fixed order.
func (t *table) list() []Dependency {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []Dependency
	for _, key := range slices.Sorted(maps.Keys(t.rows)) {
		all = append(all, t.rows[key].row)
	}
	return all
}

// Away implements filters.Watcher.
func (t *table) Away(filter string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.rows[t.key("filter", filter)]
	return p != nil && !p.row.Up
}

// Failed implements filters.Watcher: the server is asked at the next tick. That it failed with one message says nothing: a
// message that a scanner can't read must not switch it off for the others.
func (t *table) Failed(filter string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p := t.rows[t.key("filter", filter)]; p != nil {
		p.hurry = true
	}
}

// look asks those whose turn it is, side by side, and waits for nobody: who is slow is not asked again meanwhile.
func (t *table) look(ctx context.Context) {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.rows {
		pause := p.every
		if p.hurry || p.bad > 0 && p.row.Up || p.good > 0 && !p.row.Up {
			pause = healthTick
		}
		if p.busy || now.Sub(p.last) < pause-healthTick/10 {
			continue
		}
		p.busy, p.last, p.hurry = true, now, false
		go t.ask(ctx, p)
	}
}

func (t *table) ask(ctx context.Context, p *pinger) {
	ctx, cancel := context.WithTimeout(ctx, p.wait)
	defer cancel()
	err := p.ping(ctx)
	silent := err != nil && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) || ctx.Err() != nil)
	if errors.Is(ctx.Err(), context.Canceled) {
		return // the gateway ends
	}

	t.mu.Lock()
	p.busy = false
	before := p.row
	p.note(err, silent, t.now())
	after := p.row
	t.mu.Unlock()

	if before.Up != after.Up && t.changed != nil {
		t.changed(after)
	}
}

// note draws the consequence of an answer.
func (p *pinger) note(err error, silent bool, now time.Time) {
	if err == nil {
		p.bad = 0
		if p.good++; !p.row.Up && p.good >= 2 {
			p.row.Up, p.row.Since, p.row.Why = true, now, ""
		}
		return
	}
	p.good = 0
	p.bad++
	if silent {
		p.bad++
	}
	why := ledger.Printable(err.Error())
	if silent {
		why = fmt.Sprintf("no answer within %s", p.wait)
	}
	switch {
	case !p.row.Up:
		p.row.Why = why
	case p.bad >= 2:
		p.row.Up, p.row.Since, p.row.Why = false, now, why
	}
}

// watchDependencies makes the rows of the configuration in force.
func (h *House) watchDependencies(j *Judge) {
	var list []*pinger
	add := func(kind, name, address, without string, required bool, ping func(context.Context) error) {
		list = append(list, &pinger{row: Dependency{Kind: kind, Name: name, Address: address, Without: without, Required: required}, ping: ping, every: pingEvery, wait: pingWait})
	}
	servers := j.Chain.Servers()
	for _, name := range slices.Sorted(maps.Keys(servers)) {
		s := servers[name]
		without := "mail is judged without it, and says so"
		if s.Required() {
			without = "mail that it would look at waits: the sender hears 451"
		}
		add("filter", name, s.Address(), without, s.Required(), s.Ping)
	}
	if h.out.Resolver == nil {
		add("dns", "resolver", "", "SPF, DKIM, DMARC and DNS lists say temperror, see docs/operations.md", false, j.DNS.Ping)
	}
	directories := map[string]*recipients.LDAP{"recipients": h.asked, "servers of users": h.directory}
	if h.groups != nil {
		directories["groups"] = h.groups.directory
	}
	if h.logins != nil {
		directories["logins"] = h.logins.directory
	}
	for _, name := range slices.Sorted(maps.Keys(directories)) {
		if l := directories[name]; l != nil {
			add("ldap", name, l.URL, "what the directory would tell is not known: recipients are asked for at the next hop, rules about groups wait", false, l.Ping)
		}
	}
	for _, hop := range h.Relay.Health() {
		without := "senders hear 451 and keep their mail"
		if s, ok := h.cfg.NextHops[hop.Route]; ok && s.WhenDown == "queue" || hop.Route == outboundRoute && h.cfg.Outbound.WhenDown == "queue" {
			without = "mail for it is taken and queued"
		}
		add("hop", hop.Route+" "+hop.Hop, hop.Hop, without, true, h.hopPing(hop.Route, hop.Hop))
		last := list[len(list)-1]
		last.every, last.wait = hopPingEvery, hopPingWait
	}
	h.table.use(list)
	j.Chain.Watch(&h.table)
	j.Fetched.Watch(&h.table)
}

// hopPing connects to a next hop and wants to be greeted, unless it speaks TLS from the first octet.
func (h *House) hopPing(route, address string) func(context.Context) error {
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
		defer func() { _ = conn.Close() }() // all is said
		if deadline, ok := ctx.Deadline(); ok {
			if err := conn.SetDeadline(deadline); err != nil {
				return err
			}
		}
		if h.implicitTLS(route) {
			secure := tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // it is only asked whether it is there: nothing is told to it
			if err := secure.HandshakeContext(ctx); err != nil {
				return err
			}
			conn = secure
		}
		const most = 4096
		line, err := bufio.NewReader(io.LimitReader(conn, most)).ReadString('\n')
		switch {
		case err != nil:
			return err
		// RFC 5321 section 4.2, RFC 9051 section 7.1.1
		case !strings.HasPrefix(line, "220") && !strings.HasPrefix(line, "* OK"):
			return fmt.Errorf("it greets with %q", strings.TrimSpace(line))
		}
		_, _ = io.WriteString(conn, cmp.Or(map[bool]string{true: "a LOGOUT\r\n"}[line[0] == '*'], "QUIT\r\n")) // for its log
		return nil
	}
}

func (h *House) implicitTLS(route string) bool {
	if route == outboundRoute {
		return h.cfg.Outbound.TLS == "implicit"
	}
	return h.cfg.NextHops[route].TLS == "implicit"
}

// dependencyChanged tells the log, and the admin without waiting for the next look.
func (h *House) dependencyChanged(d Dependency) {
	if d.Up {
		h.out.Log.Info("dependency is back", "kind", d.Kind, "name", d.Name, "address", d.Address)
	} else {
		h.out.Log.Warn("dependency is away", "kind", d.Kind, "name", d.Name, "address", d.Address, "why", d.Why, "without", d.Without)
	}
}

// Dependencies are the rows of the health table.
func (h *House) Dependencies() []Dependency {
	all := h.table.list()
	if s := h.out.State.Health(); len(h.cfg.State.Redis) > 0 {
		all = append(all, Dependency{Kind: "redis", Name: "Redis", Up: !s.Degraded, Since: s.Since, Without: "this gateway counts on from its own memory"})
	}
	l := h.Ledger.Health()
	all = append(all, Dependency{Kind: "database", Name: "ledger", Up: l.Since.IsZero(), Since: l.Since, Why: l.Why,
		Without: fmt.Sprintf("mail flows, %d records wait", l.Waiting)})
	left, err := diskLeft(h.cfg.DataDir)
	disk := Dependency{Kind: "disk", Name: "data_dir", Address: h.cfg.DataDir, Up: err == nil && left >= diskTooFull, Required: true,
		Without: "mail that has to be stored hears 451"}
	if !disk.Up {
		disk.Why = fmt.Sprintf("%d MB left", left>>20)
	}
	return append(all, disk)
}

var _ filters.Watcher = (*table)(nil)
