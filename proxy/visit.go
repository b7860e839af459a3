package proxy

import (
	"context"
	"crypto/tls"

	"postern/filters"
	"postern/internal/mail"
	"postern/policy"
	"postern/policy/ledger"
)

// Visit is one session as the gateway sees it: it judges the stages before a transaction, and leaves the one record that
// every connection leaves.
type Visit struct {
	good    *bool // whether the client's mail was good before, nil until somebody asks
	g       *Gateway
	setup   *Setup
	session *mail.Session
	began   int // transactions begun
	counts  ledger.Counts
	conduct filters.Conduct
	tarpit  bool
}

// Visit begins a session. End must be called once.
func (g *Gateway) Visit(_ context.Context, s *mail.Session) *Visit {
	return &Visit{g: g, setup: g.setup.Load(), session: s}
}

// Observe takes a finding of the door's own.
func (v *Visit) Observe(f mail.Finding) { v.session.Findings = append(v.session.Findings, f) }

// Judge asks policy about what the door itself has seen, once more: not ok if the client is to be refused with this reply.
func (v *Visit) Judge() (r mail.Reply, ok bool) {
	facts := policy.FactsOf(&mail.Transaction{ID: v.session.ID, Session: v.session, Stage: mail.StageHelo})
	r, refused := v.refusal(v.setup.Policy.DecideStage(&facts, mail.Address{}))
	return r, !refused
}

// Tarpit says whether policy wants the client to wait for each reply.
func (v *Visit) Tarpit() bool { return v.tarpit }

// Connect judges the connection. The reply is the greeting (220) or a refusal.
func (v *Visit) Connect(ctx context.Context) mail.Reply {
	if r, refused := v.stage(ctx, mail.StageConnect); refused {
		if r.Permanent() {
			r.Code = 554 // RFC 5321 section 3.1: the only permanent answer at connect
		}
		return r
	}
	return replyGreeting(v.g.Hostname)
}

// Helo judges the greeting of the client, whose name stands in the session.
func (v *Visit) Helo(ctx context.Context) mail.Reply {
	if r, refused := v.stage(ctx, mail.StageHelo); refused {
		return r
	}
	return replyHelloOK()
}

// stage runs the filters of a stage without a transaction. What an earlier stage or HELO found stays; nothing stands
// there twice.
func (v *Visit) stage(ctx context.Context, stage mail.Stage) (mail.Reply, bool) {
	tx := &mail.Transaction{ID: v.session.ID, Session: v.session}
	run := v.setup.Chain.Start(ctx, tx)
	defer run.Close()
	found := run.Stage(ctx, stage)
	for _, f := range found {
		if old, ok := mail.Find(v.session.Findings, f.Symbol); !ok || old.Evidence != f.Evidence {
			v.session.Findings = append(v.session.Findings, f)
		}
	}
	tx.Findings = nil
	facts := policy.FactsOf(tx)
	verdict := v.setup.Policy.DecideStage(&facts, mail.Address{})
	return v.refusal(verdict)
}

// refusal gives the reply of a verdict that ends something before the message.
func (v *Visit) refusal(verdict policy.Verdict) (mail.Reply, bool) {
	v.tarpit = v.tarpit || verdict.Tarpit
	refused := verdict.Disposition == policy.Reject || verdict.Disposition == policy.Defer
	if refused { // else the message's verdict tells
		v.g.listed(verdict)
	}
	return verdict.Reply, refused
}

func (g *Gateway) listed(v policy.Verdict) {
	if g.Listed != nil && v.ListEntry != "" {
		g.Listed(v.ListEntry)
	}
}

// End writes the record of the connection.
func (v *Visit) End(how string) {
	s := v.session
	v.counts.Transactions = v.began
	facts := policy.FactsOf(&mail.Transaction{Session: s})
	record := ledger.Connection{
		ID: s.ID, Door: s.Door, Started: s.Started, Ended: v.g.Now(), Peer: s.Peer, Client: s.Client, ClientName: s.ClientName,
		Helo: s.Helo, User: s.User, End: how, Counts: v.counts, Findings: v.setup.Policy.Decide(&facts, mail.Address{}).Reasons,
	}
	if s.TLS != nil {
		record.TLSVersion, record.TLSCipher = tls.VersionName(s.TLS.Version), tls.CipherSuiteName(s.TLS.CipherSuite)
	}
	v.g.Ledger.Connection(record)
	v.conduct.Transactions, v.conduct.Recipients, v.conduct.Refused, v.conduct.End = v.began, v.counts.Recipients, v.counts.Refused, how
	v.setup.Chain.Ended(context.Background(), s, v.conduct)
	v.g.Log.Info("connection", "id", s.ID, "door", s.Door, "client", s.Client.String(), "helo", s.Helo, "user", s.User,
		"transactions", v.began, "refused", v.counts.Refused, "ended", how)
}

// known says whether the client's mail was good before.
func (v *Visit) known() bool {
	if v.g.Known == nil {
		return false
	}
	if v.good == nil {
		good := v.g.Known(v.session.Client)
		v.good = &good
	}

	return *v.good
}
