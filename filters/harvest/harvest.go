// Package harvest detects clients that try many recipients to learn which exist (directory harvest), and clients that
// write to addresses never used (spam traps).
package harvest

import (
	"context"
	"fmt"
	"strings"
	"time"

	"postern/filters"
	"postern/internal/config"
	"postern/internal/mail"
	"postern/internal/state"
)

// Settings are the filter's settings.
type Settings struct {
	// Unknown recipients are a harvest if one client, or one network (/24, /48) or one name in HELO, asked for more than
	// so many within Window, and more than Share of all recipients it asked for are unknown. 0 switches it off.
	ClientUnknown  int             `toml:"client_unknown"`
	NetworkUnknown int             `toml:"network_unknown"`
	Window         config.Duration `toml:"window"`
	Share          float64         `toml:"share"`
	// SlowClientUnknown and SlowNetworkUnknown are the same within SlowWindow, for clients that try once a minute.
	SlowClientUnknown  int             `toml:"slow_client_unknown"`
	SlowNetworkUnknown int             `toml:"slow_network_unknown"`
	SlowWindow         config.Duration `toml:"slow_window"`
	// AsksOnly is how many recipients a client may ask for within Window and then send them nothing. 0 switches it off.
	AsksOnly int `toml:"asks_only"`
	// Block is how long a harvester is kept out.
	Block config.Duration `toml:"block"`
	// GoodName multiplies all numbers for a client whose mail was good so far.
	GoodName float64 `toml:"good_name"`
	// Traps are addresses that no honest sender knows: "old@example.com", "@trap.example.com".
	Traps []string `toml:"traps"`
	// TrapMemory is how long it is held against a client that it wrote to a trap.
	TrapMemory config.Duration `toml:"trap_memory"`
}

func defaults() Settings {
	return Settings{ClientUnknown: 10, NetworkUnknown: 60, Window: config.Duration(10 * time.Minute), Share: 0.5,
		SlowClientUnknown: 50, SlowNetworkUnknown: 250, SlowWindow: config.Duration(12 * time.Hour), AsksOnly: 100,
		Block: config.Duration(15 * time.Minute), GoodName: 5, TrapMemory: config.Duration(24 * time.Hour)}
}

// Spec is what is known of the filter.
var Spec = filters.Spec{
	Name:   "harvest",
	Help:   "Keeps out who tries many recipients to learn which exist, and remembers who writes to spam traps.",
	Stages: mail.StageConnect | mail.StageMail | mail.StageRcpt,
	Inline: true,
	Symbols: []filters.Symbol{
		{Name: "DIRECTORY_HARVEST", Score: 5, Action: filters.ActionDrop, Help: "The client has asked for many recipients that do not exist, or never wrote to those it asked for",
			Reply: "Too many recipients that you asked for do not exist, please try again later"},
		{Name: "SPAMTRAP", Score: 8, Help: "A recipient is an address that no honest sender knows"},
		{Name: "SPAMTRAP_CLIENT", Score: 4, Help: "The client has written to a spam trap lately"},
		{Name: "SPAMTRAP_NETWORK", Score: 1.5, Help: "Somebody in the client's network has written to a spam trap lately"},
	},
	Settings: func() any { s := defaults(); return &s },
	New:      newFilter,
}

type filter struct {
	env      filters.Env
	settings Settings
	clients  []window
	networks []window
	traps    map[string]bool
}

// window is one way to count: more than so many in a time.
type window struct {
	name  string
	limit float64
	half  time.Duration
}

// The kinds of what is remembered.
const (
	kindCount = "harvest"
	kindBlock = "harvester"
	kindTrap  = "trap"
)

// The names of what is counted for a scope.
const (
	fast = "fast"
	slow = "slow"
	asks = "asks"
)

func newFilter(section config.Section, env filters.Env) (filters.Filter, error) {
	s := defaults()
	if err := section.Decode(&s); err != nil {
		return nil, err
	}
	if !(s.Share >= 0 && s.Share < 1) {
		return nil, fmt.Errorf("[filters.harvest]: share = %g: set it to a share from 0 to less than 1, as in 0.5", s.Share)
	}
	if !(s.GoodName >= 1) {
		return nil, fmt.Errorf("[filters.harvest]: good_name = %g: set it to 1 or more", s.GoodName)
	}
	if s.Window == 0 || s.SlowWindow == 0 || s.Block == 0 {
		return nil, fmt.Errorf("[filters.harvest]: window, slow_window and block must be longer than nothing")
	}
	f := &filter{env: env, settings: s, traps: map[string]bool{}}
	f.clients = windows(s.ClientUnknown, s.SlowClientUnknown, s)
	f.networks = windows(s.NetworkUnknown, s.SlowNetworkUnknown, s)
	for _, t := range s.Traps {
		domain, whole := strings.CutPrefix(t, "@")
		if whole && mail.ValidDomain(domain) {
			f.traps["@"+mail.ASCIIDomain(domain)] = true
			continue
		}
		a, err := mail.ParseAddress(t)
		if err != nil {
			return nil, fmt.Errorf("[filters.harvest]: traps: %q: write an address, or a domain as \"@trap.example.com\"", t)
		}
		f.traps[a.Key()] = true
	}
	return f, nil
}

func windows(quick, patient int, s Settings) []window {
	var all []window
	if quick > 0 {
		all = append(all, window{fast, float64(quick), s.Window.Std()})
	}
	if patient > 0 {
		all = append(all, window{slow, float64(patient), s.SlowWindow.Std()})
	}
	return all
}

// scope is what is counted for: a client, a network and the like.
type scope struct {
	what, who string // "client", "192.0.2.1"
	windows   []window
	// shared names can be used by any client: they count only against clients that tried unknown recipients themselves.
	shared bool
}

func (s scope) key(kind string, name ...string) string {
	return state.Key(kind, append([]string{s.what, s.who}, name...)...)
}

// scopes are those of a session. Public addresses only: a private address may hide many clients.
func (f *filter) scopes(s *mail.Session) []scope {
	if s.Outbound() || !filters.Public(s.Client) {
		return nil
	}
	all := make([]scope, 0, 3)
	if len(f.clients) > 0 || f.settings.AsksOnly > 0 {
		all = append(all, scope{what: "client", who: filters.ClientKey(s.Client), windows: f.clients})
	}
	if len(f.networks) > 0 {
		all = append(all, scope{what: "network", who: filters.NetworkKey(s.Client), windows: f.networks})
		if s.Helo != "" {
			all = append(all, scope{what: "helo", who: strings.ToLower(s.Helo), windows: f.networks, shared: true})
		}
	}
	return all
}

// Inspect implements filters.Filter.
func (f *filter) Inspect(ctx context.Context, tx *mail.Transaction) ([]filters.Finding, error) {
	found := f.trapped(ctx, tx)
	for _, s := range f.scopes(tx.Session) {
		why, blocked := f.env.State.Get(ctx, s.key(kindBlock))
		if !blocked || s.shared && !f.asked(ctx, tx.Session) {
			continue
		}
		return append(found, filters.Finding{Symbol: "DIRECTORY_HARVEST", Evidence: filters.Printable(string(why))}), nil
	}
	return found, nil
}

// asked says whether the client itself has lately asked for a recipient that does not exist.
func (f *filter) asked(ctx context.Context, s *mail.Session) bool {
	for _, w := range f.clients {
		if f.env.State.Tally(ctx, state.Key(kindCount, "client", filters.ClientKey(s.Client), w.name), state.Tally{}, w.half)[0] > 0.1 {
			return true
		}
	}
	return false
}

// Answered implements filters.RecipientLearner.
func (f *filter) Answered(ctx context.Context, tx *mail.Transaction, _ mail.Address, r mail.Reply) {
	unknown := isUnknown(r)
	if !unknown && !r.Positive() { // deferred, or refused for another reason: that does not disclose which users exist
		return
	}
	add := state.Tally{0, 1}
	if unknown {
		add[0] = 1
	}
	for _, s := range f.scopes(tx.Session) {
		for _, w := range s.windows {
			t := f.env.State.Tally(ctx, s.key(kindCount, w.name), add, w.half)
			if unknown && t[0] > w.limit && t[0] > f.settings.Share*t[1] && f.beyond(ctx, tx.Session, t[0], w.limit) {
				f.block(ctx, tx, s, fmt.Sprintf("%.0f of %.0f recipients unknown", t[0], t[1]))
			}
		}
	}
	if !unknown {
		f.asks(ctx, tx, state.Tally{1, 0})
	}
}

// isUnknown says whether a reply tells that there is no such recipient. RFC 3463 section 3.2: X.1.x is about addresses.
// Servers without enhanced codes say 550, 551 or 553 (RFC 5321 section 4.2.3); ours always have one.
func isUnknown(r mail.Reply) bool {
	if !r.Permanent() {
		return false
	}
	return strings.HasPrefix(r.Enhanced, "5.1.") || r.Enhanced == "" && (r.Code == 550 || r.Code == 551 || r.Code == 553)
}

// beyond reports whether a number is over the limit for clients with a good reputation too. It is checked only above
// the usual limit.
func (f *filter) beyond(ctx context.Context, s *mail.Session, n, limit float64) bool {
	return n > limit*f.settings.GoodName || !filters.GoodClient(ctx, f.env.State, s.Client)
}

func (f *filter) block(ctx context.Context, tx *mail.Transaction, s scope, why string) {
	key, text := s.key(kindBlock), filters.Printable(s.what+" "+s.who[:min(len(s.who), 100)]+": "+why)
	_, first := f.env.State.PutNew(ctx, key, []byte(text), f.settings.Block.Std())
	if !first {
		f.env.State.Put(ctx, key, []byte(text), f.settings.Block.Std())
		return
	}
	f.env.Log.Warn("directory harvest", "id", tx.ID, "who", text)
}

// asks counts recipients that were accepted and recipients that got a message: RSET and QUIT in between are how a
// directory is read from a server that never says "unknown" before DATA, or slowly enough.
func (f *filter) asks(ctx context.Context, tx *mail.Transaction, add state.Tally) {
	scopes := f.scopes(tx.Session)
	limit := float64(f.settings.AsksOnly)
	if limit == 0 || len(scopes) == 0 {
		return
	}
	t := f.env.State.Tally(ctx, scopes[0].key(kindCount, asks), add, f.settings.Window.Std())
	if t[0]-t[1] > limit && t[1] < t[0]/5 && f.beyond(ctx, tx.Session, t[0]-t[1], limit) {
		f.block(ctx, tx, scopes[0], fmt.Sprintf("%.0f recipients asked for, %.0f written to", t[0], t[1]))
	}
}

// Decided implements filters.MessageLearner.
func (f *filter) Decided(ctx context.Context, tx *mail.Transaction, judged []filters.Decision) {
	f.asks(ctx, tx, state.Tally{0, float64(len(judged))})
}
