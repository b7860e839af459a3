// Package clamav asks ClamAV's daemon about each message: about its octets as they are, and about each content that a mail
// reader may find in it where clamd's own reading may not look.
package clamav

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"postern/filters"
	"postern/internal/config"
	"postern/internal/mail"
	"postern/internal/mimeview"
)

// Settings are the filter's settings.
type Settings struct {
	// Addresses are those of clamd, "127.0.0.1:3310" or "/run/clamav/clamd.ctl"; the next one is asked when one is down.
	Addresses []string `toml:"addresses"`
	// MaxSize is the largest message that is sent; it must not be above clamd's StreamMaxLength.
	MaxSize config.Size `toml:"max_size"`
	// Connections is how many scans run at a time; more than clamd's MaxThreads only wait there.
	Connections int `toml:"connections"`
	// Timeout bounds one message.
	Timeout config.Duration `toml:"timeout"`
	// Heuristic are the fronts of the names of signatures that guess; they score and do not refuse.
	Heuristic []string `toml:"heuristic"`
	// Outbound says whether mail of our own users is scanned, too.
	Outbound bool `toml:"outbound"`
	// Required says that mail waits (451) while the scanner is away; else it is judged without it, and says so.
	Required bool `toml:"required"`
}

func defaults() Settings {
	return Settings{MaxSize: 25_000_000, Connections: 10, Timeout: config.Duration(45 * time.Second),
		Heuristic: []string{"Heuristics.", "PUA.", "Phishing.", "Email.Phishing.", "HTML.Phishing."}, Outbound: true}
}

// Spec is what is known of the filter.
var Spec = filters.Spec{
	Name:   "clamav",
	Help:   "Asks ClamAV's daemon about each message. Off until addresses are set.",
	Stages: mail.StageMessage, Content: true,
	After:    []string{"dmarc", "headers", "impersonation", "mime", "attachments"}, // what they refuse need not be scanned
	Timeout:  time.Minute,
	Disabled: true,
	Symbols: []filters.Symbol{
		{Name: "CLAM_VIRUS", Score: 15, Action: filters.ActionReject, Help: "ClamAV found a virus", Reply: "A virus was found in this message. Please check the machine that it was written on"},
		{Name: "CLAM_VIRUS_HEURISTIC", Score: 6, Help: "ClamAV guesses that this is bad"},
		{Name: "CLAM_VIRUS_ENCRYPTED", Score: 2, Help: "ClamAV could not look into something encrypted"},
		{Name: "CLAMAV_NOT_SCANNED", Score: 0, Action: filters.ActionQuarantine, Help: "the message, or a part of it, was too large for ClamAV to look at, took it too long, or was refused anyway"},
	},
	Settings: func() any { s := defaults(); return &s },
	New:      newFilter,
}

type filter struct {
	settings Settings
	servers  *servers
}

func newFilter(section config.Section, env filters.Env) (filters.Filter, error) {
	s := defaults()
	if err := section.Decode(&s); err != nil {
		return nil, err
	}
	switch {
	case len(s.Addresses) == 0:
		return nil, errors.New("[filters.clamav]: addresses is missing: name clamd as in \"127.0.0.1:3310\" or \"/run/clamav/clamd.ctl\"")
	case s.Connections < 1:
		return nil, fmt.Errorf("[filters.clamav]: connections = %d: set it to 1 or more", s.Connections)
	case s.Timeout <= 0 || time.Duration(s.Timeout) > 55*time.Second:
		return nil, errors.New("[filters.clamav]: timeout: set it above 0 and to 55s at most")
	}
	return &filter{s, newServers(s.Addresses, s.Connections, env.Now)}, nil
}

// Ping implements filters.Server: one clamd that answers is enough. clamd(8), PING.
func (f *filter) Ping(ctx context.Context) error { return f.servers.ping(ctx) }

// Address implements filters.Server.
func (f *filter) Address() string { return strings.Join(f.settings.Addresses, ", ") }

// Required implements filters.Server.
func (f *filter) Required() bool { return f.settings.Required }

// Inspect implements filters.Filter. Whatever keeps clamd from an answer is a failure of the filter: no answer is never
// clean.
func (f *filter) Inspect(ctx context.Context, tx *mail.Transaction) ([]filters.Finding, error) {
	if tx.Session.Outbound() && !f.settings.Outbound {
		return nil, nil
	}
	if tx.Refused != nil && tx.Refused() {
		return []filters.Finding{{Symbol: notScanned, Evidence: "the message is refused anyway"}}, nil
	}
	limit, bomb := time.Duration(f.settings.Timeout), false
	if _, bomb = mail.Find(tx.AllFindings(), "ATTACHMENT_LIMIT"); bomb {
		limit = min(limit, bombTime)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var found findings
	err := f.all(ctx, &found, tx.Message)
	// the connection's deadline, which is the same moment, may be the first to say so
	if bomb && (errors.Is(ctx.Err(), context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded)) {
		found.add(notScanned, fmt.Sprintf("more than is looked at, and not done in %s", limit))
		return found, nil
	}
	return found, err
}

const notScanned = "CLAMAV_NOT_SCANNED"

// bombTime is how long clamd may work on a message whose attachments hold more than anybody looks at. It is held already.
const bombTime = 10 * time.Second

// all sends the message as it is, then its contents.
func (f *filter) all(ctx context.Context, found *findings, m *mail.Message) error {
	whole := m.Size() <= int64(f.settings.MaxSize)
	if !whole {
		found.add(notScanned, fmt.Sprintf("%d octets", m.Size()))
	} else if err := f.one(ctx, found, "message", func() (io.ReadCloser, error) { return io.NopCloser(m.Open()), nil }); err != nil {
		return err
	}
	return f.contents(ctx, found, mimeview.Of(m), whole)
}

// Limits of what is sent beside the message itself: of contents that clamd may not find there, and of all others.
const (
	maxObjects = 500
	maxOctets  = 100 << 20
	maxAgain   = 50
)

// contents sends each content of each reading by itself. What clamd may not find in the message comes first and must be
// sent; what it meets there as well is sent again as far as there is room, which costs it little, as it remembers what it
// has found clean.
func (f *filter) contents(ctx context.Context, found *findings, v *mimeview.View, whole bool) error {
	var must, again []*mimeview.Object
	odd := len(v.Ambiguities()) > 0
	for _, o := range v.Objects() {
		if odd || !whole || hidden(v, o) {
			must = append(must, o)
		} else if o.Size > smallest && !plainToAll(o) && len(again) < maxAgain {
			again = append(again, o)
		}
	}
	sent, octets := 0, int64(0)
	for at, o := range append(must, again...) {
		sent++
		octets += o.Size
		if sent > maxObjects || octets > maxOctets || o.Size > int64(f.settings.MaxSize) {
			if at < len(must) && whole {
				found.add(notScanned, "a part")
			}
			break
		}
		if err := f.one(ctx, found, o.Reading, func() (io.ReadCloser, error) { return o.Open() }); err != nil {
			return err
		}
	}
	return v.Err()
}

// smallest is the size below which a content that clamd meets in the message anyway is not sent again.
const smallest = 128

// one scans a content and notes what was found in it.
func (f *filter) one(ctx context.Context, found *findings, what string, open func() (io.ReadCloser, error)) error {
	virus, err := f.servers.scan(ctx, open)
	switch {
	case errors.Is(err, errSize):
		found.add("CLAMAV_NOT_SCANNED", what+": "+err.Error())
		return nil
	case err != nil:
		return err
	case virus == "":
	case strings.HasPrefix(virus, "Heuristics.Encrypted"):
		found.add("CLAM_VIRUS_ENCRYPTED", virus)
	case f.guess(virus):
		found.add("CLAM_VIRUS_HEURISTIC", virus)
	default:
		found.add("CLAM_VIRUS", virus)
	}
	return nil
}

func (f *filter) guess(virus string) bool {
	for _, front := range f.settings.Heuristic {
		if strings.HasPrefix(virus, front) {
			return true
		}
	}
	return false
}

type findings []filters.Finding

// add notes a finding, the same one once.
func (f *findings) add(symbol, evidence string) {
	evidence = filters.Printable(evidence)
	for _, old := range *f {
		if old.Symbol == symbol && old.Evidence == evidence {
			return
		}
	}
	*f = append(*f, filters.Finding{Symbol: symbol, Evidence: evidence})
}
