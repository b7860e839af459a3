package dmarc

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"postern/filters"
	"postern/internal/mail"
	"postern/internal/state"
)

// The kinds of keys of what is remembered: what a domain asked for, and the messages that wait.
const (
	kindPolicy = "dmarcpol"
	kindWait   = "dmarcwait"
)

// remembered is what an author domain asked for when DNS could last tell.
type remembered struct {
	at time.Time
	// policy is "" for a domain without a record.
	policy                filters.DMARCPolicy
	strictDKIM, strictSPF bool
	org                   string
}

func (r remembered) word() string {
	if r.policy == "" {
		return "none (no record)"
	}
	return string(r.policy)
}

func (r remembered) pack() []byte {
	return []byte(strings.Join([]string{strconv.FormatInt(r.at.Unix(), 10), string(r.policy), strconv.FormatBool(r.strictDKIM), strconv.FormatBool(r.strictSPF), r.org}, "|"))
}

func unpack(value []byte) *remembered {
	parts := strings.Split(string(value), "|")
	if len(parts) != 5 {
		return nil
	}
	at, err := strconv.ParseInt(parts[0], 10, 64)
	if err != nil {
		return nil
	}
	return &remembered{time.Unix(at, 0), filters.DMARCPolicy(parts[1]), parts[2] == "true", parts[3] == "true", parts[4]}
}

func (f filter) backgroundOf(ctx context.Context, domain string) background {
	b := background{own: f.env.Local, deferUnknown: f.settings.UnknownPolicy == "defer", deferNobody: f.settings.NoResolver == "defer"}
	if f.env.State != nil && f.settings.RememberPolicy > 0 {
		if value, ok := f.env.State.Get(ctx, state.Key(kindPolicy, domain)); ok {
			b.last = unpack(value)
		}
	}
	return b
}

// refreshed is how old what is remembered may be before it is written again: a write a day is enough.
const refreshed = 24 * time.Hour

// remember keeps what DNS just said of a domain.
func (f filter) remember(ctx context.Context, s *search, domain string, last *remembered) {
	if f.env.State == nil || f.settings.RememberPolicy <= 0 {
		return
	}
	now, ok := s.said(domain)
	if !ok {
		return
	}
	if last != nil {
		if now.org == "" { // not every message makes us look for it
			now.org = last.org
		}
		same := *last
		if same.at = now.at; same == now && f.env.Now().Sub(last.at) < refreshed {
			return
		}
	}
	now.at = f.env.Now()
	f.env.State.Put(ctx, state.Key(kindPolicy, domain), now.pack(), f.settings.RememberPolicy.Std())
}

// said is what DNS said of a domain in this search, not ok if something is missing.
func (s *search) said(domain string) (r remembered, ok bool) {
	found, err := s.policy(context.Background(), domain)
	if err != nil {
		return r, false
	}
	if found == nil || found.record.unusable {
		return r, true
	}
	exists := true
	if sub := found.domain != domain; sub && found.record.missing != "" {
		e, asked := s.gone[domain]
		if !asked || e.err != nil {
			return r, false
		}
		exists = e.exists
	}
	r.policy = found.record.applies(found.domain != domain, exists)
	r.strictDKIM, r.strictSPF, r.org = found.record.strictDKIM, found.record.strictSPF, s.orgs[domain]
	return r, true
}

// maxPatience is how long any sender tries: RFC 5321 section 4.5.4.1 wants four to five days.
const maxPatience = 5 * 24 * time.Hour

// undecided has a message come again that DNS leaves open, as often and as long as the settings say; then it is held.
func (f filter) undecided(ctx context.Context, tx *mail.Transaction, v filters.DMARC) filters.Finding {
	tries, since := f.count(ctx, tx, v.Domain)
	waited := f.env.Now().Sub(since)
	found := filters.Finding{Symbol: "DMARC_UNDECIDED", Value: v}
	if tries > f.settings.UndecidedTries || waited >= f.settings.UndecidedFor.Std() {
		found.Symbol = "DMARC_UNDECIDED_LIMIT"
	}
	found.Evidence = filters.Printable(fmt.Sprintf("%s; try %d, the first %s ago", evidence(v), tries, waited.Round(time.Second)))
	return found
}

// count counts the tries of a message, this one included, and says when the first was. A sender that tries again sends the
// same author, envelope and Message-ID, though perhaps from another host.
func (f filter) count(ctx context.Context, tx *mail.Transaction, domain string) (tries int, since time.Time) {
	now := f.env.Now()
	if f.env.State == nil {
		return 1, now
	}
	key := state.Key(kindWait, waiting(tx, domain)...)
	tries, since = 1, now
	if old, ok := f.env.State.Get(ctx, key); ok && len(old) == 12 {
		tries = int(binary.BigEndian.Uint32(old[8:])) + 1
		since = time.Unix(int64(binary.BigEndian.Uint64(old)), 0)
	}
	value := binary.BigEndian.AppendUint64(nil, uint64(since.Unix()))
	f.env.State.Put(ctx, key, binary.BigEndian.AppendUint32(value, uint32(tries)), maxPatience)
	return tries, since
}

func waiting(tx *mail.Transaction, domain string) []string {
	var to []string
	for _, r := range tx.Recipients {
		to = append(to, r.Address.Key())
	}
	slices.Sort(to)
	h := tx.Message.Header()
	which := h.Get("Message-ID")
	if which == "" {
		which = h.Get("Date") + "\n" + h.Get("Subject")
	}
	return []string{domain, tx.From.Key(), strings.Join(to, " "), which}
}
