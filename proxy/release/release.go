package release

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"log/slog"
	netmail "net/mail"
	"slices"
	"strings"
	"time"

	"postern/internal/mail"
	"postern/policy"
	"postern/policy/records/ledger"
	"postern/policy/records/lessons"
	"postern/policy/records/lists"
	"postern/policy/records/quarantine"
	"postern/policy/records/recall"
	"postern/proxy"
	"postern/proxy/retrieval"
)

// Releaser lets held mail go. The console's pages, the JSON interface, the links in digests and the command line all use it:
// the quarantine says who was first, and the message leaves once.
type Releaser struct {
	Quarantine *quarantine.Quarantine
	// Put puts it on the queue.
	Put func(context.Context, proxy.QueueItem, mail.Copy) error
	// Route gives the next hop of a domain, not ok if there is none.
	Route func(domain string) (mail.Route, bool)
	// Grants lets readers see what was masked when they fetched it, LetIn makes the field by which our own POP3 and IMAP
	// doors know what was released; both may be nil.
	Grants *recall.List
	LetIn  func(id string, sum [sha256.Size]byte) []byte
	// Lists take what is allowed for the future; Teacher is taught that it was no spam. Both may be nil.
	Lists   *lists.Store
	Teacher *retrieval.Teacher
	Log     *slog.Logger
	// Ledger tells what the next hop answered, and what proves a sender; nil for not asking it. Unattended says that no
	// gateway runs that would deliver.
	Ledger     *ledger.Ledger
	Unattended bool
}

// Release does what an order says. Of any number of callers one gets a copy; the others hear quarantine.ErrTaken. Once it
// is on the queue no error is given any more: what else was wanted and failed stands in the answer.
func (r *Releaser) Release(ctx context.Context, o Order) (Released, error) {
	item, err := r.Quarantine.Find(ctx, o.ID)
	if err != nil {
		return Released{}, err
	}
	var sender string
	if o.Allow {
		if sender, err = SenderOf(item); err != nil {
			return Released{}, err
		}
	}
	if item.Fetched != nil && item.State == quarantine.Released && o.To.IsNull() { // released, and called back since
		return Released{ID: o.ID, Recipients: []string{item.Fetched.Mailbox}}, r.show(ctx, item, o.By)
	}
	claimed, err := r.claim(ctx, o)
	if err != nil {
		return Released{}, err
	}
	if err := r.Deliver(ctx, claimed); err != nil {
		return Released{}, err
	}

	done := Released{ID: o.ID, Recipients: written(claimed.Recipients)}
	if o.Learn && !claimed.Forward && item.Category != quarantine.Virus { // who lets a virus go does not say that it is good
		done.Learned = r.teach(ctx, o, false)
	}
	if o.Allow {
		r.allow(ctx, sender, item, claimed, &done)
	}
	done.Unattended = r.Unattended
	if !o.NoWait && !r.Unattended {
		r.answers(ctx, claimed, &done)
	}

	return done, nil
}

func written(list []mail.Recipient) (all []string) {
	for _, r := range list {
		all = append(all, r.Address.String())
	}

	return all
}

// answers adds what the next hop said, as far as it did within a while.
func (r *Releaser) answers(ctx context.Context, claimed quarantine.Release, done *Released) {
	if r.Ledger == nil {
		return
	}
	done.Answers = Answers(ctx, r.Ledger, claimed.QueueID(), claimed.Recipients)
}

// claim takes what is to be released out of quarantine: for its recipients, or for somebody else.
func (r *Releaser) claim(ctx context.Context, o Order) (quarantine.Release, error) {
	if o.To.IsNull() {
		return r.Quarantine.Claim(ctx, o.ID, o.By, o.Recipients...)
	}
	if _, ok := r.Route(o.To.ASCIIDomain()); !ok {
		return quarantine.Release{}, ErrNoWayOut
	}

	return r.Quarantine.ClaimTo(ctx, o.ID, o.By, o.To)
}

// Deliver puts claimed copies on the queue. If that fails they are held again; once they are there they never are.
func (r *Releaser) Deliver(ctx context.Context, claimed quarantine.Release) error {
	ctx = context.WithoutCancel(ctx) // who goes away must not leave it half done
	queued := false
	err := r.Finish(ctx, claimed, func(item proxy.QueueItem, c mail.Copy) error {
		err := r.Put(ctx, item, c)
		queued = err == nil
		return err
	})
	switch {
	case err == nil:
	case queued: // the next start finishes it, under the same id
		r.Log.Error("a release is on the queue but not noted as such", "id", claimed.Item, "error", err)
	default:
		return errors.Join(err, r.Quarantine.Return(ctx, claimed))
	}
	return nil
}

// Finish puts a message on a queue as it came, and says that it is safe there. It is not judged again. One that was masked
// when it was fetched is shown from the next fetch on.
func (r *Releaser) Finish(ctx context.Context, claimed quarantine.Release, put func(proxy.QueueItem, mail.Copy) error) (err error) {
	item, message, err := r.Quarantine.Get(ctx, claimed.Item)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, message.Close()) }()
	if item.Fetched != nil && !claimed.Forward {
		if err := r.show(ctx, item, claimed.By); err != nil {
			return err
		}
		if !r.returns(item) {
			return r.Quarantine.Finish(ctx, claimed)
		}
	}
	why := "released"
	if claimed.By != "" {
		why += " by " + claimed.By
	}
	route := item.Route
	if claimed.Forward && len(claimed.Recipients) == 1 {
		way, ok := r.Route(claimed.Recipients[0].Address.ASCIIDomain())
		if !ok {
			return ErrNoWayOut
		}
		route = way
	}
	queued := proxy.QueueItem{ID: claimed.QueueID(), Route: route, From: item.From, Params: item.Params, Recipients: claimed.Recipients, Ours: item.Outbound && !claimed.Forward, Why: why}
	c, err := r.sealed(item, message)
	if err != nil {
		return err
	}
	if err := put(queued, c); err != nil {
		return err
	}
	return r.Quarantine.Finish(ctx, claimed)
}

// show unmasks a message in its mailbox.
func (r *Releaser) show(ctx context.Context, item quarantine.Item, by string) error {
	if r.Grants == nil {
		return errors.New("the list of releases is not open")
	}
	return r.Grants.Release(ctx, recall.Grant{SHA256: item.Fetched.SHA256, User: item.Fetched.Mailbox, ID: item.ID, By: by})
}

// returns says whether a message that was masked when it was fetched is delivered once more: who fetches by POP3 mostly
// deletes what he has.
func (r *Releaser) returns(item quarantine.Item) bool {
	if item.Fetched.Protocol != mail.ProtocolPOP3 || len(item.Recipients) == 0 || r.Route == nil {
		return false
	}
	_, ok := r.Route(item.Recipients[0].Address.ASCIIDomain())
	return ok
}

// sealed is the copy that goes out: as it was held, below the field that lets it through our own POP3 and IMAP doors.
func (r *Releaser) sealed(item quarantine.Item, message *mail.Message) (mail.Copy, error) {
	c := mail.Copy{Message: message}
	if r.LetIn == nil || item.Outbound {
		return c, nil
	}
	sum := sha256.New()
	if _, err := c.WriteTo(sum); err != nil {
		return c, err
	}
	id, _, _ := strings.Cut(item.ID, "-") // the transaction's, by which it may be called back
	c.Top = r.LetIn(id, [sha256.Size]byte(sum.Sum(nil)))
	return c, nil
}

// LearnSpam takes a deletion as a lesson that the message is spam, before it is deleted.
func (r *Releaser) LearnSpam(ctx context.Context, o Order) bool { return r.teach(ctx, o, true) }

// teach takes the release or the deletion as a lesson on the message.
func (r *Releaser) teach(ctx context.Context, o Order, spam bool) bool {
	if r.Teacher == nil {
		return false
	}
	_, message, err := r.Quarantine.Get(ctx, o.ID)
	if err != nil {
		r.Log.Error("learn from held mail", "id", o.ID, "error", err)
		return false
	}
	defer func() { _ = message.Close() }() // opened for reading only
	text, err := io.ReadAll(io.LimitReader(message.Open(), lessons.MaxContent))
	if err != nil {
		r.Log.Error("learn from held mail", "id", o.ID, "error", err)
		return false
	}
	how := lessons.Release
	if spam {
		how = lessons.Delete
	}
	r.Teacher.Learn(ctx, lessons.Lesson{User: o.By, Admin: o.Admin, Door: "quarantine", Spam: spam, How: how, Place: o.ID}, mail.NewMessage(text))
	return true
}

// allow lets the sender's mail in from now on, for those who got this message. It is bound to authentication: who only
// pretends to be the sender is not let in.
func (r *Releaser) allow(ctx context.Context, sender string, item quarantine.Item, claimed quarantine.Release, done *Released) {
	if r.Lists == nil {
		done.Note = "the sender was not allowed: there are no lists"
		return
	}
	if done.Note = r.unproven(ctx, sender, item, claimed); done.Note != "" {
		return
	}
	for _, to := range claimed.Recipients {
		e, err := r.Lists.Add(ctx, Entry(policy.Allow, to.Address, sender, claimed.By, "released "+item.ID))
		if err != nil {
			r.Log.Error("allow the sender of a released message", "id", item.ID, "error", err)
			done.Note = "released, but the sender could not be allowed"
			continue
		}
		done.Allowed = append(done.Allowed, e.ID)
	}
}

// lookBack bounds a look into the ledger for the record of what is released.
const lookBack = 5 * time.Second

// unproven says why an entry for a sender could never let anything in, and what could instead; "" for a sender that is proven.
func (r *Releaser) unproven(ctx context.Context, sender string, item quarantine.Item, claimed quarantine.Release) string {
	if r.Ledger == nil {
		return ""
	}
	wait, cancel := context.WithTimeout(ctx, lookBack)
	_ = r.Ledger.Flush(wait) // it may have come in just now; if not, nobody knows
	cancel()
	record, err := r.Ledger.Explain(ctx, ledger.MessageOf(item.ID))
	if err != nil || len(record.Transactions) != 1 || record.Transactions[0].Facts == nil {
		return "" // nobody knows
	}
	facts := record.Transactions[0].Facts
	undecided := func(f policy.Finding) bool {
		return strings.HasSuffix(f.Symbol, "_DNSFAIL") || strings.HasSuffix(f.Symbol, "_TEMPFAIL")
	}
	if slices.ContainsFunc(facts.Findings, undecided) {
		return "" // DNS gave no answer then: the next mail may be proven
	}
	_, domain, _ := strings.Cut(sender, "@")
	if facts.Proven(domain) || facts.Proven(item.From.ASCIIDomain()) && item.From.Key() == sender {
		return ""
	}

	whose := ""
	if len(claimed.Recipients) == 1 {
		whose = " --recipient " + claimed.Recipients[0].Address.String()
	}
	note := "the sender was not allowed: neither SPF nor DKIM proves " + sender + ", so that an entry for it would never fit. What would:"
	if list := item.From.ASCIIDomain(); list != "" && facts.Proven(list) {
		note += " the list that sent it, which is proven (postern lists add allow " + list + whose + " --expires 90d), or"
	}
	return note + " the server that it came from (postern lists add allow --network " + item.Client.String() + whose + " --expires 90d)"
}

// Entry is the entry of a list that lets the mail of a sender to a user in, or keeps it out.
func Entry(list policy.ListName, user mail.Address, sender, owner, reason string) lists.Entry {
	return lists.Entry{List: list, Scope: lists.User, ScopeOf: user.Key(), Sender: sender, Owner: owner, Reason: reason}
}

// SenderOf is whom a reader sees as the author, else the envelope's sender.
func SenderOf(item quarantine.Item) (string, error) {
	text := item.From.Key()
	if a, err := netmail.ParseAddress(item.HeaderFrom); err == nil {
		text = a.Address
	}
	a, err := mail.ParseAddress(cmp.Or(text, "<>"))
	if err != nil || a.IsNull() || a.Domain == "" {
		return "", ErrNoSender
	}
	return a.Key(), nil
}
