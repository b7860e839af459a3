package console

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"postern/filters"
)

// AdminTables are the tables of the running gateway that an admin may correct, by name. They are asked for with each
// request, as a reload replaces them.
type AdminTables func() map[string]filters.AdminTable

// Guard refuses clients that guess the password, as at all doors.
type Guard interface {
	Admit(ctx context.Context, client netip.Addr, user string) bool
	Passed(ctx context.Context, client netip.Addr, user string)
	Failed(ctx context.Context, client netip.Addr, user, password string)
}

// tab is a table in the console's navigation.
type tab struct {
	Name, Title, Help string
	Here              bool
}

// tabs are the tables that are there, in the order in which they are shown.
func (c *console) tabs(here string) []tab {
	tables := c.AdminTables()
	var list []tab
	for _, t := range []tab{
		{Name: "greylist", Title: "Greylist", Help: "Senders that were asked to come again, and have not yet."},
		{Name: "bans", Title: "Bans", Help: "Who is kept out for guessing passwords. Nobody else is touched: neither the user, nor others at the same address who have logged in before."},
		{Name: "harvest", Title: "Harvesters", Help: "Clients that guess addresses, and are turned away for it."},
		{Name: "correspondents", Title: "Frozen users", Help: "Users who may not send just now, because they suddenly wrote to many strangers. Their password may be stolen."},
		{Name: "dnslists", Title: "DNS lists", Help: "The DNS lists in use. One that answers nonsense is muted, and scores nothing."},
		{Name: "campaigns", Title: "Campaigns", Help: "Mail that came many times in small variations, with what became of it and what people said. A campaign that is called good, or forgotten, no longer adds to the score."},
		{Name: "muted", Title: "Muted symbols", Help: "Symbols that suddenly convicted mail all by themselves. They weigh nothing for an hour; what they had held was judged again."},
		{Name: "memory", Title: "Memory", Help: "Where the gateway remembers clients."},
	} {
		if _, ok := tables[t.Name]; ok {
			t.Here = t.Name == here
			list = append(list, t)
		}
	}
	return list
}

// rowsShown is how many rows of a table one page shows.
const rowsShown = 500

func (c *console) table(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	table, ok := c.AdminTables()[name]
	if !ok {
		http.Error(w, "no such page", http.StatusNotFound)
		return
	}
	p := page{Host: c.Host, Tabs: c.tabs(name), Table: name}
	for _, t := range p.Tabs {
		if t.Here {
			p.Title, p.Help = t.Title, t.Help
		}
	}
	if c.Password != "" {
		p.Verbs = table.Verbs()
	}
	var err error
	p.Rows, err = table.Rows(r.Context(), rowsShown)
	c.show(w, p, err)
}

// correct performs a button's act. It needs a login and must come from a page of ours: a foreign page in the admin's
// browser can send forms too.
func (c *console) correct(w http.ResponseWriter, r *http.Request) {
	name, verb := r.PathValue("name"), r.PathValue("verb")
	table, ok := c.AdminTables()[name]
	switch {
	case c.Password == "":
		http.Error(w, "the console only shows: set password_file in [console] to change things here", http.StatusForbidden)
		return
	case !ours(r):
		http.Error(w, "this did not come from the console", http.StatusForbidden)
		return
	case !ok || !slices.Contains(table.Verbs(), verb):
		http.Error(w, "no such page", http.StatusNotFound)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	key := r.PostFormValue("key")
	err := c.Apply(r.Context(), clientOf(r), name, verb, key)
	if err != nil && !errors.Is(err, filters.ErrNoRow) { // a row gone meanwhile is what the admin wanted
		c.show(w, page{}, err)
		return
	}
	http.Redirect(w, r, "/shelf/"+name, http.StatusSeeOther)
}

// ours says whether a form was sent by a page of this console.
func ours(r *http.Request) bool {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" {
		return site == "same-origin"
	}
	origin := r.Header.Get("Origin")
	_, host, _ := strings.Cut(origin, "://")
	return origin != "" && host == r.Host
}

// User is the one login of the console there is so far.
const User = "admin"

// failedDelay is the wait before a failed login is answered.
const failedDelay = 2 * time.Second

// login asks for the password, where there is one.
func (c *console) login(next http.Handler) http.Handler {
	if c.Password == "" {
		return c.byItsOwnName(next)
	}
	want := sha256.Sum256([]byte(c.Password))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, given := r.BasicAuth()
		client := clientOf(r)
		if given && (c.Guard == nil || c.Guard.Admit(r.Context(), client, user)) {
			got := sha256.Sum256([]byte(password))
			if subtle.ConstantTimeCompare(got[:], want[:]) == 1 && user == User {
				if c.Guard != nil {
					c.Guard.Passed(r.Context(), client, user)
				}
				next.ServeHTTP(w, r)
				return
			}
			if c.Guard != nil {
				c.Guard.Failed(r.Context(), client, user, password)
			}
			c.Log.Warn("console login failed", "client", client.String(), "user", filters.Printable(user))
		}
		if given {
			select {
			case <-time.After(failedDelay):
			case <-r.Context().Done():
			}
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="Postern", charset="UTF-8"`)
		http.Error(w, "log in as admin, with the password of password_file in [console]", http.StatusUnauthorized)
	})
}

// byItsOwnName answers only under an address, "localhost" or the gateway's name. A console without a password must not
// answer to any other: a stranger's page could make an admin's browser read it under the stranger's own host name,
// pointed at this address (DNS rebinding).
func (c *console) byItsOwnName(next http.Handler) http.Handler {
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

func clientOf(r *http.Request) netip.Addr {
	peer, _ := netip.ParseAddrPort(r.RemoteAddr) // none is an address like any other
	return peer.Addr()
}
