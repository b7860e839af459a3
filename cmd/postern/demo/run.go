package demo

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"postern/cmd/postern/app"
	"postern/internal/config"
	"postern/internal/dns"
	"postern/policy/records/ledger"
)

// Demo is a running demonstration: the mail system, the rest of the world and the gateway between them.
type Demo struct {
	Inside, World *MailSystem
	App           *app.App
	dir           string
	keys          map[string]ed25519.PrivateKey
	seen          map[string]bool // the connections that were looked at
}

// settings are those of the demo's gateway. It differs from the default in its size limit, so that a message over it is
// quickly sent, and in its rates, so that few messages are too many.
const settings = `
hostname = "gw.corp.example"
data_dir = "data"
domains = ["corp.example"]
[[door]]
name = "mx"
listen = "127.0.0.1:0"
xclient_networks = ["127.0.0.0/8"]
[[door]]
name = "submission"
protocol = "submission"
listen = "127.0.0.1:0"
auth = "smtp"
xclient_networks = ["127.0.0.0/8"]
[[door]]
name = "imap"
protocol = "imap"
listen = "127.0.0.1:0"
tls = "none"
require_tls_for_auth = false
[[door]]
name = "pop3"
protocol = "pop3"
listen = "127.0.0.1:0"
tls = "none"
require_tls_for_auth = false
[mail_access]
fail_delay = "100ms"
[mail_backend."default"]
imap = ["%s"]
pop3 = ["%s"]
tls = "none"
[smtp]
max_message_size = "1MB"
[next_hop."default"]
addresses = ["%s"]
tls = "none"
[console]
listen = "127.0.0.1:0"
[outbound]
addresses = ["%s"]
tls = "none"
sign = ["corp.example"]
[filters.greylist]
mode = "off"
[filters.reputation]
enabled = false
[[filters.ratelimit.limits]]
key = "client"
count = "messages"
rate = "16/1h"
[dkim."corp.example"]
keys = { demo = "%s" }
`

// Start starts all of it on loopback, in a folder of its own.
func Start(ctx context.Context, log *slog.Logger) (_ *Demo, err error) {
	d := &Demo{seen: map[string]bool{}}
	defer func() {
		if err != nil {
			d.Close()
		}
	}()
	if d.dir, err = os.MkdirTemp("", "postern-demo-"); err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	users := map[string]string{"ben@corp.example": "secret-ben", "carla@corp.example": "secret-carla", "postmaster@corp.example": "secret-pm"}
	if d.Inside, err = NewMailSystem("corp.example", false, users); err != nil {
		return nil, err
	}
	if d.World, err = NewMailSystem("world.example", true, nil); err != nil {
		return nil, err
	}
	cfg, err := d.configure()
	if err != nil {
		return nil, err
	}
	resolver, err := d.resolver()
	if err != nil {
		return nil, err
	}
	if d.App, err = app.Open(cfg, app.Outside{Log: log, Resolver: resolver}); err != nil {
		return nil, err
	}
	return d, d.App.Listen(ctx)
}

func (d *Demo) configure() (*config.Config, error) {
	key, err := writeKey(d.dir)
	if err != nil {
		return nil, err
	}
	text := fmt.Sprintf(settings, d.Inside.IMAP, d.Inside.POP3, d.Inside.SMTP, d.World.SMTP, key)
	cfg, err := config.Parse(filepath.Join(d.dir, "postern.toml"), []byte(text))
	if err != nil {
		return nil, err
	}
	if problems := cfg.Check(app.KnownFilters()); len(problems) > 0 {
		return nil, problems
	}
	return cfg, nil
}

func (d *Demo) resolver() (*dns.Resolver, error) {
	zone, err := files.ReadFile("zone.txt")
	if err != nil {
		return nil, err
	}
	var published string
	if d.keys, published, err = signers([]string{"friend.example", "news.example", "shop.example"}); err != nil {
		return nil, err
	}
	return dns.NewZoneResolver(string(zone) + published)
}

// Close stops everything and leaves nothing behind.
func (d *Demo) Close() {
	if d.App != nil {
		d.App.Close()
	}
	for _, m := range []*MailSystem{d.Inside, d.World} {
		if m != nil {
			m.Close()
		}
	}
	if d.dir != "" {
		_ = os.RemoveAll(d.dir) // a folder for temporary files is left at worst
	}
}

// Result is what became of a case.
type Result struct {
	Case   Case
	Answer Answer
	// Verdict, Why and Symbols are those of the ledger.
	ID, Verdict, Why string
	Symbols          []string
	// Missed says what was expected and did not come, "" if all was as expected.
	Missed string

	began time.Time
}

// Run plays one case and compares what became of it with what is expected.
func (d *Demo) Run(ctx context.Context, c Case) (Result, error) {
	raw, err := build(c, d.keys)
	if err != nil {
		return Result{}, err
	}
	doors := map[string]string{}
	for _, a := range d.App.Addresses() {
		doors[a.Name] = a.Address
	}
	r := Result{Case: c, began: time.Now().Truncate(time.Millisecond)} // as exact as records are
	if c.Via == "imap" || c.Via == "pop3" {
		return d.fetch(ctx, doors[c.Via], r, raw)
	}
	before := d.Inside.Taken() + d.World.Taken()
	for n := range c.Repeat {
		if r.Answer, err = send(ctx, doors["mx"], doors["submission"], c, raw); err != nil {
			return r, err
		}
		if r.Answer.Code == c.WantCode && n > 0 {
			break
		}
	}
	if err := d.look(ctx, &r); err != nil {
		return r, err
	}
	r.Missed = d.missed(r, d.Inside.Taken()+d.World.Taken()-before)
	return r, nil
}

// fetch puts a message into the mailbox as if it had always been there, and reads it from outside.
func (d *Demo) fetch(ctx context.Context, door string, r Result, raw []byte) (Result, error) {
	user, _, _ := strings.Cut(r.Case.Login, " ")
	if err := d.Inside.deliver([]string{user}, raw); err != nil {
		return r, err
	}
	answer, message, err := read(ctx, door, r.Case)
	if err != nil {
		return r, err
	}
	r.Answer = answer
	if err := d.look(ctx, &r); err != nil {
		return r, err
	}
	r.Missed = d.missed(r, 0)
	masked := strings.Contains(answer.Text, "masked")
	switch {
	case answer.Code != 250:
	case len(message) != len(raw):
		r.Missed += fmt.Sprintf("; %d octets came of %d", len(message), len(raw))
	case masked != (r.Case.WantVerdict == "reject"):
		r.Missed += "; " + answer.Text
	}
	return r, nil
}

// look finds the record of the case: that of the id in a refusal, else the newest that began since.
func (d *Demo) look(ctx context.Context, r *Result) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for {
		if err := d.App.Ledger.Flush(ctx); err != nil {
			return fmt.Errorf("demo ledger: %w", err)
		}
		id, err := d.connection(ctx, r)
		if err != nil {
			return err
		}
		record, err := d.App.Ledger.Explain(ctx, id)
		if err == nil && record.Connection != nil && !d.seen[record.Connection.ID] {
			d.seen[record.Connection.ID] = true
			r.read(record)
			return nil
		}
		if err != nil && !errors.Is(err, ledger.ErrUnknown) {
			return err
		}
		select { // the connection's record is written when it has ended
		case <-ctx.Done():
			return errors.New("demo: the connection left no record")
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// connection is the id to look for.
func (d *Demo) connection(ctx context.Context, r *Result) (string, error) {
	if _, id, ok := strings.Cut(r.Answer.Text, " (0"); ok && r.Answer.Code >= 400 {
		id, _, _ = strings.Cut("0"+id, ".")
		return strings.TrimSuffix(id, ")"), nil
	}
	found, err := d.App.Ledger.Connections(ctx, ledger.Filter{Limit: 5})
	for _, c := range found {
		if !d.seen[c.ID] && !c.Started.Before(r.began) { // an earlier case may have left more than one
			return c.ID, err
		}
	}
	return "", err
}

func (r *Result) read(record *ledger.Record) {
	c := record.Connection
	r.ID = c.ID
	for _, f := range c.Findings {
		r.Symbols = append(r.Symbols, f.Symbol)
	}
	if len(record.Transactions) == 0 {
		r.Verdict, r.Why = "-", r.Answer.Text
		return
	}
	t := record.Transactions[len(record.Transactions)-1]
	for _, one := range record.Transactions { // of a fetched message: how it was judged, not that it was fetched
		if one.Kind == ledger.Fetch && one.Facts != nil {
			t = one
		}
	}
	r.ID, r.Why = t.ID, t.Decisive
	for _, f := range t.Findings {
		r.Symbols = append(r.Symbols, f.Symbol)
	}
	for _, to := range t.Recipients {
		r.Verdict = to.Disposition.String()
	}
	if r.Why == "" || r.Answer.Code >= 400 && (r.Verdict == "accept" || r.Verdict == "tag" || r.Answer.At != "message" && r.Answer.At != "BDAT") {
		r.Why = r.Answer.Text
	}
}

// missed compares. taken is how many messages the two mail systems took meanwhile.
func (d *Demo) missed(r Result, taken int) string {
	var missed []string
	c := r.Case
	if r.Answer.Code != c.WantCode {
		missed = append(missed, fmt.Sprintf("reply %d, want %d", r.Answer.Code, c.WantCode))
	}
	if c.WantVerdict != "" && r.Verdict != c.WantVerdict {
		missed = append(missed, "verdict "+r.Verdict+", want "+c.WantVerdict)
	}
	for _, want := range c.WantSymbols {
		found := false
		for _, s := range r.Symbols {
			found = found || s == want
		}
		if !found {
			missed = append(missed, "no "+want)
		}
	}
	want := 0
	if r.Answer.Code == 250 && r.Verdict != "quarantine" {
		want = 1
	}
	if c.Via != "imap" && c.Via != "pop3" && c.Repeat == 1 && taken != want {
		missed = append(missed, fmt.Sprintf("%d messages behind the gateway, want %d", taken, want))
	}
	return strings.Join(missed, "; ")
}
