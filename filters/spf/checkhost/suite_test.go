package checkhost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	mdns "github.com/miekg/dns"
	"go.yaml.in/yaml/v3"

	"postern/internal/dns"
	"postern/internal/mail"
)

// scenario is a document of a suite in the form of openspf.org.
type scenario struct {
	Description string
	Tests       map[string]struct {
		Helo, Host, Mailfrom, Explanation string
		Result                            any
	}
	Zonedata map[string][]any
}

// TestSuites runs the suites that lie in the folder spf of POSTERN_SUITES: files of the form of the RFC 7208 test suite
// of openspf.org. They are not ours to ship.
func TestSuites(t *testing.T) {
	files, _ := filepath.Glob(filepath.Join(os.Getenv("POSTERN_SUITES"), "spf", "*.yml"))
	if os.Getenv("POSTERN_SUITES") == "" || len(files) == 0 {
		t.Skip("POSTERN_SUITES names no folder with spf/*.yml")
	}
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = f.Close() }()
		run, good := 0, 0
		for d := yaml.NewDecoder(f); ; {
			var s scenario
			if err := d.Decode(&s); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			for name := range s.Tests {
				run++
				if t.Run(s.Description+"/"+name, func(t *testing.T) { s.run(t, name) }) {
					good++
				}
			}
		}
		t.Logf("%s: %d of %d", filepath.Base(file), good, run)
	}
}

func (s scenario) run(t *testing.T, name string) {
	test := s.Tests[name]
	r, err := dns.New(dns.Options{Exchange: newSuiteZone(s.Zonedata), Attempts: 1})
	if err != nil {
		t.Fatal(err)
	}
	var trace strings.Builder
	q := Query{Client: netip.MustParseAddr(test.Host), Helo: test.Helo, Receiver: "receiver.example", Now: time.Unix(1e9, 0), Limits: DefaultLimits(),
		Trace: func(depth int, step string) { trace.WriteString(strings.Repeat("  ", depth) + step + "\n") }}
	at := strings.LastIndexByte(test.Mailfrom, '@')
	if q.Domain = mail.ASCIIDomain(test.Mailfrom[at+1:]); at > 0 {
		q.Local = test.Mailfrom[:at]
	}
	if test.Mailfrom == "" {
		q.Domain = test.Helo
	}
	a := Check(t.Context(), r, q)
	var wanted []string
	switch want := test.Result.(type) {
	case string:
		wanted = []string{want}
	case []any:
		for _, w := range want {
			wanted = append(wanted, fmt.Sprint(w))
		}
	}
	explanation := strings.TrimSpace(strings.ReplaceAll(test.Explanation, "DEFAULT", ""))
	if !slices.Contains(wanted, string(a.Result)) || a.Explanation != explanation {
		t.Errorf("%s %q, want %v %q\n%s", a.Result, a.Explanation, wanted, explanation, trace.String())
	}
}

// suiteZone answers from the zone data of a scenario.
type suiteZone struct {
	records map[string][]mdns.RR
	timeout map[string]bool
}

func newSuiteZone(data map[string][]any) suiteZone {
	z := suiteZone{map[string][]mdns.RR{}, map[string]bool{}}
	for name, entries := range data {
		name = strings.ToLower(strings.TrimSuffix(name, "."))
		hasTXT := slices.ContainsFunc(entries, func(e any) bool { m, ok := e.(map[string]any); return ok && m["TXT"] != nil })
		for _, entry := range entries {
			if entry == "TIMEOUT" {
				z.timeout[name] = true
				continue
			}
			for kind, value := range entry.(map[string]any) {
				z.add(name, kind, value, hasTXT)
			}
		}
	}
	return z
}

func (z suiteZone) add(name, kind string, value any, hasTXT bool) {
	h := mdns.RR_Header{Class: mdns.ClassINET, Ttl: 300}
	var rr mdns.RR
	switch kind {
	case "SPF", "TXT":
		// a record of type SPF stands for TXT where there is none: the driver's part of the suite
		if kind == "SPF" && hasTXT || value == "NONE" {
			return
		}
		h.Rrtype = mdns.TypeTXT
		rr = &mdns.TXT{Hdr: h, Txt: texts(value)}
	case "A":
		h.Rrtype = mdns.TypeA
		rr = &mdns.A{Hdr: h, A: netip.MustParseAddr(fmt.Sprint(value)).AsSlice()}
	case "AAAA":
		h.Rrtype = mdns.TypeAAAA
		rr = &mdns.AAAA{Hdr: h, AAAA: netip.MustParseAddr(fmt.Sprint(value)).AsSlice()}
	case "MX":
		h.Rrtype = mdns.TypeMX
		pair := value.([]any)
		rr = &mdns.MX{Hdr: h, Preference: uint16(pair[0].(int)), Mx: mdns.Fqdn(fmt.Sprint(pair[1]))}
	case "PTR":
		h.Rrtype = mdns.TypePTR
		rr = &mdns.PTR{Hdr: h, Ptr: mdns.Fqdn(fmt.Sprint(value))}
	case "CNAME":
		h.Rrtype = mdns.TypeCNAME
		rr = &mdns.CNAME{Hdr: h, Target: mdns.Fqdn(fmt.Sprint(value))}
	default:
		panic("record of kind " + kind)
	}
	z.records[name] = append(z.records[name], rr)
}

// texts are the strings of a TXT record in presentation form.
func texts(value any) []string {
	var all []string
	list, ok := value.([]any)
	if !ok {
		list = []any{value}
	}
	for _, v := range list {
		var b strings.Builder
		for _, c := range []byte(fmt.Sprint(v)) {
			fmt.Fprintf(&b, "\\%03d", c)
		}
		all = append(all, b.String())
	}
	return all
}

type timeout struct{}

func (timeout) Error() string { return "timeout" }
func (timeout) Timeout() bool { return true }

func (z suiteZone) Exchange(_ context.Context, query *mdns.Msg, _, _ string) (*mdns.Msg, error) {
	asked := query.Question[0]
	reply := new(mdns.Msg)
	reply.SetReply(query)
	name := strings.ToLower(strings.NewReplacer(`\`, "").Replace(strings.TrimSuffix(asked.Name, ".")))
	for range 12 {
		alias := ""
		found := false
		for _, rr := range z.records[name] {
			h := rr.Header()
			if cname, ok := rr.(*mdns.CNAME); ok {
				alias = cname.Target
			} else if h.Rrtype != asked.Qtype {
				continue
			}
			answer := mdns.Copy(rr)
			answer.Header().Name = mdns.Fqdn(name)
			if len(reply.Answer) == 0 {
				answer.Header().Name = asked.Name
			}
			if answer.Header().Name != asked.Name && strings.EqualFold(mdns.Fqdn(name), strings.ReplaceAll(asked.Name, `\`, "")) {
				answer.Header().Name = asked.Name
			}
			reply.Answer = append(reply.Answer, answer)
			found = true
		}
		if !found && z.timeout[name] {
			return nil, timeout{}
		}
		if alias == "" {
			if z.records[name] == nil && !z.timeout[name] {
				reply.Rcode = mdns.RcodeNameError
			}
			return reply, nil
		}
		name = strings.ToLower(strings.TrimSuffix(alias, "."))
	}
	return reply, nil
}
