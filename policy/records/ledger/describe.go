package ledger

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"postern/internal/mail/encodedword"
	"postern/policy"
)

// Voice is the audience of a record's text.
type Voice string

// The voices. An admin sees everything; a user the reasons about their own message; a sender no more than the reply, as
// it may be a spammer that wants to know what to change.
const (
	Admin  Voice = "admin"
	User   Voice = "user"
	Sender Voice = "sender"
)

// Describe tells a record in plain words. All text from outside is printed escaped.
func Describe(w io.Writer, r *Record, voice Voice) error {
	d := &describer{}
	if voice == Admin {
		d.connection(r.Connection)
	}
	for i := range r.Transactions {
		if i > 0 || voice == Admin && r.Connection != nil {
			d.line("")
		}
		switch t := &r.Transactions[i]; voice {
		case Admin:
			d.transaction(t)
		case User:
			d.forUser(t)
		default:
			d.forSender(t)
		}
	}
	if len(r.Transactions) == 0 {
		d.noTransaction(r.Connection, voice)
	}
	_, err := d.out.WriteTo(w)
	return err
}

type describer struct{ out bytes.Buffer }

// line writes one line. Strings among the values come from outside and are made printable.
func (d *describer) line(format string, values ...any) {
	for i, v := range values {
		if s, ok := v.(string); ok {
			values[i] = Printable(s)
		}
	}
	fmt.Fprintf(&d.out, format+"\n", values...)
}

// field writes a line with its name before it, nothing if there is nothing to say.
func (d *describer) field(name, value string) {
	if value != "" {
		d.line("  %-12s %s", name, value)
	}
}

func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

func (d *describer) connection(c *Connection) {
	if c == nil {
		return
	}
	d.line("Connection %s at door %s, %s", c.ID, c.Door, clock(c.Started))
	client := addrText(c.Client)
	if c.ClientName != "" {
		client += " (" + c.ClientName + ")"
	}
	if c.Peer.IsValid() && c.Peer.Addr().Unmap() != c.Client.Unmap() {
		client += ", by way of " + c.Peer.Addr().Unmap().String()
	}
	d.field("client", client)
	d.field("HELO", c.Helo)
	d.field("login", c.User)
	if c.TLSVersion == "" {
		d.field("TLS", "none")
	} else {
		d.field("TLS", strings.TrimSpace(c.TLSVersion+" "+c.TLSCipher))
	}
	d.field("ended", fmt.Sprintf("%s, after %s", c.End, c.Ended.Sub(c.Started).Round(time.Millisecond)))
	d.field("counts", fmt.Sprintf("%d transactions, %d recipients, %d of them refused, %d errors, %d octets",
		c.Counts.Transactions, c.Counts.Recipients, c.Counts.Refused, c.Counts.Errors, c.Counts.Octets))
	d.reasons(c.Findings)
}

func (d *describer) transaction(t *Transaction) {
	if t.Kind == Fetch {
		d.line("Message %s, fetched by %s at door %s, %s", t.ID, cmp.Or(t.User, "an unknown user"), t.Door, clock(t.Time))
	} else {
		d.line("Message %s, %sbound, %s", t.ID, direction(t.Outbound), clock(t.Time))
	}
	d.field("from", "<"+t.From+">")
	d.field("author", encodedword.Decode(t.HeaderFrom))
	d.field("subject", t.PlainSubject())
	d.field("message-id", t.MessageID)
	if t.Size > 0 {
		d.field("size", fmt.Sprintf("%d octets", t.Size))
	}
	d.field("sha256", t.SHA256)
	for _, r := range t.Recipients {
		what := fmt.Sprintf("<%s>: %s, score %s", r.Address, r.Disposition, number(r.Score))
		if r.Required != (policy.Thresholds{}) {
			what += fmt.Sprintf(" (tag %s, quarantine %s, reject %s)", number(r.Required.Tag), number(r.Required.Quarantine), number(r.Required.Reject))
		}
		if !r.Route.IsZero() {
			what += ", route " + r.Route.String()
		}
		if last := r.Last(); last != "" {
			what += "; " + string(last)
		}
		d.field("to", what)
		if r.Decisive != t.Decisive {
			d.field("", r.Decisive)
		}
		if r.Reply != t.Reply {
			d.field("", r.Reply)
		}
	}
	d.field("why", t.Decisive)
	d.field("reply", t.Reply)
	d.field("held as", t.HeldID)
	d.field("queued as", strings.Join(t.QueueIDs, ", "))
	for _, done := range t.Done {
		d.field("done", done)
	}
	for _, f := range t.Fates {
		d.field("later", f.sentence())
	}
	d.field("policy", t.PolicyVersion)
	d.reasons(t.Findings)
	d.took(t.Took)
}

// reasons writes the heaviest first: that is what one looks for.
func (d *describer) reasons(reasons []policy.Reason) {
	for _, r := range heaviestFirst(reasons) {
		d.line("  %7s  %s  %s", number(r.Score), r.Symbol, r.Help)
		for _, e := range r.Evidence {
			d.line("           %s", e)
		}
	}
}

func heaviestFirst(reasons []policy.Reason) []policy.Reason {
	sorted := slices.Clone(reasons)
	slices.SortStableFunc(sorted, func(a, b policy.Reason) int {
		return cmp.Compare(max(b.Score, -b.Score), max(a.Score, -a.Score))
	})
	return sorted
}

func (d *describer) took(took map[string]float64) {
	if len(took) == 0 {
		return
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(took)) {
		parts = append(parts, fmt.Sprintf("%s %.1f", name, took[name]))
	}
	d.field("took (ms)", strings.Join(parts, ", "))
}

// forUser names the message as a mail program shows it, and the reasons without their numbers.
func (d *describer) forUser(t *Transaction) {
	author := cmp.Or(encodedword.Decode(t.HeaderFrom), t.From, "an automatic sender")
	d.line("The message %q from %s, of %s:", cmp.Or(t.PlainSubject(), "without a subject"), author, clock(t.Time))
	strictest := t.strictest()
	d.line("It was %s.", fate(strictest))
	var why []string
	for _, r := range heaviestFirst(t.Findings) {
		if r.Score > 0 && r.Help != "" && len(why) < 5 {
			why = append(why, r.Help)
		}
	}
	if strictest > policy.Accept && len(why) > 0 {
		d.line("What spoke against it:")
		for _, w := range why {
			d.line("  - %s", w)
		}
	}
	if d.later(t) {
		return
	}
	switch strictest {
	case policy.Quarantine:
		d.line("If you want it, ask your administrator to release it, with the id %s.", t.ID)
	case policy.Tag, policy.Reject:
		d.line("If this was wrong, tell your administrator the id %s.", t.ID)
	case policy.Defer:
		d.line("It comes later by itself: the sender's server tries again.")
	case policy.Accept: // there is nothing to do
	}
}

// later tells a user the later fate of the message. It reports whether that is final.
func (d *describer) later(t *Transaction) (ended bool) {
	for _, f := range t.Fates {
		if !f.Word.end() || f.Word == Requeued || f.Word == Deferred {
			continue
		}
		d.line("Later, %s: %s.", clock(f.Time), f.Word)
		ended = true
	}
	return ended
}

func (d *describer) forSender(t *Transaction) {
	d.line("Your message of %s with the id %s:", clock(t.Time), t.ID)
	switch strictest := t.strictest(); strictest {
	case policy.Reject, policy.Defer:
		d.line("It was %s. Our reply was: %s", fate(strictest), t.Reply)
	default:
		// held and tagged mail was accepted: a spammer learns nothing more
		d.line("It was taken.")
	}
}

func (d *describer) noTransaction(c *Connection, voice Voice) {
	switch {
	case voice == Admin && c != nil:
		d.line("  It brought no message.")
	case c != nil:
		d.line("The connection %s of %s brought no message.", c.ID, clock(c.Started))
	default:
		d.line("Nothing is recorded.")
	}
}

func (t *Transaction) strictest() policy.Disposition {
	strictest := policy.Accept
	for _, r := range t.Recipients {
		strictest = max(strictest, r.Disposition)
	}
	return strictest
}

func fate(d policy.Disposition) string {
	switch d {
	case policy.Tag:
		return "delivered and marked as spam"
	case policy.Quarantine:
		return "held in quarantine"
	case policy.Defer:
		return "not taken for now"
	case policy.Reject:
		return "refused"
	default: // accept
		return "delivered"
	}
}

func number(f float64) string { return fmt.Sprintf("%g", f) }
