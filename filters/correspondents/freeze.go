package correspondents

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"postern/filters"
	"postern/internal/mail"
	"postern/internal/state"
)

// usualHalf is the half-life of what a user usually does. usualHours is how many hours it takes to be usual.
const (
	usualHalf  = 14 * 24 * time.Hour
	usualHours = 5
)

// account is the sending account: the login, or, where a server of ours sends for its users, the sender's address.
func (f *filter) account(tx *mail.Transaction) string {
	switch {
	case tx.Session.User != "":
		return strings.ToLower(tx.Session.User)
	case !tx.From.IsNull() && f.env.Local(tx.From.ASCIIDomain()):
		return tx.From.Key()
	}
	return ""
}

// frozen counts a stranger among the recipients, and reports a user who wrote to too many.
func (f *filter) frozen(ctx context.Context, tx *mail.Transaction) []filters.Finding {
	account := f.account(tx)
	// a login is not exempt for what it says in MAIL FROM: a thief would say it
	if f.settings.Strangers == 0 || account == "" || f.exempt[account] {
		return nil
	}
	key := state.Key(kindFrozen, account)
	if found := f.isFrozen(ctx, key); found != nil {
		return found
	}
	to := filters.LastRecipient(tx)
	if !f.isStranger(ctx, to) {
		return nil
	}
	n, usual := f.count(ctx, account, to)
	if n <= f.limit(ctx) || n <= f.settings.Usual*usual {
		return f.isFrozen(ctx, key) // another one of the same moment may have frozen the user, and forgotten the count
	}
	why := filters.Printable(fmt.Sprintf("%s: %.0f new recipients within an hour, usually %.0f", account[:min(len(account), 80)], n, usual))
	if _, first := f.env.State.PutNew(ctx, key, packFrozen(f.env.Now(), account, why), f.settings.Freeze.Std()); first {
		f.forgetHour(ctx, account) // what a thief does is not what the user usually does
		f.env.Log.Warn("user frozen: his password may be stolen", "id", tx.ID, "why", why, "until", f.env.Now().Add(f.settings.Freeze.Std()))
		if f.env.Shelved != nil {
			f.env.Shelved("correspondents")
		}
	}
	return []filters.Finding{{Symbol: "USER_FROZEN", Evidence: why}}
}

// isFrozen reports a user who is frozen.
func (f *filter) isFrozen(ctx context.Context, key string) []filters.Finding {
	value, ok := f.env.State.Get(ctx, key)
	if !ok {
		return nil
	}
	_, _, why := unpackFrozen(value)

	return []filters.Finding{{Symbol: "USER_FROZEN", Evidence: why}}
}

// whileLearning is how many times more strangers are let pass at first.
const (
	whileLearning = 10
	tenYears      = 10 * 365 * 24 * time.Hour
)

// limit is to how many strangers a user may write within an hour, now.
func (f *filter) limit(ctx context.Context) float64 {
	limit, learning := float64(f.settings.Strangers), f.settings.Learning.Std()
	if learning <= 0 {
		return limit
	}

	now := f.env.Now()
	key := state.Key(kindBegan, "")
	value, _ := f.env.State.PutNew(ctx, key, binary.BigEndian.AppendUint64(nil, uint64(now.Unix())), tenYears)
	if len(value) == 8 && now.Sub(time.Unix(int64(binary.BigEndian.Uint64(value)), 0)) >= learning {
		return limit
	}

	return limit * whileLearning
}

// isStranger reports whether an address and our users have never written to each other.
func (f *filter) isStranger(ctx context.Context, to mail.Address) bool {
	if to.IsNull() || f.env.Local(to.ASCIIDomain()) || filters.CorrespondsDomain(ctx, f.env.State, "*", to.Key()) {
		return false
	}
	_, wrote := f.env.State.Get(ctx, state.Key(kindWrote, to.Key()))
	return !wrote
}

// hour is the number of an hour, and how much of it has passed.
func hour(now time.Time) (n int64, passed float64) {
	const seconds = 3600
	return now.Unix() / seconds, float64(now.Unix()%seconds) / seconds
}

func strangersKey(account string, hour int64) string {
	return state.Key(kindStrangers, account, fmt.Sprint(hour))
}

// count gives how many strangers an account wrote to within the last hour, and how many it usually does in an hour in
// which it writes to any: the mean of the hours before.
func (f *filter) count(ctx context.Context, account string, to mail.Address) (n, usual float64) {
	now, passed := hour(f.env.Now())
	size, fresh := f.env.State.AddTo(ctx, strangersKey(account, now), to.Key(), 3*time.Hour)
	before := f.env.State.Size(ctx, strangersKey(account, now-1))
	key := state.Key(kindStrangers, account)
	var add state.Tally
	if fresh {
		if last, strangers := f.lastHour(ctx, key); last != now && strangers > 0 {
			add = state.Tally{float64(strangers), 1}
		}
		f.setLastHour(ctx, key, now, size)
	}
	t := f.env.State.Tally(ctx, key, add, usualHalf)
	return float64(size) + float64(before)*(1-passed), t[0] / max(t[1], usualHours)
}

// lastHour is the last hour in which an account wrote to strangers, and to how many.
func (f *filter) lastHour(ctx context.Context, key string) (hour int64, strangers uint64) {
	value, _ := f.env.State.Get(ctx, key)
	if len(value) != 16 {
		return 0, 0
	}
	return int64(binary.BigEndian.Uint64(value)), binary.BigEndian.Uint64(value[8:])
}

func (f *filter) setLastHour(ctx context.Context, key string, hour int64, strangers int) {
	value := binary.BigEndian.AppendUint64(nil, uint64(hour))
	f.env.State.Put(ctx, key, binary.BigEndian.AppendUint64(value, uint64(strangers)), usualHalf)
}

// forgetHour forgets an account's recipients of the last hour.
func (f *filter) forgetHour(ctx context.Context, account string) {
	now, _ := hour(f.env.Now())
	f.env.State.Delete(ctx, strangersKey(account, now))
	f.env.State.Delete(ctx, strangersKey(account, now-1))
	f.setLastHour(ctx, state.Key(kindStrangers, account), now, 0)
}

// packFrozen is the stored form of a frozen user: time, account, reason.
func packFrozen(since time.Time, account, why string) []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(since.Unix()))
	return append(b, account[:min(len(account), 1000)]+"\x00"+why...)
}

func unpackFrozen(value []byte) (since time.Time, account, why string) {
	if len(value) < 8 {
		return time.Time{}, "", ""
	}
	account, why, _ = strings.Cut(string(value[8:]), "\x00")
	return time.Unix(int64(binary.BigEndian.Uint64(value)), 0).UTC(), account, why
}

// Verbs implements filters.AdminTable.
func (f *filter) Verbs() []string { return []string{"thaw", "know"} }

// Rows implements filters.AdminTable: the frozen users.
func (f *filter) Rows(ctx context.Context, limit int) ([]filters.Row, error) {
	var rows []filters.Row
	for _, e := range f.env.State.List(ctx, kindFrozen+":", limit) {
		since, _, why := unpackFrozen(e.Value)
		rows = append(rows, filters.Row{Key: e.Key, Text: why, Since: since, Until: e.Expires})
	}
	return rows, nil
}

// Apply implements filters.AdminTable: a thawed user begins a new hour. "know" takes "OURS THEIRS": one of our users
// has written to this address before.
func (f *filter) Apply(ctx context.Context, verb, key string) error {
	switch verb {
	case "thaw":
	case "know":
		return f.know(ctx, key)
	default:
		return filters.ErrUnknownVerb
	}
	value, ok := f.env.State.Get(ctx, key)
	if !ok || !strings.HasPrefix(key, kindFrozen+":") {
		return filters.ErrNoRow
	}
	_, account, _ := unpackFrozen(value)
	f.env.State.Delete(ctx, key)
	f.forgetHour(ctx, account)
	return nil
}

// know remembers a pair from another source: a log of the time before this gateway.
func (f *filter) know(ctx context.Context, pair string) error {
	ours, theirs, _ := strings.Cut(pair, " ")
	a, err := mail.ParseAddress(ours)
	b, err2 := mail.ParseAddress(strings.TrimSpace(theirs))
	if err != nil || err2 != nil || !f.env.Local(a.ASCIIDomain()) || f.env.Local(b.ASCIIDomain()) {
		return filters.ErrNoRow
	}
	filters.SetCorrespondent(ctx, f.env.State, a, b, f.settings.Keep.Std())

	return nil
}
