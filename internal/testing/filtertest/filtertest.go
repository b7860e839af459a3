// Package filtertest runs a filter on case files, testdata/*.txt. A case says who speaks, what the DNS knows and what
// must be found, then comes an empty line and the message:
//
//	# A client that gives a bare address in HELO. RFC 5321 section 4.1.3.
//	peer 192.0.2.9
//	helo 192.0.2.9
//	mail bob@example.org
//	rcpt eve@corp.example
//	dns example.org TXT v=spf1 -all
//	want HELO_BAREIP 192.0.2.9
//
//	From: bob@example.org
//	...
//
// The symbols found must be exactly those wanted, in that order; the text behind a symbol must stand in its evidence.
// "only at STAGE" ends a case at a stage without a message. "set KEY = VALUE" is a setting, "user NAME" and "trusted"
// make the session outbound, "spf RESULT DOMAIN", "dkim RESULT DOMAIN", "arc RESULT SEALER AUTHENTICATION-RESULTS",
// "arc-by RESULT SEALER", "arc-unsure RESULT SEALER", "dkim-testing RESULT DOMAIN" and "dmarc RESULT POLICY DOMAIN" stand
// for what other filters found, "found SYMBOL" for any other finding, "times N" repeats
// the transaction. "wrote OURS THEIRS" says that one of our users has written to an address. In the message "\xHH" stands for an octet, "@repeat N TEXT" for N lines.
//
// A line "==== after 5m" or "==== next" behind the message begins another transaction of the same case, on a connection
// of its own; see sequence.go for what its lines and those of filters that learn are.
package filtertest

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pelletier/go-toml/v2"

	"postern/filters"
	"postern/internal/config"
	"postern/internal/dns"
	"postern/internal/mail"
	"postern/internal/state"
)

// Hostname and LocalDomain are the gateway's name and the one domain it serves in each case.
const (
	Hostname    = "mx.corp.example"
	LocalDomain = "corp.example"
)

// Now is the time in each case.
func Now() time.Time { return time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC) }

// Run runs all cases of a filter and fails if one of its symbols has none.
func Run(t *testing.T, spec filters.Spec) {
	t.Helper()
	wanted := RunCases(t, spec)
	for _, s := range spec.Symbols {
		if !wanted[s.Name] {
			t.Errorf("no case in testdata wants %s", s.Name)
		}
		if s.Help == "" {
			t.Errorf("%s has no help", s.Name)
		}
	}
}

// RunCases runs all cases and gives the symbols that they want.
func RunCases(t *testing.T, spec filters.Spec) map[string]bool {
	t.Helper()
	wanted := map[string]bool{}
	files, _ := filepath.Glob("testdata/*.txt")
	if len(files) == 0 {
		t.Fatal("no case files in testdata")
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		c, err := parse(string(text))
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		for _, step := range c.steps {
			for _, w := range step.wants {
				wanted[w.symbol] = true
			}
		}
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			err := c.run(t.Context(), spec, func(s *step, found []filters.Finding) {
				s.compare(t, found)
				declared(t, spec, found)
			})
			if err != nil {
				t.Fatal(err)
			}
		})
	}
	return wanted
}

// Fuzz feeds the filter messages, seeded from the case files. It must neither panic nor fail nor report what it did not
// declare.
func Fuzz(f *testing.F, spec filters.Spec) {
	files, _ := filepath.Glob("testdata/*.txt")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		if c, err := parse(string(text)); err == nil {
			f.Add(c.steps[0].message)
		}
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		c := newCase()
		c.step.message, c.step.rcpts = message, []string{"<eve@corp.example>"}
		err := c.run(t.Context(), spec, func(_ *step, found []filters.Finding) { declared(t, spec, found) })
		if err != nil {
			t.Fatal(err)
		}
	})
}

func declared(t *testing.T, spec filters.Spec, found []filters.Finding) {
	t.Helper()
	for _, f := range found {
		known := slices.ContainsFunc(spec.Symbols, func(s filters.Symbol) bool { return s.Name == f.Symbol })
		if !known {
			t.Errorf("%s (%s) is not declared in the Spec", f.Symbol, f.Evidence)
		}
		for _, r := range f.Evidence {
			if r < ' ' || r == 0x7f {
				t.Errorf("%s: evidence %q is not printable", f.Symbol, f.Evidence)
				break
			}
		}
	}
}

type want struct{ symbol, evidence string }

// testCase is what holds for all transactions of a case.
type testCase struct {
	zone     strings.Builder
	settings strings.Builder
	systems  map[netip.Addr]uint32
	wrote    [][2]mail.Address // who of ours wrote to whom
	steps    []*step
	step     *step // the one that is read
}

func newCase() *testCase {
	c := &testCase{systems: map[netip.Addr]uint32{}}
	c.step = &step{from: "<bob@example.org>", last: mail.StageMessage, times: 1}
	c.step.session = mail.Session{ID: "TEST", ESMTP: true, Helo: "mail.example.org", Client: netip.MustParseAddr("192.0.2.1"), Started: Now()}
	c.steps = []*step{c.step}
	return c
}

func parse(text string) (*testCase, error) {
	c := newCase()
	for i, part := range splitSteps(text) {
		if i > 0 {
			c.next()
		}
		head, body, _ := strings.Cut(part, "\n\n")
		for line := range strings.Lines(head) {
			line = strings.TrimRight(line, "\n")
			if line == "" || line[0] == '#' {
				continue
			}
			if err := c.line(line); err != nil {
				return nil, fmt.Errorf("%q: %w", line, err)
			}
		}
		if body != "" || i == 0 {
			c.step.message = expand(body)
		}
		if c.step.rcpts == nil {
			c.step.rcpts = []string{"<eve@corp.example>"}
		}
	}
	return c, nil
}

func (c *testCase) line(line string) (err error) {
	word, rest, _ := strings.Cut(line, " ")
	t := c.step
	switch word {
	case "peer":
		t.peer = rest
		_, err = netip.ParseAddr(numbered(rest, 1))
	case "helo":
		t.session.Helo = rest
	case "mail":
		t.from = "<" + strings.Trim(rest, "<>") + ">"
	case "rcpt":
		t.rcpt("<" + strings.Trim(rest, "<>") + ">")
	case "user":
		t.session.User = rest
	case "trusted":
		t.session.Trusted = true
	case "dns":
		c.zone.WriteString(rest + "\n")
	case "set":
		c.settings.WriteString(rest + "\n")
	case "times":
		t.times, err = strconv.Atoi(rest)
	case "spf", "dkim", "dkim-testing", "arc", "arc-by", "arc-unsure", "dmarc":
		result, domain, _ := strings.Cut(rest, " ")
		t.prior = append(t.prior, prior(word, result, domain))
	case "want":
		symbol, evidence, _ := strings.Cut(rest, " ")
		t.wants = append(t.wants, want{symbol, evidence})
	case "only":
		t.last, err = stageNamed(strings.TrimPrefix(rest, "at "))
	default:
		err = c.lineOfSequence(word, rest)
	}
	return err
}

// prior is what another filter would have found.
func prior(method, word, domain string) filters.Finding {
	result := mail.AuthVerdict(word)
	if method == "spf" {
		return filters.Finding{Symbol: "R_SPF", Value: filters.SPF{Result: result, Domain: domain}}
	}
	switch method {
	case "arc":
		sealer, said, _ := strings.Cut(domain, " ")
		_, vouched, _ := mail.ParseAuthResults(said)
		return filters.Finding{Symbol: "ARC", Value: filters.ARC{Result: result, Trusted: sealer, Vouched: vouched}}
	case "arc-by":
		return filters.Finding{Symbol: "ARC", Value: filters.ARC{Result: result, Sealers: []string{domain}}}
	case "arc-unsure":
		return filters.Finding{Symbol: "ARC", Value: filters.ARC{Result: result, Temporary: true, Unsure: true, Sealers: []string{domain}}}
	case "dmarc":
		policy, author, _ := strings.Cut(domain, " ")
		return filters.Finding{Symbol: "DMARC", Value: filters.DMARC{Result: result, Policy: filters.DMARCPolicy(policy), Domain: author, Org: author}}
	}
	return filters.Finding{Symbol: "R_DKIM", Value: filters.DKIM{{Result: result, Domain: domain, Testing: method == "dkim-testing"}}}
}

func stageNamed(name string) (mail.Stage, error) {
	for _, s := range stages() {
		if s.String() == name {
			return s, nil
		}
	}
	return 0, fmt.Errorf("no stage %q", name)
}

func stages() []mail.Stage {
	return []mail.Stage{mail.StageConnect, mail.StageHelo, mail.StageMail, mail.StageRcpt, mail.StageMessage}
}

// expand makes octets of the text of a message: CRLF, escapes, repetitions.
func expand(body string) []byte {
	var b []byte
	for line := range strings.Lines(body) {
		line, ended := strings.CutSuffix(line, "\n")
		n := 1
		if rest, ok := strings.CutPrefix(line, "@repeat "); ok {
			count, text, _ := strings.Cut(rest, " ")
			n, _ = strconv.Atoi(count)
			line = text
		}
		for range n {
			b = append(b, unescape(line)...)
			if ended {
				b = append(b, '\r', '\n')
			}
		}
	}
	return b
}

func unescape(line string) string {
	for {
		before, after, ok := strings.Cut(line, `\x`)
		if !ok || len(after) < 2 {
			return line
		}
		n, err := strconv.ParseUint(after[:2], 16, 8)
		if err != nil {
			return line
		}
		line = before + string([]byte{byte(n)}) + after[2:]
	}
}

// house makes a chain of the one filter, on a clock that the case moves.
func (c *testCase) house(spec filters.Spec, now *clock) (*filters.Chain, error) {
	resolver, err := dns.NewZoneResolver(c.zone.String())
	if err != nil {
		return nil, err
	}
	var values map[string]any
	if err := toml.Unmarshal([]byte(c.settings.String()), &values); err != nil {
		return nil, err
	}
	memory, err := state.NewMemory(state.MemoryOptions{Now: now.read, MaxKeys: 100_000})
	if err != nil {
		return nil, err
	}
	now.done = memory.Close
	for _, w := range c.wrote {
		filters.SetCorrespondent(context.Background(), memory, w[0], w[1], time.Hour)
	}
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	f, err := spec.New(config.NewSection("filters."+spec.Name, values), filters.Env{
		DNS: resolver, Log: log, Now: now.read, Hostname: Hostname, State: memory, ASN: c.asn,
		Local: func(domain string) bool { return strings.EqualFold(domain, LocalDomain) },
	})
	if err != nil {
		return nil, err
	}
	return filters.NewChain([]filters.Link{{Spec: spec, Filter: f}}, log)
}

// run lets a chain of the one filter judge the transactions of the case, and hands on what each found the last time.
func (c *testCase) run(ctx context.Context, spec filters.Spec, compare func(*step, []filters.Finding)) error {
	now := newClock()
	defer now.close()
	chain, err := c.house(spec, now)
	if err != nil {
		return err
	}
	for _, s := range c.steps {
		now.pass(s.after)
		if err := s.correct(ctx, chain, spec.Name); err != nil {
			return err
		}
		var found []filters.Finding
		for n := range s.times {
			if n > 0 {
				now.pass(s.every)
			}
			if found, err = s.transaction(ctx, chain, n+1); err != nil {
				return err
			}
		}
		compare(s, found)
		if err := s.looksKept(ctx, chain, spec.Name); err != nil {
			return err
		}
	}
	return nil
}

func (s *step) transaction(ctx context.Context, chain *filters.Chain, n int) ([]filters.Finding, error) {
	session, err := s.visit(n)
	if err != nil {
		return nil, err
	}
	tx := &mail.Transaction{ID: session.ID + ".1", Session: session, Findings: slices.Clone(s.prior)}
	run := chain.Start(ctx, tx)
	defer run.Close()
	for _, stage := range stages() {
		switch stage {
		case mail.StageMail:
			if tx.From, _, err = mail.ParsePath(numbered(s.from, n), true); err != nil {
				return nil, err
			}
		case mail.StageRcpt:
			if err := s.recipients(ctx, chain, run, tx, n); err != nil {
				return nil, err
			}
		case mail.StageMessage:
			tx.Message = mail.NewMessage([]byte(numbered(string(s.message), n)))
		case mail.StageConnect, mail.StageHelo: // the session has all they look at
		}
		if stage != mail.StageRcpt {
			run.Stage(ctx, stage)
		}
		if s.last == stage {
			break
		}
	}
	s.learn(ctx, chain, tx, n)
	return tx.Findings[len(s.prior):], nil
}

// recipients asks for each recipient and tells the filter what the answer was.
func (s *step) recipients(ctx context.Context, chain *filters.Chain, run *filters.Run, tx *mail.Transaction, n int) error {
	for _, r := range s.rcpts {
		to, _, err := mail.ParsePath(numbered(r, n), true)
		if err != nil {
			return err
		}
		tx.Recipients = append(tx.Recipients, mail.Recipient{Address: to})
		run.Stage(ctx, mail.StageRcpt)
		reply := s.reply()
		if !reply.Positive() {
			tx.Recipients = tx.Recipients[:len(tx.Recipients)-1]
		}
		chain.Answered(ctx, tx, to, reply)
	}
	return nil
}

func (s *step) compare(t *testing.T, found []filters.Finding) {
	t.Helper()
	var got, wanted []string
	for _, f := range found {
		got = append(got, f.Symbol)
	}
	for _, w := range s.wants {
		wanted = append(wanted, w.symbol)
	}
	if !slices.Equal(got, wanted) {
		t.Errorf("%sfound %v, want %v", s.title, describe(found), wanted)
		return
	}
	for i, w := range s.wants {
		if !strings.Contains(found[i].Evidence, w.evidence) {
			t.Errorf("%s%s: evidence %q, want %q in it", s.title, w.symbol, found[i].Evidence, w.evidence)
		}
	}
}

func describe(found []filters.Finding) []string {
	var all []string
	for _, f := range found {
		all = append(all, f.Symbol+"("+f.Evidence+")")
	}
	return all
}

// Names gives the names of the symbols of a Spec, sorted: for tests that compare lists.
func Names(spec filters.Spec) []string {
	names := map[string]bool{}
	for _, s := range spec.Symbols {
		names[s.Name] = true
	}
	return slices.Sorted(maps.Keys(names))
}
