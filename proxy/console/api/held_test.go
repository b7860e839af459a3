package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/internal/config"
	"postern/internal/mail"
	"postern/policy"
	"postern/policy/records/lessons"
	"postern/policy/records/lists"
	"postern/policy/records/quarantine"
	"postern/policy/replay"
	"postern/proxy/digests"
	"postern/proxy/release"
)

// passwords are app passwords in memory.
type passwords struct{ list []AppPassword }

func (p *passwords) List(user string) (found []AppPassword, err error) {
	for _, one := range p.list {
		if user == "" || one.User == user {
			found = append(found, one)
		}
	}
	return found, nil
}

func (p *passwords) Add(user, name, _ string, protocols []mail.Protocol) (string, error) {
	p.list = append(p.list, AppPassword{User: user, Name: name, Protocols: protocols})
	return "abcd-efgh", nil
}

func (p *passwords) Remove(user, name string) error {
	before := len(p.list)
	p.list = slices.DeleteFunc(p.list, func(one AppPassword) bool { return one.User == user && (name == "" || one.Name == name) })
	if len(p.list) == before {
		return ErrNotFound
	}
	return nil
}

// furnish gives the office held mail, lists, lessons and a policy.
func (o *office) furnish(dir string) Options {
	var err error
	check := func(err error) {
		o.t.Helper()
		if err != nil {
			o.t.Fatal(err)
		}
	}
	o.held, err = quarantine.Open(filepath.Join(dir, "quarantine"), nil)
	check(err)
	o.entries, err = lists.Open(filepath.Join(dir, "lists.db"), lists.Options{})
	check(err)
	journal, err := lessons.Open(filepath.Join(dir, "lessons.db"), lessons.Options{})
	check(err)
	versions, err := replay.OpenVersions(filepath.Join(dir, "policy.db"))
	check(err)
	o.t.Cleanup(func() {
		check(errors.Join(o.held.Close(), o.entries.Close(context.Background()), journal.Close(), versions.Close()))
	})
	bad := config.Problems{{File: "draft", Line: 3, Text: "no such key"}}
	return Options{
		SendDigests: func(_ context.Context, user string, try bool) ([]digests.Report, error) {
			return []digests.Report{{To: user, Mailbox: user, Messages: 1, Sent: !try}}, nil
		},
		Sweep: func(_ context.Context, order SweepOrder) (any, error) { return order, nil }, Written: func(context.Context) error { return nil },
		Quarantine: o.held, Lists: o.entries, Lessons: journal, AppPasswords: o.passwords, Reload: func() error { return errors.New("postern.toml:3: bad") },
		Release: func(ctx context.Context, order release.Order) (release.Released, error) {
			if order.To.IsNull() {
				r, err := o.held.Claim(ctx, order.ID, order.By, order.Recipients...)
				if err != nil {
					return release.Released{}, err
				}
				check(o.held.Finish(ctx, r))
			}
			o.released = append(o.released, order)
			return release.Released{ID: order.ID}, nil
		},
		Policies: Policies{
			Current: func() (string, string, error) { return "v1", "quarantine = 6", nil },
			Plan:    func(context.Context, string, time.Time, int) (replay.Report, error) { return replay.Report{}, bad },
			Apply:   func(context.Context, string, string, string) (string, error) { return "", bad },
			Rollback: func(context.Context, string, string) (string, error) {
				return "", replay.ErrNoVersion
			},
			Versions: versions, Try: func(context.Context, string, string, int) (string, error) { return "v2", nil },
			Trial: func(context.Context) (*TrialReport, error) { return nil, nil }, End: func(context.Context) error { return replay.ErrNoVersion },
		},
	}
}

const eml = "From: <script>alert(1)</script> <x@spam.example>\r\nSubject: " + hostile + "\r\n\r\n<img src=x onerror=alert(1)>\r\n"

// hold puts a message away for some.
func (o *office) hold(id, symbol string, to ...string) {
	o.t.Helper()
	item := quarantine.Item{ID: id, Time: time.Now(), From: mail.Address{Local: "x", Domain: "spam.example"}, Route: mail.RouteTo("default"), Subject: hostile, HeaderFrom: "<script>alert(1)</script> <x@spam.example>",
		Reasons: []policy.Reason{{Symbol: symbol, Score: 9, Evidence: []string{"eve@theirs.test was told"}}}, Campaign: strings.Repeat("c", 32)}
	for _, text := range to {
		a, err := mail.ParseAddress(text)
		if err != nil {
			o.t.Fatal(err)
		}
		item.Recipients = append(item.Recipients, mail.Recipient{Address: a})
	}
	if err := o.held.Hold(context.Background(), item, mail.Copy{Message: mail.NewMessage([]byte(eml))}); err != nil {
		o.t.Fatal(err)
	}
}

// asked is a request, its caller, and the expected result.
type asked struct {
	role         Role
	method, path string
	body         string
	want         int
}

func (o *office) all(list []asked) {
	o.t.Helper()
	for _, a := range list {
		if code, text := o.ask(o.tokens[a.role], a.method, a.path, a.body); code != a.want {
			o.t.Errorf("%s %s %s as %s: %d, want %d: %s", a.method, a.path, a.body, a.role, code, a.want, text)
		}
	}
}

// No caller sees, fetches, releases or deletes another's copies, whatever id or recipient is named.
func TestHeldMailOfOthers(t *testing.T) {
	o := open(t)
	o.hold("01H1", "BAYES_SPAM", "ann@ours.test")
	o.hold("01H2", "BAYES_SPAM", "bob@ours.test", "eve@theirs.test")
	o.hold("01H3", "BAYES_SPAM", "eve@theirs.test")
	for role, want := range map[Role]int{Admin: 3, Helpdesk: 3, Auditor: 3, DomainAdmin: 2, User: 1} {
		_, text := o.ask(o.tokens[role], "GET", "/quarantine", "")
		var page struct{ Messages []struct{ ID string } }
		if err := json.Unmarshal([]byte(text), &page); err != nil || len(page.Messages) != want {
			t.Errorf("%s: %d, want %d, %v", role, len(page.Messages), want, err)
		}
		if role == User && strings.Contains(text, "theirs") {
			t.Errorf("a user learns of others: %s", text)
		}
	}
	if _, text := o.ask(o.tokens[DomainAdmin], "GET", "/quarantine/01H2", ""); strings.Contains(text, `"eve@theirs.test"`) {
		t.Errorf("the other domain's recipient is shown: %s", text)
	}
	o.all([]asked{
		{User, "GET", "/quarantine/01H2", "", 404}, {User, "GET", "/quarantine/01H3/raw", "", 404}, {User, "DELETE", "/quarantine/01H2", "", 404},
		{User, "POST", "/quarantine/01H3/release", "{}", 404}, {User, "POST", "/quarantine/01H1/release", `{"recipients":["eve@theirs.test"]}`, 404},
		{User, "POST", "/quarantine/01H1/release", `{"to":"eve@theirs.test"}`, 403}, {Helpdesk, "POST", "/quarantine/01H1/release", `{"to":"x@elsewhere.example"}`, 403},
		{User, "POST", "/quarantine/01H1/release", `{"recipients":["x"]}`, 400}, {User, "POST", "/quarantine/01H1/release", `{"more":1}`, 400},
		{User, "GET", "/quarantine?recipient=eve@theirs.test&state=all", "", 200}, {User, "GET", "/quarantine?state=odd", "", 400}, {User, "GET", "/quarantine?after=odd", "", 400},
		{User, "GET", "/quarantine/..%2f..%2fetc%2fpasswd/raw", "", 404}, {DomainAdmin, "GET", "/quarantine/01H3", "", 404}, {DomainAdmin, "DELETE", "/quarantine/01H3", "", 404},
		{DomainAdmin, "POST", "/quarantine/01H2/release", `{"recipients":["bob@ours.test","eve@theirs.test"]}`, 404}, {Auditor, "GET", "/quarantine/01H1/raw", "", 403},
		{DomainAdmin, "POST", "/quarantine/01H2/release", "{}", 200}, {DomainAdmin, "POST", "/quarantine/01H2/release", "{}", 409},
		{User, "POST", "/quarantine/01H1/release", "{}", 200}, {User, "POST", "/quarantine/01H1/release", "{}", 409}, {User, "DELETE", "/quarantine/01H1", "", 409},
	})
	if len(o.released) != 2 || len(o.released[0].Recipients) != 1 || o.released[0].Recipients[0].String() != "bob@ours.test" || o.released[1].By != "ann@ours.test" {
		t.Errorf("%+v", o.released)
	}
	item, err := o.held.Find(t.Context(), "01H2")
	if err != nil || !slices.ContainsFunc(item.Standings, func(s quarantine.Standing) bool {
		return s.Address.Local == "eve" && s.State == quarantine.Held
	}) {
		t.Errorf("eve's copy is not held any more: %+v %v", item.Standings, err)
	}
	if _, text := o.ask(o.tokens[User], "GET", "/quarantine?recipient=eve@theirs.test&state=all", ""); strings.Contains(text, "01H") {
		t.Errorf("found by another's address: %s", text)
	}
}

// Malicious software is released by an administrator only, and shown to no other role.
func TestVirusIsForAdmins(t *testing.T) {
	o := open(t)
	o.hold("01V", "CLAM_VIRUS", "ann@ours.test")
	item, err := o.held.Find(t.Context(), "01V")
	if err != nil || item.Category != quarantine.Virus {
		t.Fatal(item.Category, err)
	}
	for _, role := range []Role{User, Helpdesk, DomainAdmin} {
		for _, verb := range []string{"POST /quarantine/01V/release", "GET /quarantine/01V/raw"} {
			method, path, _ := strings.Cut(verb, " ")
			if code, text := o.ask(o.tokens[role], method, path, "{}"); code != http.StatusForbidden || !strings.Contains(text, "only an administrator") {
				t.Errorf("%s as %s: %d %s", verb, role, code, text)
			}
		}
		code, text := o.ask(o.tokens[role], "POST", "/campaigns/"+item.Campaign+"/release", "{}")
		if code != http.StatusOK || !strings.Contains(text, `"messages":0,"refused":1`) {
			t.Errorf("campaign as %s: %d %s", role, code, text)
		}
	}
	o.all([]asked{{Admin, "GET", "/quarantine/01V/raw", "", 200}, {Admin, "POST", "/quarantine/01V/release", "{}", 200}})
	if len(o.released) != 1 || o.released[0].Learn {
		t.Errorf("%+v", o.released)
	}
}

func TestCampaignsAreBoundToTheirScope(t *testing.T) {
	o := open(t)
	o.hold("01H1", "BAYES_SPAM", "ann@ours.test")
	o.hold("01H2", "BAYES_SPAM", "bob@ours.test", "eve@theirs.test")
	o.hold("01H3", "BAYES_SPAM", "eve@theirs.test")
	key := strings.Repeat("c", 32)
	for role, want := range map[Role]string{Admin: `"messages":3`, DomainAdmin: `"messages":2`} {
		if _, text := o.ask(o.tokens[role], "GET", "/campaigns", ""); !strings.Contains(text, want) {
			t.Errorf("%s: %s", role, text)
		}
	}
	if _, text := o.ask(o.tokens[DomainAdmin], "GET", "/campaigns?recipient=theirs.test", ""); strings.TrimSpace(text) != "[]" {
		t.Errorf("another domain's: %s", text)
	}
	if _, text := o.ask(o.tokens[User], "POST", "/campaigns/"+key+"/release", "{}"); !strings.Contains(text, `"messages":1,`) {
		t.Error(text)
	}
	if _, text := o.ask(o.tokens[DomainAdmin], "DELETE", "/campaigns/"+key, ""); !strings.Contains(text, `"messages":1,`) {
		t.Error(text)
	}
	if _, text := o.ask(o.tokens[Admin], "POST", "/campaigns/"+key+"/release", "{}"); !strings.Contains(text, `"messages":2,`) { // eve's two
		t.Error(text)
	}
	o.all([]asked{{Admin, "DELETE", "/campaigns/" + key, "", 404}, {Admin, "POST", "/campaigns/nosuch/release", "{}", 404}, {Admin, "POST", "/campaigns/x/release", `{"to":"a@b.example"}`, 400}})
}

// List scopes: an admin for all, a domain's admin for the domain, a user for their own mail; none can be forged.
func TestListsScope(t *testing.T) {
	o := open(t)
	o.all([]asked{
		{User, "POST", "/lists", `{"list":"allow","sender":"friend@partner.example"}`, 200}, {DomainAdmin, "POST", "/lists", `{"list":"block","sender":"spam.example"}`, 200},
		{Admin, "POST", "/lists", `{"list":"allow","sender":"partner.example","unauthenticated":true}`, 200}, {Admin, "POST", "/lists", `{"list":"block","scope":"user","scope_of":"eve@theirs.test","sender":"a@b.example"}`, 200},
		{User, "POST", "/lists", `{"list":"allow","sender":"a@b.example","unauthenticated":true}`, 403}, {DomainAdmin, "POST", "/lists", `{"list":"allow","network":"0.0.0.0/0"}`, 403},
		{User, "POST", "/lists", `{"list":"block","scope":"admin","sender":"a@b.example"}`, 403}, {User, "POST", "/lists", `{"list":"block","scope":"user","scope_of":"eve@theirs.test","sender":"a@b.example"}`, 403},
		{User, "POST", "/lists", `{"list":"block","sender":"a@b.example","recipient":"eve@theirs.test"}`, 400}, {DomainAdmin, "POST", "/lists", `{"list":"block","scope":"domain","scope_of":"theirs.test","sender":"a@b.example"}`, 403},
		{User, "POST", "/lists", `{"list":"block","scope":"domain","scope_of":"ours.test","sender":"a@b.example"}`, 403}, {Helpdesk, "POST", "/lists", `{"list":"block","sender":"a@b.example"}`, 403},
		{User, "POST", "/lists", `{"list":"odd","sender":"a@b.example"}`, 400}, {User, "POST", "/lists", `{"list":"block"}`, 400}, {User, "GET", "/lists?scope_of=eve@theirs.test", "", 404},
		{User, "POST", "/lists/import", `{"format":"rspamd","text":"a@b.example"}`, 403}, {Admin, "POST", "/lists/import", `{"format":"odd","text":"a@b.example"}`, 400},
		{Admin, "POST", "/lists/import", `{"format":"rspamd","text":"one@b.example\ntwo@b.example\n","dry_run":true}`, 200},
	})
	for role, want := range map[Role]int{Admin: 4, Helpdesk: 4, DomainAdmin: 2, User: 1} {
		_, text := o.ask(o.tokens[role], "GET", "/lists", "")
		var page struct{ Entries []lists.Entry }
		if err := json.Unmarshal([]byte(text), &page); err != nil || len(page.Entries) != want {
			t.Errorf("%s: %d, want %d, %v: %s", role, len(page.Entries), want, err, text)
		}
	}
	all, _, err := o.entries.Search(t.Context(), lists.Query{})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		mine := e.Scope == lists.User && e.ScopeOf == "ann@ours.test"
		if code, _ := o.ask(o.tokens[User], "GET", "/lists/"+e.ID, ""); (code == 200) != mine {
			t.Errorf("%+v: %d", e, code)
		}
		if code, _ := o.ask(o.tokens[User], "DELETE", "/lists/"+e.ID, ""); (code == 204) != mine {
			t.Errorf("%+v: %d", e, code)
		}
	}
	if code, text := o.ask(o.tokens[Admin], "POST", "/lists/import", `{"format":"rspamd","list":"block","text":"one@b.example\ntwo@b.example\n"}`); code != 200 || !strings.Contains(text, `"new":2`) {
		t.Error(code, text)
	}
}

// What a sender wrote comes out of the new verbs harmless, too; the octets go to programs only.
func TestHostileHeldMail(t *testing.T) {
	o := open(t)
	o.hold("01H1", "BAYES_SPAM", "ann@ours.test")
	o.hold("01H2", "BAYES_SPAM", "ann@ours.test")
	for _, path := range []string{"/quarantine", "/quarantine/01H1", "/campaigns"} {
		_, text := o.ask(o.tokens[User], "GET", path, "")
		if strings.ContainsAny(text, "\x1b\a") || strings.Contains(text, "<script") || !strings.Contains(text, "script") {
			t.Errorf("%s: %q", path, text)
		}
	}
	r := httptest.NewRequest("GET", prefix+"/quarantine/01H1/raw", nil)
	r.Header.Set("Authorization", "Bearer "+o.tokens[User])
	w := httptest.NewRecorder()
	o.ServeHTTP(w, r)
	h := w.Header()
	if w.Body.String() != eml || h.Get("Content-Type") != "application/octet-stream" || h.Get("Content-Disposition") != `attachment; filename="01H1.eml"` ||
		h.Get("X-Content-Type-Options") != "nosniff" || !strings.Contains(h.Get("Content-Security-Policy"), "sandbox") {
		t.Errorf("%v %q", h, w.Body.String())
	}
}

// What is wrong is told by its kind, and what is asked of the policy and of passwords stays within the caller's scope.
func TestPolicyAndPasswords(t *testing.T) {
	o := open(t)
	o.all([]asked{
		{Admin, "GET", "/policy", "", 200}, {Admin, "POST", "/policy/plan", `{"text":"x"}`, 400}, {Admin, "POST", "/policy/plan", `{}`, 400}, {Admin, "POST", "/policy/apply", `{"text":"x"}`, 400},
		{Admin, "POST", "/policy/rollback", `{"to":"nosuch"}`, 404}, {Admin, "GET", "/policy/versions", "", 200}, {Admin, "GET", "/policy/versions/nosuch", "", 404}, {Admin, "GET", "/policy/trial", "", 404},
		{Admin, "POST", "/policy/trial", `{"text":"x","share":101}`, 400}, {Admin, "POST", "/policy/trial", `{"text":"x","share":10}`, 200}, {Admin, "DELETE", "/policy/trial", "", 404},
		{Admin, "POST", "/reload", "", 409}, {Admin, "GET", "/lessons", "", 200}, {Admin, "GET", "/lessons/status", "", 200}, {Admin, "POST", "/lessons/7/undo", "", 404}, {Admin, "POST", "/lessons/x/undo", "", 404},
		{User, "POST", "/app-passwords", `{"user":"ann@ours.test","name":"phone"}`, 200}, {User, "POST", "/app-passwords", `{"user":"bob@ours.test","name":"phone"}`, 404},
		{User, "POST", "/app-passwords", `{"user":"ann@ours.test","name":"phone","protocols":["ftp"]}`, 400}, {Admin, "POST", "/app-passwords", `{"user":"bob@ours.test","name":"phone"}`, 200},
		{User, "GET", "/app-passwords?user=bob@ours.test", "", 404}, {User, "DELETE", "/app-passwords?user=bob@ours.test", "", 404}, {User, "DELETE", "/app-passwords", "", 400},
	})
	if _, text := o.ask(o.tokens[User], "GET", "/app-passwords?user=ann@ours.test", ""); !strings.Contains(text, "phone") || strings.Contains(text, "bob") || strings.Contains(text, "abcd") {
		t.Error(text)
	}
	o.all([]asked{{User, "DELETE", "/app-passwords?user=ann@ours.test&name=phone", "", 204}, {Admin, "DELETE", "/app-passwords?user=nosuch", "", 404}})
}
