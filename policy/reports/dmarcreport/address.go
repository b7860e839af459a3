package dmarcreport

import (
	"context"
	"net/url"
	"strconv"
	"strings"

	"postern/internal/dns"
	"postern/internal/mail"
)

// maxDestinations is how many addresses of a domain are served.
const maxDestinations = 10

// destination is an address that wants reports, and how large they may be; 0 is any size.
type destination struct {
	address mail.Address
	limit   int64
}

// parseDestination reads an entry of rua: RFC 9989 section 4.6. A size behind "!" is of RFC 7489 section 6.2. An address
// that isn't plain ASCII, and therefore any with a line end in it, is none.
func parseDestination(uri string) (destination, bool) {
	uri, size, sized := strings.Cut(uri, "!")
	u, err := url.Parse(uri)
	if err != nil || !strings.EqualFold(u.Scheme, "mailto") {
		return destination{}, false
	}
	text, err := url.PathUnescape(u.Opaque)
	if err != nil {
		return destination{}, false
	}
	address, err := mail.ParseAddress(text)
	if err != nil || address.NeedsUTF8() || !strings.Contains(address.Domain, ".") || address.Domain[0] == '[' || address.RoutesBySender() {
		return destination{}, false
	}
	d := destination{address: address}
	if sized {
		if d.limit, err = parseSize(size); err != nil {
			return destination{}, false
		}
	}
	return d, true
}

func parseSize(text string) (int64, error) {
	text = strings.ToLower(text)
	shift := 0
	switch {
	case strings.HasSuffix(text, "k"):
		shift = 10
	case strings.HasSuffix(text, "m"):
		shift = 20
	case strings.HasSuffix(text, "g"):
		shift = 30
	case strings.HasSuffix(text, "t"):
		shift = 40
	}
	if shift > 0 {
		text = text[:len(text)-1]
	}
	n, err := strconv.ParseUint(text, 10, 20) // so that nothing overflows
	return int64(n) << shift, err
}

// destinations are those addresses of a list that may have a report of a policy domain. retry is set if DNS gave no answer
// for one of them.
func (r *Reporter) destinations(ctx context.Context, domain string, rua []string) (list []destination, retry bool) {
	for _, uri := range rua {
		d, ok := parseDestination(uri)
		if !ok || len(list) == maxDestinations {
			continue
		}
		agreed, ok, err := r.verified(ctx, domain, d)
		switch {
		case err != nil:
			retry = true
		case ok:
			list = append(list, agreed)
		}
	}
	return list, retry
}

// verified asks whether a destination outside of the policy domain's organization wants its reports: RFC 9990 section
// 4. Without that, any domain could have a stranger flooded with reports.
func (r *Reporter) verified(ctx context.Context, domain string, d destination) (destination, bool, error) {
	host := d.address.ASCIIDomain()
	same, err := r.SameOrganization(ctx, domain, host)
	if same || err != nil {
		return d, same, err
	}
	name := domain + "._report._dmarc." + host
	if len(name) > mail.MaxDomain-2 {
		return d, false, nil
	}
	texts, err := r.DNS.LookupTXT(ctx, name)
	if dns.IsNotFound(err) {
		return d, false, nil
	}
	if err != nil {
		return d, false, err
	}
	agreed := false
	for _, text := range texts {
		rua, ok := consent(text)
		if !ok {
			continue
		}
		agreed = true
		// the destination may name another address for it, on the same host and no other
		for uri := range strings.SplitSeq(rua, ",") {
			other, ok := parseDestination(strings.TrimSpace(uri))
			if rua == "" {
				break
			}
			if !ok || other.address.ASCIIDomain() != host {
				return d, false, nil
			}
			d = other
			break
		}
	}
	return d, agreed, nil
}

// consent reads a record by which a destination says that it wants reports: v=DMARC1 comes first, rua may follow.
func consent(text string) (rua string, ok bool) {
	for i, spec := range strings.Split(text, ";") {
		name, value, _ := strings.Cut(spec, "=")
		name, value = strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value)
		switch {
		case i == 0 && (name != "v" || value != "DMARC1"):
			return "", false
		case name == "rua" && rua == "":
			rua = value
		}
	}
	return rua, true
}
