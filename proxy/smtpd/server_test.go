package smtpd_test

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/filters"
	"postern/internal/mail"
	"postern/internal/testing/hoptest"
	"postern/internal/testing/transcript"
	"postern/policy"
	"postern/policy/records/ledger"
	"postern/policy/records/quarantine"
	"postern/proxy"
	"postern/proxy/frame"
	"postern/proxy/relay"
	"postern/proxy/smtpd"
)

// Every transcript is a dialogue with a door in front of a recording next hop; corp.test is our domain.
func TestTranscripts(t *testing.T) {
	t.Parallel()
	transcript.RunAll(t, "testdata/*.txt", func(t *testing.T, settings map[string]string) transcript.Door {
		b := newBench(t, settings)
		return transcript.Door{Address: b.listen(t), TLS: &tls.Config{InsecureSkipVerify: true}, Hop: lines{b.hop}}
	})
}

// bench is a door, a gateway without filters and a recording hop.
type bench struct {
	hop     *hoptest.Hop
	gateway *proxy.Gateway
	server  *smtpd.Server
	doors   []*frame.Listener
	chain   *filters.Chain
	ledger  *records
}

func newBench(t testing.TB, settings map[string]string) *bench {
	t.Helper()
	hop := hoptest.New(t, hoptest.Options{Replies: map[string]string{
		"RCPT TO:<nobody@": "550 5.1.1 no such user", "RCPT": "250 2.1.5 recipient ok",
	}})
	relayed, err := relay.New(relay.Options{HeloName: "gw.test", Log: slog.New(slog.DiscardHandler),
		Routes: map[string]relay.Route{"default": {Inbound: true, Hops: []relay.Hop{{Address: hop.Addr(), TLS: relay.TLSNone}}}}})
	if err != nil {
		t.Fatal(err)
	}
	relayed.Probe(t.Context())
	hop.Forget()
	chain, err := filters.NewChain(nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	judge, problems := policy.Compile(policy.Default(), proxy.Symbols())
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	b := &bench{hop: hop, ledger: &records{}}
	b.gateway = &proxy.Gateway{Hostname: "gw.test", Relay: relayed, Queue: nowhere{}, Quarantine: nowhere{}, Ledger: b.ledger,
		Log: slog.New(slog.DiscardHandler), Now: time.Now, JudgeTimeout: time.Minute, DeliverTimeout: time.Minute}
	b.chain = chain
	b.use(judge)
	b.server = smtpd.New(options(t, settings), b.gateway, slog.New(slog.DiscardHandler))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		b.shutdown(ctx)
		cancel()
		relayed.Close()
	})
	return b
}

// use puts a policy in force.
func (b *bench) use(judge *policy.Policy) {
	b.gateway.Use(&proxy.Setup{Chain: b.chain, Policy: judge, Outbound: mail.RouteTo("default"), Postmaster: "corp.test",
		Route: func(domain string) (mail.Route, bool) { return mail.RouteTo("default"), domain == "corp.test" }})
}

func options(t testing.TB, settings map[string]string) smtpd.Options {
	loopback := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	certificate, _ := hoptest.Certificate(t, time.Hour, "gw.test")
	o := smtpd.Options{Name: "test", Hostname: "gw.test", TLS: certificate, Extensions: smtpd.AllExtensions(), MaxCommands: 1000}
	for key, value := range settings {
		n, _ := strconv.Atoi(value) // zero where the value is no number
		d, _ := time.ParseDuration(value)
		switch key {
		case "door":
			o.Submission = value == "submission"
			o.Login = func(_ context.Context, _ *mail.Session, user, password string) (bool, error) {
				return user == "user" && password == "secret", nil
			}
		case "tls":
			o.Implicit = value == "implicit"
		case "limit":
			o.MaxSize = int64(n)
		case "max-errors":
			o.MaxErrors = n
		case "max-commands":
			o.MaxCommands = n
		case "max-recipients":
			o.MaxRecipients = n
		case "idle":
			o.Idle = d
		case "message-time":
			o.MessageTime = d
		case "greet-delay":
			o.GreetDelay = d
		case "normalise":
			o.NormaliseLines = true
		case "normalise-loopback":
			o.NormaliseFrom = loopback
		case "xclient":
			o.XClient = loopback
		case "trusted":
			o.Trusted = loopback
		default:
			t.Fatalf("unknown setting %s", key)
		}
	}
	return o
}

func (b *bench) listen(t testing.TB) string {
	t.Helper()
	door, err := frame.New(frame.Options{Address: "127.0.0.1:0"}, b.server)
	if err != nil {
		t.Fatal(err)
	}
	b.doors = append(b.doors, door)
	go door.Run()
	return door.Addr().String()
}

func (b *bench) shutdown(ctx context.Context) {
	for _, door := range b.doors {
		_ = door.Shutdown(ctx)
	}
}

// lines shows a recording hop to a transcript.
type lines struct{ *hoptest.Hop }

func (l lines) Count() int { return len(l.Messages()) }

func (l lines) Lines() []string {
	all := l.Commands()
	for _, m := range l.Messages() {
		all = append(all, strings.Split(string(m.Raw), "\r\n")...)
		all[len(all)-1] = "." // behind the last CRLF
	}
	return all
}

// nowhere is a queue and a quarantine for tests in which nothing may get there.
type nowhere struct{}

func (nowhere) Put(context.Context, proxy.QueueItem, mail.Copy) error  { panic("queued") }
func (nowhere) Hold(context.Context, quarantine.Item, mail.Copy) error { panic("held") }
func (nowhere) HoldRejected(context.Context, quarantine.Item, mail.Copy, time.Duration) error {
	panic("kept")
}
func (nowhere) Drop(context.Context, string) error { panic("dropped") }

// records is a ledger in memory.
type records struct {
	mu           sync.Mutex
	connections  []ledger.Connection
	transactions []ledger.Transaction
}

func (r *records) Connection(c ledger.Connection) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.connections = append(r.connections, c)
}

// last waits for the record of a connection.
func (r *records) last() ledger.Connection {
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		r.mu.Lock()
		if n := len(r.connections); n > 0 {
			defer r.mu.Unlock()
			return r.connections[n-1]
		}
		r.mu.Unlock()
	}
	return ledger.Connection{}
}

func (r *records) Transaction(tx ledger.Transaction) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.transactions = append(r.transactions, tx)
}
