package greylist

import (
	"context"
	"encoding/binary"
	"strings"
	"time"

	"postern/filters"
	"postern/internal/mail"
	"postern/internal/state"
)

// Two kinds of keys with the same parts: waiting senders, and those that have passed. A flood of new senders is bounded
// within the first kind and pushes out none of the second.
const (
	kindWaiting = "grey"
	kindPassed  = "greypass"
)

// The first part of a key: what it is about.
const (
	aboutNetwork  = "t" // network, sender, recipient: the triplet
	aboutHelo     = "h" // registered domain of HELO, sender, recipient
	aboutAnywhere = "p" // sender, recipient
	aboutDomain   = "d" // a proven domain
)

// waitKey is what a key has behind its kind: the same for both kinds.
type waitKey string

func makeKey(parts ...string) waitKey {
	return waitKey(strings.TrimPrefix(state.Key(kindWaiting, parts...), kindWaiting))
}

func (k waitKey) waiting() string { return kindWaiting + string(k) }
func (k waitKey) passed() string  { return kindPassed + string(k) }

// keys are those of one recipient. anywhere and helo are "" for a bounce: its sender is null, so that only the network
// distinguishes them; helo is "" too if the name has no domain.
type keys struct {
	network, anywhere waitKey

	sender, recipient, from string

	name    string // in HELO
	helo    waitKey
	helping bool // helo was made: most senders are known without
}

func (k *keys) text() string { return k.sender + " -> " + k.recipient + " from " + k.from }

func (f *filter) keysOf(tx *mail.Transaction, to mail.Address) *keys {
	network, sender, recipient := filters.NetworkKey(tx.Session.Client), steady(tx.From), to.Key()
	k := &keys{network: makeKey(aboutNetwork, network, sender, recipient), sender: sender, recipient: recipient, from: network}
	if !tx.From.IsNull() {
		k.name = tx.Session.Helo
		k.anywhere = makeKey(aboutAnywhere, sender, recipient)
	}
	return k
}

// byHelo is the key by the domain in HELO. That name authenticates nothing and need not: it lets a retry with the same
// name, sender and recipient pass. So pools without SPF and DKIM get through.
func (k *keys) byHelo() waitKey {
	name := strings.TrimSuffix(strings.ToLower(k.name), ".")
	if !k.helping && strings.Contains(name, ".") && mail.ValidDomain(name) {
		k.helo = makeKey(aboutHelo, filters.RegisteredDomain(name), k.sender, k.recipient)
	}
	k.helping = true
	return k.helo
}

func domainKey(domain string) waitKey { return makeKey(aboutDomain, registered(domain)) }

// known reports whether a sender has passed, by network, by HELO, or by the admin's command.
func (f *filter) known(ctx context.Context, k *keys) bool {
	return f.passed(ctx, k.network) || f.passed(ctx, k.byHelo()) || f.passed(ctx, k.anywhere)
}

// renewAfter is how old a pass is before it is renewed: a write a day is enough.
const renewAfter = 24 * time.Hour

func (f *filter) passed(ctx context.Context, k waitKey) bool {
	if k == "" {
		return false
	}
	value, ok := f.env.State.Get(ctx, k.passed())
	if ok && len(value) == 8 && f.env.Now().Sub(since(value)) >= renewAfter {
		f.let(ctx, k)
	}
	return ok
}

// let remembers that a sender has passed.
func (f *filter) let(ctx context.Context, k waitKey) {
	if k != "" {
		f.env.State.Put(ctx, k.passed(), f.stamp(), f.settings.Pass.Std())
	}
}

func (f *filter) stamp() []byte {
	return binary.BigEndian.AppendUint64(nil, uint64(f.env.Now().Unix()))
}

// since is when an entry was made.
func since(value []byte) time.Time {
	if len(value) < 8 {
		return time.Time{}
	}
	return time.Unix(int64(binary.BigEndian.Uint64(value)), 0).UTC()
}

// begin makes an entry for a waiting sender, unless there is one, and gives the remaining wait.
func (f *filter) begin(ctx context.Context, k waitKey, more string) time.Duration {
	old, first := f.env.State.PutNew(ctx, k.waiting(), append(f.stamp(), more...), f.settings.Retry.Std())
	if first || len(old) < 8 {
		return f.settings.Delay.Std()
	}
	return f.settings.Delay.Std() - f.env.Now().Sub(since(old))
}

// wait begins to wait, or gives how long is left: 0 or less if the time is over, which passes.
func (f *filter) wait(ctx context.Context, k *keys) time.Duration {
	left := f.begin(ctx, k.network, entry{k.anywhere, k.byHelo(), k.text()}.pack())
	if helo := k.byHelo(); helo != "" {
		left = min(left, f.begin(ctx, helo, ""))
	}
	if left <= 0 {
		f.let(ctx, k.network)
		f.let(ctx, k.byHelo())
		f.env.State.Delete(ctx, k.network.waiting())
	}
	return left
}

// waitAnywhere does the same for a sender from any address. It lets none pass: the message must authenticate the
// sender.
func (f *filter) waitAnywhere(ctx context.Context, k *keys) time.Duration {
	if k.anywhere == "" {
		return f.settings.Delay.Std()
	}
	return f.begin(ctx, k.anywhere, "")
}

// waited reports whether a sender has waited long enough.
func (f *filter) waited(ctx context.Context, k waitKey) bool {
	value, ok := f.env.State.Get(ctx, k.waiting())
	return ok && f.env.Now().Sub(since(value)) >= f.settings.Delay.Std()
}

// knownDomain says whether one of the proven domains has passed, or is one that the recipients' domain has written to.
func (f *filter) knownDomain(ctx context.Context, tx *mail.Transaction, domains []string) bool {
	ours := ""
	if len(tx.Recipients) > 0 {
		ours = tx.Recipients[0].Address.ASCIIDomain()
	}
	for _, d := range domains {
		if f.passed(ctx, domainKey(d)) || filters.CorrespondsDomain(ctx, f.env.State, ours, d) {
			return true
		}
	}
	return false
}

// waitDomain begins to wait for all proven domains, and gives how long the one that waited longest has left.
func (f *filter) waitDomain(ctx context.Context, domains []string, k *keys) time.Duration {
	left := f.settings.Delay.Std()
	for _, d := range domains {
		left = min(left, f.begin(ctx, domainKey(d), entry{"", "", d + " (proven), last " + k.text()}.pack()))
	}
	return left
}

func (f *filter) pass(ctx context.Context, domains []string) {
	for _, d := range domains {
		f.let(ctx, domainKey(d))
		f.env.State.Delete(ctx, domainKey(d).waiting())
	}
}

// entry is the row of a waiting sender, for the admin to see and correct.
type entry struct {
	anywhere, helo waitKey
	text           string
}

const maxText = 160

func (e entry) pack() string {
	return string(e.anywhere) + "\x00" + string(e.helo) + "\x00" + e.text[:min(len(e.text), maxText)]
}

func unpack(value []byte) entry {
	parts := strings.SplitN(string(value[min(len(value), 8):]), "\x00", 3)
	if len(parts) != 3 {
		return entry{}
	}
	return entry{waitKey(parts[0]), waitKey(parts[1]), parts[2]}
}
