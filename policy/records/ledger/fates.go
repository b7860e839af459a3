package ledger

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"postern/internal/mail"
	"postern/internal/mail/encodedword"
)

// Fate is an event in a message's life after its transaction: it is added to the record and never changed.
type Fate struct {
	// Message is the transaction's id. Item is what it stood as in the queue or in quarantine.
	Message string    `json:"message"`
	Item    string    `json:"item,omitempty"`
	Time    time.Time `json:"time"`
	// Recipient is the copy's recipient, "" for all of them.
	Recipient string `json:"recipient,omitempty"`
	Word      Word   `json:"word"`
	// Reply is the next hop's reply, By the actor, "" for the gateway itself. Note has details.
	Reply string `json:"reply,omitempty"`
	By    string `json:"by,omitempty"`
	Note  string `json:"note,omitempty"`
}

// Word is the name of a copy's fate.
type Word string

// The words. Deferred is no end: the copy waits, for another reason than before.
const (
	Delivered  Word = "delivered"
	Queued     Word = "queued"
	Held       Word = "held"
	Refused    Word = "refused"
	Abandoned  Word = "abandoned" // the client went away, or took the transaction back
	Expired    Word = "expired"   // not delivered in time, or not fetched out of quarantine
	Deferred   Word = "deferred"
	Bounced    Word = "bounced"  // a bounce was sent; the copy's own end precedes it
	Released   Word = "released" // out of quarantine, on its way
	Deleted    Word = "deleted"
	Requeued   Word = "requeued" // given up before, now tried again
	Redirected Word = "redirected"
	Recalled   Word = "recalled"
	Restored   Word = "restored" // the recall was taken back
	Learned    Word = "learned"  // a report of users to the gateway itself, which learned from it
	Masked     Word = "masked"   // a notice was shown to its reader instead
)

// Answered are the words that a record may have as soon as the sender has its reply.
func Answered() []Word {
	return []Word{Delivered, Queued, Held, Redirected, Learned, Refused, Deferred, Abandoned}
}

// end reports whether a word is the fate of a copy: a bounce is about the sender.
func (w Word) end() bool { return w != Bounced }

// MessageOf gives the transaction's id for an id in the queue or in quarantine. A copy for another address ("-c1") and
// a notice that a rule asks for ("-n1") have records of their own.
func MessageOf(item string) string {
	id, rest, found := strings.Cut(item, "-")
	if !found || rest == "" || rest[0] != 'c' && rest[0] != 'n' {
		return id
	}
	number, _, _ := strings.Cut(rest, "-")
	return id + "-" + number
}

// maxFates bounds how much is told of one message.
const maxFates = 5000

// Fate adds to a record, which need not be written yet. It never waits. The same again changes nothing.
func (l *Ledger) Fate(f Fate) {
	if f.Time.IsZero() {
		f.Time = l.now()
	}
	l.put(f.bounded())
}

func (f Fate) bounded() Fate {
	for _, s := range []*string{&f.Message, &f.Item, &f.Recipient, (*string)(&f.Word), &f.Reply, &f.By, &f.Note} {
		*s = cut(*s, maxText)
	}
	return f
}

func (f Fate) masked() Fate {
	by := f.By
	f = rewrite(f, maskText)
	f.By = maskUser(by)
	return f
}

// id tells one from the others of its message.
func (f Fate) id() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%s\x00%s\x00%d", f.Item, f.Recipient, f.Word, f.By, f.Time.UnixMilli()))
	return f.Message + "-" + base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:10])
}

func (f Fate) entry() (entry, error) {
	if !mail.ValidID(f.Message) {
		return entry{}, errNoID
	}
	id := f.id()
	if !mail.ValidID(id) {
		return entry{}, errNoID
	}
	text, err := encode(f)
	return entry{table: fates, n: position(f.Time, id), id: id, conn: f.Message, terms: f.terms(), record: text}, err
}

func (f Fate) terms() string {
	all := newTerms()
	all.exact(fieldFate, string(f.Word))
	address, domain := fold(f.Recipient)
	all.exact(fieldRecipient, address)
	all.exact(fieldRecipientDomain, domain)
	return all.String()
}

// Fates gives the fates of a message after its transaction, the oldest first. All put before are found.
func (l *Ledger) Fates(ctx context.Context, message string) ([]Fate, error) {
	l.settle(ctx)
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	found, err := all[Fate](ctx, l, "SELECT n, id, record FROM fate WHERE conn = ? ORDER BY n LIMIT ?", message, maxFates)
	inOrder(found)
	return found, err
}

// fatesAtOnce is of how many messages fates are asked for in one query.
const fatesAtOnce = 200

// Became tells transactions that Walk gave what became of them later.
func (l *Ledger) Became(ctx context.Context, list []Transaction) error { return l.addFates(ctx, list) }

// addFates adds the later fates to each transaction.
func (l *Ledger) addFates(ctx context.Context, list []Transaction) error {
	for first := 0; first < len(list); first += fatesAtOnce {
		some := list[first:min(len(list), first+fatesAtOnce)]
		at := make(map[string]int, len(some))
		ids := make([]any, len(some))
		for i := range some {
			ids[i], at[some[i].ID] = some[i].ID, i
		}
		text := "SELECT n, id, record FROM fate WHERE conn IN (?" + strings.Repeat(",?", len(ids)-1) + ") ORDER BY n"
		found, err := all[Fate](ctx, l, text, ids...)
		if err != nil {
			return err
		}
		for _, f := range found {
			i, ok := at[f.Message]
			if ok && len(some[i].Fates) < maxFates {
				some[i].Fates = append(some[i].Fates, f)
			}
		}
		for i := range some {
			inOrder(some[i].Fates)
			some[i].become()
		}
	}
	return nil
}

// inOrder sorts by time; of the same millisecond what is on its way comes before what has arrived.
func inOrder(list []Fate) {
	slices.SortStableFunc(list, func(a, b Fate) int {
		return cmp.Or(cmp.Compare(a.Time.UnixMilli(), b.Time.UnixMilli()), cmp.Compare(a.Word.step(), b.Word.step()))
	})
}

func (w Word) step() int {
	switch w {
	case Released, Requeued:
		return 0
	case Deferred:
		return 1
	default: // an end
		return 2
	}
}

// become gives each recipient the last fate of its copy.
func (t *Transaction) become() {
	for i := range t.Recipients {
		r := &t.Recipients[i]
		address, _ := fold(r.Address)
		r.Became = ""
		for _, f := range t.Fates {
			whose, _ := fold(f.Recipient)
			if f.Word.end() && (f.Recipient == "" || whose == address) {
				r.Became = f.Word
			}
		}
	}
}

// Last is the copy's latest known fate.
func (r Recipient) Last() Word { return cmp.Or(r.Became, r.Fate) }

// only gives the fates of some recipients: those of others' copies are not disclosed.
func only(list []Fate, to []Recipient) []Fate {
	mine := map[string]bool{"": true}
	for _, r := range to {
		address, _ := fold(r.Address)
		mine[address] = true
	}
	var kept []Fate
	for _, f := range list {
		if address, _ := fold(f.Recipient); mine[address] {
			kept = append(kept, f)
		}
	}
	return kept
}

// For gives the transaction as these recipients of it may see it.
func (t Transaction) For(to []Recipient) Transaction {
	t.Recipients, t.Fates = to, only(t.Fates, to)
	return t
}

// explainFates gives what is known of a message whose transaction is not: our own notices, or one that is not written yet.
func (l *Ledger) explainFates(ctx context.Context, id string, err error) (*Record, error) {
	if !errors.Is(err, ErrUnknown) {
		return nil, err
	}
	found, failed := all[Fate](ctx, l, "SELECT n, id, record FROM fate WHERE conn = ? ORDER BY n LIMIT ?", id, maxFates)
	if failed != nil || len(found) == 0 {
		return nil, errors.Join(err, failed)
	}
	t := Transaction{ID: id, Time: found[0].Time, Fates: found, Outbound: true, Reply: "a message of the gateway's own"}
	return &Record{Transactions: []Transaction{t}}, nil
}

// sentence describes a fate in one line.
func (f Fate) sentence() string {
	text := clock(f.Time) + ": " + string(f.Word)
	if f.Recipient != "" {
		text += ", <" + f.Recipient + ">"
	}
	if f.By != "" {
		text += ", by " + f.By
	}
	if f.Item != "" && f.Item != f.Message {
		text += " (" + f.Item + ")"
	}
	for _, more := range []string{f.Note, f.Reply} {
		if more != "" {
			text += ": " + more
		}
	}
	return text
}

// PlainSubject is the subject as a mail program shows it.
func (t *Transaction) PlainSubject() string { return encodedword.Decode(t.Subject) }
