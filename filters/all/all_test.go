package all

import (
	"context"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"postern/filters"
	"postern/internal/config"
	"postern/internal/dns"
	"postern/internal/mail"
	"postern/internal/state"
	defaultrules "postern/rules/default"
)

func specs(t testing.TB) []filters.Spec {
	t.Helper()
	set, problems, err := defaultrules.Load(defaultrules.Folders{}, nil)
	if err != nil || len(problems) > 0 {
		t.Fatal(err, problems)
	}
	return Specs(set)
}

// A symbol has one home and all that the console shows of it.
func TestSymbolsAreWhole(t *testing.T) {
	seen := map[string]string{}
	for _, spec := range specs(t) {
		if spec.Name == "" || spec.Help == "" || spec.Stages == 0 || spec.New == nil {
			t.Errorf("filter %q lacks a name, help, stages or New", spec.Name)
		}
		for _, s := range spec.Symbols {
			if seen[s.Name] != "" {
				t.Errorf("%s stands in %s and in %s", s.Name, seen[s.Name], spec.Name)
			}
			seen[s.Name] = spec.Name
			if s.Help == "" || strings.ToUpper(s.Name) != s.Name {
				t.Errorf("%s of %s has no help or is not in capitals", s.Name, spec.Name)
			}
			if s.Action == filters.ActionReject && s.Reply == "" {
				t.Errorf("%s rejects and does not say why", s.Name)
			}
		}
	}
}

// What the table of signs speaks of is reported by somebody, and it knows which of it is about form.
func TestSignsAreReported(t *testing.T) {
	text, err := os.ReadFile("../signs/signs.txt")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]filters.Symbol{}
	for _, spec := range specs(t) {
		for _, s := range spec.Symbols {
			known[s.Name] = s
		}
	}
	signs, form := map[string]bool{}, map[string]bool{}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) < 2 || f[0] == "#" {
			continue
		}
		names := []string{f[1]}
		if f[0] == "together" {
			names = strings.FieldsFunc(f[2], func(r rune) bool { return strings.ContainsRune(",|!", r) })
		}
		for _, name := range names {
			if _, ok := known[name]; !ok && strings.ToUpper(name) == name {
				t.Errorf("nobody reports %s: %s", name, line)
			}
		}
		signs[f[1]] = signs[f[1]] || f[0] == "sign"
		form[f[1]] = form[f[1]] || f[0] == "form"
	}
	for name := range signs {
		if known[name].Form && signs[name] && !form[name] {
			t.Errorf("%s is about form: signs.txt lacks a line \"form %s\"", name, name)
		}
	}
}

func TestUnknownSettingsAreRefused(t *testing.T) {
	for _, spec := range specs(t) {
		_, err := spec.New(config.NewSection("filters."+spec.Name, map[string]any{"no_such_key": 1}), filters.Env{})
		if err == nil || !strings.Contains(err.Error(), "no_such_key") {
			t.Errorf("%s: %v, want an error that names the key", spec.Name, err)
		}
	}
}

// chain makes all filters with their defaults.
func chain(t testing.TB, zone string) *filters.Chain {
	t.Helper()
	r, err := dns.NewZoneResolver(zone)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	memory, err := state.NewMemory(state.MemoryOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = memory.Close() })
	env := filters.Env{DNS: r, Log: log, Now: time.Now, State: memory, Hostname: "mx.corp.example", Local: func(d string) bool { return d == "corp.example" }}
	var links []filters.Link
	for _, spec := range specs(t) {
		if spec.Disabled {
			continue
		}
		f, err := spec.New(config.NewSection("filters."+spec.Name, nil), env)
		if err != nil {
			t.Fatal(err)
		}
		links = append(links, filters.Link{Spec: spec, Filter: f})
	}
	c, err := filters.NewChain(links, log)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func judge(ctx context.Context, c *filters.Chain, helo, from string, message []byte) []filters.Finding {
	address, _ := mail.ParseAddress(from)
	tx := &mail.Transaction{ID: "T", Session: &mail.Session{Helo: helo, Client: netip.MustParseAddr("192.0.2.1")}, From: address}
	run := c.Start(ctx, tx)
	defer run.Close()
	for _, s := range []mail.Stage{mail.StageConnect, mail.StageHelo, mail.StageMail, mail.StageRcpt} {
		run.Stage(ctx, s)
	}
	tx.Message = mail.NewMessage(message)
	run.Stage(ctx, mail.StageMessage)
	return tx.Findings
}

// SPF works in the background and DMARC waits for it.
func TestTheWholeChain(t *testing.T) {
	c := chain(t, "example.org TXT v=spf1 ip4:192.0.2.1 -all\n_dmarc.example.org TXT v=DMARC1; p=reject\n")
	const letter = "From: Bob <bob@example.org>\r\nDate: Mon, 02 Mar 2026 12:00:00 +0000\r\nMessage-ID: <1@example.org>\r\nSubject: Minutes\r\n\r\nSee you on Friday.\r\n"
	for from, want := range map[string]string{
		"bob@example.org":    "R_SPF_ALLOW R_DKIM_NA ARC_NA DMARC_POLICY_ALLOW",
		"bob@attack.example": "R_SPF_NA R_DKIM_NA ARC_NA DMARC_POLICY_REJECT FROM_NEQ_ENVFROM",
	} {
		var got []string
		for _, f := range judge(t.Context(), c, "mail.example.org", from, []byte(letter)) {
			got = append(got, f.Symbol)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %v, want %s", from, got, want)
		}
	}
}

func BenchmarkChain10KB(b *testing.B) {
	c := chain(b, "example.org TXT v=spf1 ip4:192.0.2.1 -all\n_dmarc.example.org TXT v=DMARC1; p=reject\n")
	letter := []byte("From: Bob <bob@example.org>\r\nDate: Mon, 02 Mar 2026 12:00:00 +0000\r\nMessage-ID: <1@example.org>\r\nSubject: Minutes\r\n\r\n" +
		strings.Repeat("The minutes of the meeting say that the budget was agreed, with two votes against it.\r\n", 116))
	for b.Loop() {
		judge(b.Context(), c, "mail.example.org", "bob@example.org", letter)
	}
}

// BenchmarkEdge is all that happens before there is a message: connect, HELO, MAIL and one RCPT, with three lists in use
// and every cache warm.
func BenchmarkEdge(b *testing.B) {
	zone := "2.0.0.127.first.test A 127.0.0.2\n2.0.0.127.second.test A 127.0.0.2\n2.0.0.127.third.test A 127.0.0.2\n"
	r, err := dns.NewZoneResolver(zone + "example.org TXT v=spf1 ip4:192.0.2.1 -all\n")
	if err != nil {
		b.Fatal(err)
	}
	memory, err := state.NewMemory(state.MemoryOptions{})
	if err != nil {
		b.Fatal(err)
	}
	defer memory.Close()
	log := slog.New(slog.DiscardHandler)
	env := filters.Env{DNS: r, Log: log, Now: time.Now, State: memory, Hostname: "mx.corp.example", Local: func(d string) bool { return d == "corp.example" }}
	lists := []any{}
	for _, name := range []string{"first", "second", "third"} {
		lists = append(lists, map[string]any{"name": name, "zone": name + ".test", "kinds": []string{"client"}, "weight": 4})
	}
	var links []filters.Link
	for _, spec := range specs(b) {
		if spec.Disabled || spec.Background {
			continue // SPF and its like work for the message, and side by side
		}
		settings := map[string]any{}
		if spec.Name == "dnslists" {
			settings["list"] = lists
		}
		f, err := spec.New(config.NewSection("filters."+spec.Name, settings), env)
		if err != nil {
			b.Fatal(err)
		}
		links = append(links, filters.Link{Spec: spec, Filter: f})
	}
	c, err := filters.NewChain(links, log)
	if err != nil {
		b.Fatal(err)
	}
	from, _ := mail.ParseAddress("bob@example.org")
	to, _ := mail.ParseAddress("ann@corp.example")
	visit := func() {
		s := &mail.Session{ID: "S", Client: netip.MustParseAddr("192.0.2.1")}
		for _, stage := range []mail.Stage{mail.StageConnect, mail.StageHelo} {
			tx := &mail.Transaction{ID: "S", Session: s}
			run := c.Start(b.Context(), tx)
			s.Findings = append(s.Findings, run.Stage(b.Context(), stage)...)
			run.Close()
			s.Helo = "mail.example.org"
		}
		tx := &mail.Transaction{ID: "S.1", Session: s, From: from}
		run := c.Start(b.Context(), tx)
		run.Stage(b.Context(), mail.StageMail)
		tx.Recipients = []mail.Recipient{{Address: to}}
		run.Stage(b.Context(), mail.StageRcpt)
		run.Close()
		c.Answered(b.Context(), tx, to, mail.Reply{Code: 250})
		c.Ended(b.Context(), s, filters.Conduct{Transactions: 1, Recipients: 1})
	}
	for range 100 {
		visit()
	}
	time.Sleep(50 * time.Millisecond) // the lists' own test entries are asked on the side
	b.ReportAllocs()
	for b.Loop() {
		visit()
	}
}
