package digest

import (
	"bytes"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jhillyerd/enmime/v2"
	"golang.org/x/net/html"

	"postern/internal/mail"
	"postern/policy"
	"postern/policy/records/quarantine"
)

func builder(t *testing.T, max int) *Builder {
	t.Helper()
	b, err := NewBuilder(Options{Site: "https://q.ours.test", From: address("postmaster@ours.test"), FromName: "Postmaster", Signer: signer(t, key(1)), Max: max})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// hostile are texts as strangers write them.
func hostile() []string {
	return []string{
		`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `=?utf-8?q?=3Cscript=3Ealert(2)=3C/script=3E?=`, `=?utf-8?b?PGltZyBzcmM9eCBvbmVycm9yPWFsZXJ0KDEpPg==?=`,
		"+ADw-script+AD4-alert(1)+ADw-/script+AD4-", "gpj.exe\u202eannexe\u2066", "a\r\nBcc: victim@example.org\r\n\r\n<b>x</b>", "\x1b]0;x\a\x00\xff", "{{.List.URL}} {mailbox} {n} ${jndi:x} %s%n",
		`</style></title><base href="https://evil.example/">`, `javascript:alert(1)`, `=?utf-8?q?=0D=0ASubject:_x?=`, strings.Repeat("long ", 100), "", "مرحبا", `<svg onload=alert(1)>&lt;b&gt;`,
	}
}

func items() []quarantine.Item {
	var all []quarantine.Item
	for n, text := range hostile() {
		all = append(all, quarantine.Item{
			ID: fmt.Sprintf("01J9ABCDEF%06d.1-1", n), Time: at().Add(-time.Duration(n) * time.Minute), From: mail.Address{Local: "bob", Domain: "example.org"},
			HeaderFrom: text + " <bob@example.org>", Subject: text, Category: []quarantine.Category{quarantine.Spam, quarantine.Virus, quarantine.Attachment, quarantine.Policy}[n%4],
			Reasons: []policy.Reason{{Symbol: "BAYES_SPAM", Help: text, Evidence: []string{text}}},
		})
	}
	all[13].From, all[13].HeaderFrom = mail.Address{}, ""
	return all
}

func TestDigestInEachLanguage(t *testing.T) {
	for _, language := range []string{"en", "de-AT", "fr", "es", "tlh"} {
		t.Run(language, func(t *testing.T) {
			d := Digest{To: address("ann@ours.test"), Mailbox: address("info@ours.test"), Language: language, Time: at(), Slot: at(), Items: items()}
			raw, err := builder(t, 0).Build(d)
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(bytes.ReplaceAll(raw, []byte("\r\n"), nil), []byte("\n")) {
				t.Error("a bare LF")
			}
			e, err := enmime.ReadEnvelope(bytes.NewReader(raw))
			if err != nil || len(e.Errors) > 0 {
				t.Fatal(err, e.Errors)
			}
			for name, want := range map[string]string{"To": "<ann@ours.test>", "From": `"Postmaster" <postmaster@ours.test>`, "Auto-Submitted": "auto-generated", "Bcc": "", "Message-Id": "<" + d.ID() + "@ours.test>"} {
				if got := e.GetHeader(name); got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
			if len(e.Attachments)+len(e.Inlines)+len(e.OtherParts) > 0 || strings.Contains(e.Text+e.HTML, "BAYES_SPAM") {
				t.Error("more than the two texts, or a symbol's name")
			}
			checkHTML(t, e.HTML, len(d.Items))
			snapshot(t, "testdata/"+language+".txt", "Subject: "+e.GetHeader("Subject")+"\n\n"+e.Text)
		})
	}
}

// snapshot compares with a file, in which tokens are left out.
func snapshot(t *testing.T, file, got string) {
	t.Helper()
	var lines []string
	for line := range strings.SplitSeq(strings.ReplaceAll(got, "\r\n", "\n"), "\n") {
		if before, token, found := strings.Cut(line, "/q/"); found && len(token) > 100 {
			line = before + "/q/TOKEN"
		}
		lines = append(lines, line)
	}
	got = strings.Join(lines, "\n")
	if os.Getenv("POSTERN_UPDATE") != "" {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil || got != string(want) {
		t.Errorf("%s, %v: got\n%s", filepath.Base(file), err, got)
	}
}

// checkHTML sees that nothing of what strangers wrote became an element or an attribute, and that nothing is loaded.
func checkHTML(t *testing.T, page string, count int) {
	t.Helper()
	allowed := []string{"html", "head", "meta", "title", "body", "p", "b", "table", "tbody", "tr", "td", "a"}
	root, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	elements := map[string]int{}
	for n := range root.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		elements[n.Data]++
		if !slices.Contains(allowed, n.Data) {
			t.Errorf("an element <%s>", n.Data)
		}
		for _, a := range n.Attr {
			switch a.Key {
			case "href":
				u, err := url.Parse(a.Val)
				if err != nil || u.Scheme != "https" || u.Host != "q.ours.test" || !strings.HasPrefix(u.Path, "/q/") {
					t.Errorf("a link to %q", a.Val)
				}
			case "style", "lang", "charset", "dir":
				if strings.Contains(a.Val, "url(") {
					t.Errorf("something is loaded: %q", a.Val)
				}
			default:
				t.Errorf("an attribute %s=%q", a.Key, a.Val)
			}
		}
	}
	if elements["table"] != count || elements["b"] != count || elements["title"] != 1 {
		t.Errorf("%v", elements)
	}
}

// Each link's token matches its text, and there is no link to release a virus.
func TestLinks(t *testing.T) {
	b := builder(t, 0)
	d := Digest{To: address("ann@ours.test"), Mailbox: address("ann@ours.test"), Time: at(), Items: items()}
	v, err := b.view(d)
	if err != nil {
		t.Fatal(err)
	}
	for i, one := range v.Items {
		got := ""
		for _, l := range one.Links {
			c, err := b.opt.Signer.Open(strings.TrimPrefix(l.URL, "https://q.ours.test/q/"), at().Add(14*24*time.Hour-time.Second))
			if err != nil || c.Item != d.Items[i].ID || c.User != d.To || c.Mailbox != d.Mailbox {
				t.Errorf("%+v, %v", c, err)
			}
			got += c.Action.String() + ", "
		}
		want := map[quarantine.Category]string{quarantine.Spam: "release, release and allow, delete, block, ", quarantine.Policy: "release, release and allow, delete, block, ",
			quarantine.Virus: "delete, block, ", quarantine.Attachment: "delete, block, "}[d.Items[i].Category]
		if i == 13 {
			want = "delete, " // there is no sender to block
		}
		if got != want {
			t.Errorf("%s: %s", d.Items[i].Category, got)
		}
	}
	c, err := b.opt.Signer.Open(strings.TrimPrefix(v.List.URL, "https://q.ours.test/q/"), at())
	if err != nil || c.Action != List || c.Item != "" {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := b.opt.Signer.Open(strings.TrimPrefix(v.List.URL, "https://q.ours.test/q/"), at().Add(14*24*time.Hour)); err == nil {
		t.Error("the link never expires")
	}
}

func TestLongListsAreCut(t *testing.T) {
	d := Digest{To: address("ann@ours.test"), Mailbox: address("ann@ours.test"), Time: at(), Items: items()}
	d.Total = 1000
	v, err := builder(t, 3).view(d)
	if err != nil || len(v.Items) != 3 || v.T.More != "and 997 more" || !strings.HasPrefix(v.Subject, "1000 messages") {
		t.Errorf("%+v, %v", v, err)
	}
	if _, err := builder(t, 0).Build(Digest{To: d.To, Mailbox: d.To}); err == nil {
		t.Error("a digest of nothing")
	}
}

func TestOptionsAreChecked(t *testing.T) {
	good := Options{Site: "https://q.ours.test/", From: address("p@ours.test"), Signer: signer(t, key(1))}
	for name, change := range map[string]func(*Options){
		"no site": func(o *Options) { o.Site = "" }, "no scheme": func(o *Options) { o.Site = "q.ours.test" }, "script": func(o *Options) { o.Site = "javascript:x" },
		"query": func(o *Options) { o.Site += "?a" }, "no signer": func(o *Options) { o.Signer = nil }, "from nobody": func(o *Options) { o.From = mail.Address{} },
	} {
		o := good
		change(&o)
		if _, err := NewBuilder(o); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func FuzzShown(f *testing.F) {
	for _, text := range hostile() {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := shown(text)
		if len([]rune(got)) > maxShown+1 || strings.ContainsAny(got, "\r\n\t\x00\x1b\u202e\u2028") || !slices.Equal([]rune(got), []rune(strings.ToValidUTF8(got, "?"))) {
			t.Errorf("%q", got)
		}
	})
}
