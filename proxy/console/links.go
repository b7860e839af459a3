// Package console holds the ways by which people reach the running gateway: the control socket of the command line, and the pages behind links
// in digests. The pages of the console are in package web, the table of verbs that all of them serve in package api.
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
	"strings"

	"postern/filters"
)

//go:embed link.html
var linkPages embed.FS

// Links serves the links in digests.
type Links interface {
	// Look says what a link will do, and changes nothing. The error is ErrLink for an invalid one.
	Look(ctx context.Context, token string) (Link, error)
	// Do does it, once: later uses are answered that it was done.
	Do(ctx context.Context, token, client string) (Link, error)
}

// ErrLink means that a link is forged, expired or for another act: only the log says which.
var ErrLink = errors.New("this link does not hold, or not any more")

// Link is the page behind a link. Text of strangers is in it unescaped.
type Link struct {
	// Mailbox is the owner of the mail, Title the question, Button the answer that does it, "" if there is nothing to do.
	Mailbox, Title, Button string
	// Done says what was done, or why it can't be.
	Done string
	Rows []LinkRow
	// Token is that of the button's form.
	Token string
}

// LinkRow is one held message.
type LinkRow struct {
	From, Subject, Received, Why string
	Acts                         []LinkAct
}

// LinkAct is one more thing that can be done: a link to its own page.
type LinkAct struct{ Text, Token string }

// maxLinkToken bounds a token in a path, in octets.
const maxLinkToken = 2048

// LinkPages serves /q/TOKEN. There is no login: the token carries user and permission. Programs that follow links in
// mail (RFC 9110 section 9.2.1: GET and HEAD are safe) change nothing; only the form's POST does.
func LinkPages(l Links, log *slog.Logger) (http.Handler, error) {
	t, err := template.New("link.html").Funcs(template.FuncMap{"printable": filters.Printable}).ParseFS(linkPages, "link.html")
	if err != nil {
		return nil, fmt.Errorf("links: %w", err)
	}
	p := &linkPage{l, t, log}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /q/{token}", func(w http.ResponseWriter, r *http.Request) { p.serve(w, r, l.Look) })
	mux.HandleFunc("POST /q/{token}", func(w http.ResponseWriter, r *http.Request) {
		p.serve(w, r, func(ctx context.Context, token string) (Link, error) { return l.Do(ctx, token, clientOf(r).String()) })
	})
	return guarded(mux), nil
}

type linkPage struct {
	links    Links
	template *template.Template
	log      *slog.Logger
}

func (p *linkPage) serve(w http.ResponseWriter, r *http.Request, ask func(context.Context, string) (Link, error)) {
	token := r.PathValue("token")
	page, err := Link{}, ErrLink
	if len(token) <= maxLinkToken {
		page, err = ask(r.Context(), token)
	}
	status := http.StatusOK
	switch {
	case errors.Is(err, ErrLink):
		// one page and one text, whatever is wrong with it: guessing discloses nothing
		page, status = Link{Title: "This link does not hold, or not any more.", Done: "Links in digests hold for two weeks. Your next digest has new ones."}, http.StatusNotFound
	case err != nil:
		p.log.Error("link", "error", err)
		page, status = Link{Title: "This did not work.", Done: "Try again in a few minutes. Nothing was lost."}, http.StatusInternalServerError
	default:
		page.Token = token
	}
	var text strings.Builder
	if err := p.template.Execute(&text, page); err != nil {
		p.log.Error("link", "error", err)
		http.Error(w, "something went wrong, the log has the cause", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("X-Robots-Tag", "noindex, nofollow")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text.String())) // a client that went away
}

// guarded sets the headers that keep hostile text in a page harmless. These pages have no script and load nothing.
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

func clientOf(r *http.Request) netip.Addr {
	peer, _ := netip.ParseAddrPort(r.RemoteAddr) // none is an address like any other

	return peer.Addr()
}
