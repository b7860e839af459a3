package policy

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"postern/filters"
	"postern/internal/mail"
	"postern/policy/calendar"
)

// chance makes policies and facts of a small world, in which things meet often.
type chance struct{ *rand.Rand }

func (c chance) of(words ...string) string { return words[c.IntN(len(words))] }

func (c chance) sometimes(text string, args ...any) string {
	if c.IntN(3) == 0 {
		return fmt.Sprintf(text, args...) + "\n"
	}
	return ""
}

func (c chance) some(key string, words ...string) string {
	if c.IntN(3) > 0 {
		return ""
	}
	list := []string{`"` + c.of(words...) + `"`}
	if c.IntN(2) == 0 {
		list = append(list, `"`+c.of(words...)+`"`)
	}
	return key + " = [" + strings.Join(list, ", ") + "]\n"
}

const smallWorld = `
[who."a"]
domains = ["a.example"]
[who."sub"]
domains = [".a.example"]
networks = ["192.0.2.0/24"]
[who."staff"]
groups = ["staff"]
[what."two"]
symbols = ["TWO_POINTS"]
[what."doc"]
attachment_names = ["*.doc"]
[time."day"]
from = "08:00"
to = "18:00"
`

func (c chance) policy() string {
	var b strings.Builder
	for i := range c.IntN(5) {
		list := c.of("allow", "block", "block")
		fmt.Fprintf(&b, "[[%s]]\nid = \"e%d\"\nsender = %q\n", list, i, c.of("a.example", ".a.example", "bob@a.example", ".example"))
		b.WriteString(c.sometimes("network = %q", c.of("192.0.2.0/24", "192.0.2.1", "192.0.0.0/16")))
		b.WriteString(c.sometimes("recipient = %q", c.of("ann@example.com", "example.com")))
		b.WriteString(c.sometimes("expires = %q", c.of("2026-03-01", "2026-03-02")))
		if list == "allow" {
			b.WriteString("unauthenticated = " + c.of("true", "true", "false") + "\n")
		}
	}
	b.WriteString(smallWorld)
	for i := range c.IntN(6) {
		action := c.of("accept", "tag", "quarantine", "defer", "reject")
		fmt.Fprintf(&b, "[[rule]]\nname = \"r%d\"\naction = %q\n", i, action)
		b.WriteString(c.some("from", "a", "sub", "staff") + c.some("to", "staff", "a") + c.some("what", "two", "doc") + c.some("time", "day"))
		b.WriteString(c.some("not_from", "a", "sub") + c.some("not_time", "day"))
		b.WriteString(c.sometimes("when = '%s'", c.of("true", "false", "score > 3", `has("TENTH")`, `symbols["TENTH"] > 0`)))
		b.WriteString(c.sometimes("direction = %q", c.of("in", "out")) + c.sometimes("priority = %d", c.IntN(3)))
		b.WriteString(c.sometimes("stop = true") + c.sometimes("headers = { X-R = \"%d\" }", i))
		if c.IntN(5) == 0 {
			b.WriteString("monitor = true\n")
		}
		if action == "accept" {
			b.WriteString(c.sometimes("unauthenticated = true") + c.sometimes("override = [\"ALWAYS_REFUSED\"]"))
		}
	}
	return b.String()
}

func (c chance) facts() Facts {
	f := Facts{
		Stage: mail.StageMessage, Outbound: c.IntN(4) == 0, Client: netip.AddrFrom4([4]byte{192, 0, byte(2 + c.IntN(2)), byte(1 + c.IntN(2))}),
		Groups: map[string][]string{},
	}
	address := func() mail.Address {
		return mail.Address{Local: c.of("bob", "eve"), Domain: c.of("a.example", "b.a.example", "example", "example.net")}
	}
	if c.IntN(4) > 0 {
		f.From = address()
	}
	for range c.IntN(3) {
		f.HeaderFrom = append(f.HeaderFrom, address())
	}
	if c.IntN(2) == 0 {
		f.Authenticated = []string{c.of("a.example", "example.net")}
	}
	if c.IntN(3) > 0 {
		if err := f.Time.UnmarshalText([]byte(c.of("2026-03-01T09:00:00Z", "2026-03-02T20:00:00Z", "2026-03-04T09:00:00Z"))); err != nil {
			panic(err)
		}
	}
	if c.IntN(2) == 0 {
		f.Groups["ann@example.com"] = []string{"staff"}
	}
	if c.IntN(3) == 0 {
		f.Attachments = []Attachment{{Name: c.of("a.doc", "a.pdf")}}
	}
	names := symbols()
	for range c.IntN(4) {
		f.Findings = append(f.Findings, Finding{Symbol: names[c.IntN(len(names))].Name, Evidence: "x"})
	}
	if c.IntN(6) == 0 {
		f.Findings = append(f.Findings, Finding{Symbol: filters.Failed, Filter: "dkim"})
	}
	return f
}

func (c chance) rcpt() mail.Address {
	return mail.Address{Local: c.of("ann", "carl"), Domain: c.of("example.com", "a.example")}
}

// Facts that went through JSON, as the ledger keeps them, are judged the same, any number of times, and stay as they are.
func TestVerdictsAreReproduced(t *testing.T) {
	c := chance{rand.New(rand.NewPCG(5, 6))}
	for range 150 {
		text := c.policy()
		p, other := compiled(t, text), compiled(t, text)
		for range 20 {
			f, rcpt := c.facts(), c.rcpt()
			kept, err := json.Marshal(f)
			if err != nil {
				t.Fatal(err)
			}
			want := p.Decide(&f, rcpt)
			var again Facts
			if err := json.Unmarshal(kept, &again); err != nil {
				t.Fatal(err)
			}
			for _, got := range []Verdict{p.Decide(&f, rcpt), p.Decide(&again, rcpt), other.Decide(&again, rcpt)} {
				if !reflect.DeepEqual(got, want) {
					t.Fatalf("%s\n%s\n%+v\n%+v", text, kept, got, want)
				}
			}
			if after, _ := json.Marshal(f); string(after) != string(kept) {
				t.Fatalf("judging changed the facts: %s, %s", kept, after)
			}
			text, err := json.Marshal(want)
			var read Verdict
			if err == nil {
				err = json.Unmarshal(text, &read)
			}
			if err != nil || read.Disposition != want.Disposition || !reflect.DeepEqual(read.Monitored, want.Monitored) {
				t.Fatalf("a verdict can't be read again: %v", err)
			}
		}
	}
}

// What Counterfactuals says of a symbol is so when the symbol is taken out.
func TestWaysHold(t *testing.T) {
	c := chance{rand.New(rand.NewPCG(7, 8))}
	seen := 0
	for range 300 {
		p := compiled(t, c.policy())
		f, rcpt := c.facts(), c.rcpt()
		now := p.Decide(&f, rcpt)
		ways := p.Counterfactuals(&f, rcpt)
		if len(ways) > maxWays {
			t.Errorf("%d ways", len(ways))
		}
		for _, way := range ways {
			text, then, _ := strings.Cut(way, " it would be ")
			symbol, single := strings.CutPrefix(text, "without ")
			if !single || strings.Contains(symbol, " ") {
				continue
			}
			seen++
			fewer := f
			fewer.Findings = nil
			for _, n := range f.Findings {
				if n.Symbol != symbol {
					fewer.Findings = append(fewer.Findings, n)
				}
			}
			v := p.Decide(&fewer, rcpt)
			verb, _, _ := strings.Cut(then, ": ")
			if v.Disposition == now.Disposition || strings.ToLower(done(v.Disposition)) != verb {
				t.Errorf("%q, but it is %s", way, v.Disposition)
			}
		}
	}
	if seen < 50 {
		t.Errorf("only %d ways were tried", seen)
	}
}

// Nothing that Shadowed names changes a single verdict when it is taken away.
func TestShadowedHasNoFalseAlarm(t *testing.T) {
	c := chance{rand.New(rand.NewPCG(9, 10))}
	rules, entries := 0, 0
	for range 400 {
		text := c.policy()
		cfg, problems := Parse("policy.toml", []byte(text))
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		p, problems := Compile(cfg, symbols())
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		for _, problem := range Shadowed(p) {
			name, index, _ := strings.Cut(strings.TrimSuffix(strings.TrimSuffix(problem.Key, ".when"), "]"), "[")
			i := 0
			if _, err := fmt.Sscan(index, &i); err != nil {
				t.Fatal(problem)
			}
			less := cfg
			id := ""
			switch name {
			case "rule":
				rules++
				less.Rules = append(append([]Rule(nil), cfg.Rules[:i]...), cfg.Rules[i+1:]...)
			case "allow":
				id, less.Allow = cfg.Allow[i].ID, append(append([]Entry(nil), cfg.Allow[:i]...), cfg.Allow[i+1:]...)
			case "block":
				id, less.Block = cfg.Block[i].ID, append(append([]Entry(nil), cfg.Block[:i]...), cfg.Block[i+1:]...)
			}
			if id != "" {
				entries++
			}
			other, problems := Compile(less, symbols())
			if len(problems) > 0 {
				t.Fatal(problems)
			}
			for range 100 {
				f, rcpt := c.facts(), c.rcpt()
				a, b := p.Decide(&f, rcpt), other.Decide(&f, rcpt)
				if a.Disposition != b.Disposition || a.Decisive != b.Decisive || !reflect.DeepEqual(a.Headers, b.Headers) || id != "" && a.ListEntry == id {
					t.Fatalf("%s\n%s\n%+v\n%s, without it %s", text, problem, f, a.Decisive, b.Decisive)
				}
			}
		}
	}
	if rules < 50 || entries < 50 {
		t.Errorf("only %d rules and %d entries were found", rules, entries)
	}
}

// What the index of a list finds is what a look at every entry finds.
func TestListsFindWhatIsThere(t *testing.T) {
	c := chance{rand.New(rand.NewPCG(11, 12))}
	found := 0
	for range 300 {
		cfg, problems := Parse("policy.toml", []byte(c.policy()))
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		l := newList(calendar.Zone{}, cfg.Block)
		for range 50 {
			f, rcpt := c.facts(), c.rcpt()
			if c.IntN(10) == 0 {
				rcpt = mail.Address{}
			}
			who := parties{f.Client, f.From, f.HeaderFrom, rcpt, f.Time}
			want := -1
			for i := range l.entries {
				e := &l.entries[i]
				sender := e.sender == "" || slices.ContainsFunc(append([]mail.Address{f.From}, f.HeaderFrom...), func(a mail.Address) bool { return fits(e.sender, a) })
				if sender && (!e.network.IsValid() || e.network.Contains(f.Client)) && (e.recipient == "" || !rcpt.IsNull() && fits(e.recipient, rcpt)) &&
					(e.expires == 0 || f.Time < e.expires) {
					want = i
					break
				}
			}
			got := -1
			if e, ok := l.match(who, func(*entry) bool { return true }); ok {
				got = slices.IndexFunc(l.entries, func(o entry) bool { return o.ID == e.ID })
				found++
			}
			if got != want {
				t.Fatalf("entry %d, want %d: %+v, %+v", got, want, l.entries, who)
			}
		}
	}
	if found < 500 {
		t.Errorf("only %d were found", found)
	}
}
