package access

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postern/internal/mail"
	"postern/internal/state"
	"postern/policy/records/ledger"
	"postern/proxy/listen"
)

// records keeps what the gate writes.
type records struct {
	mu  sync.Mutex
	all []ledger.Connection
}

func (r *records) Connection(c ledger.Connection) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, c)
}

// servers are backends that know one password.
type servers struct {
	down  map[string]bool
	asked []string // address, user, authzid, password of each
}

const secret = "c4nary-Pa55word"

func (s *servers) enter(_ context.Context, b *Backend, as Attempt) error {
	s.asked = append(s.asked, strings.Join([]string{b.Address, as.User, as.Authzid, as.Password}, " "))
	switch {
	case s.down[b.Address]:
		return errors.New("connection refused")
	case as.Password != secret && as.Token != secret:
		return ErrPassword
	}
	return nil
}

type house struct {
	*Gate
	records records
	log     bytes.Buffer
	servers servers
}

func open(t *testing.T, change func(*Options)) *house {
	t.Helper()
	h := &house{servers: servers{down: map[string]bool{}}}
	log := slog.New(slog.NewTextHandler(&h.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	memory, err := state.NewMemory(state.MemoryOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = memory.Close() })
	o := Options{
		Routes: []Route{
			{Name: "sales", Domains: []string{"Sales.example"}, IMAP: []Backend{{Name: "sales", Address: "a:993"}, {Name: "sales", Address: "b:993"}}, Rewrite: "{local}+{domain}"},
			{Name: "lab", Pattern: regexp.MustCompile("^lab-"), IMAP: []Backend{{Name: "lab", Address: "lab:993"}}},
			{Name: "boss", Users: []string{"Boss@sales.example"}, IMAP: []Backend{{Name: "boss", Address: "boss:993"}}},
			{Name: "rest", IMAP: []Backend{{Name: "rest", Address: "rest:993"}}, Separator: "*", MasterUser: "gw", MasterPassword: secret},
		},
		Bans: listen.NewBans(listen.BanOptions{State: memory}), State: memory, Ledger: &h.records, Log: log, FailDelay: time.Second,
	}
	if change != nil {
		change(&o)
	}
	h.Gate = New(o)
	return h
}

func session(client string) *mail.Session {
	return &mail.Session{ID: "01TEST", Door: "imaps", Client: netip.MustParseAddr(client)}
}

// login runs one login in time that costs nothing.
func (h *house) login(client, user, password string) error {
	v := h.Session(session(client), "imap")
	err := v.Login(context.Background(), Attempt{Mechanism: "LOGIN", User: user, Password: password}, h.servers.enter)
	v.End("logout", 0)
	return err
}

func TestRoutes(t *testing.T) {
	for user, want := range map[string]string{
		"ann@sales.example":    "a:993 ann+sales.example  " + secret,
		"ANN@SALES.example":    "a:993 ANN+SALES.example  " + secret,
		"lab-7":                "lab:993 lab-7  " + secret,
		"boss@sales.example":   "a:993 boss+sales.example  " + secret, // the first that names the user
		"eve":                  "rest:993 eve  " + secret,
		"{domain}@x.example":   "rest:993 {domain}@x.example  " + secret,
		"{user}@sales.example": "a:993 {user}+sales.example  " + secret, // a placeholder in a name stays what it is
	} {
		h := open(t, nil)
		if err := h.login("192.0.2.1", user, secret); err != nil {
			t.Errorf("%s: %v", user, err)
		}
		if len(h.servers.asked) != 1 || h.servers.asked[0] != want {
			t.Errorf("%s: asked %q, want %q", user, h.servers.asked, want)
		}
	}
}

// Another address takes over, and the one that did not answer is passed over for a while.
func TestFailover(t *testing.T) {
	h := open(t, nil)
	h.servers.down["a:993"] = true
	for range 2 {
		if err := h.login("192.0.2.1", "ann@sales.example", secret); err != nil {
			t.Fatal(err)
		}
	}
	var to []string
	for _, a := range h.servers.asked {
		to = append(to, strings.Fields(a)[0])
	}
	if want := []string{"a:993", "b:993", "b:993"}; !slices.Equal(to, want) {
		t.Errorf("asked %v, want %v", to, want)
	}
	h.servers.down["b:993"] = true
	if err := h.login("192.0.2.1", "ann@sales.example", secret); !errors.Is(err, ErrUnavailable) {
		t.Errorf("all are down: %v", err)
	}
}

// Whatever refuses a login, the client gets the same answer, at the same time.
func TestRefusalsLookAlike(t *testing.T) {
	noon := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC) // a Monday
	rules := []Rule{
		{Users: []string{"@ruled.example"}, Protocols: []mail.Protocol{"pop3"}},
		{Users: []string{"net"}, Networks: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}},
		{Users: []string{"land"}, Countries: []string{"DE"}},
		{Users: []string{"night"}, From: 22 * 60, To: 6 * 60},
		{Users: []string{"weekend"}, Days: []time.Weekday{time.Saturday, time.Sunday}},
	}
	for _, c := range []struct{ user, password, why string }{
		{"eve", "wrong", "refused the login"}, {"x@ruled.example", secret, "protocol"}, {"net", secret, "network"}, {"land", secret, "country"},
		{"night", secret, "hour"}, {"weekend", secret, "day"}, {"", secret, "name"}, {"a\r\nb LOGOUT", secret, "name"}, {"a\x00b", secret, "name"},
		{strings.Repeat("x", 300), secret, "name"}, {"eve*gw", secret, "separator"}, {"bad\xff", secret, "name"}, {"banned", secret, "banned"},
	} {
		t.Run(c.why+" "+fmt.Sprintf("%.10q", c.user), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := open(t, func(o *Options) {
					o.Rules, o.Now = rules, func() time.Time { return noon.Add(time.Since(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC))) }
				})
				if c.why == "banned" {
					for i := range 6 {
						_ = h.login("192.0.2.1", "banned", fmt.Sprint(i))
					}
				}
				begun := time.Now()
				if err := h.login("192.0.2.1", c.user, c.password); err != ErrRefused { //nolint:errorlint // exactly this one
					t.Errorf("it hears %v", err)
				}
				if took := time.Since(begun); took < time.Second || took > 1200*time.Millisecond {
					t.Errorf("it hears it after %v", took)
				}
				last := h.records.all[len(h.records.all)-1]
				if len(last.Findings) != 1 || !strings.Contains(last.Findings[0].Evidence[0], c.why) {
					t.Errorf("the record says %+v", last.Findings)
				}
			})
		})
	}
}

func TestRuleLetsIn(t *testing.T) {
	noon := time.Date(2026, 11, 23, 12, 0, 0, 0, time.Local)
	r := Rule{Users: []string{"*"}, Protocols: []mail.Protocol{"imap"}, Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, Countries: []string{"de"}, From: 8 * 60, To: 18 * 60, Days: []time.Weekday{time.Monday}}
	if why := r.refuses("imap", netip.MustParseAddr("192.0.2.9"), "DE", noon); why != "" {
		t.Error(why)
	}
	for at, want := range map[string]string{"07:59": "hour", "08:00": "", "17:59": "", "18:00": "hour"} {
		when, _ := time.ParseInLocation("2006-01-02 15:04", "2026-11-23 "+at, time.Local)
		if why := r.refuses("imap", netip.MustParseAddr("192.0.2.9"), "DE", when); why != want {
			t.Errorf("at %s: %q", at, why)
		}
	}
}

func TestAuthorizationID(t *testing.T) {
	for _, allowed := range []bool{false, true} {
		h := open(t, func(o *Options) { o.Authzid, o.FailDelay = allowed, time.Millisecond })
		v := h.Session(session("192.0.2.1"), "imap")
		err := v.Login(context.Background(), Attempt{Mechanism: "SASL PLAIN", User: "eve", Authzid: "boss", Password: secret}, h.servers.enter)
		if (err == nil) != allowed {
			t.Errorf("allowed %t: %v", allowed, err)
		}
		v.End("logout", 0)
	}
}

func TestSessionsOfOneUser(t *testing.T) {
	h := open(t, func(o *Options) { o.MaxSessions = 2 })
	var visits []*Session
	enter := func() error {
		v := h.Session(session("192.0.2.1"), "imap")
		visits = append(visits, v)
		return v.Login(context.Background(), Attempt{User: "Eve", Password: secret}, h.servers.enter)
	}
	if err := errors.Join(enter(), enter()); err != nil {
		t.Fatal(err)
	}
	if err := enter(); !errors.Is(err, ErrUnavailable) {
		t.Errorf("a third session: %v", err)
	}
	for _, v := range visits {
		v.End("logout", 0)
	}
	if n := h.Sessions(); len(n) != 0 {
		t.Errorf("sessions stay behind: %v", n)
	}
	if err := enter(); err != nil {
		t.Errorf("after they ended: %v", err)
	}
}

func TestAppPasswords(t *testing.T) {
	file := filepath.Join(t.TempDir(), "app-passwords.json")
	store := OpenAppPasswords(file, true)
	sealed, err := store.Add("Ann@sales.example", "phone", secret, nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	master, err := store.Add("eve", "tablet", "", []mail.Protocol{"imap"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	pop, err := store.Add("eve", "old phone", "", []mail.Protocol{"pop3"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Add("eve", "tablet", "", nil, time.Now()); err == nil {
		t.Error("one name for two passwords")
	}
	h := open(t, func(o *Options) { o.AppPasswords, o.FailDelay = store, time.Millisecond })
	for _, c := range []struct {
		user, password, asked string
		ok                    bool
	}{
		{"ann@sales.example", sealed, "a:993 ann+sales.example  " + secret, true},
		{"ann@sales.example", strings.ToUpper(strings.ReplaceAll(sealed, "-", " ")), "a:993 ann+sales.example  " + secret, true},
		{"eve", master, "rest:993 eve*gw  " + secret, true},
		{"eve", pop, "", false},
		{"eve", secret, "", false}, // a user with an app password can't use another one
		{"eve", sealed, "", false}, // somebody else's
		{"lab-1", secret, "lab:993 lab-1  " + secret, true},
	} {
		h.servers.asked = nil
		err := h.login("192.0.2.1", c.user, c.password)
		if (err == nil) != c.ok || c.ok && (len(h.servers.asked) != 1 || h.servers.asked[0] != c.asked) || !c.ok && len(h.servers.asked) > 0 {
			t.Errorf("%s: %v, asked %q, want %q", c.user, err, h.servers.asked, c.asked)
		}
	}
	if err := store.Remove("eve", "tablet"); err != nil {
		t.Fatal(err)
	}
	if err := h.login("192.0.2.1", "eve", master); err == nil {
		t.Error("a removed password still lets in")
	}
	if all, err := store.List(""); err != nil || len(all) != 2 || all[0].Mark != nil || all[0].Sealed != nil {
		t.Errorf("list: %+v %v", all, err)
	}
}

// An app password opens the mailbox of its user and no other: with a master user's password the backend would let every
// user act as any other.
func TestAppPasswordIsForOneUser(t *testing.T) {
	store := OpenAppPasswords(filepath.Join(t.TempDir(), "app-passwords.json"), false)
	password, err := store.Add("eve", "tablet", "", nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	h := open(t, func(o *Options) { o.AppPasswords, o.Authzid, o.FailDelay = store, true, time.Millisecond })
	for authzid, want := range map[string]string{"boss": "", "eve": "rest:993 eve*gw  " + secret, "": "rest:993 eve*gw  " + secret} {
		h.servers.asked = nil
		v := h.Session(session("192.0.2.1"), "imap")
		_ = v.Login(context.Background(), Attempt{Mechanism: "SASL PLAIN", User: "eve", Authzid: authzid, Password: password}, h.servers.enter)
		v.End("logout", 0)
		if got := strings.Join(h.servers.asked, ", "); got != want {
			t.Errorf("as %q: the backend was asked %q, want %q", authzid, got, want)
		}
	}
}

// The mailbox is that of the user acted as.
func TestMailbox(t *testing.T) {
	h := open(t, func(o *Options) { o.Authzid = true })
	for authzid, want := range map[string]string{"": "eve", "eve": "eve", "boss": "boss"} {
		v := h.Session(session("192.0.2.1"), "imap")
		err := v.Login(context.Background(), Attempt{Mechanism: "SASL PLAIN", User: "eve", Authzid: authzid, Password: secret}, h.servers.enter)
		if err != nil || v.Mailbox() != want {
			t.Errorf("as %q: %q, %v", authzid, v.Mailbox(), err)
		}
		v.End("logout", 0)
	}
}

func TestNewNetworkIsTold(t *testing.T) {
	var told []Notice
	h := open(t, func(o *Options) { o.Notify = func(_ context.Context, n Notice) { told = append(told, n) } })
	for _, client := range []string{"192.0.2.1", "192.0.2.77", "203.0.113.5", "203.0.113.6", "192.0.2.3"} {
		if err := h.login(client, "eve", secret); err != nil {
			t.Fatal(err)
		}
	}
	if len(told) != 1 || told[0].Client != netip.MustParseAddr("203.0.113.5") || told[0].User != "eve" {
		t.Errorf("told %+v", told)
	}
}

func TestOpaque(t *testing.T) {
	h := open(t, func(o *Options) {
		o.Opaque, o.OpaqueMechanisms, o.FailDelay = "lab", []string{"NTLM"}, time.Millisecond
	})
	try := func(mechanism, user string, answer error) error {
		v := h.Session(session("192.0.2.1"), "imap")
		defer v.End("logout", 0)
		return v.Opaque(context.Background(), mechanism, func(_ context.Context, b *Backend) (string, error) {
			if b.Address != "lab:993" {
				t.Errorf("relayed to %s", b.Address)
			}
			return user, answer
		})
	}
	if err := try("NTLM", "CORP\\eve", nil); err != nil {
		t.Error(err)
	}
	for range h.o.MaxSessions + 1 { // Kerberos does not disclose the user
		if err := try("NTLM", "", nil); err != nil {
			t.Fatal(err)
		}
	}
	if n := h.Sessions(); len(n) != 0 {
		t.Errorf("sessions stay behind: %v", n)
	}
	if err := try("GSSAPI", "eve", nil); !errors.Is(err, ErrUnavailable) {
		t.Errorf("a mechanism that is not offered: %v", err)
	}
	if err := try("NTLM", "eve", ErrPassword); !errors.Is(err, ErrRefused) {
		t.Error(err)
	}
}

// No password is in the log or in a record, whatever the outcome.
func TestNoSecretAnywhere(t *testing.T) {
	h := open(t, func(o *Options) {
		o.FailDelay, o.Authorizer = time.Millisecond, NewNginxForm(HTTPOptions{URL: "http://127.0.0.1:1/" + secret})
	})
	a := Attempt{Mechanism: "LOGIN", User: "eve", Password: secret, Token: secret}
	v := h.Session(session("192.0.2.1"), "imap")
	_ = v.Login(context.Background(), a, h.servers.enter)
	v.End("logout", 0)
	h.o.Authorizer = nil
	_ = h.login("192.0.2.1", "eve", secret)
	_ = h.login("192.0.2.1", "eve", secret+"x")
	all := fmt.Sprintf("%s %+v %v %+v %#v", h.log.String(), h.records.all, a, a, a)
	slog.New(slog.NewTextHandler(&h.log, nil)).Info("x", "a", a)
	if strings.Contains(all+h.log.String(), secret) {
		t.Errorf("a password got out: %s", all)
	}
}
