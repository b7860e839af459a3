package listen

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"postern/internal/state"
)

// BanOptions say when clients that guess passwords are banned. Zero values mean the defaults.
type BanOptions struct {
	State *state.State
	Now   func() time.Time
	Log   *slog.Logger
	// Pair (default 5) is how many wrong passwords one client may try for one user, Client (default 20) for all users,
	// Network (default 100) all clients of one network (/24 of IPv4, /48 of IPv6), within Window (default 30 minutes).
	Pair, Client, Network int
	Window                time.Duration
	// First (default 1 minute) is how long the first ban lasts; each further one doubles it, up to Longest (default a day).
	First, Longest time.Duration
	// Never are networks that are not banned.
	Never []netip.Prefix
}

// Bans refuses clients that guess passwords, at all doors alike: a client for one user, a client, a network. It never
// bans a user by name alone, so that no outsider can lock a user out; and a user who has logged in from a client before
// may still do so while others at the same address or in the same network are banned.
type Bans struct {
	BanOptions
	// secret makes marks of wrong passwords worthless outside of this process: the same mistake repeated is no guessing.
	secret [32]byte
}

// known is how long a successful login is remembered.
const known = 60 * 24 * time.Hour

// NewBans makes the bans that all doors share.
func NewBans(o BanOptions) *Bans {
	set := func(n *int, v int) {
		if *n <= 0 {
			*n = v
		}
	}
	set(&o.Pair, 5)
	set(&o.Client, 20)
	set(&o.Network, 100)
	for _, d := range []struct {
		at *time.Duration
		v  time.Duration
	}{{&o.Window, 30 * time.Minute}, {&o.First, time.Minute}, {&o.Longest, 24 * time.Hour}} {
		if *d.at <= 0 {
			*d.at = d.v
		}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	b := &Bans{BanOptions: o}
	_, _ = rand.Read(b.secret[:]) // it never fails: crypto/rand ends the program if the system has no randomness
	return b
}

// Ban is one ban, as it is kept and shown.
type Ban struct {
	// Who is the client's address or network, followed by the user if only that user is banned there.
	Who   string    `json:"who"`
	Why   string    `json:"why"`
	Times int       `json:"times"`
	Since time.Time `json:"since"`
	Until time.Time `json:"until"`
}

// scope is one of the three things that can be banned.
type scope struct {
	who   string
	limit int
}

func (b *Bans) scopes(client netip.Addr, user string) (pair, address, network scope) {
	client = client.Unmap().WithZone("")
	bits, wide := 32, 24
	if client.Is6() { // RFC 4291 section 2.5.4: a host has a /64 to choose its address from
		bits, wide = 64, 48
	}
	one, _ := client.Prefix(bits)
	many, _ := client.Prefix(wide)
	who := one.String()
	if one.IsSingleIP() {
		who = one.Addr().String()
	}
	return scope{who + " " + login(user), b.Pair}, scope{who, b.Client}, scope{many.String(), b.Network}
}

// maxUser is how much of a user's name is remembered, in octets: that of an address (RFC 5321 section 4.5.3.1). A login
// may have kilobytes, and would fill memory, the log and the list of bans.
const maxUser = 254

// login is the form in which a user's name is remembered.
func login(user string) string {
	user = strings.ToLower(strings.TrimSpace(user))
	return strings.TrimSpace(strings.ToValidUTF8(user[:min(len(user), maxUser)], "?"))
}

// Banned reports whether a client may not even connect: it guessed, and no user has ever logged in from it.
func (b *Bans) Banned(client netip.Addr) bool {
	if b.exempt(client) {
		return false
	}
	ctx := context.Background()
	_, address, _ := b.scopes(client, "")
	if _, banned := b.ban(ctx, address); !banned {
		return false
	}
	_, knows := b.State.Get(ctx, state.Key("login", address.who))
	return !knows
}

// Admit reports whether a login may be tried. One that may not gets the answer to a wrong password, after the same
// delay.
func (b *Bans) Admit(ctx context.Context, client netip.Addr, user string) bool {
	if b.exempt(client) {
		return true
	}
	pair, address, network := b.scopes(client, user)
	if _, banned := b.ban(ctx, pair); banned {
		return false
	}
	if _, knows := b.State.Get(ctx, state.Key("login", pair.who)); knows {
		return true
	}
	for _, s := range []scope{address, network} {
		if _, banned := b.ban(ctx, s); banned {
			return false
		}
	}
	return true
}

// Passed remembers a good login.
func (b *Bans) Passed(ctx context.Context, client netip.Addr, user string) {
	pair, address, _ := b.scopes(client, user)
	b.State.Put(ctx, state.Key("login", pair.who), []byte{1}, known)
	b.State.Put(ctx, state.Key("login", address.who), []byte{1}, known)
	b.State.Delete(ctx, b.times(pair))
}

// Failed counts a wrong password. The same one again comes from a device with an old password: it counts little.
func (b *Bans) Failed(ctx context.Context, client netip.Addr, user, password string) {
	if b.exempt(client) {
		return
	}
	mac := hmac.New(sha256.New, b.secret[:])
	mac.Write([]byte(login(user) + "\x00" + password))
	mark := string(mac.Sum(nil)[:8])
	pair, address, network := b.scopes(client, user)
	_, fresh := b.State.AddTo(ctx, state.Key("wrong", pair.who), mark, b.Window)
	weight := 0.2
	if fresh {
		weight = 1
	}
	for _, s := range []scope{pair, address, network} {
		count := b.State.Tally(ctx, state.Key("guess", s.who), state.Tally{weight, 0}, b.Window)
		if count[0] >= float64(s.limit)-0.01 {
			b.keepOut(ctx, s)
		}
	}
}

// times is the key under which it is remembered how often something was banned.
func (b *Bans) times(s scope) string { return state.Key("banned", s.who) }

// keepOut bans, twice as long as the last time. Guesses are counted anew from then on.
func (b *Bans) keepOut(ctx context.Context, s scope) {
	if _, banned := b.ban(ctx, s); banned {
		return
	}
	times := int(b.State.Tally(ctx, b.times(s), state.Tally{1, 0}, 7*24*time.Hour)[0] + 0.5)
	long := b.First << min(max(times-1, 0), 30)
	if long > b.Longest || long <= 0 {
		long = b.Longest
	}
	now := b.Now()
	ban := Ban{Who: s.who, Why: "guessed passwords", Times: times, Since: now, Until: now.Add(long)}
	text, err := json.Marshal(ban)
	if err != nil { // strings and times always can
		return
	}
	b.State.Put(ctx, banKey(s.who), text, long)
	b.State.Delete(ctx, state.Key("guess", s.who))
	b.Log.Warn("banned for guessing passwords", "who", s.who, "until", ban.Until, "times", times)
}

func (b *Bans) ban(ctx context.Context, s scope) (Ban, bool) {
	text, ok := b.State.Get(ctx, banKey(s.who))
	var ban Ban
	if !ok || json.Unmarshal(text, &ban) != nil || !b.Now().Before(ban.Until) {
		return Ban{}, false
	}
	return ban, true
}

const banPrefix = "ban"

func banKey(who string) string { return state.Key(banPrefix, who) }

func (b *Bans) exempt(client netip.Addr) bool {
	client = client.Unmap()
	for _, n := range b.Never {
		if n.Contains(client) {
			return true
		}
	}
	return false
}

// List gives the bans in force, most at most.
func (b *Bans) List(ctx context.Context, limit int) []Ban {
	var all []Ban
	for _, e := range b.State.List(ctx, banPrefix+":", limit) {
		var ban Ban
		if json.Unmarshal(e.Value, &ban) == nil && b.Now().Before(ban.Until) {
			all = append(all, ban)
		}
	}
	return all
}

// ErrNotBanned is the error of Lift.
var ErrNotBanned = errors.New("not banned")

// Lift ends a ban and forgets what led to it.
func (b *Bans) Lift(ctx context.Context, who string) error {
	s := scope{who: strings.ToLower(strings.TrimSpace(who))}
	if _, ok := b.ban(ctx, s); !ok {
		return ErrNotBanned
	}
	for _, key := range []string{banKey(s.who), b.times(s), state.Key("guess", s.who), state.Key("wrong", s.who)} {
		b.State.Delete(ctx, key)
	}
	b.Log.Info("ban lifted", "who", s.who)
	return nil
}
