package web

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"postern/filters"
	"postern/proxy/console/api"
)

// User is the login with the password of the settings.
const User = "admin"

// Bounds of sessions.
const (
	idle        = 30 * time.Minute
	longest     = 12 * time.Hour
	maxSessions = 1000
	// failedDelay is the wait before a failed sign-in is answered.
	failedDelay = 2 * time.Second
	cookieName  = "postern"
	// tokenUser is the name under which guesses of tokens are counted.
	tokenUser = "token"
)

// sessions are who is signed in. They end with the program.
type sessions struct {
	now func() time.Time
	mu  sync.Mutex
	all map[[sha256.Size]byte]*session // by the hash of the cookie
}

type session struct {
	caller      api.Caller
	token       string // the token that must still be good; "" for the password
	begun, used time.Time
}

func newSessions(now func() time.Time) *sessions {
	return &sessions{now: now, all: map[[sha256.Size]byte]*session{}}
}

// begin begins a session and gives its cookie's value. Each sign-in has a new one, so that nobody can be given one in advance.
func (s *sessions) begin(caller api.Caller, token string) string {
	id := rand.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	oldest, any := [sha256.Size]byte{}, false
	for key, one := range s.all {
		if one.over(now) {
			delete(s.all, key)
		} else if !any || one.used.Before(s.all[oldest].used) {
			oldest, any = key, true
		}
	}
	if len(s.all) >= maxSessions {
		delete(s.all, oldest)
	}
	s.all[sha256.Sum256([]byte(id))] = &session{caller: caller, token: token, begun: now, used: now}

	return id
}

func (s *session) over(now time.Time) bool {
	return now.Sub(s.used) > idle || now.Sub(s.begun) > longest
}

func (s *sessions) find(id string) (session, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.all[sha256.Sum256([]byte(id))]
	if one == nil || one.over(s.now()) {
		return session{}, false
	}
	one.used = s.now()

	return *one, true
}

func (s *sessions) end(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, sha256.Sum256([]byte(id)))
}

// whose finds out who asks: signed says whether by a session. Without a password of the settings, others may look.
func (c *console) whose(r *http.Request) (caller api.Caller, signed, ok bool) {
	if cookie, err := r.Cookie(cookieName); err == nil {
		if s, found := c.sessions.find(cookie.Value); found && c.stillGood(r.Context(), &s) {
			return s.caller, true, true
		}
	}
	if c.Password == "" {
		return api.Caller{Name: "guest", Role: api.Auditor, From: api.Console}, false, true
	}

	return api.Caller{}, false, false
}

// stillGood looks whether the token of a session was revoked since.
func (c *console) stillGood(ctx context.Context, s *session) bool {
	if s.token == "" {
		return true
	}
	caller, err := c.Token(ctx, s.token)
	s.caller = named(caller)

	return err == nil
}

// named marks a caller as one of the console.
func named(c api.Caller) api.Caller {
	c.From = api.Console

	return c
}

// signinPage is what the template gets.
type signinPage struct {
	Host, To, Wrong string
	HasPassword     bool
}

func (c *console) signinPage(w http.ResponseWriter, r *http.Request) {
	c.askWho(w, signinPage{Host: c.Host, To: ownPath(r.URL.Query().Get("to")), HasPassword: c.Password != ""}, http.StatusOK)
}

func (c *console) askWho(w http.ResponseWriter, p signinPage, status int) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	if err := c.pages["signin"].ExecuteTemplate(w, "signin", p); err != nil {
		c.Log.Error("console", "page", "/signin", "error", err)
	}
}

// ownPath is a path of this console, and nothing else: a link must not lead from the sign-in to a stranger's page.
func ownPath(to string) string {
	if !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") || strings.ContainsAny(to, "\\\r\n\t") {
		return "/"
	}

	return to
}

func (c *console) signin(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 16<<10)
	name, secret, client := r.PostFormValue("name"), r.PostFormValue("secret"), clientOf(r)
	p := signinPage{Host: c.Host, To: ownPath(r.PostFormValue("to")), HasPassword: c.Password != "", Wrong: "This name and secret do not fit."}
	caller, token, err := c.known(r.Context(), client, name, secret)
	if err != nil {
		if !errors.Is(err, api.ErrToken) {
			c.Log.Error("console", "page", "/signin", "error", err)
			p.Wrong = "Nobody can sign in just now. The log has the cause."
		} else {
			c.Log.Warn("console login failed", "client", client.String(), "user", filters.Printable(name))
		}
		select {
		case <-time.After(failedDelay):
		case <-r.Context().Done():
		}
		c.askWho(w, p, http.StatusUnauthorized)
		return
	}
	if old, err := r.Cookie(cookieName); err == nil {
		c.sessions.end(old.Value)
	}
	http.SetCookie(w, &http.Cookie{Name: cookieName, Value: c.sessions.begin(caller, token), Path: "/", HttpOnly: true, Secure: overTLS(r), SameSite: http.SameSiteLaxMode})
	http.Redirect(w, r, p.To, http.StatusSeeOther)
}

// known says who it is: the admin of the settings, or the owner of a token. Guesses are counted as at all doors.
func (c *console) known(ctx context.Context, client netip.Addr, name, secret string) (caller api.Caller, token string, err error) {
	if name == "" {
		name = tokenUser
	}
	if c.Guard != nil && !c.Guard.Admit(ctx, client, name) {
		return api.Caller{}, "", api.ErrToken
	}
	got, want := sha256.Sum256([]byte(secret)), sha256.Sum256([]byte(c.Password))
	switch {
	case name != tokenUser && name != User, secret == "":
		err = api.ErrToken
	case name == User && c.Password != "" && subtle.ConstantTimeCompare(got[:], want[:]) == 1:
		caller = api.Caller{Name: User, Role: api.Admin, From: api.Console}
	default:
		caller, err = c.Token(ctx, secret)
		caller, token = named(caller), secret
	}
	switch {
	case c.Guard == nil:
	case err == nil:
		c.Guard.Passed(ctx, client, name)
	case errors.Is(err, api.ErrToken):
		c.Guard.Failed(ctx, client, name, secret)
	}

	return caller, token, err
}

func (c *console) signout(w http.ResponseWriter, r *http.Request) {
	if cookie, err := r.Cookie(cookieName); err == nil {
		c.sessions.end(cookie.Value)
	}
	http.SetCookie(w, &http.Cookie{Name: cookieName, Path: "/", MaxAge: -1, HttpOnly: true, Secure: overTLS(r), SameSite: http.SameSiteLaxMode})
	http.Redirect(w, r, "/signin", http.StatusSeeOther)
}

// byItsOwnName answers only under an address, "localhost" or the gateway's name. A console without a password must not
// answer to any other: a stranger's page could make an admin's browser read it under the stranger's own host name,
// pointed at this address (DNS rebinding).
func (c *console) byItsOwnName(next http.Handler) http.Handler {
	if c.Password != "" {
		return next
	}

	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		_, err := netip.ParseAddr(strings.Trim(host, "[]"))
		if err != nil && !strings.EqualFold(host, "localhost") && !strings.EqualFold(host, c.Host) {
			http.Error(w, "without a password the console answers only to its address: set password_file in [console] to give it another name", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// overTLS says whether the browser speaks TLS, to us or to the server in front of us. Whoever claims so falsely only keeps the cookie to
// himself.
func overTLS(r *http.Request) bool {
	return r.TLS != nil || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https")
}

func clientOf(r *http.Request) netip.Addr {
	peer, _ := netip.ParseAddrPort(r.RemoteAddr) // none is an address like any other

	return peer.Addr()
}
