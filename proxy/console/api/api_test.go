package api

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/filters"
	"postern/policy"
	"postern/policy/records/ledger"
	"postern/policy/records/lists"
	"postern/policy/records/quarantine"
	"postern/policy/records/recall"
	"postern/proxy/release"
)

// waiting is a queue with one message.
type waiting struct{ gone map[string]bool }

func (w *waiting) All() (any, error) { return []string{"01Q"}, nil }

func (w *waiting) Retry(id, _ string) error {
	if id != "01Q" {
		return ErrNotFound
	}
	return nil
}

func (w *waiting) Delete(id, _ string) error {
	if id != "01Q" {
		return ErrNotFound
	}
	w.gone[id] = true
	return nil
}

// row is a table with one row.
type row struct{}

func (row) Verbs() []string { return []string{"lift"} }

func (row) Rows(context.Context, int) ([]filters.Row, error) {
	return []filters.Row{{Key: "192.0.2.1", Text: `<script>alert(1)</script>`}}, nil
}

func (row) Apply(_ context.Context, verb, key string) error {
	switch {
	case verb != "lift":
		return filters.ErrUnknownVerb
	case key != "192.0.2.1":
		return filters.ErrNoRow
	}
	return nil
}

// office is an interface with a ledger, and a token for every role.
type office struct {
	*API
	t      *testing.T
	tokens map[Role]string
	// released are the orders that were carried out.
	released  []release.Order
	held      *quarantine.Quarantine
	entries   *lists.Store
	passwords *passwords
}

const hostile = "=cmd|'/C calc'!A0 <script>alert(1)</script>\x1b]0;owned\a"

func open(t *testing.T) *office {
	t.Helper()
	dir := t.TempDir()
	l, err := ledger.Open(filepath.Join(dir, "ledger.db"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for i, to := range [][]string{{"ann@ours.test"}, {"bob@ours.test", "eve@theirs.test"}, {"eve@theirs.test"}} {
		id := fmt.Sprintf("01M845BXWGE759V%d", i)
		tx := ledger.Transaction{ID: id + ".1", ConnID: id, Time: at.Add(time.Duration(i) * time.Minute), Client: netip.MustParseAddr("192.0.2.7"), From: "x@spam.example",
			Subject: hostile, SHA256: strings.Repeat("ab", 32), MessageID: fmt.Sprintf("<%d@spam.example>", i), Findings: []policy.Reason{{Symbol: "BAYES_SPAM", Score: 5, Evidence: []string{"eve@theirs.test was told"}}}}
		for _, a := range to {
			tx.Recipients = append(tx.Recipients, ledger.Recipient{Address: a, Disposition: policy.Quarantine, Fate: "held", Decisive: "for " + a})
		}
		l.Connection(ledger.Connection{ID: id, Door: "mx", Started: at, Ended: at, Client: tx.Client, End: "quit"})
		l.Transaction(tx)
	}
	if err := l.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	recalls, err := recall.Open(filepath.Join(dir, "recall.db"), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = recalls.Close() })
	store, err := OpenStore(filepath.Join(dir, "admin.db"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	o := &office{t: t, tokens: map[Role]string{}, passwords: &passwords{}}
	options := o.furnish(dir)
	options.Store, options.Ledger, options.Recalls, options.Troubles, options.Queue = store, l, recalls, func() any { return []string{} }, &waiting{map[string]bool{}}
	options.AdminTables = func() map[string]filters.AdminTable { return map[string]filters.AdminTable{"bans": row{}} }
	o.API = New(options)
	for _, r := range Roles() {
		token := Token{Name: string(r), Role: r, Created: at}
		switch r {
		case DomainAdmin:
			token.Domains = []string{"OURS.test"}
		case User:
			token.Addresses = []string{"Ann@ours.test"}
		}
		if _, o.tokens[r], err = store.Add(context.Background(), token); err != nil {
			t.Fatal(err)
		}
	}
	return o
}

func (o *office) ask(token, method, path, body string) (int, string) {
	o.t.Helper()
	r := httptest.NewRequest(method, prefix+path, strings.NewReader(body))
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	w := httptest.NewRecorder()
	o.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

// Every verb and every role: a role not in the table's row gets 403, one in it never does.
func TestVerbsAndRoles(t *testing.T) {
	o := open(t)
	text, err := os.ReadFile("testdata/roles.txt")
	if err != nil {
		t.Fatal(err)
	}
	allowed := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if name, roles, ok := strings.Cut(strings.TrimSpace(line), ": "); ok && line[0] != '#' {
			allowed[name] = roles
		}
	}
	for _, v := range o.verbs {
		name := v.Method + " " + v.Path
		want, ok := allowed[name]
		if !ok {
			t.Errorf("testdata/roles.txt does not say who may %s", name)
		}
		path := strings.NewReplacer("{id}", "01NOSUCH", "{name}", "bans", "{verb}", "lift").Replace(v.Path)
		for _, r := range Roles() {
			code, _ := o.ask(o.tokens[r], v.Method, path, "{}")
			if may := strings.Contains(" "+want+" ", " "+string(r)+" "); may == (code == http.StatusForbidden) {
				t.Errorf("%s as %s: %d, allowed are %s", name, r, code, want)
			}
		}
		if code, _ := o.ask("", v.Method, path, "{}"); code != http.StatusUnauthorized {
			t.Errorf("%s without a token: %d", name, code)
		}
		delete(allowed, name)
	}
	for name := range allowed {
		t.Errorf("testdata/roles.txt has %s, which there is not", name)
	}
}

// No caller sees items of others: not in a list, not by id, not beside their own.
func TestScope(t *testing.T) {
	o := open(t)
	for role, want := range map[Role]int{Admin: 3, Helpdesk: 3, Auditor: 3, DomainAdmin: 2, User: 1} {
		code, text := o.ask(o.tokens[role], "GET", "/messages", "")
		var page struct{ Messages []ledger.Transaction }
		if err := json.Unmarshal([]byte(text), &page); err != nil || code != http.StatusOK || len(page.Messages) != want {
			t.Errorf("%s: %d, %d messages, want %d, %v", role, code, len(page.Messages), want, err)
		}
		if (role == User) && strings.Contains(text, "theirs") {
			t.Errorf("%s learns of others: %s", role, text)
		}
	}
	for _, c := range []struct {
		role Role
		id   string
		want int
	}{
		{User, "01M845BXWGE759V0.1", 200}, {User, "01M845BXWGE759V1.1", 404}, {User, "01M845BXWGE759V2", 404}, {DomainAdmin, "01M845BXWGE759V1.1", 200},
		{DomainAdmin, "01M845BXWGE759V2.1", 404}, {DomainAdmin, "01M845BXWGE759V2", 404}, {Admin, "01M845BXWGE759V2", 200}, {Admin, "..%2f..%2fetc%2fpasswd", 404}, {User, "'%20OR%201=1", 404},
	} {
		if code, text := o.ask(o.tokens[c.role], "GET", "/messages/"+c.id, ""); code != c.want {
			t.Errorf("%s asks for %s: %d %s", c.role, c.id, code, text)
		}
	}
	if _, text := o.ask(o.tokens[DomainAdmin], "GET", "/messages/01M845BXWGE759V1.1", ""); strings.Contains(text, `"eve@theirs.test"`) || strings.Contains(text, "for eve") {
		t.Errorf("the other domain's recipient is shown: %s", text)
	}
	if _, text := o.ask(o.tokens[User], "GET", "/messages/01M845BXWGE759V0.1?for=admin", ""); strings.Contains(text, "192.0.2.7") || strings.Contains(text, "theirs") {
		t.Errorf("a user gets the admin's voice: %s", text)
	}
}

// What a sender wrote comes out harmless in every form.
func TestHostileText(t *testing.T) {
	o := open(t)
	for _, path := range []string{"/messages", "/messages/01M845BXWGE759V0.1", "/messages/01M845BXWGE759V0.1?for=admin", "/export", "/export?format=json", "/shelves/bans"} {
		r := httptest.NewRequest("GET", prefix+path, nil)
		r.Header.Set("Authorization", "Bearer "+o.tokens[Admin])
		w := httptest.NewRecorder()
		o.ServeHTTP(w, r)
		text := w.Body.String()
		if strings.ContainsAny(text, "\x1b\a") {
			t.Errorf("%s: a control sequence", path)
		}
		if strings.Contains(text, "<script>") && !strings.HasPrefix(w.Header().Get("Content-Type"), "text/") && !strings.Contains(path, "json") {
			t.Errorf("%s: an element", path)
		}
		if strings.Contains(text, ",=cmd") || strings.Contains(text, "\n=cmd") {
			t.Errorf("%s: a formula", path)
		}
		if w.Header().Get("X-Content-Type-Options") != "nosniff" || !strings.Contains(w.Header().Get("Content-Security-Policy"), "sandbox") {
			t.Errorf("%s: without the fields that keep a browser from running it", path)
		}
	}
}

func TestTokens(t *testing.T) {
	o := open(t)
	good := o.tokens[Admin]
	for _, bad := range []string{"x", good[:len(good)-1], good + "x", strings.ToUpper(good), "postern_" + strings.Repeat("0", 12) + "_x", good[:20], strings.Repeat("postern_", 100)} {
		if code, _ := o.ask(bad, "GET", "/whoami", ""); code != http.StatusUnauthorized {
			t.Errorf("%q: %d", bad, code)
		}
	}
	for _, body := range []string{`{"name":"x","role":"root"}`, `{"name":"","role":"admin"}`, `{"name":"x","role":"user"}`, `{"name":"x","role":"admin","domains":["a.test"]}`,
		`{"name":"x","role":"user","addresses":["nobody"]}`, `{"name":"x","role":"admin","extra":1}`, `[]`, `{} {}`, `{"name":"a\u0000b","role":"admin"}`} {
		if code, text := o.ask(good, "POST", "/tokens", body); code != http.StatusBadRequest {
			t.Errorf("%s: %d %s", body, code, text)
		}
	}
	code, text := o.ask(good, "POST", "/tokens", `{"name":"short","role":"auditor","expires":"2026-01-01T00:00:00Z"}`)
	var made struct{ ID, Token string }
	if err := json.Unmarshal([]byte(text), &made); err != nil || code != http.StatusOK {
		t.Fatal(code, text, err)
	}
	if code, _ := o.ask(made.Token, "GET", "/whoami", ""); code != http.StatusUnauthorized {
		t.Errorf("an expired token: %d", code)
	}
	if _, text := o.ask(good, "GET", "/tokens", ""); strings.Contains(text, made.Token) || strings.Contains(text, "hash") {
		t.Errorf("the list shows secrets: %s", text)
	}
	if code, _ := o.ask(good, "DELETE", "/tokens/"+made.ID, ""); code != http.StatusNoContent {
		t.Error(code)
	}
}

// Every act is written down, refused ones too; looking is none.
func TestAudit(t *testing.T) {
	o := open(t)
	o.ask(o.tokens[Admin], "GET", "/messages", "")
	o.ask(o.tokens[Admin], "POST", "/shelves/bans/lift", `{"key":"192.0.2.1"}`)
	o.ask(o.tokens[User], "DELETE", "/queue/01Q", "")
	o.ask(o.tokens[Admin], "POST", "/recalls", `{"id":"01M845BXWGE759V0.1","why":"phish"}`)
	_, text := o.ask(o.tokens[Auditor], "GET", "/audit", "")
	var acts []Act
	if err := json.Unmarshal([]byte(text), &acts); err != nil || len(acts) != 3 {
		t.Fatal(text, err)
	}
	for i, want := range []string{"admin POST /recalls 01M845BXWGE759V0.1 done", "user DELETE /queue/{id} 01Q forbidden", "admin POST /shelves/{name}/{verb} bans lift 192.0.2.1 done"} {
		if got := strings.Join(strings.Fields(acts[i].Who+" "+acts[i].Verb+" "+acts[i].What+" "+acts[i].Outcome), " "); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if _, text := o.ask(o.tokens[Admin], "GET", "/recalls", ""); !strings.Contains(text, "phish") || !strings.Contains(text, strings.Repeat("ab", 32)) {
		t.Errorf("not recalled: %s", text)
	}
}

// What is drawn from the table is as the table is.
func TestDrawnFromTheTable(t *testing.T) {
	description, err := json.MarshalIndent(OpenAPI(Verbs()), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	roles := "# Who may do what. What they see of it is bounded by their domains and addresses besides.\n"
	for _, v := range Verbs() {
		roles += v.Method + " " + v.Path + ": " + roleNames(v.Roles, " ") + "\n"
	}
	for file, text := range map[string]string{"../../../docs/openapi.json": string(description) + "\n", "../../../docs/verbs.md": markdown(Verbs()), "testdata/roles.txt": roles} {
		if os.Getenv("POSTERN_WRITE") != "" {
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil { //nolint:gosec // a document
				t.Fatal(err)
			}
		}
		have, err := os.ReadFile(file)
		if err != nil || string(have) != text {
			t.Errorf("%s is not what the table says: run POSTERN_WRITE=1 go test ./proxy/console/api (%v)", file, err)
		}
	}
}
