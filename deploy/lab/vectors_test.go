package lab_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/textproto"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.yaml.in/yaml/v3"

	"postern/cmd/postern/app"
	"postern/internal/config"
	pdns "postern/internal/dns"
	"postern/internal/mail"
	"postern/internal/testing/hoptest"
)

// world is a DNS that a test can change between two messages.
type world struct {
	mu    sync.Mutex
	zone  pdns.Exchanger
	asked int
}

func (w *world) Exchange(ctx context.Context, q *dns.Msg, server, network string) (*dns.Msg, error) {
	w.mu.Lock()
	zone := w.zone
	w.asked++
	w.mu.Unlock()
	return zone.Exchange(ctx, q, server, network)
}

func (w *world) become(zone pdns.Exchanger) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.zone = zone
}

// gateway is a whole one with its SMTP door, before a recording next hop.
type gateway struct {
	t     *testing.T
	door  string
	hop   *hoptest.Hop
	world *world
}

const vectorSettings = `hostname = "gw.test"
data_dir = "data"
domains = ["corp.test"]
[[door]]
name = "edge"
listen = "127.0.0.1:0"
tls = "none"
xclient_networks = ["127.0.0.0/8"]
[next_hop."default"]
addresses = ["HOP"]
tls = "none"
[dns]
servers = ["127.0.0.1:9"]
[smtp]
max_per_network = 1000
`

// openGateway opens one whose clock stands at now, the zero time for the real one. A lenient one passes everything on,
// whatever its filters say, so that their words can be read.
func openGateway(t *testing.T, lenient bool, now func() time.Time) *gateway {
	t.Helper()
	g := &gateway{t: t, hop: hoptest.New(t, hoptest.Options{}), world: &world{}}
	zone, err := pdns.ParseZone("")
	if err != nil {
		t.Fatal(err)
	}
	g.world.become(zone)
	resolver, err := pdns.New(pdns.Options{Exchange: g.world, Attempts: 1, CacheSize: -1})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	text := strings.ReplaceAll(vectorSettings, "HOP", g.hop.Addr()) + "[filters.greylist]\nmode = \"off\"\n[filters.reputation]\nenabled = false\n" // each letter by itself
	if lenient {
		if err := os.WriteFile(filepath.Join(dir, "policy.toml"), []byte(mildPolicy(t)), 0o600); err != nil {
			t.Fatal(err)
		}
		text += "[policy]\nfile = \"policy.toml\"\n[filters.headers]\nenabled = false\n[filters.content]\nenabled = false\n[filters.ratelimit]\nenabled = false\n"
	}
	cfg, err := config.Parse(filepath.Join(dir, "postern.toml"), []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if problems := cfg.Check(app.KnownFilters()); len(problems) > 0 {
		t.Fatal(problems)
	}
	h, err := app.Open(cfg, app.Outside{Log: slog.New(slog.DiscardHandler), Resolver: resolver, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	if err := h.Listen(context.Background()); err != nil {
		t.Fatal(err)
	}
	g.door = h.Addresses()[0].Address
	g.hop.Forget()
	return g
}

// mildPolicy takes all actions away.
func mildPolicy(t *testing.T) string {
	t.Helper()
	j, err := app.NewPipeline(config.Default(), app.Outside{})
	if err != nil {
		t.Fatal(err)
	}
	text := "[thresholds]\ntag = 500\nquarantine = 600\nreject = 700\n[actions]\n"
	for _, s := range app.Symbols(j.Specs) {
		if s.Action != "" {
			text += s.Name + " = \"none\"\n"
		}
	}
	return text
}

// letter is what is sent, and from where.
type letter struct {
	client, helo, from string
	raw                string // lines end in LF or CRLF
}

// answer is what came of it: the first reply that was not positive or the last one, and what the next hop got.
type answer struct {
	code    int
	text    string
	message *hoptest.Message
	results []mail.AuthResult
}

// send sends one letter, as a client that is believed to be another by XCLIENT.
func (g *gateway) send(l letter) answer {
	g.t.Helper()
	conn, err := net.Dial("tcp", g.door)
	if err != nil {
		g.t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		g.t.Fatal(err)
	}
	c := textproto.NewConn(conn)
	addr := l.client
	if strings.Contains(addr, ":") {
		addr = "IPV6:" + addr
	}
	before := len(g.hop.Messages())
	lines := []string{"", "EHLO proxy.test", "XCLIENT ADDR=" + addr, "EHLO " + l.helo, "MAIL FROM:<" + l.from + "> BODY=8BITMIME SMTPUTF8", "RCPT TO:<ben@corp.test>", "DATA"}
	var a answer
	for _, line := range lines {
		if line != "" {
			if err := c.PrintfLine("%s", line); err != nil {
				g.t.Fatal(err)
			}
		}
		if a.code, a.text, _ = c.ReadResponse(0); a.code >= 400 || a.code == 0 {
			return a
		}
	}
	raw := strings.ReplaceAll(strings.ReplaceAll(l.raw, "\r\n", "\n"), "\n", "\r\n")
	if !strings.HasSuffix(raw, "\r\n") {
		raw += "\r\n"
	}
	if strings.HasPrefix(raw, ".") {
		raw = "." + raw
	}
	if _, err := conn.Write([]byte(strings.ReplaceAll(raw, "\r\n.", "\r\n..") + ".\r\n")); err != nil {
		g.t.Fatal(err)
	}
	a.code, a.text, _ = c.ReadResponse(0)
	if all := g.hop.Messages(); len(all) > before {
		a.message = &all[len(all)-1]
		for _, field := range mail.ParseHeader(a.message.Data).All("Authentication-Results") {
			if mail.AuthservID(field.Value()) != "gw.test" {
				continue
			}
			_, results, err := mail.ParseAuthResults(field.Value())
			if err != nil {
				g.t.Errorf("our own field can't be read: %v: %s", err, field.Raw)
			}
			a.results = append(a.results, results...)
		}
	}
	return a
}

// result gives the results of one method, in order.
func (a answer) result(method string) []string {
	var all []string
	for _, r := range a.results {
		if string(r.Method) == method {
			all = append(all, string(r.Result))
		}
	}
	return all
}

func suites(t *testing.T, folder string) string {
	t.Helper()
	dir := os.Getenv("POSTERN_SUITES")
	if dir == "" {
		t.Skip("POSTERN_SUITES names no folder with suites")
	}
	return filepath.Join(dir, folder)
}

const plainLetter = "From: a@nobody.test\nDate: Mon, 02 Mar 2026 12:00:00 +0000\nMessage-ID: <1@nobody.test>\nSubject: x\n\nx\n"

// SPF, DKIM and DMARC through the door: what a client says, what DNS knows, what the next hop reads.
func TestAuthenticationThroughTheDoor(t *testing.T) {
	t.Parallel()
	g := openGateway(t, true, nil)
	zone, err := pdns.ParseZone(`
example.org        TXT v=spf1 ip4:192.0.2.1 ip6:2001:db8::/32 -all
_dmarc.example.org TXT v=DMARC1; p=reject
mail.attack.test   TXT v=spf1 +all
attack.test        TXT v=spf1 +all
slow.test          TIMEOUT
`)
	if err != nil {
		t.Fatal(err)
	}
	g.world.become(zone)
	from := func(domain string) string { return strings.ReplaceAll(plainLetter, "nobody.test", domain) }
	for name, c := range map[string]struct {
		l          letter
		spf, dmarc string
		policy     string
	}{
		"pass":            {letter{"192.0.2.1", "mail.example.org", "bob@example.org", from("example.org")}, "pass", "pass", "reject"},
		"pass by IPv6":    {letter{"2001:db8::7", "mail.example.org", "bob@example.org", from("example.org")}, "pass", "pass", "reject"},
		"fail":            {letter{"192.0.2.9", "mail.example.org", "bob@example.org", from("example.org")}, "fail", "fail", "reject"},
		"not aligned":     {letter{"192.0.2.9", "mail.attack.test", "x@attack.test", from("example.org")}, "pass", "fail", "reject"},
		"subdomain":       {letter{"192.0.2.1", "mail.example.org", "bob@example.org", from("news.example.org")}, "pass", "pass", "reject"},
		"null sender":     {letter{"192.0.2.9", "mail.attack.test", "", from("attack.test")}, "pass", "none", ""},
		"no answer":       {letter{"192.0.2.9", "mail.slow.test", "x@slow.test", from("slow.test")}, "temperror", "none", ""},
		"injection":       {letter{"192.0.2.9", "mail.attack.test", `"; dmarc=pass header.from=bank.test"@attack.test`, from("example.org")}, "pass", "fail", "reject"},
		"injection, HELO": {letter{"192.0.2.9", "x", `"a\" dmarc=pass (b"@attack.test`, from("attack.test")}, "pass", "none", ""},
	} {
		a := g.send(c.l)
		if a.code != 250 || !slices.Equal(a.result("spf")[:1], []string{c.spf}) || !slices.Equal(a.result("dmarc"), []string{c.dmarc}) {
			t.Errorf("%s: %d %s: %v", name, a.code, a.text, a.results)
		}
		policy := ""
		for _, r := range a.results {
			for _, p := range r.Props {
				if p.Type == "policy" {
					policy = p.Value
				}
			}
		}
		if policy != c.policy {
			t.Errorf("%s: policy %q, want %q", name, policy, c.policy)
		}
	}
}

// spoofs are letters that say to be from bank.test or from us. The attacker owns attack.test, for which SPF passes. want
// is "refused", "held", or a symbol with which the letter is delivered. Whatever comes of one, no next hop ever reads that
// DMARC passed for anything but attack.test, and that only where attack.test is the one address shown.
func TestSpoofedSendersThroughTheDoor(t *testing.T) {
	t.Parallel()
	g := openGateway(t, false, nil)
	zone, err := pdns.ParseZone("attack.test TXT v=spf1 +all\nmail.attack.test TXT v=spf1 +all\n_dmarc.attack.test TXT v=DMARC1; p=none\n" +
		"bank.test TXT v=spf1 ip4:192.0.2.250 -all\n_dmarc.bank.test TXT v=DMARC1; p=none\n")
	if err != nil {
		t.Fatal(err)
	}
	g.world.become(zone)
	for _, c := range spoofs() {
		t.Run(c.id, func(t *testing.T) {
			from := c.from
			if from == "" {
				from = "x@attack.test"
			}
			raw := c.header + "\nDate: Mon, 02 Mar 2026 12:00:00 +0000\nMessage-ID: <1@attack.test>\nTo: ben@corp.test\nSubject: x\n\nx\n"
			a := g.send(letter{"192.0.2.9", "mail.attack.test", from, raw})
			got := "held"
			switch {
			case a.code >= 500:
				got = "refused"
			case a.code != 250:
				got = fmt.Sprint(a.code, a.text)
			case a.message != nil:
				got = "delivered: " + mail.ParseHeader(a.message.Data).Get("X-Postern")
			}
			if got != c.want && !(strings.HasPrefix(got, "delivered") && strings.Contains(got, c.want)) {
				t.Errorf("%s, want %s (%s)", got, c.want, a.text)
			}
			for _, r := range a.results {
				if r.Method != "dmarc" || r.Result != "pass" {
					continue
				}
				for _, p := range r.Props {
					if p.Property == "from" && (p.Value != "attack.test" || !c.attacker) {
						t.Errorf("dmarc=pass for %s", p.Value)
					}
				}
			}
		})
	}
}

// The test suite of openspf.org for RFC 7208. What no SMTP server can take at all is counted, not judged.
func TestSPFSuiteThroughTheDoor(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(suites(t, "spf"), "rfc7208-tests.yml"))
	if err != nil {
		t.Fatal(err)
	}
	g := openGateway(t, true, nil)
	ran, unsaid := 0, 0
	decoder := yaml.NewDecoder(strings.NewReader(string(text)))
	for {
		var s spfScenario
		if err := decoder.Decode(&s); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		g.world.become(s.zone(t))
		for _, name := range sortedKeys(s.Tests) {
			c := s.Tests[name]
			a := g.send(letter{c.Host, c.Helo, c.MailFrom, plainLetter})
			if a.code != 250 {
				unsaid++
				t.Logf("%s: %s can't be said in SMTP: %d %s", s.Description, name, a.code, a.text)
				continue
			}
			ran++
			if got := a.result("spf"); len(got) == 0 || !slices.Contains(c.results(), got[0]) {
				t.Errorf("%s: %s: %v, want %v", s.Description, name, got, c.results())
			}
		}
	}
	t.Logf("%d cases through the door, %d that SMTP can't say", ran, unsaid)
}

// chasquid's DKIM vectors.
func TestDKIMSuiteThroughTheDoor(t *testing.T) {
	t.Parallel()
	files, _ := filepath.Glob(filepath.Join(suites(t, "dkim"), "*.msg"))
	g := openGateway(t, true, nil)
	ran := 0
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".msg")
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		want := dkimWanted(t, strings.TrimSuffix(file, ".msg")+".result")
		g.world.become(dkimZone(t, strings.TrimSuffix(file, ".msg")+".dns"))
		a := g.send(letter{"192.0.2.9", "mail.example.com", "x@nobody.test", string(raw)})
		got := a.result("dkim")
		ran++
		if a.code != 250 {
			t.Errorf("%s: %d %s", name, a.code, a.text)
		}
		// we look at more signatures than chasquid does, and l= is no pass with us
		for i := range min(len(got), len(want)) {
			if got[i] != want[i] && (got[i] == "pass" || want[i] == "pass") && got[i] != "policy" {
				t.Errorf("%s: %v, want %v", name, got, want)
			}
		}
	}
	t.Logf("%d messages through the door", ran)
}

// ValiMail's vectors for the validation of ARC chains.
func TestARCSuiteThroughTheDoor(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(suites(t, "arc"), "chain-validation-tests.yml"))
	if err != nil {
		t.Fatal(err)
	}
	g := openGateway(t, true, nil)
	ran, unsaid := 0, 0
	decoder := yaml.NewDecoder(strings.NewReader(string(text)))
	for {
		var s arcScenario
		if err := decoder.Decode(&s); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		g.world.become(textZone(s.Records))
		for _, name := range sortedKeys(s.Tests) {
			c := s.Tests[name]
			a := g.send(letter{"192.0.2.9", "mail.example.com", "x@nobody.test", c.Message})
			if a.code != 250 {
				unsaid++
				t.Logf("%s is not taken: %d %s", name, a.code, a.text)
				continue
			}
			ran++
			got := append(a.result("arc"), "none")[0] // a letter without a chain has no result
			// the suite leaves some results open: then all but pass will do
			if want := strings.ToLower(strings.TrimSpace(c.CV)); want != got && (want != "" || got == "pass") {
				t.Errorf("%s: %s, want %s", name, got, want)
			}
		}
	}
	t.Logf("%d cases through the door, %d not taken", ran, unsaid)
}

func sortedKeys[V any](m map[string]V) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// dkimWanted gives "pass" or "fail" for each signature, nil if the file says that there is no result.
func dkimWanted(t *testing.T, file string) []string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	var r struct{ Results []struct{ State string } }
	if json.Unmarshal(text, &r) != nil {
		return nil
	}
	want := []string{}
	for _, s := range r.Results {
		if s.State == "SUCCESS" {
			want = append(want, "pass")
		} else {
			want = append(want, "fail")
		}
	}
	return want
}
