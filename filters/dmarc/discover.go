package dmarc

import (
	"context"
	"errors"
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

// lookup asks for the record of one domain. None and several are the same: nil (RFC 9989 section 4.10).
func (f filter) lookup(ctx context.Context, domain string) (*found, error) {
	texts, err := f.env.DNS.LookupTXT(ctx, "_dmarc."+domain)
	if dns.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var one *found
	var bad error
	n := 0
	for _, text := range texts {
		r, err := parseRecord(text)
		if errors.Is(err, errNoRecord) {
			continue
		}
		if n++; err != nil {
			bad = err
			continue
		}
		one = &found{domain, r}
	}
	if n > 1 {
		return nil, nil
	}
	return one, bad
}

// walk is the DNS tree walk of RFC 9989 section 4.10: the records from the domain upwards, eight queries at most.
func (f filter) walk(ctx context.Context, domain string) ([]found, error) {
	var all []found
	target := domain
	for range maxQueries {
		r, err := f.lookup(ctx, target)
		if err != nil && !errors.Is(err, errBadPolicy) {
			return nil, err
		}
		if err != nil && target == domain {
			return nil, err
		}
		if r != nil {
			all = append(all, *r)
			if r.record.psd != "u" {
				break
			}
		}
		labels := strings.Split(target, ".")
		if len(labels) == 1 {
			break
		}
		// of a long name, the next target has seven labels
		target = strings.Join(labels[max(1, len(labels)-(maxQueries-1)):], ".")
	}
	return all, nil
}

// organizational selects the organizational domain from a walk: RFC 9989 section 4.10.2.
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

// discover finds the record that applies to an author domain and the organizational domain: RFC 9989 section 4.10.1,
// or by the public suffix list, as RFC 7489 section 3.2 did, if the settings say so.
func (f filter) discover(ctx context.Context, domain string) (*found, string, error) {
	if f.settings.OrganizationalDomain == "psl" {
		return f.discoverPSL(ctx, domain)
	}
	all, err := f.walk(ctx, domain)
	if err != nil {
		return nil, domain, err
	}
	org := organizational(domain, all)
	var psd *found
	for i, r := range all {
		switch {
		case r.domain == domain || r.domain == org:
			return &all[i], org, nil
		case r.record.psd == "y":
			psd = &all[i]
		}
	}
	return psd, org, nil
}

func (f filter) discoverPSL(ctx context.Context, domain string) (*found, string, error) {
	org := pslOrganizational(domain)
	r, err := f.lookup(ctx, domain)
	if r == nil && err == nil && org != domain {
		r, err = f.lookup(ctx, org)
	}
	return r, org, err
}

func pslOrganizational(domain string) string {
	org, err := publicsuffix.EffectiveTLDPlusOne(domain)
	if err != nil {
		return domain
	}
	return org
}

// aligned says whether a domain that was authenticated stands for the author domain: RFC 9989 section 4.10.3.
func (f filter) aligned(ctx context.Context, domain, author, org string, strict bool) (bool, error) {
	switch {
	case domain == author:
		return true, nil
	case strict || domain != org && !strings.HasSuffix(domain, "."+org):
		return false, nil
	case f.settings.OrganizationalDomain == "psl":
		return pslOrganizational(domain) == org, nil
	}
	all, err := f.walk(ctx, domain)
	if err != nil && !errors.Is(err, errBadPolicy) {
		return false, err
	}
	return organizational(domain, all) == org, nil
}
