package policy

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"postern/filters"
	"postern/internal/mail"
)

// symbols are those of the case files.
func symbols() []filters.Symbol {
	return []filters.Symbol{
		{Name: "ODD_FORM", Score: 1, Action: "reject", Form: true, Help: "an odd form"},
		{Name: "TWO_POINTS", Score: 2, Help: "two points of badness"},
		{Name: "TWO_POINTS_MORE", Score: 2, Help: "two points more"},
		{Name: "FOUR_POINTS", Score: 4, Help: "four points of badness"},
		{Name: "TEN_POINTS", Score: 10, Help: "ten points of badness"},
		{Name: "HALF_POINT", Score: 0.5, Help: "half a point of badness"},
		{Name: "TENTH", Score: 0.1, Help: "a tenth"}, {Name: "TENTH_MORE", Score: 0.1}, {Name: "TENTH_AGAIN", Score: 0.1},
		{Name: "GOOD_SIGN", Score: -3, Help: "a good sign"},
		{
			Name: "ALWAYS_REFUSED", Action: "reject", Help: "the domain asks to refuse such mail",
			Reply: "The domain in From asks us to refuse mail it did not send. Send through its own servers.",
		},
	}
}

// TestCases runs testdata/*.txt. A case begins with "== what it shows"; "| " lines are policy.toml; want, decisive,
// reply and reason speak of the rcpt above them.
func TestCases(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no case files", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		parts := strings.Split(string(text), "\n== ")
		for _, part := range parts[1:] {
			name, body, _ := strings.Cut(part, "\n")
			t.Run(strings.TrimSuffix(filepath.Base(file), ".txt")+"/"+name, func(t *testing.T) { runCase(t, body) })
		}
	}
}

type scene struct {
	facts   Facts
	cfg     string
	short   bool
	policy  *Policy
	verdict Verdict
	flips   []string
}

// effect is one side of a verdict on one line.
func (s *scene) effect(word string) string {
	v := s.verdict
	var parts []string
	switch word {
	case "rules":
		parts = v.Rules
	case "would":
		for _, w := range v.Monitored {
			if w.Failed != "" {
				parts = append(parts, w.Rule+": failed")
				continue
			}
			parts = append(parts, w.Rule+": "+w.Would.String())
		}
	case "header":
		for _, h := range v.Headers {
			parts = append(parts, h.Name+": "+h.Value)
		}
	case "redirect":
		parts = []string{v.RedirectTo.String()}
	case "copy", "notify":
		for _, a := range map[string][]mail.Address{"copy": v.CopyTo, "notify": v.Notify}[word] {
			parts = append(parts, a.String())
		}
	case "banner":
		parts = []string{v.Banner}
	case "disclaimer":
		parts = []string{v.Disclaimer}
	case "entry":
		parts = []string{v.ListEntry}
	}
	return strings.Join(parts, " | ")
}

func runCase(t *testing.T, body string) {
	s := scene{facts: Facts{Stage: mail.StageMessage}}
	wants := 0
	for line := range strings.Lines(body) {
		line = strings.TrimRight(line, "\n")
		word, rest, _ := strings.Cut(line, " ")
		switch word {
		case "", "#", "policy":
		case "|":
			s.cfg += rest + "\n"
		case "rcpt":
			s.verdict = s.decide(t, rest)
		case "want":
			wants++
			if got := fmt.Sprintf("%s %v", s.verdict.Disposition, s.verdict.Score); got != rest {
				t.Errorf("for <%s> it is %s, want %s (%s)", s.verdict.Recipient, got, rest, s.verdict.Decisive)
			}
		case "decisive":
			if s.verdict.Decisive != rest {
				t.Errorf("decisive:\n got %s\nwant %s", s.verdict.Decisive, rest)
			}
		case "reply":
			if got := s.verdict.Reply.String(); got != rest {
				t.Errorf("reply:\n got %s\nwant %s", got, rest)
			}
		case "strip":
			if got := strings.Join(s.verdict.Strip, " "); got != rest {
				t.Errorf("taken out: %q, want %q", got, rest)
			}
		case "tarpit":
			if !s.verdict.Tarpit {
				t.Error("the client does not have to wait")
			}
		case "reason":
			s.reason(t, rest)
		case "rules", "would", "header", "redirect", "copy", "notify", "banner", "disclaimer", "entry":
			if got := s.effect(word); got != rest {
				t.Errorf("%s: %q, want %q", word, got, rest)
			}
		case "flip":
			s.flips = append(s.flips, rest)
			if got := s.policy.Counterfactuals(&s.facts, s.verdict.Recipient); !slices.Contains(got, rest) {
				t.Errorf("no way %q among %q", rest, got)
			}
		default:
			s.fact(t, word, rest)
		}
	}
	if wants == 0 {
		t.Error("the case wants nothing")
	}
}

func (s *scene) fact(t *testing.T, word, rest string) {
	address := func() mail.Address {
		a, err := mail.ParseAddress(rest)
		if err != nil {
			t.Fatalf("%s %s: %v", word, rest, err)
		}
		return a
	}
	f := &s.facts
	switch word {
	case "stage":
		f.Stage = map[string]mail.Stage{"connect": mail.StageConnect, "helo": mail.StageHelo, "mail": mail.StageMail, "rcpt": mail.StageRcpt}[rest]
	case "outbound":
		f.Outbound = true
	case "short":
		s.short = true
	case "client":
		f.Client = netip.MustParseAddr(rest)
	case "from":
		f.From = address()
	case "header-from":
		f.HeaderFrom = append(f.HeaderFrom, address())
	case "authenticated":
		f.Authenticated = []string{rest}
	case "failed":
		name, why, _ := strings.Cut(rest, " ")
		f.Findings = append(f.Findings, Finding{Symbol: filters.Failed, Evidence: name + ": " + why, Filter: name})
	case "nobody":
		f.From, f.HeaderFrom, f.Authenticated = mail.Address{}, nil, nil
	case "at":
		if err := f.Time.UnmarshalText([]byte(rest)); err != nil {
			t.Fatal(err)
		}
	case "user":
		f.User = rest
	case "subject":
		f.Subject = rest
	case "size":
		f.Size, _ = strconv.ParseInt(rest, 10, 64)
	case "attachment":
		name, kind, _ := strings.Cut(rest, " ")
		kind, size, _ := strings.Cut(kind, " ")
		n, _ := strconv.ParseInt(size, 10, 64)
		f.Attachments = append(f.Attachments, Attachment{name, kind, n})
	case "partial":
		f.AttachmentsPartial = true
	case "groups":
		who, groups, _ := strings.Cut(rest, " ")
		if f.Groups == nil {
			f.Groups = map[string][]string{}
		}
		f.Groups[who] = strings.Fields(groups)
	case "find":
		symbol, evidence, _ := strings.Cut(rest, " ")
		found := Finding{Symbol: symbol, Evidence: evidence}
		if w, ok := strings.CutPrefix(evidence, "weight="); ok {
			found.Evidence = ""
			found.Weight, _ = strconv.ParseFloat(w, 64)
		}
		if evidence == "located" {
			found.Located = true
		}
		f.Findings = append(f.Findings, found)
	default:
		t.Fatalf("unknown line: %s %s", word, rest)
	}
}

func (s *scene) decide(t *testing.T, rcpt string) Verdict {
	cfg, problems := Parse("policy.toml", []byte(s.cfg))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if s.short {
		cfg.Disclose.Inbound = "short"
	}
	p, problems := Compile(cfg, symbols())
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	var a mail.Address
	if rcpt != "" {
		var err error
		if a, err = mail.ParseAddress(rcpt); err != nil {
			t.Fatal(rcpt, err)
		}
	}
	s.policy = p
	s.readAgain(t, p, a)
	if s.facts.Stage == mail.StageMessage {
		return p.Decide(&s.facts, a)
	}
	return p.DecideStage(&s.facts, a)
}

// readAgain sees that facts that were kept are judged as they were the first time, and that the facts stay as they are.
func (s *scene) readAgain(t *testing.T, p *Policy, rcpt mail.Address) {
	kept, err := json.Marshal(s.facts)
	if err != nil {
		t.Fatal(err)
	}
	var again Facts
	if err := json.Unmarshal(kept, &again); err != nil {
		t.Fatal(err)
	}
	first, second := p.Decide(&s.facts, rcpt), p.Decide(&again, rcpt)
	if !reflect.DeepEqual(first, second) {
		t.Errorf("kept facts are judged otherwise:\n%+v\n%+v", first, second)
	}
	if after, _ := json.Marshal(s.facts); string(after) != string(kept) {
		t.Errorf("judging changed the facts:\n%s\n%s", kept, after)
	}
}

func (s *scene) reason(t *testing.T, want string) {
	var lines []string
	for _, r := range s.verdict.Reasons {
		line := fmt.Sprintf("%s %v %s", r.Symbol, r.Score, strings.Join(r.Evidence, " | "))
		lines = append(lines, strings.TrimSpace(line))
	}
	if !slices.Contains(lines, want) {
		t.Errorf("no reason %q among %q", want, lines)
	}
}

func compiled(t testing.TB, text string) *Policy {
	t.Helper()
	cfg, problems := Parse("policy.toml", []byte(text))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	p, problems := Compile(cfg, symbols())
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return p
}

// A heavier score never makes a verdict milder, whatever else is known.
func TestMonotoneInScore(t *testing.T) {
	texts := []string{
		"", "[actions]\nHALF_POINT = \"quarantine\"", "[actions]\nHALF_POINT = \"tag\"\n[on_failure]\ndkim = \"quarantine\"",
		"[[allow]]\nnetwork = \"192.0.2.0/24\"", "[actions]\nHALF_POINT = \"defer\"",
		"[[rule]]\nname = \"r\"\naction = \"tag\"", "[[rule]]\nname = \"r\"\naction = \"quarantine\"",
		"[group.\"g\"]\nsymbols = [\"MOVING\", \"TEN_POINTS\", \"GOOD_SIGN\"]\nmax = 8",
	}
	r := rand.New(rand.NewPCG(1, 2))
	names := symbols()
	for _, text := range texts {
		for range 25 {
			f := Facts{Stage: mail.StageMessage, Client: netip.AddrFrom4([4]byte{192, 0, byte(2 + r.IntN(2)), 1})}
			for range r.IntN(6) {
				f.Findings = append(f.Findings, Finding{Symbol: names[r.IntN(len(names))].Name})
			}
			if r.IntN(4) == 0 {
				f.Findings = append(f.Findings, Finding{Symbol: filters.Failed, Filter: "dkim"})
			}
			f.Findings = append(f.Findings, Finding{Symbol: "MOVING"})
			last := Verdict{Disposition: Accept}
			for score := -5.0; score < 20; score += 0.5 {
				cfg, _ := Parse("policy.toml", []byte(text))
				p, problems := Compile(cfg, append(symbols(), filters.Symbol{Name: "MOVING", Score: score}))
				if len(problems) > 0 {
					t.Fatal(problems)
				}
				v := p.Decide(&f, mail.Address{Local: "ann", Domain: "example.com"})
				if score > -5 && v.Disposition < last.Disposition {
					t.Fatalf("%q: from %s at %v to %s at %v", text, last.Disposition, last.Score, v.Disposition, v.Score)
				}
				last = v
			}
		}
	}
}

// The order in which filters finish can't change what is decided.
func TestOrderOfFindingsDoesNotMatter(t *testing.T) {
	p := compiled(t, "[scores]\nTENTH = 0.7\nTENTH_MORE = 0.1\nTENTH_AGAIN = 3.2\n")
	f := Facts{Findings: []Finding{{Symbol: "TENTH"}, {Symbol: "TENTH_MORE"}, {Symbol: "TENTH_AGAIN", Weight: 0.3}, {Symbol: "TENTH_AGAIN"}, {Symbol: "GOOD_SIGN", Weight: 0.99}}}
	want := p.Decide(&f, mail.Address{})
	r := rand.New(rand.NewPCG(3, 4))
	for range 100 {
		r.Shuffle(len(f.Findings), func(i, j int) { f.Findings[i], f.Findings[j] = f.Findings[j], f.Findings[i] })
		if got := p.Decide(&f, mail.Address{}); got.Score != want.Score || got.Disposition != want.Disposition || got.Decisive != want.Decisive {
			t.Fatalf("%v %v, before %v %v", got.Score, got.Disposition, want.Score, want.Disposition)
		}
	}
}

func TestVersionNamesThePolicy(t *testing.T) {
	a, again := compiled(t, "[thresholds]\ntag = 3\n"), compiled(t, "# a comment\n[thresholds]\ntag = 3.0\n")
	if a.Version() != again.Version() {
		t.Error("the same policy has two versions")
	}
	other := []*Policy{compiled(t, ""), compiled(t, "[scores]\nTENTH = 1\n"), compiled(t, "[[block]]\nsender = \"x.example\"\n")}
	for i, p := range other {
		if p.Version() == a.Version() {
			t.Errorf("policy %d has the version of another", i)
		}
	}
	if len(a.Version()) != 12 {
		t.Errorf("version %q", a.Version())
	}
}

type proof []string

func (p proof) AuthenticatedDomains() []string { return p }

type sure float64

func (s sure) Weight() float64 { return float64(s) }

func TestFactsOfATransaction(t *testing.T) {
	tx := &mail.Transaction{
		Stage: mail.StageMessage, From: mail.Address{Local: "bounce", Domain: "list.example"},
		Session: &mail.Session{Client: netip.MustParseAddr("::ffff:192.0.2.1"), Findings: []mail.Finding{{Symbol: "TWO_POINTS", Evidence: "helo"}}},
		Message: mail.NewMessage([]byte("From: \"Doe, Ann\" <ann@b\xc3\xbccher.example>,\r\n bob@example.org\r\nSubject: x\r\n\r\nhi\r\n")),
		Findings: []mail.Finding{
			{Symbol: "R_SPF_ALLOW", Value: proof{"list.example"}},
			{Symbol: "R_DKIM_ALLOW", Value: proof{"Example.ORG", "list.example"}},
			{Symbol: "BAYES_SPAM", Value: sure(0.5)}, {Symbol: "BAYES_HAM", Value: sure(0)},
			{Symbol: filters.Failed, Evidence: "rbl: deadline", Value: "rbl"},
		},
	}
	got, err := json.Marshal(FactsOf(tx))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"stage":16,"client":"192.0.2.1","from":{"Local":"bounce","Domain":"list.example"},` +
		`"header_from":[{"Local":"ann","Domain":"bücher.example"},{"Local":"bob","Domain":"example.org"}],` +
		`"findings":[{"symbol":"TWO_POINTS","evidence":"helo"},{"symbol":"R_SPF_ALLOW"},{"symbol":"R_DKIM_ALLOW"},` +
		`{"symbol":"BAYES_SPAM","weight":0.5},{"symbol":"BAYES_HAM","weight":-1},` +
		`{"symbol":"FILTER_FAILED","evidence":"rbl: deadline","filter":"rbl"}],"authenticated":["example.org","list.example"]}`
	if string(got) != want {
		t.Errorf("facts:\n got %s\nwant %s", got, want)
	}
}

func TestAuthorsThatCantBeReadAreNone(t *testing.T) {
	for _, from := range []string{"From: a@b, c\r\n", "From: \r\n", "From: ann@example.org\r\nFrom: <<>>\r\n"} {
		if got := authors(mail.ParseHeader([]byte(from + "\r\n"))); len(got) > 0 {
			t.Errorf("%q: %v", from, got)
		}
	}
}

func TestVerdictAsJSON(t *testing.T) {
	v := compiled(t, "").Decide(&Facts{Findings: []Finding{{Symbol: "FOUR_POINTS", Evidence: "x"}}}, mail.Address{Local: "a", Domain: "b.example"})
	text, err := json.Marshal(v)
	if err != nil || !strings.Contains(string(text), `"disposition":"tag","score":4,"required":{"tag":4,"quarantine":6,"reject":12}`) {
		t.Errorf("%s, %v", text, err)
	}
	var back Verdict
	if err := json.Unmarshal(text, &back); err != nil || back.Disposition != Tag {
		t.Errorf("read again: %v, %v", back.Disposition, err)
	}
}

// Whatever a filter's help says, the reply stays one line within the room that RFC 5321 section 4.5.3.1.5 leaves.
func TestRepliesAreBounded(t *testing.T) {
	long := strings.Repeat("long words\r\nand lines \xe2\x80\xa6 ", 100)
	p, problems := Compile(Default(), []filters.Symbol{{Name: "A", Score: 20, Help: long}, {Name: "B", Action: "reject", Reply: long}, {Name: "C", Action: "defer", Help: long}})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	for _, symbol := range []string{"A", "B", "C"} {
		r := p.Decide(&Facts{Findings: []Finding{{Symbol: symbol}}}, mail.Address{}).Reply
		wire := string(r.WithID("01J9ZZZZZZZZZZZZ.1").AppendWire(nil))
		if len(wire) > 512 || strings.Count(wire, "\r\n") != 1 || !strings.HasSuffix(wire, "(01J9ZZZZZZZZZZZZ.1)\r\n") {
			t.Errorf("%s: %d octets: %q", symbol, len(wire), wire)
		}
	}
}

func BenchmarkDecide(b *testing.B) {
	p := compiled(b, "[[allow]]\nsender = \"partner.example\"\n[[block]]\nnetwork = \"198.51.100.0/24\"\n[domain.\"example.net\"]\ntag = 1\n")
	f := Facts{
		Client: netip.MustParseAddr("192.0.2.1"), From: mail.Address{Local: "bob", Domain: "mail.example.org"},
		HeaderFrom: []mail.Address{{Local: "bob", Domain: "example.org"}}, Authenticated: []string{"example.org"},
	}
	for _, s := range symbols() {
		if s.Action == "" {
			f.Findings = append(f.Findings, Finding{Symbol: s.Name, Evidence: "some evidence"})
		}
	}
	f.Findings = append(f.Findings, Finding{Symbol: "UNKNOWN"})
	b.ReportAllocs()
	for b.Loop() {
		p.Decide(&f, mail.Address{Local: "ann", Domain: "example.com"})
	}
}
