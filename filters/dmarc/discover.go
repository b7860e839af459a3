package dmarc

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"

	"golang.org/x/net/publicsuffix"

	"postern/internal/dns"
)

// maxQueries is the length of a tree walk: RFC 9989 section 4.10.
const maxQueries = 8

// found is a record and the domain that has it.
type found struct {
	domain string
	record record
}

// search finds records and organizational domains for one message. It asks for each name once.
type search struct {
	dns *dns.Resolver
	psl bool
	// note is called with each step, unless nil.
	note  func(string)
	asked map[string]answer
	// orgs are the organizational domains found so far.
	orgs map[string]string
	// gone are names of which DNS could or could not say whether they exist.
	gone map[string]existence
}

type existence struct {
	exists bool
	err    error
}

type answer struct {
	found *found
	err   error
}

func newSearch(r *dns.Resolver, psl bool, note func(string)) *search {
	if note == nil {
		note = func(string) {}
	}
	return &search{dns: r, psl: psl, note: note, asked: map[string]answer{}, orgs: map[string]string{}, gone: map[string]existence{}}
}

// again allows unanswered queries to be repeated once.
func (s *search) again() {
	maps.DeleteFunc(s.asked, func(_ string, a answer) bool { return a.err != nil })
	maps.DeleteFunc(s.gone, func(_ string, e existence) bool { return e.err != nil })
}

// exists asks whether a name exists: RFC 9989 section 3.2 takes NXDOMAIN for the only no (RFC 8020).
func (s *search) exists(ctx context.Context, domain string) (bool, error) {
	if e, ok := s.gone[domain]; ok {
		return e.exists, e.err
	}
	exists, err := s.dns.Exists(ctx, domain)
	s.gone[domain] = existence{exists, err}
	return exists, err
}

// lookup asks for the record of one domain. None and several are the same: nil (RFC 9989 section 4.10).
func (s *search) lookup(ctx context.Context, domain string) (*found, error) {
	if a, ok := s.asked[domain]; ok {
		return a.found, a.err
	}
	f, err := s.query(ctx, domain)
	s.asked[domain] = answer{f, err}
	return f, err
}

func (s *search) query(ctx context.Context, domain string) (*found, error) {
	name := "_dmarc." + domain
	texts, err := s.dns.LookupTXT(ctx, name)
	switch {
	case dns.IsNotFound(err):
		s.note(name + ": no record")
		return nil, nil
	case err != nil:
		s.note(name + ": no answer from DNS")
		return nil, err
	}
	var one *found
	n := 0
	for _, text := range texts {
		r, err := parseRecord(text)
		if errors.Is(err, errNoRecord) {
			s.note(fmt.Sprintf("%s: %q is not a DMARC record: it does not begin with v=DMARC1", name, text))
			continue
		}
		s.note(fmt.Sprintf("%s: %q", name, text))
		n++
		one = &found{domain, r}
	}
	// RFC 9989 section 4.10: if there are several, all of them are discarded
	if n > 1 {
		s.note(fmt.Sprintf("%s: %d DMARC records count as none (RFC 9989 section 4.10)", name, n))
		return nil, nil
	}
	return one, nil
}

// walk is the DNS tree walk of RFC 9989 section 4.10: the records from the domain upwards, eight queries at most.
func (s *search) walk(ctx context.Context, domain string) ([]found, error) {
	var all []found
	target := domain
	for range maxQueries {
		r, err := s.lookup(ctx, target)
		if err != nil {
			return nil, err
		}
		if r != nil {
			all = append(all, *r)
			// RFC 9989 section 4.10, steps 2 and 6: psd=n and psd=y end the walk
			if r.record.psd != "u" {
				break
			}
		}
		labels := strings.Split(target, ".")
		if len(labels) == 1 {
			break
		}
		// RFC 9989 section 4.10, step 4: of a name with eight labels or more, seven are left
		target = strings.Join(labels[max(1, len(labels)-(maxQueries-1)):], ".")
	}
	return all, nil
}

// organizational selects the organizational domain from a walk, longest name first: RFC 9989 section 4.10.2.
func organizational(domain string, all []found) string {
	if len(all) == 0 {
		return domain
	}
	for _, r := range all {
		switch {
		case r.record.psd == "n":
			return r.domain
		case r.record.psd == "y" && r.domain != domain:
			return oneBelow(domain, r.domain)
		}
	}
	return all[len(all)-1].domain
}

// oneBelow is the name one label below parent on the way to domain.
func oneBelow(domain, parent string) string {
	rest := strings.TrimSuffix(domain, "."+parent)
	return rest[strings.LastIndexByte(rest, '.')+1:] + "." + parent
}

// organization gives the organizational domain, by the tree walk or, if the settings say so, by the public suffix list,
// as RFC 7489 section 3.2 had it.
func (s *search) organization(ctx context.Context, domain string) (string, error) {
	if org, ok := s.orgs[domain]; ok {
		return org, nil
	}
	org := pslOrganizational(domain)
	if !s.psl {
		all, err := s.walk(ctx, domain)
		if err != nil {
			return domain, err
		}
		org = organizational(domain, all)
	}
	s.orgs[domain] = org
	s.note("the organizational domain of " + domain + " is " + org)
	return org, nil
}

// policy finds the record that applies to an author domain: that of the domain itself, of its organizational domain, of
// its public suffix, in this order (RFC 9989 section 4.10.1).
func (s *search) policy(ctx context.Context, domain string) (*found, error) {
	own, err := s.lookup(ctx, domain)
	if own != nil || err != nil {
		return own, err
	}
	org, err := s.organization(ctx, domain)
	if err != nil || s.psl && org == domain {
		return nil, err
	}
	if s.psl {
		return s.lookup(ctx, org)
	}
	all, err := s.walk(ctx, domain)
	if err != nil {
		return nil, err
	}
	for i, r := range all {
		if r.domain == org || r.record.psd == "y" {
			return &all[i], nil
		}
	}
	return nil, nil
}

func pslOrganizational(domain string) string {
	org, err := publicsuffix.EffectiveTLDPlusOne(domain)
	if err != nil {
		return domain
	}
	return org
}

// aligned reports whether an authenticated domain is aligned with the author domain: RFC 9989 section 4.10.2.
func (s *search) aligned(ctx context.Context, domain, author string, strict bool) (bool, error) {
	switch {
	case domain == author:
		return true, nil
	// names under different top domains have no organizational domain in common
	case strict || topLabel(domain) != topLabel(author):
		return false, nil
	}
	org, err := s.organization(ctx, author)
	if err != nil {
		return false, err
	}
	if domain != org && !strings.HasSuffix(domain, "."+org) {
		return false, nil
	}
	theirs, err := s.organization(ctx, domain)
	return theirs == org, err
}

func topLabel(domain string) string { return domain[strings.LastIndexByte(domain, '.')+1:] }
