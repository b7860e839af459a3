// Package checkhost is the function check_host() of RFC 7208: whether a client may send for a domain.
//
// Every limit of section 4.6.4 holds for the whole check, includes and redirects counted in, so no tree of records
// makes it do more. What it did it can tell step by step.
package checkhost

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"postern/internal/dns"
	"postern/internal/mail"
)

// Limits are those of RFC 7208 section 4.6.4.
type Limits struct {
	// Lookups is how many terms of all records together may ask DNS.
	Lookups int
	// Voids is how many of them may find nothing.
	Voids int
}

// DefaultLimits are those the RFC names.
func DefaultLimits() Limits { return Limits{Lookups: 10, Voids: 2} }

// maxHosts is how many hosts of one "mx", and names of one "ptr" or macro p, are looked up: section 4.6.4.
const maxHosts = 10

// Query is what is asked.
type Query struct {
	Client netip.Addr
	// Domain is the one whose record is asked first. Local and SenderDomain are the sender, for the macros s, l and o:
	// "" is postmaster and Domain.
	Domain              string
	Local, SenderDomain string
	Helo                string
	// Receiver and Now are for the macros r and t.
	Receiver string
	Now      time.Time
	Limits   Limits
	// Trace is told each step, with how deep in includes it happens; nil for nobody.
	Trace func(depth int, step string)
}

// Answer is what came of it.
type Answer struct {
	// Result is "pass", "fail", "softfail", "neutral", "none", "temperror" or "permerror": section 2.6.
	Result mail.AuthVerdict
	// Why names the term that decided, or what went wrong.
	Why string
	// Explanation is what the domain's own exp= says about a fail: printable ASCII on one line. It is text of a
	// stranger.
	Explanation string
	// Lookups and Voids were counted.
	Lookups, Voids int
}

// check is one check under way.
type check struct {
	ctx          context.Context
	dns          *dns.Resolver
	query        Query
	client       netip.Addr
	local        string
	senderDomain string
	depth        int
	lookups      int
	voids        int
	names        []string // validated names of the client
	namesKnown   bool
}

// Check does it. It returns when ctx ends, with temperror.
func Check(ctx context.Context, r *dns.Resolver, q Query) Answer {
	// section 5: an IPv4 address in IPv6 clothes is an IPv4 address
	c := &check{ctx: ctx, dns: r, query: q, client: q.Client.Unmap(), local: q.Local, senderDomain: q.SenderDomain}
	if c.local == "" {
		// section 4.3: a sender without a local part is postmaster
		c.local = "postmaster"
	}
	domain := strings.TrimSuffix(q.Domain, ".")
	if c.senderDomain == "" {
		c.senderDomain = domain
	}
	// section 4.3: what is not a multi-label domain name has the result none
	if !mail.ValidDomain(domain) || !strings.Contains(domain, ".") || len(domain) > maxName {
		c.step("%q is not a domain name of two labels or more", domain)
		return Answer{Result: mail.AuthNone, Why: "no domain to check"}
	}
	v := c.host(domain)
	a := Answer{Result: v.result, Why: v.why}
	if v.result == mail.AuthFail && v.exp != nil {
		a.Explanation = c.explain(v)
	}
	a.Lookups, a.Voids = c.lookups, c.voids
	c.step("result: %s (%s); %d of %d look-ups, %d of %d void", a.Result, a.Why, c.lookups, q.Limits.Lookups, c.voids, q.Limits.Voids)
	return a
}

func (c *check) step(format string, args ...any) {
	if c.query.Trace != nil {
		c.query.Trace(c.depth, fmt.Sprintf(format, args...))
	}
}

// verdict is the result for one domain.
type verdict struct {
	result mail.AuthVerdict
	why    string
	// exp is the explanation of the record that decided, domain the one it speaks of.
	exp    macroString
	domain string
}

// problem ends a check: temperror or permerror.
type problem struct {
	result mail.AuthVerdict
	why    string
}

func (p *problem) Error() string { return p.why }

func permError(format string, args ...any) error {
	return &problem{mail.AuthPermError, fmt.Sprintf(format, args...)}
}

// fromDNS tells "there is none", which is no error here, from "nobody could tell".
func fromDNS(name string, err error) (void bool, failure error) {
	var e *net.DNSError
	switch {
	case err == nil:
		return false, nil
	case errors.As(err, &e) && e.IsNotFound:
		return true, nil
	}
	return false, &problem{mail.AuthTempError, "DNS gives no answer for " + name}
}

func ended(err error) verdict {
	var p *problem
	if errors.As(err, &p) {
		return verdict{result: p.result, why: p.why}
	}
	return verdict{result: mail.AuthPermError, why: err.Error()}
}

// host finds the record of a domain and evaluates it: sections 4.4 to 4.7.
func (c *check) host(domain string) verdict {
	text, err := c.find(domain)
	if err != nil {
		return ended(err)
	}
	if text == "" {
		return verdict{result: mail.AuthNone, why: "no SPF record"}
	}
	rest, _ := terms(text)
	r, err := parseRecord(rest)
	if err != nil {
		c.step("%s: %v", domain, err)
		return ended(permError("the record of %s: %v", domain, err))
	}
	for _, m := range r.mechanisms {
		matches, err := c.match(m, domain)
		if err != nil {
			return ended(err)
		}
		if matches {
			return verdict{result: qualified(m.qualifier), why: "matches " + m.text + " of " + domain, exp: r.exp, domain: domain}
		}
	}
	// section 6.1: a redirect counts only if no mechanism matched, and never beside an "all"
	if r.redirect != nil && !r.all {
		return c.redirect(r.redirect, domain)
	}
	return verdict{result: mail.AuthNeutral, why: "no term of " + domain + " matches"}
}

// qualified is the result of a mechanism that matches: section 4.6.2.
func qualified(qualifier byte) mail.AuthVerdict {
	switch qualifier {
	case '-':
		return mail.AuthFail
	case '~':
		return mail.AuthSoftFail
	case '?':
		return mail.AuthNeutral
	}
	return mail.AuthPass
}

// find gives the one SPF record of a domain, "" if it has none.
func (c *check) find(domain string) (string, error) {
	texts, err := c.dns.LookupTXT(c.ctx, domain)
	if _, failure := fromDNS(domain, err); failure != nil {
		c.step("%s TXT: %v", domain, err)
		return "", failure
	}
	var records []string
	for _, text := range texts {
		if _, ok := terms(text); ok {
			records = append(records, text)
		}
	}
	switch len(records) {
	case 0:
		c.step("%s TXT: no SPF record among %d", domain, len(texts))
		return "", nil
	case 1:
		c.step("%s TXT: %s", domain, records[0])
		return records[0], nil
	}
	c.step("%s TXT: %d SPF records", domain, len(records))
	// section 4.5: more than one record is a permerror
	return "", permError("%s has %d SPF records", domain, len(records))
}

// redirect goes on with another domain in the place of this one: section 6.1.
func (c *check) redirect(target macroString, domain string) verdict {
	if err := c.count("redirect"); err != nil {
		return ended(err)
	}
	name, err := c.expandName(target, domain)
	if err != nil || !wellFormed(name) {
		return ended(permError("the redirect of %s leads to no domain", domain))
	}
	c.step("redirect to %s", name)
	v := c.host(name)
	if v.result == mail.AuthNone {
		// section 6.1: a redirect to where there is no record is a permerror
		return ended(permError("the redirect of %s leads to %s, which has no SPF record", domain, name))
	}
	return v
}

// count takes one of the look-ups allowed: section 4.6.4.
func (c *check) count(term string) error {
	if c.lookups == c.query.Limits.Lookups {
		c.step("%s: more than %d look-ups", term, c.lookups)
		return permError("more than %d look-ups", c.lookups)
	}
	c.lookups++
	return nil
}

// void takes one of the look-ups that may find nothing: section 4.6.4.
func (c *check) void(name string) error {
	c.voids++
	if c.voids > c.query.Limits.Voids {
		return permError("more than %d look-ups found nothing, the last %s", c.query.Limits.Voids, name)
	}
	return nil
}

// wellFormed says whether DNS can be asked for a name: labels of 1 to 63 octets, all of them ASCII.
func wellFormed(name string) bool {
	if name == "" || len(name) > maxName || !mail.IsASCII(name) {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 {
			return false
		}
	}
	return true
}

// explain fetches what a domain says about its fail: section 6.2. Whatever goes wrong, there is no explanation then.
func (c *check) explain(v verdict) string {
	name, err := c.expandName(v.exp, v.domain)
	if err != nil || !wellFormed(name) {
		c.step("exp: not a domain: %q", name)
		return ""
	}
	texts, err := c.dns.LookupTXT(c.ctx, name)
	if err != nil || len(texts) != 1 {
		c.step("exp: %s has %d TXT records, want one", name, len(texts))
		return ""
	}
	for i := range len(texts[0]) {
		// section 6.2: the explanation is US-ASCII
		if texts[0][i] < ' ' || texts[0][i] >= 0x7f {
			c.step("exp: %s is not printable ASCII", name)
			return ""
		}
	}
	m, err := parseMacros(texts[0], true)
	if err != nil {
		c.step("exp: %s can't be read", name)
		return ""
	}
	text, err := c.expandText(m, v.domain)
	if err != nil {
		return ""
	}
	c.step("exp: %s says %q", name, text)
	return text
}
