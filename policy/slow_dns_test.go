package policy_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emersion/go-msgauth/dkim"
	mdns "github.com/miekg/dns"

	"postern/filters"
	"postern/filters/all"
	"postern/internal/config"
	"postern/internal/dns"
	"postern/internal/mail"
	"postern/internal/state"
	"postern/policy"
	"postern/rules"
)

// fault is how DNS fails at one name.
type fault string

const (
	slow      fault = "slow"      // the answer comes after 1.2 s
	late      fault = "late"      // after 12 s: longer than any query waits
	silent    fault = "silent"    // never
	servfail  fault = "servfail"  //
	truncated fault = "truncated" // cut off by UDP, and TCP is refused
)

func faults() []fault { return []fault{slow, late, silent, servfail, truncated} }

// sky is a world of DNS in which single names fail.
type sky struct {
	zone  *dns.Zone
	fails atomic.Pointer[map[string]fault]
}

func (s *sky) Exchange(ctx context.Context, query *mdns.Msg, server, network string) (*mdns.Msg, error) {
	wait := func(d time.Duration) error {
		select {
		case <-time.After(d):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	switch (*s.fails.Load())[strings.ToLower(query.Question[0].Name)] {
	case slow:
		if err := wait(1200 * time.Millisecond); err != nil {
			return nil, err
		}
	case late:
		if err := wait(12 * time.Second); err != nil {
			return nil, err
		}
	case silent:
		return nil, wait(time.Hour)
	case servfail:
		reply := new(mdns.Msg)
		reply.SetRcode(query, mdns.RcodeServerFailure)
		return reply, nil
	case truncated:
		if network == "tcp" {
			return nil, syscall.ECONNREFUSED
		}
		reply := new(mdns.Msg)
		reply.SetReply(query)
		reply.Truncated = true
		return reply, nil
	}
	return s.zone.Exchange(ctx, query, server, network)
}

// court is a chain of the filters for senders under that sky, and the policy.
type court struct {
	t      testing.TB
	sky    *sky
	chain  *filters.Chain
	policy *policy.Policy
	tries  int
}

func signingKey() (ed25519.PrivateKey, string) {
	k := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))
	return k, "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(k.Public().(ed25519.PublicKey))
}

// newCourt makes one; dmarc are the settings of that filter.
func newCourt(t testing.TB, zone string, dmarc map[string]any) *court {
	t.Helper()
	z, err := dns.ParseZone(zone)
	if err != nil {
		t.Fatal(err)
	}
	c := &court{t: t, sky: &sky{zone: z}}
	c.sky.fails.Store(&map[string]fault{})
	resolver, err := dns.New(dns.Options{Exchange: c.sky, Timeout: 5 * time.Second, CacheSize: -1})
	if err != nil {
		t.Fatal(err)
	}
	memory, err := state.NewMemory(state.MemoryOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = memory.Close() })
	env := filters.Env{DNS: resolver, Log: slog.New(slog.DiscardHandler), Now: time.Now, State: memory, Hostname: "gw.test",
		Local: func(d string) bool { return d == "ours.test" || d == "bare.test" }}
	set, problems := rules.Parse()
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	var links []filters.Link
	var symbols []filters.Symbol
	for _, spec := range all.Specs(set) {
		if !slices.Contains([]string{"spf", "dkim", "arc", "dmarc", "impersonation"}, spec.Name) {
			continue
		}
		var values map[string]any
		if spec.Name == "dmarc" {
			values = dmarc
		}
		f, err := spec.New(config.NewSection("filters."+spec.Name, values), env)
		if err != nil {
			t.Fatal(err)
		}
		links, symbols = append(links, filters.Link{Spec: spec, Filter: f}), append(symbols, spec.Symbols...)
	}
	if c.chain, err = filters.NewChain(links, env.Log); err != nil {
		t.Fatal(err)
	}
	var bad []config.Problem
	if c.policy, bad = policy.Compile(policy.Default(), symbols); len(bad) > 0 {
		t.Fatal(bad)
	}
	return c
}

// parcel is a message with its envelope.
type parcel struct {
	from, helo string
	raw        []byte
}

// judged judges a message once while names fail, and waits until all queries have ended.
func (c *court) judged(p parcel, fails map[string]fault) (policy.Verdict, time.Duration) {
	c.sky.fails.Store(&fails)
	from, err := mail.ParseAddress(p.from)
	if err != nil {
		c.t.Fatal(err)
	}
	to, _ := mail.ParseAddress("ben@ours.test")
	session := &mail.Session{ID: "S", ESMTP: true, Helo: p.helo, Client: netip.MustParseAddr("192.0.2.1")}
	tx := &mail.Transaction{ID: "S.1", Session: session, From: from, Recipients: []mail.Recipient{{Address: to}}}
	began := time.Now()
	run := c.chain.Start(c.t.Context(), tx)
	for _, stage := range []mail.Stage{mail.StageConnect, mail.StageHelo, mail.StageMail, mail.StageRcpt} {
		run.Stage(c.t.Context(), stage)
	}
	tx.Message = mail.NewMessage(p.raw)
	run.Stage(c.t.Context(), mail.StageMessage)
	took := time.Since(began)
	run.Close()
	facts := policy.FactsOf(tx)
	v := c.policy.Decide(&facts, to)
	time.Sleep(11 * time.Second) // two tries at a name that is silent
	return v, took
}

// signedLetter writes a message, signed for a domain unless that is "".
func signedLetter(t testing.TB, author, signer string) []byte {
	t.Helper()
	text := "From: Chief <" + author + ">\r\nTo: ben@ours.test\r\nDate: Mon, 02 Mar 2026 12:00:00 +0000\r\nMessage-ID: <1@mail.example>\r\nSubject: transfer\r\n\r\nAt once.\r\n"
	if signer == "" {
		return []byte(text)
	}
	k, _ := signingKey()
	var out bytes.Buffer
	if err := dkim.Sign(&out, strings.NewReader(text), &dkim.SignOptions{Domain: signer, Selector: "k", Signer: k, HeaderKeys: []string{"From", "Subject", "Date"}}); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// realm is a domain whose name is used in From, with its policy.
type realm struct {
	name, org, author string
	protected         bool
}

func realms() []realm {
	var list []realm
	for _, p := range []string{"none", "quarantine", "reject"} {
		list = append(list,
			realm{p, p + "-corp.example", p + "-corp.example", p != "none"},
			realm{"sp=" + p, p + "-group.example", "news." + p + "-group.example", p != "none"})
	}
	return append(list, realm{"own", "ours.test", "ours.test", true}, realm{"own, no record", "bare.test", "bare.test", true})
}

// zoneOf is the DNS data of all realms and of the attacker.
func zoneOf() string {
	_, key := signingKey()
	var b strings.Builder
	for _, r := range realms() {
		switch {
		case r.name == "own":
			fmt.Fprintf(&b, "_dmarc.%s TXT v=DMARC1; p=none\n", r.org)
		case strings.HasPrefix(r.name, "sp="):
			fmt.Fprintf(&b, "_dmarc.%s TXT v=DMARC1; p=none; %s\n", r.org, r.name)
		case r.name != "own, no record":
			fmt.Fprintf(&b, "_dmarc.%s TXT v=DMARC1; p=%s\n", r.org, r.name)
		}
		for _, d := range []string{r.author, "attack-" + strings.ReplaceAll(r.org, ".", "-") + ".example"} {
			fmt.Fprintf(&b, "%s TXT v=spf1 include:_spf.%s -all\n_spf.%s TXT v=spf1 ip4:192.0.2.1 -all\n", d, d, d)
			fmt.Fprintf(&b, "mx.%s TXT v=spf1 a -all\nmx.%s A 192.0.2.1\nk._domainkey.%s TXT %s\n", d, d, d, key)
		}
	}
	return b.String()
}

// sort is a kind of mail: its sender, and the DNS names looked up for it.
type sort struct {
	name   string
	honest bool
	parcel func(testing.TB, realm) parcel
	// names are those of the look-ups, by what they are.
	names func(realm) map[string]string
}

func lookups(sender string, r realm) map[string]string {
	names := map[string]string{"spf": sender + ".", "include": "_spf." + sender + ".", "helo": "mx." + sender + ".", "key": "k._domainkey." + sender + ".",
		"dmarc": "_dmarc." + r.author + ".", "top": "_dmarc.example."}
	if r.author != r.org {
		names["org"] = "_dmarc." + r.org + "."
	}
	return names
}

func sorts() []sort {
	attacker := func(r realm) string { return "attack-" + strings.ReplaceAll(r.org, ".", "-") + ".example" }
	dead := func(r realm) string { return "dead." + r.author }
	return []sort{
		{"honest", true, func(t testing.TB, r realm) parcel {
			return parcel{"chief@" + r.author, "mx." + r.author, signedLetter(t, "chief@"+r.author, r.author)}
		}, func(r realm) map[string]string { return lookups(r.author, r) }},
		{"honest, SPF alone", true, func(t testing.TB, r realm) parcel {
			return parcel{"chief@" + r.author, "mx." + r.author, signedLetter(t, "chief@"+r.author, "")}
		}, func(r realm) map[string]string { return lookups(r.author, r) }},
		{"a stranger who proves himself", false, func(t testing.TB, r realm) parcel {
			return parcel{"x@" + attacker(r), "mx." + attacker(r), signedLetter(t, "chief@"+r.author, attacker(r))}
		}, func(r realm) map[string]string { return lookups(attacker(r), r) }},
		{"a stranger under a dead name of the victim", false, func(t testing.TB, r realm) parcel {
			return parcel{"x@" + dead(r), "mx." + dead(r), signedLetter(t, "chief@"+r.author, dead(r))}
		}, func(r realm) map[string]string { return lookups(dead(r), r) }},
	}
}

// cells are all combinations of no, one and two faults at the look-ups.
func cells(names map[string]string) []map[string]fault {
	list := []map[string]fault{{}}
	all := slices.Sorted(maps.Keys(names))
	for i, a := range all {
		for _, fa := range faults() {
			list = append(list, map[string]fault{names[a]: fa})
			if fa == late { // alone only: for a single question it is as good as silence
				continue
			}
			for _, b := range all[i+1:] {
				for _, fb := range faults() {
					if fb == late {
						continue
					}
					list = append(list, map[string]fault{names[a]: fa, names[b]: fb})
				}
			}
		}
	}
	everything := map[string]fault{}
	for _, n := range all {
		everything[names[n]] = silent
	}
	return append(list, everything)
}

// Whatever DNS does at whichever look-up, unauthenticated mail in a protected name is not delivered, and honest mail is
// delivered or deferred. RFC 9989 section 5.3.6.
func TestSlowDNS(t *testing.T) {
	const workers = 2
	var mu sync.Mutex
	table := map[string]map[policy.Disposition]int{}
	synctest.Test(t, func(t *testing.T) {
		type job struct {
			s sort
			r realm
		}
		var jobs []job
		for _, r := range realms() {
			for _, s := range sorts() {
				jobs = append(jobs, job{s, r})
			}
		}
		var wait sync.WaitGroup
		for w := range workers {
			c := newCourt(t, zoneOf(), map[string]any{"remember_policy": "0s"})
			wait.Go(func() {
				for i := w; i < len(jobs); i += workers {
					row := c.row(jobs[i].s, jobs[i].r)
					mu.Lock()
					table[jobs[i].r.name+" | "+jobs[i].s.name] = row
					mu.Unlock()
				}
			})
		}
		wait.Wait()
	})
	for _, name := range slices.Sorted(maps.Keys(table)) {
		row := table[name]
		t.Logf("%-62s accept %4d  tag %d  held %4d  deferred %4d  refused %4d", name, row[policy.Accept], row[policy.Tag], row[policy.Quarantine], row[policy.Defer], row[policy.Reject])
	}
}

// row judges one kind of mail in one name in all cells.
func (c *court) row(s sort, r realm) map[policy.Disposition]int {
	row := map[policy.Disposition]int{}
	p := s.parcel(c.t, r)
	local, domain, _ := strings.Cut(p.from, "@")
	for _, fails := range cells(s.names(r)) {
		c.tries++
		p.from = fmt.Sprintf("%s%d@%s", local, c.tries, domain) // another message, with its own tries
		v, took := c.judged(p, fails)
		row[v.Disposition]++
		switch delivered := v.Disposition <= policy.Tag; {
		case took > time.Minute:
			c.t.Errorf("%s, %s, %v: took %s", r.name, s.name, fails, took)
		case s.honest && !delivered && v.Disposition != policy.Defer:
			c.t.Errorf("%s, %s, %v: %s", r.name, s.name, fails, v.Decisive)
		case !s.honest && r.protected && delivered:
			c.t.Errorf("%s, %s, %v: %s", r.name, s.name, fails, v.Decisive)
		case s.honest && len(fails) == 0 && v.Disposition != policy.Accept:
			c.t.Errorf("%s, %s: %s", r.name, s.name, v.Decisive)
		}
	}
	return row
}

// Undecidable mail is deferred a bounded number of times, then held. A domain's policy is remembered.
func TestUndecidedMailEndsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCourt(t, zoneOf(), nil)
		of := func(name string) realm {
			return realms()[slices.IndexFunc(realms(), func(r realm) bool { return r.name == name })]
		}
		honest, dead := sorts()[0], sorts()[3]
		for _, name := range []string{"reject", "quarantine", "own"} {
			r := of(name)
			p, fails := dead.parcel(t, r), map[string]fault{"dead." + r.author + ".": servfail}
			var got []string
			for range 9 {
				v, _ := c.judged(p, fails)
				got = append(got, v.Disposition.String())
			}
			if want := "defer defer defer defer defer defer quarantine quarantine quarantine"; strings.Join(got, " ") != want {
				t.Errorf("%s: %v", name, got)
			}
		}
		// this policy was never seen, then it was seen, then DNS fails again
		for name, want := range map[string]string{"none": "defer accept accept", "sp=reject": "defer accept accept"} {
			r := of(name)
			fails := map[string]fault{"_dmarc." + r.author + ".": silent, r.author + ".": servfail, "k._domainkey." + r.author + ".": servfail}
			var got []string
			for _, f := range []map[string]fault{fails, {}, {"_dmarc." + r.author + ".": silent}} {
				p := honest.parcel(t, r)
				p.from = fmt.Sprint(len(got)) + p.from
				v, _ := c.judged(p, f)
				got = append(got, v.Disposition.String())
			}
			if strings.Join(got, " ") != want {
				t.Errorf("%s: %v, want %s", name, got, want)
			}
			p := sorts()[2].parcel(t, r)
			v, _ := c.judged(p, fails)
			if (v.Disposition == policy.Defer) != r.protected {
				t.Errorf("%s, forged, as it is remembered: %s", name, v.Decisive)
			}
		}
	})
}

// Nine includes that each take their time and a key that takes longer leave nothing undecided that does not hang on them.
func TestSlowSenderTakesNoTimeFromOthers(t *testing.T) {
	_, key := signingKey()
	zone := "_dmarc.victim.example TXT v=DMARC1; p=reject\nk._domainkey.attack.example TXT " + key + "\n_dmarc.ours.test TXT v=DMARC1; p=reject\n"
	fails := map[string]fault{"k._domainkey.attack.example.": late}
	for _, d := range []string{"attack.example", "helo.attack.example"} {
		zone += d + " TXT v=spf1"
		for i := range 9 {
			zone += fmt.Sprintf(" include:i%d.attack.example", i+1)
		}
		zone += " -all\n"
	}
	for i := range 9 {
		name := fmt.Sprintf("i%d.attack.example", i+1)
		zone += name + " TXT v=spf1 -all\n"
		fails[name+"."] = slow
	}
	synctest.Test(t, func(t *testing.T) {
		c := newCourt(t, zone, nil)
		for _, author := range []string{"ceo@victim.example", "boss@ours.test"} {
			v, took := c.judged(parcel{"x@attack.example", "helo.attack.example", signedLetter(t, author, "attack.example")}, fails)
			if v.Disposition != policy.Reject || !strings.Contains(v.Decisive, "DMARC_POLICY_REJECT") || took > 40*time.Second {
				t.Errorf("%s: %s after %s", author, v.Decisive, took)
			}
		}
	})
}
