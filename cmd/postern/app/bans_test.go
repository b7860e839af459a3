package app_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"postern/filters"
	"postern/proxy/console"
	"postern/proxy/console/api"
)

// tryLogin connects to the staff door and gives the reply to AUTH.
func (g *gate) tryLogin(address, user, password string) string {
	c := g.from(address, "staff")
	defer c.conn.Close()
	c.say("", 220)
	c.say("EHLO robot.example", 250)
	c.say("STARTTLS", 220)
	c = c.overTLS(trusting())
	c.say("EHLO robot.example", 250)
	return c.say("AUTH PLAIN "+plain(user, password), 0)
}

// control asks the gateway over its socket.
func (g *gate) control(method, path string, query url.Values) (int, []filters.Row) {
	g.t.Helper()
	var rows []filters.Row
	var body any
	if query != nil {
		body = map[string]string{"key": query.Get("key")}
	}
	err := api.Ask(g.t.Context(), console.Transport(g.dir+"/data/control.sock"), method, "/shelves/"+path, body, &rows)
	if p, ok := errors.AsType[api.Problem](err); ok {
		return p.Status, nil
	}
	if err != nil {
		g.t.Fatal(err)
	}
	return http.StatusOK, rows
}

func TestWhoGuessesPasswordsIsKeptOut(t *testing.T) {
	g := newGate(t)
	if said := g.tryLogin("127.0.0.8", "ben@ours.test", canary); !strings.HasPrefix(said, "235 ") {
		t.Fatal(said)
	}
	var robots sync.WaitGroup
	for i := range 5 {
		robots.Go(func() {
			if said := g.tryLogin("127.0.0.7", "ben@ours.test", fmt.Sprint("guess", i)); !strings.HasPrefix(said, "535 5.7.8 Authentication failed") {
				t.Error(said)
			}
		})
	}
	robots.Wait()
	// even the right password is refused now
	if said := g.tryLogin("127.0.0.7", "ben@ours.test", canary); !strings.HasPrefix(said, "535 5.7.8 Authentication failed") {
		t.Error(said)
	}
	if said := g.tryLogin("127.0.0.8", "ben@ours.test", canary); !strings.HasPrefix(said, "235 ") {
		t.Error("the user himself is kept out: ", said)
	}
	_, rows := g.control("GET", "bans", nil)
	if len(rows) != 1 || rows[0].Key != "127.0.0.7 ben@ours.test" {
		t.Fatalf("bans: %v", rows)
	}
	if code, _ := g.control("POST", "bans/lift", url.Values{"key": {rows[0].Key}}); code != 200 {
		t.Error(code)
	}
	if code, _ := g.control("POST", "bans/lift", url.Values{"key": {rows[0].Key}}); code != 404 {
		t.Error("lifted twice: ", code)
	}
	if said := g.tryLogin("127.0.0.7", "ben@ours.test", canary); !strings.HasPrefix(said, "235 ") {
		t.Error(said)
	}
}

// One old password on the mail server must not stop the mail of all its users; a stranger that guesses as often gets
// the reply of a full door.
func TestOurOwnServersAreLetInWhateverTheyGuess(t *testing.T) {
	g := newGate(t)
	for address, want := range map[string]int{"127.0.0.99": 220, "127.0.0.7": 421} {
		var tries sync.WaitGroup
		for i := range 20 {
			tries.Go(func() { g.tryLogin(address, fmt.Sprint("user", i, "@ours.test"), "wrong") })
		}
		tries.Wait()
		c := g.from(address, "staff")
		c.say("", want)
		c.conn.Close()
	}
}
