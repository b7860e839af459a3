package proxy

import (
	"context"
	"crypto/tls"

	"postern/filters"
	"postern/internal/mail"
	"postern/policy"
	"postern/policy/records/ledger"
)

// Connection is one SMTP session as the gateway sees it: it judges the stages before a transaction and writes the one
// record of the connection.
type Connection struct {
	good    *bool // whether the client's earlier mail was good, nil until known is called
	g       *Gateway
	setup   *Setup
	session *mail.Session
	began   int // transactions begun
	counts  ledger.Counts
	conduct filters.Conduct
	tarpit  bool
}

// Connection begins a session. End must be called once.
func (g *Gateway) Connection(_ context.Context, s *mail.Session) *Connection {
	return &Connection{g: g, setup: g.setup.Load(), session: s}
}

// Observe adds a finding of the door itself.
func (c *Connection) Observe(f mail.Finding) { c.session.Findings = append(c.session.Findings, f) }

// Decide asks policy again about the door's own findings: not ok if the client is to be refused with this reply.
func (c *Connection) Decide() (r mail.Reply, ok bool) {
	facts := policy.FactsOf(&mail.Transaction{ID: c.session.ID, Session: c.session, Stage: mail.StageHelo})
	r, refused := c.refusal(c.setup.Policy.DecideStage(&facts, mail.Address{}))
	return r, !refused
}

// Tarpit reports whether policy delays each reply to the client.
func (c *Connection) Tarpit() bool { return c.tarpit }

// Connect judges the connection. The reply is the greeting (220) or a refusal.
func (c *Connection) Connect(ctx context.Context) mail.Reply {
	if r, refused := c.stage(ctx, mail.StageConnect); refused {
		if r.Permanent() {
			r.Code = 554 // RFC 5321 section 3.1: the only permanent answer at connect
		}
		return r
	}
	return replyGreeting(c.g.Hostname)
}

// Helo judges the greeting of the client, whose name stands in the session.
func (c *Connection) Helo(ctx context.Context) mail.Reply {
	if r, refused := c.stage(ctx, mail.StageHelo); refused {
		return r
	}
	return replyHelloOK()
}

// stage runs the filters of a stage without a transaction. Findings of an earlier stage or HELO stay; none is added
// twice.
func (c *Connection) stage(ctx context.Context, stage mail.Stage) (mail.Reply, bool) {
	tx := &mail.Transaction{ID: c.session.ID, Session: c.session}
	run := c.setup.Chain.Start(ctx, tx)
	defer run.Close()
	found := run.Stage(ctx, stage)
	for _, f := range found {
		if old, ok := mail.Find(c.session.Findings, f.Symbol); !ok || old.Evidence != f.Evidence {
			c.session.Findings = append(c.session.Findings, f)
		}
	}
	tx.Findings = nil
	facts := policy.FactsOf(tx)
	verdict := c.setup.Policy.DecideStage(&facts, mail.Address{})
	return c.refusal(verdict)
}

// refusal gives the reply of a verdict that refuses before the message is received.
func (c *Connection) refusal(verdict policy.Verdict) (mail.Reply, bool) {
	c.tarpit = c.tarpit || verdict.Tarpit
	refused := verdict.Disposition == policy.Reject || verdict.Disposition == policy.Defer
	if refused { // else the message's verdict decides
		c.g.onListHit(verdict)
	}
	return verdict.Reply, refused
}

func (g *Gateway) onListHit(v policy.Verdict) {
	if g.OnListHit != nil && v.ListEntry != "" {
		g.OnListHit(v.ListEntry)
	}
}

// End writes the record of the connection.
func (c *Connection) End(how string) {
	s := c.session
	c.counts.Transactions = c.began
	facts := policy.FactsOf(&mail.Transaction{Session: s})
	record := ledger.Connection{
		ID: s.ID, Door: s.Door, Started: s.Started, Ended: c.g.Now(), Peer: s.Peer, Client: s.Client, ClientName: s.ClientName,
		Helo: s.Helo, User: s.User, End: how, Counts: c.counts, Findings: c.setup.Policy.Decide(&facts, mail.Address{}).Reasons,
	}
	if s.TLS != nil {
		record.TLSVersion, record.TLSCipher = tls.VersionName(s.TLS.Version), tls.CipherSuiteName(s.TLS.CipherSuite)
	}
	c.g.Ledger.Connection(record)
	c.conduct.Transactions, c.conduct.Recipients, c.conduct.Refused, c.conduct.End = c.began, c.counts.Recipients, c.counts.Refused, how
	c.setup.Chain.Ended(context.Background(), s, c.conduct)
	c.g.Log.Info("connection", "id", s.ID, "door", s.Door, "client", s.Client.String(), "helo", s.Helo, "user", s.User,
		"transactions", c.began, "refused", c.counts.Refused, "ended", how)
}

// known reports whether the client's earlier mail was good.
func (c *Connection) known() bool {
	if c.g.Known == nil {
		return false
	}
	if c.good == nil {
		good := c.g.Known(c.session.Client)
		c.good = &good
	}

	return *c.good
}
