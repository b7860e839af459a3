// Package icap asks a scanner that speaks ICAP (RFC 3507) about each message.
package icap

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"time"

	"postern/filters"
	"postern/internal/config"
	"postern/internal/mail"
)

// Settings are the filter's settings.
type Settings struct {
	// URL is that of the service, "icap://127.0.0.1:1344/avscan".
	URL string `toml:"url"`
	// Method is "RESPMOD" or "REQMOD".
	Method string `toml:"method"`
	// Timeout bounds one message, MaxSize is the largest one that is sent.
	Timeout config.Duration `toml:"timeout"`
	MaxSize config.Size     `toml:"max_size"`
	// Connections is how many messages are looked at at a time.
	Connections int `toml:"connections"`
	// Outbound says whether mail of our own users is looked at, too.
	Outbound bool `toml:"outbound"`
	// Required says that mail waits (451) while the scanner is away; else it is judged without it, and says so.
	Required bool `toml:"required"`
}

func defaults() Settings {
	return Settings{Method: "RESPMOD", Timeout: config.Duration(45 * time.Second), MaxSize: 25_000_000, Connections: 10, Outbound: true}
}

// Spec is what is known of the filter.
var Spec = filters.Spec{
	Name:   "icap",
	Help:   "Asks a scanner that speaks ICAP about each message. Off until its url is set.",
	Stages: mail.StageMessage, Content: true,
	After:    []string{"dmarc", "headers", "impersonation", "mime", "attachments"}, // what they refuse need not be scanned
	Timeout:  time.Minute,
	Disabled: true,
	Symbols: []filters.Symbol{
		{Name: "ICAP_VIRUS", Score: 15, Action: filters.ActionReject, Help: "the ICAP scanner found a virus", Reply: "A virus was found in this message. Please check the machine that it was written on"},
		{Name: "ICAP_BLOCKED", Score: 8, Action: filters.ActionQuarantine, Help: "the ICAP scanner would not let this message through as it is"},
		{Name: "ICAP_NOT_SCANNED", Score: 0, Action: filters.ActionQuarantine, Help: "the message is too large for the ICAP scanner, or was refused anyway"},
	},
	Settings: func() any { s := defaults(); return &s },
	New:      newFilter,
}

type filter struct {
	settings Settings
	url      *url.URL
	places   chan struct{}
	now      func() time.Time

	mu    sync.Mutex
	asked time.Time // when the service last said what it does
}

// askEvery is how often the service is asked what it does.
const askEvery = 10 * time.Minute

func newFilter(section config.Section, env filters.Env) (filters.Filter, error) {
	s := defaults()
	if err := section.Decode(&s); err != nil {
		return nil, err
	}
	u, err := url.Parse(s.URL)
	switch {
	case s.URL == "":
		return nil, errors.New("[filters.icap]: url is missing: name the service as in \"icap://127.0.0.1:1344/avscan\"")
	case err != nil || u.Scheme != "icap" || u.Host == "":
		return nil, fmt.Errorf("[filters.icap]: url: %q is not one: write it as in \"icap://127.0.0.1:1344/avscan\"", s.URL)
	case s.Method != "RESPMOD" && s.Method != "REQMOD":
		return nil, fmt.Errorf("[filters.icap]: method = %q: set it to RESPMOD or REQMOD", s.Method)
	case s.Connections < 1:
		return nil, fmt.Errorf("[filters.icap]: connections = %d: set it to 1 or more", s.Connections)
	case s.Timeout <= 0 || time.Duration(s.Timeout) > 55*time.Second:
		return nil, errors.New("[filters.icap]: timeout: set it above 0 and to 55s at most")
	}
	return &filter{settings: s, url: u, places: make(chan struct{}, s.Connections), now: env.Now}, nil
}

// Ping implements filters.Server: RFC 3507 section 4.10.
func (f *filter) Ping(ctx context.Context) error {
	return exchange{url: f.url, method: f.settings.Method}.options(ctx)
}

// Address implements filters.Server.
func (f *filter) Address() string { return f.url.Redacted() }

// Required implements filters.Server.
func (f *filter) Required() bool { return f.settings.Required }

// Inspect implements filters.Filter. Whatever keeps the scanner from an answer is a failure of the filter: no answer is
// never clean.
func (f *filter) Inspect(ctx context.Context, tx *mail.Transaction) ([]filters.Finding, error) {
	m := tx.Message
	switch {
	case tx.Session.Outbound() && !f.settings.Outbound:
		return nil, nil
	case m.Size() > int64(f.settings.MaxSize):
		return []filters.Finding{{Symbol: "ICAP_NOT_SCANNED", Evidence: fmt.Sprintf("%d octets", m.Size())}}, nil
	}
	if tx.Refused != nil && tx.Refused() {
		return []filters.Finding{{Symbol: "ICAP_NOT_SCANNED", Evidence: "the message is refused anyway"}}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(f.settings.Timeout))
	defer cancel()
	select {
	case f.places <- struct{}{}:
		defer func() { <-f.places }()
	case <-ctx.Done():
		return nil, fmt.Errorf("all connections to the scanner are busy: %w", ctx.Err())
	}
	x := exchange{url: f.url, method: f.settings.Method, client: tx.Session.Client.Unmap().String(), id: tx.ID}
	if err := f.ask(ctx, x); err != nil {
		return nil, err
	}
	r, err := x.do(ctx, m.Open(), m.Size())
	switch {
	case err != nil:
		return nil, err
	case r.virus != "":
		return []filters.Finding{{Symbol: "ICAP_VIRUS", Evidence: filters.Printable(r.virus)}}, nil
	case r.changed:
		return []filters.Finding{{Symbol: "ICAP_BLOCKED"}}, nil
	}
	return nil, nil
}

// ask makes sure now and then that the service is there and does what is wanted.
func (f *filter) ask(ctx context.Context, x exchange) error {
	f.mu.Lock()
	fresh := !f.asked.IsZero() && f.now().Sub(f.asked) < askEvery
	f.mu.Unlock()
	if fresh {
		return nil
	}
	if err := x.options(ctx); err != nil {
		return err
	}
	f.mu.Lock()
	f.asked = f.now()
	f.mu.Unlock()
	return nil
}
