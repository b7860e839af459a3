package app

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"postern/filters"
	"postern/internal/mail"
	"postern/policy/records/ledger"
	"postern/policy/records/quarantine"
	"postern/proxy/console"
	"postern/proxy/console/api"
)

// web is an HTTP server of ours.
type web struct {
	address string
	server  *http.Server
}

// openWeb starts the console and the metrics, where an address is set for them.
func (a *App) openWeb() error {
	password, err := firstLine("console.password_file", a.cfg.Console.PasswordFile)
	if err != nil {
		return err
	}
	pages, err := console.Handler(console.Options{Host: a.cfg.Hostname, House: consoleHouse{a}, AdminTables: a.tables, Apply: a.applyByConsole, Password: password,
		Guard: a.bans, Log: a.out.Log})
	if err != nil {
		return err
	}
	both := http.NewServeMux()
	both.Handle("/", pages)
	both.Handle("/api/v1/", a.verbs)
	if a.digests != nil {
		links, err := console.LinkPages(a.links(), a.out.Log)
		if err != nil {
			return err
		}
		both.Handle("/q/", links)
	}
	if err := a.serveWeb("console", string(a.cfg.Console.Listen), both); err != nil {
		return err
	}
	metrics := http.NewServeMux()
	metrics.HandleFunc("GET /metrics", a.metrics)
	metrics.HandleFunc("GET /healthz", a.health)
	metrics.HandleFunc("GET /readyz", a.health)
	return a.serveWeb("metrics", string(a.cfg.Metrics.Listen), metrics)
}

func (a *App) serveWeb(name, address string, handler http.Handler) error {
	if address == "" {
		return nil
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	w := &web{l.Addr().String(), &http.Server{Handler: handler, ReadTimeout: 30 * time.Second, WriteTimeout: time.Minute, MaxHeaderBytes: 64 << 10}}
	a.webs = append(a.webs, w)
	a.running.Go(func() {
		if err := w.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			a.out.Log.Error(name, "error", err)
		}
	})
	a.out.Log.Info("listening", "door", name, "address", w.address)
	return nil
}

// ConsoleAddress is where the console listens, "" if it does not.
func (a *App) ConsoleAddress() string {
	if len(a.webs) == 0 || a.cfg.Console.Listen == "" {
		return ""
	}
	return a.webs[0].address
}

// applyByConsole changes a row as the console's admin.
func (a *App) applyByConsole(ctx context.Context, client netip.Addr, table, verb, key string) error {
	by := api.Direct{Handler: a.verbs.As(api.Caller{Name: console.User, Role: api.Admin, From: api.Console}), Client: netip.AddrPortFrom(client, 0).String()}
	err := api.Ask(ctx, by, http.MethodPost, "/shelves/"+url.PathEscape(table)+"/"+url.PathEscape(verb), map[string]string{"key": key}, nil)
	if p, ok := errors.AsType[api.Problem](err); ok && p.Status == http.StatusNotFound {
		return filters.ErrNoRow
	}
	return err
}

// consoleHouse shows the house to the console.
type consoleHouse struct{ *App }

// Numbers implements console.House.
func (h consoleHouse) Numbers(ctx context.Context) ([]console.Number, error) {
	held, err := h.Quarantine.List(ctx, quarantine.Filter{Limit: 10_000})
	if err != nil {
		return nil, err
	}
	counts := h.Gateway.Verdicts()
	number := func(fate ledger.Word) console.Number {
		return console.Number{Name: string(fate), Value: strconv.FormatInt(counts[fate].Load(), 10)}
	}
	list := []console.Number{number(ledger.Delivered), number(ledger.Refused), number(ledger.Deferred),
		{Name: "held now", Value: strconv.Itoa(len(held))}, {Name: "in the queue", Value: strconv.Itoa(h.Queue.Len())}}
	for _, t := range h.Troubles() {
		list = append(list, console.Number{Name: t.Text, Value: t.Kind, Bad: true})
	}
	return list, nil
}

// Messages implements console.House: the text is a sender's or a recipient's address or domain, "fate:" and a word, or both.
func (h consoleHouse) Messages(ctx context.Context, text string, limit int) ([]console.Message, error) {
	q := ledger.Query{Limit: limit}
	for _, word := range strings.Fields(text) {
		if fate, ok := strings.CutPrefix(word, "fate:"); ok {
			q.Fate = ledger.Word(fate)
		} else {
			q.Sender = word
		}
	}
	found, err := h.Ledger.Search(ctx, q)
	if err == nil && q.Sender != "" && len(found) == 0 {
		q.Sender, q.Recipient = "", q.Sender
		found, err = h.Ledger.Search(ctx, q)
	}
	if errors.Is(err, ledger.ErrQuery) { // nothing matches
		err = nil
	}
	rows := make([]console.Message, 0, len(found))
	for _, t := range found {
		rows = append(rows, row(t))
	}
	return rows, err
}

func row(t ledger.Transaction) console.Message {
	m := console.Message{Time: t.Time.Local(), ID: t.ID, From: t.From, Subject: ledger.Printable(t.PlainSubject()), Why: t.Decisive, Verdict: mail.Accept.String()}
	if m.From == "" {
		m.From = "<>"
	}
	var to []string
	for _, r := range t.Recipients {
		to = append(to, r.Address)
		m.Fate, m.Verdict, m.Score = string(r.Last()), r.Disposition.String(), r.Score
		switch {
		case r.Fate == ledger.Abandoned:
			m.Why = t.Reply
		case m.Why == "" || r.Fate != ledger.Delivered && r.Disposition == mail.Accept:
			m.Why = r.Reply
		}
	}
	if len(to) == 0 {
		m.Verdict, m.Fate, m.Why = mail.Defer.String(), string(ledger.Refused), t.Reply
		if strings.HasPrefix(t.Reply, "5") {
			m.Verdict = mail.Reject.String()
		}
	}
	m.To = strings.Join(to, ", ")
	return m
}

// Explain implements console.House.
func (h consoleHouse) Explain(ctx context.Context, id string) (string, error) {
	record, err := h.Ledger.Explain(ctx, id)
	if errors.Is(err, ledger.ErrUnknown) || errors.Is(err, ledger.ErrAmbiguous) {
		return "", console.ErrUnknown
	}
	if err != nil {
		return "", err
	}
	var text strings.Builder
	err = ledger.Describe(&text, record, ledger.Admin)
	return text.String(), err
}
