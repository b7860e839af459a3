package web

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/proxy/console/api"
)

// hostile is what senders write who hope that an admin's browser runs it.
const hostile = `<script>alert(1)</script>"><img src=x onerror=alert(1)> javascript:alert(1) ` + "\u202e\u2066 =cmd|' /C calc'!A0"

// plane is a table of verbs that answers every question with hostile text, and remembers what it was asked.
type plane struct {
	mu    sync.Mutex
	asked []string
}

func (p *plane) as(c api.Caller) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.asked = append(p.asked, string(c.Role)+" "+r.Method+" "+strings.TrimPrefix(r.URL.RequestURI(), "/api/v1"))
		p.mu.Unlock()
		path := strings.TrimPrefix(r.URL.Path, "/api/v1")
		if strings.HasSuffix(path, "/raw") {
			_, _ = io.WriteString(w, "Subject: "+hostile+"\r\nContent-Type: text/html\r\n\r\n<a href=\"https://x.example/\">"+hostile+"</a>"+hostile+"\r\n")
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(answers()[pattern(path)])
	})
}

func (p *plane) last() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.asked) == 0 {
		return ""
	}

	return p.asked[len(p.asked)-1]
}

// pattern is a path without the id in it.
func pattern(path string) string {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	if len(parts) > 1 && parts[1] != "versions" {
		parts[1] = "{}"
	}

	return strings.Join(parts, "/")
}

func answers() map[string][]byte {
	h, _ := json.Marshal(hostile) // a text always is
	text := string(h)
	long, _ := json.Marshal(strings.Repeat("x", 10_000))
	tx := `{"id":"01M1","time":"2026-12-01T10:00:00Z","client":"192.0.2.1","client_name":` + text + `,"helo":` + text + `,"from":` + text + `,"subject":` + string(long) + `,"header_from":` + text + `,"message_id":` + text + `,
		"size":10,"held_id":"01M1-1","decisive":` + text + `,"reply":` + text + `,"done":[` + text + `],"took":{` + text + `:2.5},
		"recipients":[{"address":` + text + `,"disposition":"quarantine","fate":"held","score":8,"required":{"tag":4,"quarantine":6,"reject":12},"reply":` + text + `}],
		"fates":[{"time":"2026-12-01T10:00:00Z","word":"released","recipient":` + text + `,"by":` + text + `,"reply":` + text + `,"note":` + text + `}],
		"findings":[{"symbol":` + text + `,"score":8,"help":` + text + `,"evidence":[` + text + `]},{"symbol":"R_SPF_FAIL","evidence":[` + text + `]}]}`
	held := `{"id":"01M1-1","time":"2026-12-01T10:00:00Z","from":` + text + `,"recipients":[` + text + `],"subject":` + text + `,"header_from":` + text + `,"reason":` + text + `,"category":` + text + `,"state":` + text + `,"link_domain":` + text + `,"campaign":` + text + `,
		"reasons":[{"symbol":` + text + `,"score":1,"help":` + text + `,"evidence":[` + text + `]}]}`
	count := `[{"name":` + text + `,"n":3}]`
	all := map[string]string{
		"statistics": `{"since":"2026-12-01T09:00:00Z","known":"2026-12-01T09:30:00Z","hours":[{"start":"2026-12-01T09:00:00Z","counts":{"delivered":5,"held":1}}],"total":{"delivered":5,"held":1},"symbols":` + count + `,"senders":` + count + `,"networks":` + count + `,"recipients":` + count + `,"refusals":` + count + `}`,
		"status":     `{"troubles":[{"kind":` + text + `,"text":` + text + `}]}`,
		"messages":   `{"messages":[` + tx + `],"next":` + text + `}`, "messages/{}": `{"connection":{"id":"01M1","door":` + text + `,"client":"192.0.2.1","helo":` + text + `,"end":` + text + `},"transactions":[` + tx + `]}`,
		"quarantine": `{"messages":[` + held + `],"next":` + text + `}`, "quarantine/{}": held,
		"campaigns":     `[{"key":` + text + `,"messages":2,"recipients":2,"subject":` + text + `}]`,
		"lists":         `{"entries":[{"id":` + text + `,"list":"block","sender":` + text + `,"recipient":` + text + `,"owner":` + text + `,"reason":` + text + `}],"next":` + text + `}`,
		"queue":         `[{"id":` + text + `,"folder":"queue","from":` + text + `,"why":` + text + `,"recipients":[{"address":` + text + `}]}]`,
		"classifier/{}": `[{"id":` + text + `,"message":` + text + `,"odds":0.1,"time":"2026-12-01T10:00:00Z"}]`,
		"lessons":       `[{"id":1,"user":` + text + `,"how":` + text + `,"place":` + text + `,"message_id":` + text + `}]`, "classifier": `{"ham":1,"spam":2}`,
		"policy": `{"version":` + text + `,"text":` + text + `}`, "policy/versions": `[{"version":` + text + `,"by":` + text + `,"note":` + text + `}]`,
		"policy/{}": `{"messages":3,"verdicts":3,"flipped":1,"changes":{` + text + `:1},"flips":[{"id":"01M1","from":` + text + `,"recipient":` + text + `,"subject":` + text + `,"before":"accept","after":"reject","why":` + text + `}]}`,
		"shelves":   `{"bans":["lift"]}`, "shelves/{}": `[{"key":` + text + `,"text":` + text + `}]`,
		"tokens": `[{"id":` + text + `,"name":` + text + `,"role":"user","addresses":[` + text + `]}]`, "audit": `[{"who":` + text + `,"role":"admin","verb":` + text + `,"what":` + text + `,"outcome":` + text + `}]`,
	}
	octets := map[string][]byte{}
	for path, answer := range all {
		octets[path] = []byte(answer)
	}

	return octets
}

// pages are all that can be looked at.
func pages() []string {
	return []string{"/", "/messages?q=" + url.QueryEscape(hostile), "/messages/01M1", "/quarantine?text=" + url.QueryEscape(hostile), "/quarantine/01M1-1", "/quarantine/01M1-1/text", "/campaigns",
		"/lists?sender=" + url.QueryEscape(hostile), "/queue", "/learning", "/policy", "/tables/bans", "/tokens", "/audit"}
}

type browser struct {
	t       *testing.T
	handler http.Handler
	plane   *plane
	now     time.Time
	cookie  *http.Cookie
}

func newBrowser(t *testing.T, password string) *browser {
	t.Helper()
	b := &browser{t: t, plane: &plane{}, now: time.Date(2026, 12, 1, 10, 0, 0, 0, time.UTC)}
	var err error
	b.handler, err = Handler(Options{Host: "gw.test", As: b.plane.as, Password: password, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return b.now },
		Token: func(_ context.Context, secret string) (api.Caller, error) {
			if role, ok := strings.CutPrefix(secret, "token of "); ok {
				return api.Caller{Name: role, Role: api.Role(role), Addresses: []string{"ann@ours.test"}}, nil
			}
			return api.Caller{}, api.ErrToken
		}})
	if err != nil {
		t.Fatal(err)
	}

	return b
}

// ask asks for a page as a browser does; a form is sent from site.
func (b *browser) ask(method, path, site string, form url.Values) *http.Response {
	b.t.Helper()
	r := httptest.NewRequest(method, "http://127.0.0.1:8025"+path, strings.NewReader(form.Encode()))
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if site != "" {
		r.Header.Set("Sec-Fetch-Site", site)
	}
	if b.cookie != nil {
		r.AddCookie(b.cookie)
	}
	w := httptest.NewRecorder()
	b.handler.ServeHTTP(w, r)

	return w.Result()
}

// signIn signs in and keeps the cookie.
func (b *browser) signIn(name, secret string) *http.Response {
	b.t.Helper()
	answer := b.ask(http.MethodPost, "/signin", "same-origin", url.Values{"name": {name}, "secret": {secret}, "to": {"/messages"}})
	for _, c := range answer.Cookies() {
		b.cookie = c
	}

	return answer
}

func text(r *http.Response) string {
	octets, _ := io.ReadAll(r.Body) // of a recorder

	return string(octets)
}

// Text of senders is shown and never acts, on every page; and no page loads anything from elsewhere.
func TestHostileTextIsOnlyText(t *testing.T) {
	b := newBrowser(t, "right")
	b.signIn("admin", "right")
	for _, path := range pages() {
		answer := b.ask(http.MethodGet, path, "", nil)
		body := text(answer)
		if answer.StatusCode != http.StatusOK || strings.Contains(body, "<script>") || strings.Contains(body, "<img") || !strings.Contains(body, "&lt;script&gt;") {
			t.Errorf("%s: %d %.3000s", path, answer.StatusCode, body)
		}
		if strings.Contains(body, `href="javascript:`) || strings.Contains(body, "style=") || strings.Contains(body, "onclick") {
			t.Errorf("%s has script or style in it", path)
		}
		if path != "/policy" && strings.ContainsAny(body, "\u202e\u2066") {
			t.Errorf("%s lets a sender turn the direction of its text", path)
		}
		csp := answer.Header.Get("Content-Security-Policy")
		if !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") || !strings.Contains(csp, "frame-ancestors 'none'") {
			t.Errorf("%s: %s", path, csp)
		}
		if len(body) > 100_000 {
			t.Errorf("%s has %d octets", path, len(body))
		}
	}
}

// What a button does needs a sign-in and a page of ours: a stranger's page in the admin's browser can send forms, too.
func TestAButtonWantsASignInAndAPageOfOurs(t *testing.T) {
	form := url.Values{"key": {"192.0.2.1"}}
	b := newBrowser(t, "right")
	if answer := b.ask(http.MethodPost, "/tables/bans/lift", "same-origin", form); answer.Header.Get("Location") != "/signin" {
		t.Errorf("without a sign-in: %d", answer.StatusCode)
	}
	b.signIn("admin", "right")
	if answer := b.ask(http.MethodPost, "/tables/bans/lift", "cross-site", form); answer.StatusCode != http.StatusForbidden || strings.Contains(b.plane.last(), "lift") {
		t.Errorf("from a stranger's page: %d, asked %s", answer.StatusCode, b.plane.last())
	}
	if answer := b.ask(http.MethodPost, "/tables/bans/lift", "same-origin", form); answer.StatusCode != http.StatusSeeOther || b.plane.last() != "admin POST /shelves/bans/lift" {
		t.Errorf("from ours: %d, asked %s", answer.StatusCode, b.plane.last())
	}
	if answer := b.ask(http.MethodGet, "/tables/bans/lift?key=x", "same-origin", nil); answer.StatusCode == http.StatusOK || answer.StatusCode == http.StatusSeeOther {
		t.Errorf("a GET: %d", answer.StatusCode)
	}
}

// Who signs in gets a new session, which ends when it is not used, after half a day, and at sign-out.
func TestSessions(t *testing.T) {
	b := newBrowser(t, "right")
	in := func() bool { return b.ask(http.MethodGet, "/messages", "", nil).StatusCode == http.StatusOK }
	if answer := b.signIn("admin", "wrong"); answer.StatusCode != http.StatusUnauthorized || b.cookie != nil {
		t.Fatalf("a wrong password: %d", answer.StatusCode)
	}
	b.cookie = &http.Cookie{Name: cookieName, Value: "given-by-a-stranger"}
	if in() {
		t.Error("a made-up cookie is let in")
	}
	b.signIn("admin", "right")
	if b.cookie.Value == "given-by-a-stranger" || !b.cookie.HttpOnly || b.cookie.SameSite != http.SameSiteLaxMode || !in() {
		t.Errorf("cookie %v", b.cookie)
	}
	b.now = b.now.Add(29 * time.Minute)
	if !in() {
		t.Error("ended although it is used")
	}
	b.now = b.now.Add(31 * time.Minute)
	if in() {
		t.Error("not ended although nobody used it for half an hour")
	}
	b.signIn("admin", "right")
	for range 30 {
		b.now = b.now.Add(25 * time.Minute)
		in()
	}
	if in() {
		t.Error("not ended after 12 hours")
	}
	b.signIn("admin", "right")
	old := b.cookie
	b.ask(http.MethodPost, "/signout", "same-origin", nil)
	if b.cookie = old; in() {
		t.Error("not ended at sign-out")
	}
}

// A sign-in leads back to a page of ours and nowhere else.
func TestSignInLeadsToOurs(t *testing.T) {
	for to, want := range map[string]string{"/quarantine/01M1-1": "/quarantine/01M1-1", "//evil.example/": "/", "https://evil.example/": "/", `/\evil.example`: "/", "": "/"} {
		b := newBrowser(t, "right")
		answer := b.ask(http.MethodPost, "/signin", "same-origin", url.Values{"name": {"admin"}, "secret": {"right"}, "to": {to}})
		if got := answer.Header.Get("Location"); got != want {
			t.Errorf("%q leads to %q, want %q", to, got, want)
		}
	}
}

// Each role sees its pages and its buttons, and is itself for the table of verbs.
func TestRoles(t *testing.T) {
	for role, want := range map[api.Role]struct{ pages, buttons string }{
		api.Admin:       {"Overview Messages Quarantine Campaigns Lists Policy Learning Queue Tables Tokens Audit", "release allow delete spam"},
		api.Helpdesk:    {"Overview Messages Quarantine Campaigns Lists Policy Learning Queue Tables", "release allow delete"},
		api.Auditor:     {"Overview Messages Quarantine Campaigns Lists Policy Learning Queue Tables Tokens Audit", ""},
		api.DomainAdmin: {"Messages Quarantine Campaigns Lists", "release allow delete"},
		api.User:        {"Messages Quarantine Campaigns Lists", "release allow delete"},
	} {
		b := newBrowser(t, "right")
		if answer := b.signIn("", "token of "+string(role)); answer.StatusCode != http.StatusSeeOther {
			t.Errorf("%s can't sign in with a token: %d", role, answer.StatusCode)
		}
		body := text(b.ask(http.MethodGet, "/quarantine", "", nil))
		if !strings.HasPrefix(b.plane.last(), string(role)+" ") {
			t.Errorf("%s asks as %s", role, b.plane.last())
		}
		_, nav, _ := strings.Cut(body, `<nav`)
		nav, _, _ = strings.Cut(nav, "</nav>")
		var names, buttons []string
		for piece := range strings.SplitSeq(nav, "</a>") {
			if i := strings.LastIndex(piece, ">"); i >= 0 && i < len(piece)-1 {
				names = append(names, piece[i+1:])
			}
		}
		for _, act := range []string{"release", "allow", "delete", "spam"} {
			if strings.Contains(body, `name="act" value="`+act+`"`) {
				buttons = append(buttons, act)
			}
		}
		if got := strings.Join(names, " "); got != want.pages {
			t.Errorf("%s sees the pages %s, want %s", role, got, want.pages)
		}
		if got := strings.Join(buttons, " "); got != want.buttons {
			t.Errorf("%s sees the buttons %q, want %q", role, got, want.buttons)
		}
	}
}

// Without a password anybody may look at the address alone, and nobody changes anything.
func TestAnOpenConsole(t *testing.T) {
	b := newBrowser(t, "")
	if answer := b.ask(http.MethodGet, "/messages", "", nil); answer.StatusCode != http.StatusOK || !strings.HasPrefix(b.plane.last(), "auditor ") {
		t.Errorf("%d, asked as %s", answer.StatusCode, b.plane.last())
	}
	for host, want := range map[string]int{"127.0.0.1:8025": 200, "[::1]": 200, "localhost:8025": 200, "GW.test:8025": 200, "evil.example": 403, "127.0.0.1.evil.example:8025": 403} {
		r := httptest.NewRequest(http.MethodGet, "/messages", nil)
		r.Host = host
		w := httptest.NewRecorder()
		b.handler.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("%s: %d, want %d", host, w.Code, want)
		}
	}
}

// What stands in the box becomes a question to the table.
func TestSearch(t *testing.T) {
	b := newBrowser(t, "")
	for text, want := range map[string]string{"since:2h": "2026-12-01T08:00:00Z", "since:3d": "2026-11-28T10:00:00Z", "since:2026-11-30T12:00:00Z": "2026-11-30T12:00:00Z"} {
		b.ask(http.MethodGet, "/messages?q="+url.QueryEscape(text), "", nil)
		if got := b.plane.last(); got != "auditor GET /messages?limit=50&since="+url.QueryEscape(want) {
			t.Errorf("%s: asked %s", text, got)
		}
	}
	b.ask(http.MethodGet, "/messages?q="+url.QueryEscape("cheap pills from:shop.example symbol:BAYES_SPAM fate:released re:x"), "", nil)
	want := "auditor GET /messages?fate=released&limit=50&q=" + url.QueryEscape("cheap pills re:x") + "&sender=shop.example&symbol=BAYES_SPAM"
	if got := b.plane.last(); got != want {
		t.Errorf("asked %s\nwant  %s", got, want)
	}
}

// The buttons of the quarantine are verbs of the table, one for each message.
func TestActOnHeld(t *testing.T) {
	b := newBrowser(t, "right")
	b.signIn("admin", "right")
	for act, want := range map[string]string{"release": "admin POST /quarantine/01M1-1/release", "allow": "admin POST /quarantine/01M1-1/release", "delete": "admin DELETE /quarantine/01M1-1", "spam": "admin DELETE /quarantine/01M1-1?learn=true"} {
		answer := b.ask(http.MethodPost, "/quarantine", "same-origin", url.Values{"id": {"01M1-1"}, "act": {act}})
		if got := b.plane.last(); answer.StatusCode != http.StatusSeeOther || got != want {
			t.Errorf("%s: %d, asked %s, want %s", act, answer.StatusCode, got, want)
		}
	}
	if answer := b.ask(http.MethodPost, "/quarantine", "same-origin", url.Values{"act": {"release"}}); answer.StatusCode != http.StatusBadRequest || !strings.Contains(text(answer), "no message was selected") {
		t.Errorf("none selected: %d", answer.StatusCode)
	}
}

// was says whether the table was asked so.
func (p *plane) was(asked string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, one := range p.asked {
		if one == asked {
			return true
		}
	}

	return false
}
