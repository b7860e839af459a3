package app

import (
	"context"
	"slices"
	"strings"
	"time"

	"postern/policy"
	"postern/policy/records/ledger"
	"postern/policy/records/recall"
)

// lookBack bounds the search in the ledger for the record that a later event belongs to.
const lookBack = 5 * time.Second

// recallTold writes recalls and their withdrawal into the records of the messages.
func recallTold(l *ledger.Ledger, tell func(ledger.Fate)) func(recall.Entry, bool) {
	return func(e recall.Entry, undone bool) {
		ctx, cancel := context.WithTimeout(context.Background(), lookBack)
		defer cancel()
		word := ledger.Recalled
		if undone {
			word = ledger.Restored
		}
		for _, t := range origins(ctx, l, e.ID, e.SHA256, e.MessageID) {
			if last := t.Fates; len(last) > 0 && last[len(last)-1].Word == word {
				continue // by its hash and by its Message-ID: it is one recall
			}
			tell(ledger.Fate{Message: t.ID, Time: e.Time, Word: word, By: e.By, Note: e.Why})
			_ = l.Flush(ctx) // so that the next one sees it; otherwise it is recorded twice
		}
	}
}

// origins finds the records of a message as it came in: by id, else by hash, else by Message-ID.
func origins(ctx context.Context, l *ledger.Ledger, id, sha256, messageID string) []ledger.Transaction {
	const limit = 20
	if id != "" {
		if r, err := l.Explain(ctx, id); err == nil {
			return r.Transactions
		}
	}
	kind := ledger.SMTP
	for _, q := range []ledger.Query{{SHA256: sha256, Kind: &kind, Limit: limit}, {MessageID: messageID, Kind: &kind, Limit: limit}} {
		if q.SHA256 == "" && q.MessageID == "" {
			continue
		}
		if found, err := l.Search(ctx, q); err == nil && len(found) > 0 {
			return found
		}
	}
	return nil
}

// masking gets the records of the POP3 and IMAP doors, and notes in a message's own record that a reader was shown a
// notice instead. It works in the background: a reader never waits for it.
type masking struct {
	*ledger.Ledger
	work chan ledger.Transaction
	tell func(ledger.Fate)
}

// maskingRoom is how many masked fetches wait to be looked up; beyond that they are only in their own records.
const maskingRoom = 1000

func (a *App) newMasking() *masking {
	return &masking{a.Ledger, make(chan ledger.Transaction, maskingRoom), a.fate}
}

// Transaction implements retrieval.Ledger.
func (m *masking) Transaction(t ledger.Transaction) {
	m.Ledger.Transaction(t)
	if t.Kind != ledger.Fetch || t.Facts != nil || !slices.ContainsFunc(t.Recipients, func(r ledger.Recipient) bool { return r.Disposition >= policy.Quarantine }) {
		return
	}
	select {
	case m.work <- t:
	default:
	}
}

// run looks the messages up until the context ends.
func (m *masking) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case t := <-m.work:
			m.add(ctx, t)
		}
	}
}

func (m *masking) add(ctx context.Context, t ledger.Transaction) {
	ctx, cancel := context.WithTimeout(ctx, lookBack)
	defer cancel()
	for _, o := range origins(ctx, m.Ledger, "", t.SHA256, t.MessageID) {
		to, ok := readerOf(o, t.User)
		if !ok {
			continue
		}
		known := slices.ContainsFunc(o.Fates, func(f ledger.Fate) bool { return f.Word == ledger.Masked && f.Recipient == to && f.Note == t.Decisive })
		if !known {
			m.tell(ledger.Fate{Message: o.ID, Time: t.Time, Recipient: to, Word: ledger.Masked, Note: t.Decisive, By: "door " + t.Door})
		}
		return
	}
}

// readerOf finds the recipient who reads a message by a login: by address, or as the only recipient.
func readerOf(t ledger.Transaction, login string) (string, bool) {
	for _, r := range t.Recipients {
		local, _, _ := strings.Cut(r.Address, "@")
		if strings.EqualFold(r.Address, login) || strings.EqualFold(local, login) {
			return r.Address, true
		}
	}
	if len(t.Recipients) == 1 {
		return t.Recipients[0].Address, true
	}
	return "", false
}
