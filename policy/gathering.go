package policy

import (
	"slices"

	"postern/internal/mail"
	"postern/internal/mimeview"
)

// Gathering holds the facts of one transaction while it grows: at each stage and recipient only what is new is added. It is
// used by one goroutine at a time.
type Gathering struct {
	// details and attachments say what the policies ask for beside the findings.
	details, attachments bool
	facts                Facts
	// session and own are how many findings of the session and of the transaction stand in the facts.
	session, own int
	// proof is the place behind the last finding that proved a domain, among those of the facts.
	proof    int
	message  *mail.Message // whose header was read
	detailed bool          // whether the details are there
}

// Gather begins to gather what some policies can ask for.
func Gather(policies ...*Policy) *Gathering {
	g := &Gathering{}
	for _, p := range policies {
		g.details = g.details || len(p.rules) > 0
		g.attachments = g.attachments || p.asks.attachments
	}

	return g
}

// FactsOf gathers the facts of a transaction that this policy can ask for. Time and Groups are the caller's to add.
func (p *Policy) FactsOf(tx *mail.Transaction) Facts { return Gather(p).Facts(tx) }

// FactsOf gathers the facts of a transaction at its stage, without those that only rules ask for.
func FactsOf(tx *mail.Transaction) Facts { return Gather().Facts(tx) }

// Facts are those of the transaction so far. Time and Groups are the caller's to add.
func (g *Gathering) Facts(tx *mail.Transaction) Facts {
	f := &g.facts
	f.Stage, f.Outbound, f.Client = tx.Stage, tx.Session.Outbound(), tx.Session.Client.Unmap().WithZone("")
	f.From, f.User = tx.From, tx.Session.User
	if tx.Message != nil && tx.Message != g.message {
		g.message, g.detailed = tx.Message, false
		f.HeaderFrom = authors(tx.Message.Header())
	}

	// the session's findings come before the transaction's
	if g.session != len(tx.Session.Findings) || g.own > len(tx.Findings) || f.Findings == nil {
		g.session, g.own = len(tx.Session.Findings), 0
		g.proof = 0
		f.Findings, f.Authenticated = make([]Finding, 0, len(tx.Session.Findings)+len(tx.Findings)), nil
		g.add(tx.Session.Findings)
	}
	g.add(tx.Findings[g.own:])
	g.own = len(tx.Findings)

	if g.details && !g.detailed && tx.Message != nil && tx.Stage == mail.StageMessage {
		g.read(tx.Message)
		g.detailed = true
	}

	return *f
}

// Forget takes out the findings of the transaction behind the first ones: those about a recipient who was refused. It
// must be called before others take their place.
func (g *Gathering) Forget(first int) {
	if g.own <= first {
		return
	}
	if g.proof > g.session+first { // others may have proved the same domain: all is gathered anew
		g.facts.Findings = nil
		return
	}
	g.facts.Findings = slices.Clip(g.facts.Findings[:g.session+first])
	g.own = first
}

// add appends findings.
func (g *Gathering) add(findings []mail.Finding) {
	f := &g.facts
	proved := slices.Clip(f.Authenticated) // facts that were given out keep theirs
	for _, found := range findings {
		f.Findings = append(f.Findings, finding(found))
		if a, ok := found.Value.(Authenticated); ok {
			for _, domain := range a.AuthenticatedDomains() {
				proved = append(proved, mail.ASCIIDomain(domain))
				g.proof = len(f.Findings)
			}
		}
	}
	if len(proved) > len(f.Authenticated) {
		slices.Sort(proved)
		f.Authenticated = slices.Compact(proved)
	}
}

// read takes from the message what rules can ask for.
func (g *Gathering) read(m *mail.Message) {
	f, h := &g.facts, m.Header()
	f.Size = m.Size()
	f.Subject = fact(mimeview.DecodeValue(h.Get("Subject")))
	f.MessageID, f.ListID, f.ReplyTo = fact(h.Get("Message-ID")), fact(h.Get("List-ID")), fact(mimeview.DecodeValue(h.Get("Reply-To")))
	if g.attachments {
		f.Attachments, f.AttachmentsPartial = attachments(mimeview.Of(m))
	}
}
