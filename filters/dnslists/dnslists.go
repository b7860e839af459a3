// Package dnslists asks DNS block and allow lists (RFC 5782) about the client, its names, the sender, the links and the
// mail addresses of a message. Each list is watched: one that refuses us, is dead or lists the world is muted, says so,
// and never scores.
package dnslists

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"postern/filters"
	"postern/internal/config"
	"postern/internal/mail"
)

// Settings are the filter's settings.
type Settings struct {
	// Use names the shipped lists that are asked. There are none by default: a query tells the list's owner who sends you
	// mail, and most have terms of use. Shipped names them all.
	Use []string `toml:"use"`
	// DQSKey is the key of Spamhaus' Data Query Service, for the lists whose name ends in -dqs.
	DQSKey string `toml:"dqs_key"`
	// Timeout is how long the answers are awaited at MAIL, and once more for the message.
	Timeout config.Duration `toml:"timeout"`
	// Lists are your own lists, or lists of others that are not shipped.
	Lists []List `toml:"list"`
}

func defaults() Settings {
	return Settings{Use: []string{}, Timeout: config.Duration(3 * time.Second), Lists: []List{}}
}

// longestTimeout leaves the filter time to say what did not answer.
const longestTimeout = 10 * time.Second

// Spec is what is known of the filter.
var Spec = filters.Spec{
	Name: "dnslists",
	Help: "Asks DNS block and allow lists; none is on until you name it in use, since asking tells others who sends you mail.",
	// at connect and HELO it only begins to ask, so that the answers are there at MAIL
	Stages:   mail.StageConnect | mail.StageHelo | mail.StageMail | mail.StageMessage,
	After:    []string{"attachments"},
	Timeout:  longestTimeout + 5*time.Second,
	Symbols:  symbols(),
	Settings: func() any { s := defaults(); return &s },
	New:      newFilter,
}

// The symbols that are no list's own.
const (
	blockSymbol   = "DNSLIST_BLOCK"
	allowSymbol   = "DNSLIST_ALLOW"
	timeoutSymbol = "DNSLIST_TIMEOUT"
	mutedSymbol   = "DNSLIST_MUTED"
	limitSymbol   = "DNSLIST_LIMIT"
)

type filter struct {
	env     filters.Env
	timeout time.Duration
	lists   []*list
	// slots bound how many answers are awaited at once, of all messages together.
	slots chan struct{}
}

func newFilter(section config.Section, env filters.Env) (filters.Filter, error) {
	s := defaults()
	if err := section.Decode(&s); err != nil {
		return nil, err
	}
	timeout := time.Duration(s.Timeout)
	if timeout < 50*time.Millisecond || timeout > longestTimeout {
		return nil, fmt.Errorf("[filters.dnslists]: timeout = %q: set it between \"50ms\" and \"10s\"", timeout)
	}
	f := &filter{env: env, timeout: timeout, slots: make(chan struct{}, 1024)}
	for _, name := range s.Use {
		i := slices.IndexFunc(shipped(), func(l List) bool { return l.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("[filters.dnslists]: use: there is no shipped list %q: name some of %q, or describe it in [[filters.dnslists.list]]", name, Shipped())
		}
		known := shipped()[i]
		known.Key = s.DQSKey
		if err := f.add(known); err != nil {
			return nil, fmt.Errorf("[filters.dnslists]: use: %s: %w in dqs_key", name, err)
		}
	}
	for i, own := range s.Lists {
		own.own = true
		if err := f.add(own); err != nil {
			return nil, fmt.Errorf("[filters.dnslists]: list %d (%s): %w", i+1, own.Name, err)
		}
	}
	if len(f.lists) > maxLists {
		return nil, fmt.Errorf("[filters.dnslists]: %d lists: use %d at most", len(f.lists), maxLists)
	}
	return f, nil
}

func (f *filter) add(l List) error {
	made, err := l.read()
	if err != nil {
		return err
	}
	if slices.ContainsFunc(f.lists, func(other *list) bool { return other.name == made.name }) {
		return errors.New("this name stands there twice: give each list its own")
	}
	made.env, made.timeout = f.env, f.timeout
	f.lists = append(f.lists, made)
	return nil
}

// Inspect begins to ask at connect and HELO, and reports at MAIL and for the message.
func (f *filter) Inspect(ctx context.Context, tx *mail.Transaction) ([]filters.Finding, error) {
	// our own users send from dynamic addresses, and what they send is no stranger's
	if len(f.lists) == 0 || tx.Session.Outbound() {
		return nil, nil
	}
	switch tx.Stage {
	case mail.StageConnect:
		f.start(ctx, address(kindClient, tx.Session.Client))
	case mail.StageHelo:
		f.start(ctx, subject{kind: kindHelo, text: f.domain(tx.Session.Helo)})
	case mail.StageMail:
		about := []subject{
			address(kindClient, tx.Session.Client),
			{kind: kindHelo, text: f.domain(tx.Session.Helo)},
			{kind: kindSender, text: f.domain(tx.From.Domain)},
		}
		return f.report(ctx, about, kindClient|kindHelo|kindSender)
	case mail.StageMessage:
		about, over, err := f.contents(ctx, tx.Message)
		if err != nil {
			return nil, err
		}
		found, err := f.report(ctx, about, kindFrom|kindURI|kindHash)
		if over != "" {
			found = append(found, filters.Finding{Symbol: limitSymbol, Evidence: over})
		}
		return found, err
	case mail.StageRcpt: // a recipient is ours, and on no list
	}
	return nil, nil
}

// uses gives the kinds that any list is asked for.
func (f *filter) uses() (all kind) {
	for _, l := range f.lists {
		all |= l.kinds
	}
	return all
}
