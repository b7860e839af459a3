package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"postern/filters"
	"postern/filters/reputation"
	"postern/internal/config"
	"postern/internal/state"
	"postern/proxy/console"
	"postern/proxy/listen"
	"postern/proxy/relay/recipients"
)

// openState opens what the gateway remembers: in its own memory, or shared through Redis.
func openState(cfg *config.Config, out Outside) (*state.State, error) {
	memory := state.MemoryOptions{Now: out.Now, MaxKeys: cfg.State.MaxKeys, Snapshot: filepath.Join(cfg.DataDir, "state.snapshot"), Log: out.Log}
	if len(cfg.State.Redis) == 0 {
		return state.NewMemory(memory)
	}
	o, err := redisOptions(cfg)
	if err != nil {
		return nil, err
	}
	o.Now, o.Log, o.Shadow = out.Now, out.Log, memory
	return state.NewRedis(o)
}

// redisOptions say where Redis is.
func redisOptions(cfg *config.Config) (o state.RedisOptions, err error) {
	c := cfg.State
	o = state.RedisOptions{Master: c.Master, Cluster: c.Cluster, Username: c.User, DB: c.Database, Prefix: c.Prefix}
	for _, a := range c.Redis {
		o.Addresses = append(o.Addresses, string(a))
	}
	if o.Password, err = firstLine("state.password_file", c.PasswordFile); err != nil {
		return o, err
	}
	if o.SentinelPassword, err = firstLine("state.sentinel_password_file", c.SentinelPasswordFile); err != nil {
		return o, err
	}
	if c.TLS {
		o.TLS, err = clientTLS(c.CAFile)
	}
	return o, err
}

// firstLine reads a secret from a file, "" from none.
func firstLine(key, file string) (string, error) {
	if file == "" {
		return "", nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("%s: %w", key, err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return strings.TrimRight(line, "\r"), nil
}

// clientTLS is TLS towards a server of the admin's, whose authority is in a file or known to the system.
func clientTLS(caFile string) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if caFile == "" {
		return c, nil
	}
	text, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("ca_file: %w", err)
	}
	c.RootCAs = x509.NewCertPool()
	if !c.RootCAs.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("ca_file: %s holds no certificate in PEM form", caFile)
	}
	return c, nil
}

// newBans makes the bans that all doors share.
func newBans(cfg *config.Config, out Outside) *listen.Bans {
	b := cfg.Bans
	return listen.NewBans(listen.BanOptions{State: out.State, Now: out.Now, Log: out.Log, Pair: b.PerUser, Client: b.PerClient,
		Network: b.PerNetwork, Window: time.Duration(b.Window), First: time.Duration(b.First), Longest: time.Duration(b.Longest),
		Never: prefixes(b.Never)})
}

// newRecipients makes the recipient check that precedes the next hop's.
func newRecipients(cfg *config.Config, out Outside) (_ *recipients.Recipients, directory *recipients.LDAP, err error) {
	c := cfg.Recipients
	o := recipients.Options{List: c.List, Known: time.Duration(c.Known), Unknown: time.Duration(c.Unknown), State: out.State, Now: out.Now, Log: out.Log}
	if l := c.LDAP; l.URL != "" {
		if directory, err = openLDAP(cfg); err != nil {
			return nil, nil, err
		}
		o.Directory = directory
	}
	known, err := recipients.New(o)
	return known, directory, err
}

// banTable shows the bans to the admin.
type banTable struct{ bans *listen.Bans }

// Verbs implements filters.AdminTable.
func (banTable) Verbs() []string { return []string{"lift"} }

// Rows implements filters.AdminTable.
func (s banTable) Rows(ctx context.Context, limit int) ([]filters.Row, error) {
	var rows []filters.Row
	for _, b := range s.bans.List(ctx, limit) {
		rows = append(rows, filters.Row{Key: b.Who, Text: fmt.Sprintf("%s, %d times", b.Why, b.Times), Since: b.Since, Until: b.Until})
	}
	return rows, nil
}

// Apply implements filters.AdminTable.
func (s banTable) Apply(ctx context.Context, verb, key string) error {
	if verb != "lift" {
		return filters.ErrUnknownVerb
	}
	if err := s.bans.Lift(ctx, key); errors.Is(err, listen.ErrNotBanned) {
		return filters.ErrNoRow
	} else if err != nil {
		return err
	}
	return nil
}

// memoryTable shows where the state is kept and its health.
type memoryTable struct{ state *state.State }

// Verbs implements filters.AdminTable.
func (memoryTable) Verbs() []string { return nil }

// Rows implements filters.AdminTable.
func (s memoryTable) Rows(context.Context, int) ([]filters.Row, error) {
	h := s.state.Health()
	row := filters.Row{Key: h.Backend, Text: fmt.Sprintf("%d keys on this machine", h.Keys)}
	if h.Degraded {
		row.Text += ", Redis is away: " + h.Why
		row.Since = h.Since
	}
	return []filters.Row{row}, nil
}

// Apply implements filters.AdminTable.
func (memoryTable) Apply(context.Context, string, string) error { return filters.ErrUnknownVerb }

// tables are all tables that the admin may read.
func (a *App) tables() map[string]filters.AdminTable {
	all := maps.Clone(a.pipeline.Load().Chain.AdminTables())
	all["bans"] = banTable{a.bans}
	all["memory"] = memoryTable{a.out.State}
	all["muted"] = mutedTable{a}
	if s := all[freezer]; s != nil {
		all[freezer] = thawing{s, &a.frozen}
	}
	return all
}

// ControlSocket is where the running gateway listens for the CLI.
func ControlSocket(cfg *config.Config) string { return filepath.Join(cfg.DataDir, "control.sock") }

// openControl serves the CLI. Only our own user may open the socket.
func (a *App) openControl() error {
	path := ControlSocket(a.cfg)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) { // left by a crash
		return fmt.Errorf("control socket: %w", err)
	}
	short, done, err := console.SocketPath(path)
	if err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	defer done()
	l, err := net.Listen("unix", short)
	if err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return errors.Join(fmt.Errorf("control socket: %w", err), l.Close())
	}
	both := http.NewServeMux()
	both.HandleFunc("GET /healthz", a.health)
	both.Handle("/api/v1/", a.verbs.Local()) // only our own user can open the socket
	server := &http.Server{Handler: both, ReadTimeout: 30 * time.Second, WriteTimeout: time.Minute}
	a.control = &webServer{path, server}
	a.running.Go(func() {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			a.out.Log.Error("control socket", "error", err)
		}
	})
	return nil
}

// known reports whether a client is admitted when connections are scarce: our own servers, and clients whose earlier
// mail was good.
func (a *App) known(client netip.Addr) bool {
	return a.trusted(client) || reputation.Known(a.out.State, client)
}

// banned says whether a client may not even connect. Our own servers may: behind one address all users' mail may come,
// and one program there with an old password must not stop it. Its guesses are counted all the same.
func (a *App) banned(client netip.Addr) bool {
	return !a.trusted(client) && a.bans.Banned(client)
}

func (a *App) trusted(client netip.Addr) bool {
	client = client.Unmap()
	return slices.ContainsFunc(a.cfg.TrustedNetworks, func(n config.Network) bool { return n.Contains(client) })
}
