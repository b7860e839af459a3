package eval_test

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/internal/mail"
	"postern/internal/mimeview"
	"postern/rules"
	"postern/rules/eval"
)

// evalCase is a message of testdata/*.txt, with what functions say of it. "== NAME" begins one, an empty line ends its head:
//
//	config LINE          a line of a rule file
//	fact WORD VALUE      what another filter found: spf, helo, dkim (domain, domain testing, bad domain), arc, dmarc, policy
//	listed NAME ZONE IP  what a list in the DNS answers
//	yes KIND CALL        the function holds in a rule of that kind; no: it does not
type evalCase struct {
	name, config, message string
	facts                 eval.Facts
	lists                 listed
	calls                 []call
}

type call struct {
	kind, text string
	holds      bool
}

func (c call) function() string {
	name, _, _ := strings.Cut(c.text, "(")
	return name
}

// listed answers as lists in the DNS do, by name and zone.
type listed map[string][]string

func (l listed) Listed(name, zone string) []string { return l[name+" "+zone] }
func (l listed) Texts(string, string) []string     { return nil }
func (l listed) Dead(string) bool                  { return false }

func readCases(t *testing.T) (all []*evalCase) {
	t.Helper()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no cases ", err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range strings.Split("\n"+string(text), "\n== ")[1:] {
			head, message, ok := strings.Cut(part, "\n\n")
			if !ok {
				t.Fatalf("%s: %.40q has no message", f, part)
			}
			name, lines, _ := strings.Cut(head, "\n")
			c := &evalCase{name: filepath.Base(f) + "/" + name, lists: listed{}, message: message}
			for line := range strings.SplitSeq(lines, "\n") {
				if why := c.read(line); why != "" {
					t.Fatalf("%s: %q: %s", c.name, line, why)
				}
			}
			all = append(all, c)
		}
	}
	return all
}

// read takes a line of the head; it says what is wrong with it.
func (c *evalCase) read(line string) string {
	word, rest, _ := strings.Cut(line, " ")
	switch word {
	case "config":
		c.config += rest + "\n"
	case "fact":
		return c.fact(rest)
	case "listed":
		f := strings.Fields(rest)
		if len(f) != 3 {
			return "want a name, a zone and an address"
		}
		c.lists[f[0]+" "+f[1]] = append(c.lists[f[0]+" "+f[1]], f[2])
	case "yes", "no":
		kind, text, ok := strings.Cut(strings.TrimSpace(rest), " ")
		if !ok {
			return "want a kind of rule and a call"
		}
		c.calls = append(c.calls, call{kind, strings.TrimSpace(text), word == "yes"})
	default:
		return "what is that?"
	}
	return ""
}

func (c *evalCase) fact(text string) string {
	word, value, _ := strings.Cut(text, " ")
	switch word {
	case "spf":
		c.facts.SPF = value
	case "helo":
		c.facts.SPFHelo = value
	case "dkim":
		c.facts.DKIMKnown = true
		if value == "none" {
			break
		}
		bad, isBad := strings.CutPrefix(value, "bad ")
		domain, testing := strings.CutSuffix(bad, " testing")
		c.facts.DKIM = append(c.facts.DKIM, eval.Signature{Domain: domain, Valid: !isBad, Testing: testing})
	case "arc":
		c.facts.ARC, c.facts.ARCValid = true, value == "valid"
	case "dmarc":
		c.facts.DMARC = value
	case "policy":
		c.facts.DMARCPolicy = value
	default:
		return "no filter finds that"
	}
	return ""
}

// set makes a rule of each call.
func (c *evalCase) set(t *testing.T) *rules.Set {
	t.Helper()
	var b strings.Builder
	for _, plugin := range []string{"PDFInfo", "OLEVBMacro", "ImageInfo", "HashBL", "DMARC", "ASN"} {
		b.WriteString("loadplugin Mail::SpamAssassin::Plugin::" + plugin + "\n")
	}
	b.WriteString(c.config)
	for i, call := range c.calls {
		fmt.Fprintf(&b, "%s E_%d eval:%s\nscore E_%d 1\n", call.kind, i, call.text, i)
	}
	set, problems := rules.ParseWith(rules.Options{All: true, Network: len(c.lists) > 0}, rules.Foreign([]rules.File{{Name: c.name, Text: b.String()}})...)
	for _, p := range problems {
		if p.Kind == rules.BadLine || p.Kind == rules.Unsupported {
			t.Error(p)
		}
	}
	return set
}

// The functions hold for the messages of testdata, and don't for others.
func TestFunctions(t *testing.T) {
	for _, c := range readCases(t) {
		t.Run(c.name, func(t *testing.T) {
			view := mimeview.New(mail.NewMessage([]byte(strings.ReplaceAll(c.message, "\n", "\r\n"))), mimeview.Options{})
			defer view.Close()
			in := rules.Input{View: view, Facts: c.facts, Client: netip.Addr{}, Now: time.Date(2026, 11, 2, 12, 0, 0, 0, time.UTC)}
			if len(c.lists) > 0 {
				in.Lists = c.lists
			}
			values := c.set(t).Values(in)
			for i, call := range c.calls {
				if got := values[fmt.Sprintf("E_%d", i)]; (got != 0) != call.holds {
					t.Errorf("%s is %v", call.text, got)
				}
			}
		})
	}
}

// elsewhere says whether the cases of a function stand where what it needs is made: package rules asks maps, files and the
// network (TestRulesAskMaps, TestOfficeDocuments, TestRulesThatAskTheNetwork), and has the PDF files of testdata/cases/evals_pdf.
func elsewhere(name string) bool {
	return slices.ContainsFunc([]string{"pdf_", "check_ole", "check_hashbl_", "check_rbl", "check_uridnsbl", "check_dns_sender", "check_map"}, func(front string) bool {
		return strings.HasPrefix(name, front)
	})
}

// findsNothing are functions that old rules call, and that hold for no message here or in SpamAssassin without its classifier.
func findsNothing() []string {
	return []string{"check_bayes", "check_dkim_adsp", "check_dkim_signall", "check_dkim_signsome", "check_for_illegal_ip", "check_for_unique_subject_id"}
}

// Each function has a message for which it holds and one for which it does not.
func TestEachFunctionHasCases(t *testing.T) {
	seen := map[string][2]bool{}
	for _, c := range readCases(t) {
		for _, call := range c.calls {
			s := seen[call.function()]
			s[map[bool]int{true: 1}[call.holds]] = true
			seen[call.function()] = s
		}
	}
	var names []string
	for name := range eval.Functions() {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		s := seen[name]
		s[1] = s[1] || slices.Contains(findsNothing(), name)
		if !elsewhere(name) && (!s[0] || !s[1]) {
			t.Errorf("%s: a hit %v, a miss %v", name, s[1], s[0])
		}
	}
}
