package app

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"postern/filters/dmarc"
	"postern/internal/config"
	"postern/internal/dns"
	"postern/internal/mail"
	"postern/policy"
	"postern/policy/reports/dmarcreport"
	"postern/proxy"
	"postern/proxy/queue"
)

// reports counts results per domain and sends DMARC reports to domains that ask for them: RFC 9990.
type reports struct {
	reporter *dmarcreport.Reporter
	now      func() time.Time
}

// openReports gives nil if no reports are to be sent.
func openReports(cfg *config.Config, out Outside, resolver *dns.Resolver, q *queue.Queue) (*reports, error) {
	if cfg.Reports.From == "" {
		return nil, nil
	}
	from, err := mail.ParseAddress(cfg.Reports.From)
	if err != nil {
		return nil, fmt.Errorf("[dmarc_reports] from: %w", err)
	}
	store, err := dmarcreport.Open(filepath.Join(cfg.DataDir, "reports.db"), out.Log)
	if err != nil {
		return nil, err
	}
	return &reports{now: out.Now, reporter: &dmarcreport.Reporter{
		Store: store, DNS: resolver, Queue: reportQueue{q}, From: from,
		SameOrganization: func(ctx context.Context, a, b string) (bool, error) {
			return dmarc.SameOrganization(ctx, resolver, false, a, b)
		},
		OrgName: cfg.Reports.OrgName, ExtraContact: cfg.Reports.Contact, Now: out.Now, Log: out.Log,
	}}, nil
}

// Witness implements proxy.Witness.
func (r *reports) Witness(tx *mail.Transaction, done policy.Disposition) {
	if o, ok := dmarcreport.Observe(tx.AllFindings(), tx.Session.Client, tx.From, done); ok {
		r.reporter.Store.Collect(r.now(), o)
	}
}

// reportQueue sends reports by the smart host.
type reportQueue struct{ queue *queue.Queue }

// Put implements dmarcreport.Queue.
func (q reportQueue) Put(ctx context.Context, id string, from, to mail.Address, message []byte) error {
	item := proxy.QueueItem{ID: id, Route: outboundRoute(), From: from, Recipients: []mail.Recipient{{Address: to}}, Why: "aggregate report"}
	return q.queue.Put(ctx, item, mail.Copy{Message: mail.NewMessage(message)})
}
