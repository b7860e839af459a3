package dmarcreport

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"mime/multipart"
	netmail "net/mail"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/filters"
	"postern/internal/dns"
	"postern/internal/mail"
	"postern/policy"
)

const zone = `
example.org._report._dmarc.yes.example    TXT v=DMARC1
example.org._report._dmarc.other.example  TXT v=DMARC1; rua=mailto:better@other.example
example.org._report._dmarc.astray.example TXT v=DMARC1; rua=mailto:x@victim.example
example.org._report._dmarc.text.example   TXT welcome
example.org._report._dmarc.slow.example   TIMEOUT
*._report._dmarc.wild.example             TXT v=DMARC1
`

var clock = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

// outbox keeps what was put.
type outbox struct {
	ids  []string
	to   []string
	text map[string][]byte
	err  error
}

func (o *outbox) Put(_ context.Context, id string, _, to mail.Address, message []byte) error {
	if o.err != nil {
		return o.err
	}
	if o.text == nil {
		o.text = map[string][]byte{}
	}
	if _, again := o.text[id]; !again {
		o.ids, o.to = append(o.ids, id), append(o.to, to.String())
	}
	o.text[id] = message
	return nil
}

func newReporter(t *testing.T) (*Reporter, *outbox) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	s, err := Open(filepath.Join(t.TempDir(), "dmarc.db"), log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	resolver, err := dns.NewZoneResolver(zone)
	if err != nil {
		t.Fatal(err)
	}
	o := &outbox{}
	return &Reporter{
		Store: s, DNS: resolver, Queue: o, From: mail.Address{Local: "dmarc", Domain: "corp.example"}, OrgName: "Corp & <Sons>", Log: log,
		Now: func() time.Time { return clock.AddDate(0, 0, 1) },
		SameOrganization: func(_ context.Context, a, b string) (bool, error) {
			return a == b || strings.HasSuffix(b, "."+a), nil
		},
	}, o
}

// findings are those of a message that fails DMARC.
func findings(rua ...string) []mail.Finding {
	return []mail.Finding{
		{Value: filters.SPF{Result: "pass", Domain: "attack.example"}},
		{Value: filters.DKIM{{Result: "fail", Domain: "example.org", Selector: "s1"}, {Result: "pass", Domain: "attack.example", Selector: "a"}}},
		{Value: filters.DMARC{Result: "fail", Policy: "reject", Published: "reject", Domain: "news.example.org", PolicyDomain: "example.org", Method: "treewalk",
			Tags: filters.DMARCTags{P: "reject", ADKIM: "r", ASPF: "s", FO: "0"}, Rua: rua}},
	}
}

func observe(t *testing.T, done policy.Disposition, rua ...string) Observation {
	t.Helper()
	o, ok := Observe(findings(rua...), netip.MustParseAddr("::ffff:192.0.2.7"), mail.Address{Local: "x", Domain: "Attack.example"}, done)
	if !ok {
		t.Fatal("nothing to report")
	}
	return o
}

func TestReportOfADay(t *testing.T) {
	r, out := newReporter(t)
	for range 3 {
		r.Store.Collect(clock, observe(t, policy.Reject, "mailto:reports@example.org"))
	}
	r.Store.Collect(clock, observe(t, policy.Accept, "mailto:reports@example.org"))
	r.Store.Collect(clock.AddDate(0, 0, 1), observe(t, policy.Reject, "mailto:reports@example.org")) // today: not yet
	for range 2 {                                                                                    // the second time, nothing is due
		if err := r.Send(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(out.to, []string{"reports@example.org"}) {
		t.Fatalf("sent to %v", out.to)
	}
	name, subject, packed := attachment(t, out.text[out.ids[0]])
	if name != "corp.example!example.org!1772409600!1772495999.xml.gz" {
		t.Errorf("file name %s", name)
	}
	f, err := Parse(packed)
	if err != nil {
		t.Fatal(err)
	}
	if want := "Report Domain: example.org Submitter: corp.example Report-ID: <" + f.Metadata.ReportID + ">"; subject != want {
		t.Errorf("subject %q, want %q", subject, want)
	}
	if f.Metadata.OrgName != "Corp & <Sons>" || f.Metadata.Begin != 1772409600 || f.Metadata.End != 1772495999 || f.Published.SP != "reject" || len(f.Records) != 2 {
		t.Errorf("%+v", f)
	}
	byDisposition := map[string]Record{}
	for _, rec := range f.Records {
		byDisposition[rec.Row.Evaluated.Disposition] = rec
	}
	rejected, taken := byDisposition["reject"], byDisposition["none"]
	if rejected.Row.Count != 3 || rejected.Row.SourceIP.String() != "192.0.2.7" || rejected.Identifiers != (Identifiers{"news.example.org", "attack.example", ""}) ||
		rejected.Auth.DKIM[0].Domain != "attack.example" || rejected.Row.Evaluated.SPF != "fail" || len(rejected.Row.Evaluated.Reasons) != 0 {
		t.Errorf("%+v", rejected)
	}
	if taken.Row.Count != 1 || len(taken.Row.Evaluated.Reasons) != 1 || taken.Row.Evaluated.Reasons[0].Type != "local_policy" {
		t.Errorf("%+v", taken)
	}
}

// attachment takes a report's mail apart as a receiver would.
func attachment(t *testing.T, message []byte) (name, subject string, content []byte) {
	t.Helper()
	if bytes.Contains(bytes.ReplaceAll(message, []byte("\r\n"), nil), []byte("\n")) {
		t.Error("a bare LF")
	}
	m, err := netmail.ReadMessage(bytes.NewReader(message))
	if err != nil {
		t.Fatal(err)
	}
	_, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	parts := multipart.NewReader(m.Body, params["boundary"])
	if _, err := parts.NextPart(); err != nil {
		t.Fatal(err)
	}
	p, err := parts.NextPart()
	if err != nil || p.Header.Get("Content-Type")[:16] != "application/gzip" {
		t.Fatal(p, err)
	}
	content, err = io.ReadAll(base64.NewDecoder(base64.StdEncoding, p))
	if err != nil {
		t.Fatal(err)
	}
	return p.FileName(), m.Header.Get("Subject"), content
}

// The elements are in the order of the schema.
func TestOrderOfElements(t *testing.T) {
	f := Feedback{Published: PolicyPublished{Domain: "example.org", P: "none", SP: "none", NP: "none", FO: "0", ADKIM: "r", ASPF: "r", Testing: "n", DiscoveryMethod: "treewalk"}}
	f.Metadata = Metadata{ExtraContact: "x", Errors: []string{"e"}, Generator: "g"}
	f.Records = []Record{{Row: Row{SourceIP: netip.MustParseAddr("2001:db8::1"), Evaluated: Evaluated{Reasons: []Reason{{"other", "c"}}}},
		Auth: AuthResults{DKIM: []DKIMResult{{}}, SPF: []SPFResult{{Scope: "mfrom"}}}}}
	text, err := f.XML()
	if err != nil {
		t.Fatal(err)
	}
	at := 0
	for _, element := range strings.Fields(`feedback version report_metadata org_name email extra_contact_info report_id date_range begin end error generator
		policy_published domain discovery_method p sp np fo adkim aspf testing record row source_ip count policy_evaluated disposition dkim spf
		reason type comment identifiers header_from envelope_from auth_results dkim domain selector result spf domain scope result`) {
		i := bytes.Index(text[at:], []byte("<"+element))
		if i < 0 {
			t.Fatalf("%s is not where it belongs in\n%s", element, text)
		}
		at += i + 1
	}
	if !bytes.Contains(text, []byte(`<feedback xmlns="urn:ietf:params:xml:ns:dmarc-2.0">`)) {
		t.Errorf("no namespace in\n%s", text)
	}
}

// A domain that publishes a stranger's address can't have it flooded: RFC 9990 section 4.
func TestDestinations(t *testing.T) {
	r, _ := newReporter(t)
	for uri, want := range map[string]string{
		"mailto:a@example.org":                 "a@example.org",
		"MAILTO:a@mail.example.org":            "a@mail.example.org",
		"mailto:a@example.org!10m":             "a@example.org",
		"mailto:a@example.org?subject=x":       "a@example.org",
		"mailto:a%2Bb@example.org":             "a+b@example.org",
		"mailto:a@yes.example":                 "a@yes.example",
		"mailto:a@other.example":               "better@other.example",
		"mailto:a@wild.example":                "",
		"mailto:a@astray.example":              "",
		"mailto:a@text.example":                "",
		"mailto:a@victim.example":              "",
		"https://example.org/report":           "",
		"mailto:a@example.org%0d%0aBcc:%20x@y": "",
		"mailto:a%0d%0ab@example.org":          "",
		"mailto:a@example.org!x":               "",
		"mailto:a@example.org!99999999g":       "",
		"mailto:a@[192.0.2.1]":                 "",
		"mailto:a%25b@example.org":             "",
		"mailto:ä@example.org":                 "",
		"mailto:":                              "",
		"":                                     "",
	} {
		list, retry := r.destinations(t.Context(), "example.org", []string{uri})
		got := ""
		if len(list) > 0 {
			got = list[0].address.String()
		}
		if got != want || retry {
			t.Errorf("%q: %q, want %q", uri, got, want)
		}
	}
	var many []string
	for i := range 40 {
		many = append(many, fmt.Sprintf("mailto:a%d@example.org", i))
	}
	if list, _ := r.destinations(t.Context(), "example.org", many); len(list) != maxDestinations {
		t.Errorf("%d destinations", len(list))
	}
}

// A destination without an answer from DNS, and a queue that fails, have the report made again; it goes out once.
func TestLater(t *testing.T) {
	r, out := newReporter(t)
	r.Store.Collect(clock, observe(t, policy.Reject, "mailto:a@slow.example"))
	if err := r.Send(t.Context()); err == nil || len(out.to) != 0 {
		t.Errorf("%v, sent to %v", err, out.to)
	}
	r, out = newReporter(t)
	r.Store.Collect(clock, observe(t, policy.Reject, "mailto:a@example.org"))
	out.err = errors.New("disk full")
	if err := r.Send(t.Context()); err == nil {
		t.Error("no error")
	}
	out.err = nil
	if err := r.Send(t.Context()); err != nil || len(out.to) != 1 {
		t.Errorf("%v, sent to %v", err, out.to)
	}
}

// A report over the size that a destination allows is not sent to it.
func TestSizeLimit(t *testing.T) {
	r, out := newReporter(t)
	r.Store.Collect(clock, observe(t, policy.Reject, "mailto:small@example.org!1k", "mailto:large@example.org!1m"))
	if err := r.Send(t.Context()); err != nil || !slices.Equal(out.to, []string{"large@example.org"}) {
		t.Errorf("%v, sent to %v", err, out.to)
	}
}

// A policy that changed within the day gives two reports with two names.
func TestPolicyChanged(t *testing.T) {
	r, out := newReporter(t)
	o := observe(t, policy.Reject, "mailto:a@example.org")
	r.Store.Collect(clock, o)
	o.Published.P = "none"
	r.Store.Collect(clock, o)
	if err := r.Send(t.Context()); err != nil || len(out.ids) != 2 || out.ids[0] == out.ids[1] {
		t.Fatalf("%v, sent %v", err, out.ids)
	}
	if name, _, _ := attachment(t, out.text[out.ids[1]]); !strings.HasSuffix(name, "!2.xml.gz") {
		t.Error(name)
	}
}

func TestObserve(t *testing.T) {
	client := netip.MustParseAddr("192.0.2.7")
	dmarc := func(change func(*filters.DMARC)) []mail.Finding {
		d := filters.DMARC{Result: "fail", Policy: "reject", PolicyDomain: "example.org", Rua: []string{"mailto:a@example.org"}, Tags: filters.DMARCTags{P: "reject"}}
		change(&d)
		return []mail.Finding{{Value: d}}
	}
	for name, c := range map[string]struct {
		findings []mail.Finding
		done     policy.Disposition
		want     string // disposition and reasons, "" for no observation
	}{
		"rejected":               {dmarc(func(*filters.DMARC) {}), policy.Reject, "reject"},
		"held instead":           {dmarc(func(*filters.DMARC) {}), policy.Quarantine, "quarantine local_policy"},
		"delivered all the same": {dmarc(func(*filters.DMARC) {}), policy.Tag, "none local_policy"},
		"spam of a p=none":       {dmarc(func(d *filters.DMARC) { d.Policy = "none" }), policy.Reject, "none"},
		"test mode":              {dmarc(func(d *filters.DMARC) { d.Policy, d.Tags.Testing = "quarantine", true }), policy.Quarantine, "quarantine policy_test_mode"},
		"override":               {dmarc(func(d *filters.DMARC) { d.Override.Type = "local_policy" }), policy.Accept, "none local_policy"},
		"mailing list":           {dmarc(func(d *filters.DMARC) { d.Override.Type = filters.MailingList }), policy.Quarantine, "quarantine mailing_list"},
		"pass":                   {dmarc(func(d *filters.DMARC) { d.Result, d.Aligned = "pass", []string{"spf:example.org"} }), policy.Accept, "pass"},
		"pass, spam":             {dmarc(func(d *filters.DMARC) { d.Result = "pass" }), policy.Reject, "pass"},
		"pass, none":             {dmarc(func(d *filters.DMARC) { d.Result, d.Policy = "pass", "none" }), policy.Accept, "none"},
		"temperror":              {dmarc(func(d *filters.DMARC) { d.Result = "temperror" }), policy.Accept, ""},
		"comes again":            {dmarc(func(*filters.DMARC) {}), policy.Defer, ""},
		"nobody asked":           {dmarc(func(d *filters.DMARC) { d.Rua = nil }), policy.Reject, ""},
		"no dmarc":               {nil, policy.Reject, ""},
	} {
		o, ok := Observe(c.findings, client, mail.Address{}, c.done)
		got := ""
		if ok {
			got = o.Record.Row.Evaluated.Disposition
			for _, r := range o.Record.Row.Evaluated.Reasons {
				got += " " + r.Type
			}
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// What is counted is bounded, in memory and on disk.
func TestStoreIsBounded(t *testing.T) {
	r, _ := newReporter(t)
	r.Store.maxPending, r.Store.maxPerDay = 200, 100
	o := observe(t, policy.Reject, "mailto:a@example.org")
	for i := range 300 {
		o.Record.Identifiers.EnvelopeFrom = fmt.Sprintf("d%d.example", i)
		r.Store.Collect(clock, o)
	}
	if err := r.Store.Flush(t.Context()); err != nil || r.Store.Lost() != 200 {
		t.Errorf("%v, lost %d", err, r.Store.Lost())
	}
	if err := r.Store.Expire(t.Context(), clock.AddDate(0, 0, keepDays+1)); err != nil {
		t.Error(err)
	}
	if due, err := r.Store.due(t.Context(), day(clock)+9); err != nil || len(due) != 0 {
		t.Error(due, err)
	}
}

const sample = `<?xml version="1.0" encoding="windows-1252"?>
<feedback xmlns:ns1="http://dmarc.org/dmarc-xml/0.1"><report_metadata><org_name> Acm` + "\xe9" + ` </org_name><email>a@b.example</email><report_id>1</report_id>
<date_range><begin>1</begin><end>2</end></date_range></report_metadata>
<policy_published><domain>example.org</domain><p>reject</p><pct>100</pct></policy_published><unknown><deep><deeper/></deep></unknown>
<record><row><source_ip> 192.0.2.1
</source_ip><count>2</count><policy_evaluated><disposition>none</disposition><dkim>pass</dkim><spf>fail</spf></policy_evaluated></row>
<identifiers><header_from>example.org</header_from></identifiers><auth_results><spf><domain>x.example</domain><scope>helo</scope><result>fail</result></spf></auth_results></record></feedback>`

func TestParse(t *testing.T) {
	var zipped, gzipped bytes.Buffer
	z := zip.NewWriter(&zipped)
	w, _ := z.Create("report.xml")
	_, _ = io.WriteString(w, sample)
	_ = z.Close()
	g := gzip.NewWriter(&gzipped)
	_, _ = io.WriteString(g, sample)
	_ = g.Close()
	for name, file := range map[string][]byte{"xml": []byte(sample), "zip": zipped.Bytes(), "gzip": gzipped.Bytes()} {
		f, err := Parse(file)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if f.Metadata.OrgName != "Acmé" || len(f.Records) != 1 || f.Records[0].Row.SourceIP.String() != "192.0.2.1" || f.Records[0].Row.Count != 2 || f.Published.Pct != "100" {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

// RFC 9990 section 8.1: neither the archive nor the XML can exhaust us.
func TestParseRefuses(t *testing.T) {
	var bomb bytes.Buffer
	g := gzip.NewWriter(&bomb)
	_, _ = g.Write(make([]byte, MaxInflated+1))
	_ = g.Close()
	var two bytes.Buffer
	z := zip.NewWriter(&two)
	_, _ = z.Create("a.xml")
	_, _ = z.Create("b.xml")
	_ = z.Close()
	head := "<feedback><policy_published><domain>a.example</domain></policy_published>"
	for name, file := range map[string][]byte{
		"bomb": bomb.Bytes(), "two files": two.Bytes(), "empty": nil, "html": []byte("<html></html>"), "no policy": []byte("<feedback></feedback>"),
		"entity":      []byte(`<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>` + head + "<version>&b;</version></feedback>"),
		"cut off":     []byte(head + "<record>"),
		"bad address": []byte(head + "<record><row><source_ip>localhost</source_ip></row></record></feedback>"),
		"bad count":   []byte(head + "<record><row><source_ip>192.0.2.1</source_ip><count>-1</count></row></record></feedback>"),
		"deep":        []byte(head + strings.Repeat("<a>", 50_000)),
		"records":     []byte(head + strings.Repeat("<record><row><source_ip>::</source_ip></row></record>", 101) + "</feedback>"),
		"charset":     []byte(`<?xml version="1.0" encoding="utf-7"?>` + head + "</feedback>"),
	} {
		if f, err := parse(file, 100); err == nil {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(sample))
	var gzipped bytes.Buffer
	g := gzip.NewWriter(&gzipped)
	_, _ = io.WriteString(g, sample)
	_ = g.Close()
	f.Add(gzipped.Bytes())
	f.Fuzz(func(t *testing.T, file []byte) {
		report, err := Parse(file)
		if err != nil {
			return
		}
		text, err := report.XML()
		if err != nil {
			t.Fatal(err)
		}
		if again, err := Parse(text); err != nil || len(again.Records) != len(report.Records) {
			t.Errorf("written again: %v\n%s", err, text)
		}
	})
}

func FuzzDestination(f *testing.F) {
	f.Add("mailto:a%2Bb@example.org!10m")
	f.Fuzz(func(t *testing.T, uri string) {
		d, ok := parseDestination(uri)
		if ok && (strings.ContainsAny(d.address.String(), "\r\n\x00") || d.limit < 0) {
			t.Errorf("%q: %q %d", uri, d.address, d.limit)
		}
		consent(uri)
	})
}
