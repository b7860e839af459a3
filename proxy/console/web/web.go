// Package web is the console: pages over the table of verbs, which work without script. What a page shows and what a button does goes
// through the table in the name of who is signed in, so that roles, limits and the audit log are those of all other ways.
package web

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"postern/proxy/console/api"
)

//go:embed templates static
var files embed.FS

// Guard refuses clients that guess passwords, as at all doors.
type Guard interface {
	Admit(ctx context.Context, client netip.Addr, user string) bool
	Passed(ctx context.Context, client netip.Addr, user string)
	Failed(ctx context.Context, client netip.Addr, user, password string)
}

// Options are what the console is made of.
type Options struct {
	// Host is the gateway's name.
	Host string
	// As serves the table of verbs in somebody's name.
	As func(api.Caller) http.Handler
	// Token gives whose token it is; the error is api.ErrToken if it is nobody's.
	Token func(ctx context.Context, secret string) (api.Caller, error)
	// Password is that of the user "admin". Without one anybody may look, and only tokens sign in.
	Password string
	// Guard may be nil.
	Guard Guard
	Log   *slog.Logger
	Now   func() time.Time
}

// Handler makes the console. Text from outside is escaped by html/template; nothing is loaded from anywhere else.
func Handler(o Options) (http.Handler, error) {
	c := &console{Options: o, sessions: newSessions(o.Now), verbs: api.Verbs()}
	var err error
	if c.pages, err = parse(); err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	static, err := fs.Sub(files, "static")
	if err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /static/", http.StripPrefix("/static/", http.FileServerFS(static)))
	mux.HandleFunc("GET /signin", c.signinPage)
	mux.HandleFunc("POST /signin", c.signin)
	mux.HandleFunc("POST /signout", c.signout)
	for pattern, show := range c.routes() {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { c.serve(w, r, show) })
	}
	// RFC 9110 section 9.2.1: GET changes nothing; what changes something must come from a page of ours
	own := http.NewCrossOriginProtection()

	return guarded(c.byItsOwnName(own.Handler(mux))), nil
}

// routes are all pages and acts.
func (c *console) routes() map[string]func(*visit) error {
	return map[string]func(*visit) error{
		"GET /{$}":                   (*visit).overview,
		"GET /messages":              (*visit).messages,
		"GET /export":                (*visit).export,
		"GET /messages/{id}":         (*visit).message,
		"POST /messages/{id}/recall": (*visit).recall,
		"GET /quarantine":            (*visit).held,
		"POST /quarantine":           (*visit).actOnHeld,
		"GET /quarantine/{id}":       (*visit).heldOne,
		"GET /quarantine/{id}/text":  (*visit).heldText,
		"GET /campaigns":             (*visit).campaigns,
		"POST /campaigns":            (*visit).actOnCampaign,
		"GET /lists":                 (*visit).lists,
		"POST /lists":                (*visit).addToList,
		"POST /lists/remove":         (*visit).removeFromList,
		"GET /queue":                 (*visit).queue,
		"POST /queue":                (*visit).actOnQueue,
		"GET /learning":              (*visit).learning,
		"POST /learning/undo":        (*visit).undoLesson,
		"POST /learning/audit":       (*visit).answer,
		"GET /policy":                (*visit).policy,
		"POST /policy":               (*visit).changePolicy,
		"GET /tables/{name}":         (*visit).table,
		"POST /tables/{name}/{verb}": (*visit).correct,
		"GET /tokens":                (*visit).tokens,
		"POST /tokens":               (*visit).changeTokens,
		"GET /audit":                 (*visit).audit,
		"GET /message/{id}":          (*visit).formerMessage,
		"GET /shelf/{name}":          (*visit).formerTable,
	}
}

// guarded sets the headers that keep hostile text in a page harmless.
func guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

type console struct {
	Options
	pages    map[string]*template.Template
	sessions *sessions
	verbs    []api.Verb
}

// visit is one request of somebody.
type visit struct {
	*console
	w      http.ResponseWriter
	r      *http.Request
	caller api.Caller
	signed bool
}

// page is what a template gets.
type page struct {
	Host, Title, Here string
	Nav               []navLink
	Who               string
	Role              api.Role
	Signed            bool
	Done              string
	Body              any
}

// serve finds out who it is, and shows the page.
func (c *console) serve(w http.ResponseWriter, r *http.Request, show func(*visit) error) {
	v := &visit{console: c, w: w, r: r}
	var ok bool
	if v.caller, v.signed, ok = c.whose(r); !ok {
		to := "/signin"
		if r.Method == http.MethodGet && r.URL.Path != "/" {
			to += "?to=" + url.QueryEscape(r.URL.RequestURI())
		}
		http.Redirect(w, r, to, http.StatusSeeOther)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
	if err := show(v); err != nil {
		v.fail(err)
	}
}

// fail shows what is wrong: what the table refuses, in its own words. Of our own faults the log has the cause.
func (v *visit) fail(err error) {
	p, ok := errors.AsType[api.Problem](err)
	if !ok {
		v.Log.Error("console", "page", v.r.URL.Path, "error", err)
		p = api.Problem{Status: http.StatusInternalServerError, Title: "something went wrong", Detail: "the log has the cause"}
	}
	v.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	v.w.WriteHeader(p.Status)
	if err := v.show("problem", "Not done", "", p); err != nil {
		v.Log.Error("console", "page", v.r.URL.Path, "error", err)
	}
}

// ask has a verb done in the caller's name.
func (v *visit) ask(method, path string, body, answer any) error {
	by := api.Direct{Handler: v.As(v.caller), Client: netip.AddrPortFrom(clientOf(v.r), 0).String()}

	return api.Ask(v.r.Context(), by, method, path, body, answer)
}

// may says whether the caller's role may use a verb of the table.
func (v *visit) may(method, path string) bool {
	i := slices.IndexFunc(v.verbs, func(one api.Verb) bool { return one.Method == method && one.Path == path })

	return i >= 0 && slices.Contains(v.verbs[i].Roles, v.caller.Role)
}

// show writes a page.
func (v *visit) show(name, title, here string, body any) error {
	p := page{Host: v.Host, Title: title, Here: here, Nav: v.nav(here), Who: v.caller.Name, Role: v.caller.Role, Signed: v.signed, Body: body,
		Done: done()[v.r.URL.Query().Get("done")]}
	var text bytes.Buffer
	if err := v.pages[name].ExecuteTemplate(&text, "layout", p); err != nil {
		return err
	}
	octets := text.Bytes()
	if name != "policy" { // whose draft must come back as it was
		octets = []byte(shownDirections().Replace(text.String()))
	}
	v.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = v.w.Write(octets) // the client may be gone

	return nil
}

// shownDirections makes marks visible that turn the direction of text: a sender could write "gpj.exe" with them so that it is read as
// "exe.jpg" (Unicode UAX #9).
func shownDirections() *strings.Replacer {
	var pairs []string
	for _, r := range []rune{0x061c, 0x200e, 0x200f, 0x202a, 0x202b, 0x202c, 0x202d, 0x202e, 0x2066, 0x2067, 0x2068, 0x2069} {
		pairs = append(pairs, string(r), fmt.Sprintf("\\u%04x", r))
	}

	return strings.NewReplacer(pairs...)
}

// back goes to a page after an act, which says there what was done.
func (v *visit) back(path, what string) error {
	http.Redirect(v.w, v.r, path+"?done="+what, http.StatusSeeOther)
	return nil
}

// done are the sentences for what was done.
func done() map[string]string {
	return map[string]string{
		"released": "Released: it is on its way.", "deleted": "Deleted.", "allowed": "Released, and the sender's proven mail is let in from now on.",
		"spam": "Deleted, and learned as spam.", "recalled": "Called back: it is withheld when it is fetched, and postern sweep takes it out of mailboxes.",
		"added": "The entry holds within seconds.", "removed": "Removed.", "retried": "It is tried again now.", "applied": "The policy is in force.",
		"back": "The earlier policy is in force again.", "changed": "Done.", "undone": "The lesson is taken back.", "learned": "Learned. The next one?",
	}
}

type navLink struct {
	Path, Name string
	Here       bool
}

// nav are the pages that the caller's role may see.
func (v *visit) nav(here string) (all []navLink) {
	for _, l := range []struct{ path, name, verb string }{
		{"/", "Overview", "/statistics"}, {"/messages", "Messages", "/messages"}, {"/quarantine", "Quarantine", "/quarantine"}, {"/campaigns", "Campaigns", "/campaigns"},
		{"/lists", "Lists", "/lists"}, {"/policy", "Policy", "/policy"}, {"/learning", "Learning", "/classifier"}, {"/queue", "Queue", "/queue"},
		{"/tables/bans", "Tables", "/shelves"}, {"/tokens", "Tokens", "/tokens"}, {"/audit", "Audit", "/audit"},
	} {
		if v.may(http.MethodGet, l.verb) {
			all = append(all, navLink{l.path, l.name, l.name == here})
		}
	}

	return all
}
