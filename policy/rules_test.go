package policy

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"postern/internal/config"
	"postern/internal/mail"
)

// typical are facts as an ordinary message has them.
func typical() Facts {
	f := Facts{
		Stage: mail.StageMessage, Client: netip.MustParseAddr("192.0.2.1"), From: mail.Address{Local: "bob", Domain: "mail.example.org"},
		HeaderFrom: []mail.Address{{Local: "bob", Domain: "example.org"}}, Authenticated: []string{"example.org"},
		Time: 29_540_000, Size: 42_000, Subject: "Minutes of our meeting on Tuesday", MessageID: "<1@example.org>",
		Attachments: []Attachment{{"minutes.pdf", "application/pdf", 30_000}, {"plan.xlsx", "application/vnd.ms-excel", 9_000}},
		Groups:      map[string][]string{"ann@example.com": {"staff", "sales"}},
	}
	for _, s := range symbols() {
		if s.Action == "" {
			f.Findings = append(f.Findings, Finding{Symbol: s.Name, Evidence: "some evidence"})
		}
	}
	return f
}

// fiftyRules are of all kinds, and none of them acts.
func fiftyRules() string {
	var b strings.Builder
	b.WriteString("[who.\"a\"]\ndomains = [\"other.example\", \".x.example\"]\n[what.\"b\"]\nattachment_names = [\"*.docm\"]\n")
	whens := []string{
		`has("TEN_POINTS") && from_domain == "nowhere.example"`,
		`subject.matches("(?i)invoice|payment due") && score > 3`,
		`attachments.exists(a, a.name.endsWith(".docm") || a.type == "application/zip")`,
		`"finance" in groups && !("example.org" in authenticated)`,
		`in_network(client, "10.0.0.0/8") && size > 1000000`,
		`rcpt == "boss@example.com" && header_from_domains.exists(d, d != from_domain)`,
		`weight("GOOD_SIGN") > 1 || subject.lowerAscii().contains("lottery")`,
		`time.hour >= 22 && time.weekday == "sun"`,
	}
	for i := range 50 {
		fmt.Fprintf(&b, "[[rule]]\nname = \"rule %d\"\naction = \"tag\"\n", i)
		switch i % 10 {
		case 8:
			b.WriteString("from = [\"a\"]\n")
		case 9:
			b.WriteString("what = [\"b\"]\n")
		default:
			fmt.Fprintf(&b, "when = '''%s'''\n", whens[i%10])
		}
	}
	return b.String()
}

func TestFiftyRulesOfWhichNoneFits(t *testing.T) {
	p, f := compiled(t, fiftyRules()), typical()
	v := p.Decide(&f, mail.Address{Local: "ann", Domain: "example.com"})
	if len(v.Rules) > 0 || !strings.Contains(v.Decisive, "score") {
		t.Errorf("%q %s", v.Rules, v.Decisive)
	}
}

func BenchmarkFiftyRules(b *testing.B) {
	p, f := compiled(b, fiftyRules()), typical()
	b.ReportAllocs()
	for b.Loop() {
		p.Decide(&f, mail.Address{Local: "ann", Domain: "example.com"})
	}
}

func BenchmarkCompileFiftyRules(b *testing.B) {
	text := fiftyRules()
	b.ReportAllocs()
	for b.Loop() {
		compiled(b, text)
	}
}

// testdata/shadowed/*.toml begin with what must be found, a line each.
func TestShadowed(t *testing.T) {
	files, err := filepath.Glob("testdata/shadowed/*.toml")
	if err != nil || len(files) == 0 {
		t.Fatal("no files", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		head, _, _ := strings.Cut(string(text), "\n\n")
		var got []string
		for _, problem := range Shadowed(compiled(t, string(text))) {
			got = append(got, "# "+problem.String())
		}
		if all := strings.Join(got, "\n"); all != head {
			t.Errorf("%s:\n got %s\nwant %s", file, all, head)
		}
	}
}

func TestShadowedEntryBesideTheFile(t *testing.T) {
	cfg, _ := Parse("policy.toml", []byte("[[block]]\nsender = \"spam.example\"\n"))
	entry := ListEntry{List: Allow, Entry: Entry{ID: "a-1", Sender: "bob@spam.example", Owner: "ann"}}
	p, problems := Compile(cfg, symbols(), entry)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	found := Shadowed(p)
	if len(found) != 1 || found[0].Key != `list allow "a-1"` {
		t.Errorf("%v", found)
	}
}

// Entries that are kept elsewhere stand behind those of the file, count as they do, and change the version.
func TestEntriesBesideTheFile(t *testing.T) {
	cfg, _ := Parse("policy.toml", []byte("[[block]]\nsender = \"spam.example\"\nid = \"file\"\n"))
	plain, _ := Compile(cfg, symbols())
	p, problems := Compile(cfg, symbols(),
		ListEntry{Block, Entry{ID: "b-1", Sender: ".example", Owner: "ann", Reason: "spam"}}, ListEntry{Allow, Entry{ID: "a-1", Network: config.Network{Prefix: netip.MustParsePrefix("192.0.2.0/24")}}})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if p.Version() == plain.Version() {
		t.Error("the version does not tell that there are other lists")
	}
	rcpt := mail.Address{Local: "ann", Domain: "example.com"}
	for from, want := range map[string]string{"spam.example": "file", "b.example": "b-1", "example.org": "a-1"} {
		v := p.Decide(&Facts{From: mail.Address{Local: "x", Domain: from}, Client: netip.MustParseAddr("192.0.2.1")}, rcpt)
		if v.ListEntry != want {
			t.Errorf("%s: entry %q, want %q", from, v.ListEntry, want)
		}
	}
	if len(cfg.Block) != 1 || len(cfg.Allow) != 0 {
		t.Error("the settings were changed")
	}
}

func TestBadEntriesBesideTheFile(t *testing.T) {
	for want, e := range map[string]ListEntry{
		`list block "x".sender: "a b" is no sender; write "user@example.com", "example.com", ".example.com" or "<>"`: {Block, Entry{ID: "x", Sender: "a b"}},
		`list allow entry 0: names neither sender nor network; name whom it is about`:                                {Allow, Entry{}},
		`entry 0 of the lists beside the file belongs to no list; it is allow or block, not "grey"`:                  {"grey", Entry{Sender: "x.example"}},
	} {
		if found := e.Check(); len(found) != 1 || found[0].String() != want {
			t.Errorf("%v, want %s", found, want)
		}
		if p, problems := Compile(Default(), symbols(), e); p != nil || len(problems) != 1 {
			t.Errorf("compiled: %v", problems)
		}
	}
	if found := (ListEntry{Block, Entry{Sender: "x.example"}}).Check(); len(found) > 0 {
		t.Error(found)
	}
}

// Only a policy with rules gathers what rules ask for.
func TestFactsForRules(t *testing.T) {
	raw := "From: ann@example.org\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nMessage-ID: <1@example.org>\r\nList-ID: <l.example.org>\r\n" +
		"Reply-To: bob@example.org\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhello\r\n--b\r\n" +
		"Content-Type: application/pdf; name=\"a.pdf\"\r\nContent-Disposition: attachment; filename=\"a.pdf\"\r\n\r\n%PDF-1\r\n--b--\r\n"
	tx := &mail.Transaction{Stage: mail.StageMessage, Session: &mail.Session{}, Message: mail.NewMessage([]byte(raw))}
	if got, want := compiled(t, "").FactsOf(tx), FactsOf(tx); !reflect.DeepEqual(got, want) || got.Subject != "" {
		t.Errorf("without rules: %+v, %+v", got, want)
	}
	got := compiled(t, "[[rule]]\nname = \"r\"\naction = \"tag\"\nwhen = \"score > 3\"\n").FactsOf(tx)
	if got.Subject != "Grüße" || got.MessageID != "<1@example.org>" || got.ListID != "<l.example.org>" || got.ReplyTo != "bob@example.org" || got.Size != int64(len(raw)) {
		t.Errorf("%+v", got)
	}
	if len(got.Attachments) > 0 {
		t.Error("no rule asks for attachments")
	}
	p := compiled(t, "[[rule]]\nname = \"r\"\naction = \"tag\"\nwhen = \"attachments.exists(a, a.size == 6)\"\n")
	got = p.FactsOf(tx)
	if len(got.Attachments) != 1 || got.Attachments[0] != (Attachment{"a.pdf", "application/pdf", 6}) {
		t.Errorf("%+v", got.Attachments)
	}
	if v := p.Decide(&got, mail.Address{Local: "ann", Domain: "example.com"}); v.Disposition != Tag {
		t.Errorf("%+v", v)
	}
	many := "From: ann@example.org\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
	for i := range 120 {
		many += fmt.Sprintf("--b\r\nContent-Type: application/pdf; name=\"%d.pdf\"\r\n\r\n%%PDF-%d\r\n", i, i)
	}
	tx.Message = mail.NewMessage([]byte(many + "--b--\r\n"))
	if got = p.FactsOf(tx); len(got.Attachments) != 100 || !got.AttachmentsPartial {
		t.Errorf("%d of 120 attachments, partial %v", len(got.Attachments), got.AttachmentsPartial)
	}
	if compiled(t, "").NeedsGroups() || p.NeedsGroups() || !compiled(t, "[recipient_group.a]\ntag = 3\n").NeedsGroups() ||
		!compiled(t, "[[rule]]\nname = \"r\"\naction = \"tag\"\nwhen = '\"a\" in groups'\n").NeedsGroups() {
		t.Error("groups are asked for when nobody needs them, or are not when somebody does")
	}
}

// Facts that were kept before there were rules can still be read and judged.
func TestFactsOfOldRecords(t *testing.T) {
	var f Facts
	old := `{"stage":16,"client":"192.0.2.1","from":{"Local":"bounce","Domain":"list.example"},"findings":[{"symbol":"FOUR_POINTS"}]}`
	if err := json.Unmarshal([]byte(old), &f); err != nil {
		t.Fatal(err)
	}
	p := compiled(t, fiftyRules()+"[[block]]\nsender = \"list.example\"\nexpires = \"2026-01-01\"\n")
	if v := p.Decide(&f, mail.Address{Local: "ann", Domain: "example.com"}); v.Disposition != Reject {
		t.Errorf("%+v", v)
	}
}
