package app

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"time"

	"postern/internal/config"
	"postern/internal/mail"
	"postern/policy/records/ledger"
	"postern/policy/records/quarantine"
	"postern/policy/records/tally"
	"postern/proxy"
	"postern/proxy/bounce"
	"postern/proxy/queue"
)

// bounceMark is appended to the id of a message to form the id of its bounce.
const bounceMark = "-b"

// openStores opens the records, the held mail and the queue, which begins to deliver at once.
func (a *App) openStores() (err error) {
	if a.Ledger, err = openLedger(a.cfg, a.out); err != nil {
		return err
	}
	a.tally = tally.New(a.out.Now)
	a.laterPlain(a.Ledger.Close)
	if a.Quarantine, err = OpenQuarantine(a.cfg, a.out.Log, a.out.Now, heldTold(a.fate)); err != nil {
		return err
	}
	a.laterPlain(a.Quarantine.Close)
	if a.Relay, err = newRelay(a.cfg, a.out.Log); err != nil {
		return err
	}
	a.laterPlain(func() error { a.Relay.Close(); return nil })
	if a.Queue, err = queue.New(queue.Options{Dir: a.dir("queue"), Relay: a.Relay, Expiry: a.out.QueueExpiry, Report: a.queueReport, Told: a.queueTold, Log: a.out.Log}); err != nil {
		return err
	}
	a.later(a.Queue.Close)
	a.givenUpBefore()
	return nil
}

// queueTold writes the fate of queued mail into its record.
func (a *App) queueTold(e queue.Event) {
	f := ledger.Fate{Message: ledger.MessageOf(e.Item.ID), Item: e.Item.ID, Time: a.out.Now(), Recipient: e.Recipient.Address.String(), By: e.By}
	if e.Reply.Code != 0 {
		f.Reply = e.Reply.String()
	}
	switch e.End {
	case queue.Delivered:
		f.Word = ledger.Delivered
	case queue.Failed:
		f.Word = ledger.Refused
	case queue.Expired:
		f.Word = ledger.Expired
	case queue.Deleted:
		f.Word = ledger.Deleted
	case queue.Deferred:
		f.Word = ledger.Deferred
	case queue.Requeued:
		f.Word = ledger.Requeued
	}
	if strings.Contains(e.Item.ID, bounceMark) {
		f.Word, f.Note = ledger.Bounced, "the notice to the sender: "+string(f.Word)
	}
	a.fate(f)
}

// fate adds to the record of a message, with one line in the log.
func (a *App) fate(f ledger.Fate) {
	a.Ledger.Fate(f)
	a.out.Log.Info("fate", "id", f.Message, "item", f.Item, "to", f.Recipient, "fate", string(f.Word), "reply", f.Reply, "by", f.By, "note", f.Note)
}

// heldTold writes the fate of held mail into its record.
func heldTold(tell func(ledger.Fate)) func(quarantine.Change) {
	return func(c quarantine.Change) {
		f := ledger.Fate{Message: ledger.MessageOf(c.Item), Item: c.Item, Time: c.At, Recipient: c.Address.String(), By: c.By}
		switch c.State {
		case quarantine.Released:
			f.Word, f.Note = ledger.Released, "it is on its way"
		case quarantine.Deleted:
			f.Word = ledger.Deleted
		default:
			f.Word, f.Note = ledger.Expired, "kept for as long as the settings say"
		}
		if c.Forward {
			f.Note = "sent to another address, by order"
		}
		tell(f)
	}
}

// givenUp remembers undeliverable mail of the queue by route, for the alert to the admin.
type givenUp struct {
	mu     sync.Mutex
	routes map[string]lost
}

type lost struct {
	n           int
	since, last time.Time
	why         string
}

// givenUpFor is how long mail that was given up counts as trouble, unless an admin decides on it before.
const givenUpFor = 24 * time.Hour

func (g *givenUp) add(route string, n int, why string, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.routes == nil {
		g.routes = map[string]lost{}
	}
	l := g.routes[route]
	if l.n == 0 {
		l.since = now
	}
	l.n, l.last, l.why = l.n+n, now, why
	g.routes[route] = l
}

// now gives those within givenUpFor; none if nothing waits for a decision any more.
func (g *givenUp) now(at time.Time, left int) map[string]lost {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := map[string]lost{}
	for route, l := range g.routes {
		if left == 0 || at.Sub(l.last) > givenUpFor {
			delete(g.routes, route)
			continue
		}
		all[route] = l
	}
	return all
}

// givenUpBefore remembers what an earlier run gave up.
func (a *App) givenUpBefore() {
	all, err := a.Queue.List()
	if err != nil {
		a.out.Log.Error("queue", "error", err)
		return
	}
	for _, s := range all {
		if !s.Ended.IsZero() && a.out.Now().Sub(s.Ended) < givenUpFor {
			a.lost.add(s.Route.String(), len(s.Recipients), s.Why, s.Ended)
		}
	}
}

// queueReport reports recipients that were given up: to the admin, and by a bounce to a sender of ours.
func (a *App) queueReport(r queue.Report) error {
	why := "it was not taken in time"
	for _, reply := range r.Replies {
		if reply.Code != 0 {
			why = reply.String()
		}
	}
	if err := a.bounce(r); err != nil {
		return err
	}
	a.lost.add(r.Item.Route.String(), len(r.Item.Recipients), why, a.out.Now())
	return nil
}

// mayBounce reports whether the sender of a queued message gets a bounce: our own user or server, with an address of
// ours. A stranger never does: the address may be forged. RFC 5321 section 6.1: nor a null reverse-path.
func mayBounce(cfg *config.Config, item proxy.QueueItem) bool {
	return item.Ours && !item.From.IsNull() && cfg.Local(item.From.ASCIIDomain())
}

// bounce queues a bounce to the sender.
func (a *App) bounce(r queue.Report) error {
	if !mayBounce(a.cfg, r.Item) {
		return nil
	}
	n := bounce.Notice{Hostname: a.cfg.Hostname, Message: ledger.MessageOf(r.Item.ID), To: r.Item.From, Params: r.Item.Params, Arrived: r.Queued, Now: a.out.Now()}
	sum := sha256.New()
	for i, to := range r.Item.Recipients {
		if !bounce.Wanted(to) {
			continue
		}
		n.Failures = append(n.Failures, bounce.Failure{Recipient: to, Reply: r.Replies[i], Expired: r.Folder == "expired"})
		fmt.Fprintf(sum, "%s\n", to.Address)
	}
	if len(n.Failures) == 0 {
		return nil // the sender does not want to know: RFC 3461 section 4.1
	}
	// the same failure reported again has the same id
	n.ID = r.Item.ID + bounceMark + hex.EncodeToString(sum.Sum(nil)[:4])
	var err error
	if n.Header, err = bounce.HeaderOf(r.Message); err != nil {
		return err
	}
	item := proxy.QueueItem{ID: n.ID, Route: a.cfg.Route(n.To.ASCIIDomain()), Params: n.SendParams(), Recipients: []mail.Recipient{{Address: n.To}}, Why: "a notice to the sender of " + r.Item.ID}
	if err := queue.WriteItem(a.dir("queue"), item, mail.Copy{Message: mail.NewMessage(n.Bytes())}); err != nil {
		return err
	}
	a.fate(ledger.Fate{Message: n.Message, Item: n.ID, Time: n.Now, Recipient: n.To.String(), Word: ledger.Bounced, Note: "the sender is told"})
	return nil
}
