// Package console is the web console, and the control socket by which the CLI reaches the running gateway. It depends
// on the gateway through its options only.
package console

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"postern/filters"
)

//go:embed page.html
var pages embed.FS

// House is what the console shows.
type House interface {
	// Numbers are shown on top, in this order.
	Numbers(ctx context.Context) ([]Number, error)
	// Messages are the newest ones that fit, the newest first; text "" fits all.
	Messages(ctx context.Context, text string, limit int) ([]Message, error)
	// Explain is the whole record under an id, in plain words; ErrUnknown if there is none.
	Explain(ctx context.Context, id string) (string, error)
}

// ErrUnknown means that there is no such record.
var ErrUnknown = errors.New("no such record")

// Number is one of the figures on top. Bad ones are shown as such.
type Number struct {
	Name, Value string
	Bad         bool
}

// Message is one row.
type Message struct {
	Time                                      time.Time
	ID, From, To, Subject, Verdict, Fate, Why string
	Score                                     float64
}

// page is what the template is given.
type page struct {
	Host, Query, ID, Text string
	Numbers               []Number
	Messages              []Message

	Tabs               []tab
	Table, Title, Help string
	Rows               []filters.Row
	Verbs              []string
}

// Options are what the console is made of.
type Options struct {
	// Host is the gateway's name.
	Host        string
	House       House
	AdminTables AdminTables
	// Apply performs a button's act through the table of verbs, so that it is in the audit log.
	Apply func(ctx context.Context, client netip.Addr, table, verb, key string) error
	// Password is that of the user "admin". Without one the console is open for reading, and changes are refused.
	Password string
	// Guard refuses clients that guess it; nil for none.
	Guard Guard
	Log   *slog.Logger
}

// Handler makes the console. Everything from outside is escaped by html/template, and the pages run no script and load
// nothing.
func Handler(o Options) (http.Handler, error) {
	if o.AdminTables == nil {
		o.AdminTables = func() map[string]filters.AdminTable { return nil }
	}
	t, err := template.ParseFS(pages, "page.html")
	if err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	c := &console{o, t}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", c.overview)
	mux.HandleFunc("GET /message/{id}", c.message)
	mux.HandleFunc("GET /shelf/{name}", c.table)
	mux.HandleFunc("POST /shelf/{name}/{verb}", c.correct)
	return guarded(c.login(mux)), nil
}

// guarded sets the headers that keep hostile text in a page harmless.
func guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

type console struct {
	Options
	template *template.Template
}

// rows is how many messages one page shows.
const rows = 100

func (c *console) overview(w http.ResponseWriter, r *http.Request) {
	p := page{Host: c.Host, Query: r.URL.Query().Get("q"), Tabs: c.tabs("")}
	var err error
	if p.Numbers, err = c.House.Numbers(r.Context()); err == nil {
		p.Messages, err = c.House.Messages(r.Context(), p.Query, rows)
	}
	c.show(w, p, err)
}

func (c *console) message(w http.ResponseWriter, r *http.Request) {
	p := page{Host: c.Host, ID: r.PathValue("id"), Tabs: c.tabs("")}
	var err error
	p.Text, err = c.House.Explain(r.Context(), p.ID)
	if errors.Is(err, ErrUnknown) {
		http.Error(w, "no such record", http.StatusNotFound)
		return
	}
	c.show(w, p, err)
}

func (c *console) show(w http.ResponseWriter, p page, err error) {
	if err != nil {
		c.Log.Error("console", "error", err)
		http.Error(w, "something went wrong, the log has the cause", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if err := c.template.Execute(w, p); err != nil {
		c.Log.Error("console", "error", err) // the client is gone
	}
}
