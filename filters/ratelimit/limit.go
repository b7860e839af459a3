package ratelimit

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"postern/filters"
	"postern/internal/mail"
	"postern/internal/state"
)

// count is what a limit counts.
type count int

const (
	countConnections count = iota
	countMessages
	countRecipients
	countRefused
	countRejected // a share of recipients
	countJunk     // a share of messages
)

// limit is a Limit that was read.
type limit struct {
	name, id    string
	keys        []string
	byRecipient bool
	count       count
	stage       mail.Stage // where it is asked
	rate        state.Rate
	share       float64
	least       float64
	half        time.Duration
	symbol      string
	outbound    bool
}

func (l *limit) learns() bool { return l.count >= countRefused }

// key is that of the state, for a rate, a ratio or a mark. Limits that are worded the same share what they count, before
// and after a reload.
func (l *limit) key(parts []string) string {
	return state.Key("rate", append([]string{l.id}, parts...)...)
}

func (l Limit) read(env filters.Env) (limit, error) {
	out := limit{keys: strings.Split(l.Key, "+"), outbound: l.Outbound, half: l.Per.Std(), share: l.Over, least: l.Min}
	var err error
	if l.Ratio != "" {
		err = l.readRatio(&out)
	} else {
		err = l.readRate(&out)
	}
	if err != nil {
		return limit{}, err
	}
	switch l.Then {
	case "", "defer":
		out.symbol = "RATELIMIT"
	case "tarpit":
		out.symbol = "RATELIMIT_TARPIT"
	case "refuse":
		out.symbol = "RATELIMIT_REFUSE"
	default:
		return limit{}, fmt.Errorf("then = %q: set it to \"defer\", \"tarpit\" or \"refuse\"", l.Then)
	}
	if err := l.readKeys(&out, env); err != nil {
		return limit{}, err
	}
	sum := sha256.Sum256([]byte(out.name + " " + strconv.FormatBool(l.Outbound) + " " + strconv.Itoa(l.Burst)))
	out.id = hex.EncodeToString(sum[:6])
	return out, nil
}

func (l Limit) readRate(out *limit) error {
	rate, err := state.ParseRate(l.Rate)
	if err != nil {
		return err
	}
	if l.Over != 0 || l.Min != 0 || l.Per != 0 {
		return fmt.Errorf("over, min and per belong to a ratio: set ratio = \"rejected\" or \"junk\"")
	}
	if l.Burst < 0 {
		return fmt.Errorf("burst = %d: set it to 0 or more", l.Burst)
	}
	if l.Burst > 0 {
		rate.Burst = l.Burst
	}
	out.name, out.rate = l.Key+" "+l.Count+" "+l.Rate, rate
	switch l.Count {
	case "connections":
		out.count, out.stage = countConnections, mail.StageConnect
	case "messages":
		out.count, out.stage = countMessages, mail.StageMail
	case "recipients":
		out.count, out.stage = countRecipients, mail.StageRcpt
	case "refused":
		out.count = countRefused
	default:
		return fmt.Errorf("count = %q: set it to \"connections\", \"messages\", \"recipients\" or \"refused\"", l.Count)
	}
	return nil
}

func (l Limit) readRatio(out *limit) error {
	switch l.Ratio {
	case "rejected":
		out.count = countRejected
	case "junk":
		out.count = countJunk
	default:
		return fmt.Errorf("ratio = %q: set it to \"rejected\" or \"junk\"", l.Ratio)
	}
	if l.Count != "" || l.Rate != "" || l.Burst != 0 {
		return fmt.Errorf("a ratio has no count, rate and burst: set over, min and per")
	}
	if !(l.Over > 0 && l.Over < 1) {
		return fmt.Errorf("over = %g: set it to a share between 0 and 1, as in 0.8", l.Over)
	}
	if !(l.Min >= 1) {
		return fmt.Errorf("min = %g: set it to 1 or more; 20 keeps a few mistakes from being a share", l.Min)
	}
	if out.half == 0 {
		out.half = time.Hour
	}
	out.name = l.Key + " " + l.Ratio + " over " + strconv.FormatFloat(l.Over, 'g', -1, 64)
	return nil
}

// readKeys finds out where the limit can be asked.
func (l Limit) readKeys(out *limit, env filters.Env) error {
	latest := mail.StageConnect
	for _, k := range out.keys {
		at, ok := knownAt(k)
		if !ok {
			return fmt.Errorf("key = %q: set it to client, network, asn, helo, sender, sender_domain, recipient, recipient_domain or user, or several with a + between", l.Key)
		}
		if k == "asn" && env.ASN == nil {
			return fmt.Errorf("key = %q: there is no database of networks, set asn in [geo]", l.Key)
		}
		latest = max(latest, at)
		out.byRecipient = out.byRecipient || at == mail.StageRcpt
	}
	switch {
	case out.stage == 0:
		out.stage = latest
		if out.learns() && out.outbound { // there is no login yet at connect
			out.stage = max(latest, mail.StageMail)
		}
	case out.stage < latest:
		return fmt.Errorf("key = %q is not known yet when %s are counted", l.Key, l.Count)
	}
	return nil
}

// knownAt says from which stage on a key has a value.
func knownAt(key string) (mail.Stage, bool) {
	switch key {
	case "client", "network", "asn":
		return mail.StageConnect, true
	case "helo":
		return mail.StageHelo, true
	case "sender", "sender_domain", "user":
		return mail.StageMail, true
	case "recipient", "recipient_domain":
		return mail.StageRcpt, true
	}
	return 0, false
}

// parts are the values of a limit's keys; not ok if one of them has none.
func (f filter) parts(l *limit, tx *mail.Transaction, to mail.Address) ([]string, bool) {
	parts := make([]string, len(l.keys))
	for i, k := range l.keys {
		if parts[i] = f.value(k, tx, to); parts[i] == "" {
			return nil, false
		}
	}
	return parts, true
}

func (f filter) value(key string, tx *mail.Transaction, to mail.Address) string {
	s := tx.Session
	switch key {
	case "client":
		return filters.ClientKey(s.Client)
	case "network":
		a := s.Client.Unmap().WithZone("")
		if a.Is6() { // what one customer of a provider commonly has
			p, _ := a.Prefix(56)
			return p.String()
		}
		return filters.NetworkKey(a)
	case "asn":
		if number, _ := f.env.ASN(s.Client); number != 0 {
			return "AS" + strconv.FormatUint(uint64(number), 10)
		}
	case "helo":
		return strings.ToLower(s.Helo)
	case "sender":
		return tx.From.Key()
	case "sender_domain":
		return tx.From.ASCIIDomain()
	case "recipient":
		return to.Key()
	case "recipient_domain":
		return to.ASCIIDomain()
	case "user":
		return strings.ToLower(s.User)
	}
	return ""
}

// words are the parts as shown in evidence.
func words(parts []string) string {
	short := make([]string, len(parts))
	for i, p := range parts {
		short[i] = p[:min(len(p), 100)]
	}
	return strings.Join(short, " ")
}
