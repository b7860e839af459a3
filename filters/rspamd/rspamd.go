// Package rspamd asks an Rspamd that runs elsewhere what it makes of each message: its score counts as one symbol among
// ours. https://docs.rspamd.com/developers/protocol/
package rspamd

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"postern/filters"
	"postern/internal/config"
	"postern/internal/mail"
)

// Settings are the filter's settings.
type Settings struct {
	// URL is that of Rspamd's worker, "http://127.0.0.1:11333".
	URL string `toml:"url"`
	// PasswordFile holds its password in the first line, CAFile the authority of its certificate for https.
	PasswordFile string `toml:"password_file"`
	CAFile       string `toml:"ca_file"`
	// Timeout bounds one message, MaxSize is the largest one that is sent.
	Timeout config.Duration `toml:"timeout"`
	MaxSize config.Size     `toml:"max_size"`
	// Outbound says whether mail of our own users is sent there, too.
	Outbound bool `toml:"outbound"`
	// Required says that mail waits (451) while the scanner is away; else it is judged without it, and says so.
	Required bool `toml:"required"`
}

func defaults() Settings {
	return Settings{Timeout: config.Duration(20 * time.Second), MaxSize: 20_000_000}
}

// Spec is what is known of the filter.
var Spec = filters.Spec{
	Name:   "rspamd",
	Help:   "Asks an Rspamd that runs elsewhere what it makes of each message. Off until its url is set.",
	Stages: mail.StageMessage, Content: true,
	Timeout:  time.Minute,
	Disabled: true,
	Symbols: []filters.Symbol{
		{Name: "RSPAMD_SPAM", Score: 8, Help: "Rspamd's score, as the share of the score at which it would refuse"},
		{Name: "RSPAMD_HAM", Score: -2, Help: "Rspamd takes this for good mail"},
		{Name: "RSPAMD_REJECT", Score: 4, Help: "Rspamd would refuse this message"},
		{Name: "RSPAMD_SOFT_REJECT", Score: 0, Action: filters.ActionDefer, Help: "Rspamd wants the sender to try again later", Reply: "Please try again later"},
		{Name: "RSPAMD_NOT_SCANNED", Score: 0, Help: "the message is too large for Rspamd, or it skipped it"},
	},
	Settings: func() any { s := defaults(); return &s },
	New:      newFilter,
}

type filter struct {
	settings Settings
	check    string // the URL of a check
	password string
	client   *http.Client
}

func newFilter(section config.Section, _ filters.Env) (filters.Filter, error) {
	s := defaults()
	if err := section.Decode(&s); err != nil {
		return nil, err
	}
	u, err := url.Parse(s.URL)
	switch {
	case s.URL == "":
		return nil, errors.New("[filters.rspamd]: url is missing: name Rspamd's worker as in \"http://127.0.0.1:11333\"")
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("[filters.rspamd]: url: %q is not one: write it as in \"http://127.0.0.1:11333\"", s.URL)
	case s.Timeout <= 0 || time.Duration(s.Timeout) > 55*time.Second:
		return nil, errors.New("[filters.rspamd]: timeout: set it above 0 and to 55s at most")
	}
	f := &filter{settings: s, check: strings.TrimSuffix(s.URL, "/") + "/checkv2"}
	if s.PasswordFile != "" {
		text, err := os.ReadFile(s.PasswordFile)
		if err != nil {
			return nil, fmt.Errorf("[filters.rspamd]: password_file: %w", err)
		}
		f.password, _, _ = strings.Cut(strings.TrimRight(string(text), "\r\n"), "\n")
	}
	trust := &tls.Config{MinVersion: tls.VersionTLS12}
	if s.CAFile != "" {
		text, err := os.ReadFile(s.CAFile)
		if err != nil {
			return nil, fmt.Errorf("[filters.rspamd]: ca_file: %w", err)
		}
		trust.RootCAs = x509.NewCertPool()
		if !trust.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("[filters.rspamd]: ca_file: %s holds no certificate in PEM form", s.CAFile)
		}
	}
	// no proxy of the environment's: mail goes where the settings say and nowhere else, and no redirection is followed
	f.client = &http.Client{Transport: &http.Transport{TLSClientConfig: trust, MaxIdleConnsPerHost: 16, MaxConnsPerHost: 64, IdleConnTimeout: 30 * time.Second},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return f, nil
}

// Ping implements filters.Server: https://docs.rspamd.com/developers/protocol/, /ping.
func (f *filter) Ping(ctx context.Context) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(f.settings.URL, "/")+"/ping", nil)
	if err != nil {
		return err
	}
	resp, err := f.client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 64))
	if err == nil && (resp.StatusCode != http.StatusOK || !strings.HasPrefix(string(text), "pong")) {
		err = fmt.Errorf("rspamd answered %d to a ping", resp.StatusCode)
	}
	return err
}

// Address implements filters.Server.
func (f *filter) Address() string { return f.settings.URL }

// Required implements filters.Server.
func (f *filter) Required() bool { return f.settings.Required }

// Inspect implements filters.Filter.
func (f *filter) Inspect(ctx context.Context, tx *mail.Transaction) ([]filters.Finding, error) {
	switch {
	case tx.Session.Outbound() && !f.settings.Outbound:
		return nil, nil
	case tx.Message.Size() > int64(f.settings.MaxSize):
		return []filters.Finding{{Symbol: "RSPAMD_NOT_SCANNED", Evidence: fmt.Sprintf("%d octets", tx.Message.Size())}}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(f.settings.Timeout))
	defer cancel()
	r, err := f.request(ctx, tx)
	if err != nil {
		return nil, err
	}
	resp, err := f.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, err
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("rspamd answered %d: %s", resp.StatusCode, filters.Printable(string(text)))
	case len(text) > maxAnswer:
		return nil, fmt.Errorf("rspamd's answer is longer than %d octets", maxAnswer)
	}
	return read(text)
}

// maxAnswer bounds what Rspamd may say, in octets.
const maxAnswer = 1 << 20

func (f *filter) request(ctx context.Context, tx *mail.Transaction) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, f.check, tx.Message.Open())
	if err != nil {
		return nil, err
	}
	r.ContentLength = tx.Message.Size()
	r.Header.Set("Queue-Id", tx.ID)
	r.Header.Set("From", header(tx.From.String()))
	r.Header.Set("IP", tx.Session.Client.Unmap().String())
	for name, value := range map[string]string{"Helo": tx.Session.Helo, "User": tx.Session.User, "Hostname": tx.Session.ClientName, "Password": f.password} {
		if value != "" {
			r.Header.Set(name, header(value))
		}
	}
	for _, to := range tx.Recipients {
		r.Header.Add("Rcpt", header(to.Address.String()))
	}
	return r, nil
}

// header keeps a value on its line: RFC 9110 section 5.5.
func header(value string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, value)
}

// answer is what we read of Rspamd's.
type answer struct {
	Skipped  bool     `json:"is_skipped"`
	Score    *float64 `json:"score"`
	Required float64  `json:"required_score"`
	Action   string   `json:"action"`
	Symbols  map[string]struct {
		Score float64 `json:"score"`
	} `json:"symbols"`
}

// share is a value of which only a part of the symbol's score counts.
type share float64

// Weight implements policy.Weighted.
func (s share) Weight() float64 { return float64(s) }

// read turns an answer into findings. One without a score and an action is no answer.
func read(text []byte) ([]filters.Finding, error) {
	var a answer
	if err := json.Unmarshal(text, &a); err != nil {
		return nil, fmt.Errorf("rspamd's answer: %w", err)
	}
	if a.Skipped {
		return []filters.Finding{{Symbol: "RSPAMD_NOT_SCANNED", Evidence: "skipped"}}, nil
	}
	if a.Score == nil || a.Action == "" || math.IsNaN(*a.Score) || a.Required <= 0 {
		return nil, errors.New("rspamd's answer holds no score, no action or no required score")
	}
	evidence := filters.Printable(fmt.Sprintf("%.1f of %.1f, %s: %s", *a.Score, a.Required, a.Action, a.heaviest()))
	var found []filters.Finding
	switch {
	case *a.Score > 0:
		found = append(found, filters.Finding{Symbol: "RSPAMD_SPAM", Evidence: evidence, Value: share(min(*a.Score/a.Required, 1))})
	case *a.Score < 0:
		found = append(found, filters.Finding{Symbol: "RSPAMD_HAM", Evidence: evidence, Value: share(min(-*a.Score/10, 1))})
	}
	switch a.Action {
	case "reject", "discard":
		found = append(found, filters.Finding{Symbol: "RSPAMD_REJECT"})
	case "soft reject":
		found = append(found, filters.Finding{Symbol: "RSPAMD_SOFT_REJECT"})
	}
	return found, nil
}

// heaviest names the symbols that weigh most.
func (a answer) heaviest() string {
	names := make([]string, 0, len(a.Symbols))
	for name := range a.Symbols {
		names = append(names, name)
	}
	slices.SortFunc(names, func(x, y string) int {
		return cmp.Or(cmp.Compare(math.Abs(a.Symbols[y].Score), math.Abs(a.Symbols[x].Score)), strings.Compare(x, y))
	})
	var words []string
	for _, name := range names[:min(len(names), 6)] {
		words = append(words, fmt.Sprintf("%s(%.1f)", name, a.Symbols[name].Score))
	}
	return strings.Join(words, " ")
}
