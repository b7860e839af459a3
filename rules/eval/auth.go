package eval

import (
	"slices"
	"strings"
)

// SPF, DKIM and DMARC: the filters of these names have the results; here is what rules make of them.
func spfFunctions() map[string]Func {
	all := map[string]Func{
		"check_for_spf_welcomelist_from":     spfWelcome("welcomelist_from_spf", "welcomelist_auth"),
		"check_for_spf_whitelist_from":       spfWelcome("welcomelist_from_spf", "welcomelist_auth"),
		"check_for_def_spf_welcomelist_from": spfWelcome("def_welcomelist_from_spf", "def_welcomelist_auth"),
		"check_for_def_spf_whitelist_from":   spfWelcome("def_welcomelist_from_spf", "def_welcomelist_auth"),
		"check_spf_skipped_noenvfrom": func(c *Context, _ []string) float64 {
			_, ok := c.Message.EnvelopeFrom()
			return truth(!ok)
		},
	}
	for _, result := range []string{"pass", "neutral", "none", "fail", "softfail", "permerror", "temperror"} {
		all["check_for_spf_"+result] = func(c *Context, _ []string) float64 { return truth(c.Facts.SPF == result) }
		all["check_for_spf_helo_"+result] = func(c *Context, _ []string) float64 { return truth(c.Facts.SPFHelo == result) }
	}
	return all
}

func spfWelcome(lists ...string) Func {
	return func(c *Context, _ []string) float64 {
		sender := c.text("EnvelopeFrom:addr")
		if c.Facts.SPF != "pass" || sender == "" {
			return 0
		}
		for _, l := range lists {
			if c.Config.Addresses[l].Holds(sender) {
				return 1
			}
		}
		return 0
	}
}

func dkimFunctions() map[string]Func {
	valid := func(c *Context, args []string) float64 { return truth(c.signedBy(true, false, args)) }
	return map[string]Func{
		"check_dkim_signed": func(c *Context, args []string) float64 { return truth(c.signedBy(false, false, args)) },
		"check_dkim_valid":  valid, "check_dkim_verified": valid,
		"check_dkim_valid_author_sig":   func(c *Context, args []string) float64 { return truth(c.signedBy(true, true, args)) },
		"check_dkim_valid_envelopefrom": dkimEnvelope,
		"check_dkim_testing": func(c *Context, _ []string) float64 {
			return truth(slices.ContainsFunc(c.Facts.DKIM, func(s Signature) bool { return s.Testing }))
		},
		"check_dkim_dependable":               func(c *Context, _ []string) float64 { return truth(c.Facts.DKIMKnown && len(c.Facts.DKIM) > 0) },
		"check_arc_signed":                    func(c *Context, _ []string) float64 { return truth(c.Facts.ARC) },
		"check_arc_valid":                     func(c *Context, _ []string) float64 { return truth(c.Facts.ARCValid) },
		"check_dkim_adsp":                     never, // historic since RFC 6376 took its place: no domain publishes it
		"check_dkim_signall":                  never,
		"check_dkim_signsome":                 never,
		"check_for_dkim_welcomelist_from":     dkimWelcome("welcomelist_from_dkim", "welcomelist_auth"),
		"check_for_dkim_whitelist_from":       dkimWelcome("welcomelist_from_dkim", "welcomelist_auth"),
		"check_for_def_dkim_welcomelist_from": dkimWelcome("def_welcomelist_from_dkim", "def_welcomelist_auth"),
		"check_for_def_dkim_whitelist_from":   dkimWelcome("def_welcomelist_from_dkim", "def_welcomelist_auth"),
	}
}

// authorDomains are the domains of the From field.
func (c *Context) authorDomains() []string { return c.hostsOf(c.Message.Get("From:addr")) }

// signedBy says whether a signature is there: a valid one, one of an author's domain, one of given domains.
func (c *Context) signedBy(valid, author bool, domains []string) bool {
	return slices.ContainsFunc(c.Facts.DKIM, func(s Signature) bool {
		name := strings.ToLower(s.Domain)
		if valid && !s.Valid {
			return false
		}
		if author && !slices.Contains(c.authorDomains(), name) {
			return false
		}
		return len(domains) == 0 || slices.ContainsFunc(domains, func(d string) bool { return domainIs(name, d) })
	})
}

// domainIs says whether a name is a domain, or below it where the pattern begins with a dot.
func domainIs(name, pattern string) bool {
	pattern = strings.ToLower(pattern)
	below := strings.TrimPrefix(pattern, "*")
	if rest, ok := strings.CutPrefix(below, "."); ok {
		return name == rest || strings.HasSuffix(name, "."+rest)
	}
	return name == pattern
}

func dkimEnvelope(c *Context, _ []string) float64 {
	hosts := c.hostsOf(c.Message.Get("EnvelopeFrom:addr"))
	return truth(len(hosts) > 0 && c.signedBy(true, false, hosts[:1]))
}

// dkimWelcome says whether an author is in a list of those whose signature makes them welcome.
func dkimWelcome(pairs, list string) Func {
	return func(c *Context, _ []string) float64 {
		for _, author := range c.Message.Get("From:addr") {
			domain := strings.ToLower(author[strings.LastIndexByte(author, '@')+1:])
			signers := slices.Clone(c.Config.Received[pairs].of(author))
			if c.Config.Addresses[list].Holds(author) {
				signers = append(signers, "")
			}
			for _, s := range signers {
				if s == "" {
					s = domain
				}
				s = s[strings.LastIndexByte(s, '@')+1:]
				if c.signedBy(true, false, []string{s}) {
					return 1
				}
			}
		}
		return 0
	}
}

func dmarcFunctions() map[string]Func {
	failed := func(policy string) Func {
		return func(c *Context, _ []string) float64 {
			return truth(c.Facts.DMARC == "fail" && c.Facts.DMARCPolicy == policy)
		}
	}
	return map[string]Func{
		"check_dmarc_pass":   func(c *Context, _ []string) float64 { return truth(c.Facts.DMARC == "pass") },
		"check_dmarc_reject": failed("reject"), "check_dmarc_quarantine": failed("quarantine"), "check_dmarc_none": failed("none"),
		"check_dmarc_missing": func(c *Context, _ []string) float64 { return truth(c.Facts.DMARC == "none") },
	}
}
