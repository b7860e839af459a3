package eval

import (
	"regexp"
	"slices"
	"strings"

	"postern/rules/views"
)

// Functions about links: plugins URIEval and HTTPSMismatch.
func uriFunctions() map[string]Func {
	return map[string]Func{
		"check_for_http_redirector": httpRedirector, "check_https_ip_mismatch": httpsIPMismatch, "check_https_http_mismatch": httpsMismatch,
		"check_uri_truncated": func(c *Context, _ []string) float64 { return truth(c.Message.Truncated()) },
		"check_uridnsbl":      uriListed,
	}
}

var (
	linkInLink = regexp.MustCompile(`(?i)^https?://([^/:?]+).+?(https?:/{0,2}?([^/:?]+).*)$`)
	ipLink     = regexp.MustCompile(`(?i)^https?:/*(?:[^@/]+@)?\d+\.\d+\.\d+\.\d+`)
	httpsIP    = regexp.MustCompile(`(?i)^https:/*(?:[^@/]+@)?\d+\.\d+\.\d+\.\d+`)
	webHost    = regexp.MustCompile(`(?i)^https?://([^/:?#]+)`)
	httpsHost  = regexp.MustCompile(`(?i)https://([^\s/:?#]+)`)
)

func httpRedirector(c *Context, _ []string) float64 {
	for _, u := range c.Message.URIs() {
		for m := linkInLink.FindStringSubmatch(u); m != nil; m = linkInLink.FindStringSubmatch(u) {
			u = m[2]
			if c.domainOf(m[1]) != c.domainOf(m[3]) {
				return 1
			}
		}
	}
	return 0
}

func (c *Context) domainOf(uri string) string {
	if d, _ := c.Config.Domains.OfURI(uri); d != "" {
		return d
	}
	return uri
}

func httpsIPMismatch(c *Context, _ []string) float64 {
	return c.anyPage(func(p *views.Page) bool {
		for _, u := range p.URIs {
			if !ipLink.MatchString(u.URI) {
				continue
			}
			for _, text := range u.Anchors {
				if !httpsIP.MatchString(text) && strings.Contains(strings.ToLower(text), "https:") {
					return true
				}
			}
		}
		return false
	})
}

// httpsMismatch says whether the text of a link names another site than it leads to.
func httpsMismatch(c *Context, args []string) float64 {
	least := max(1, number(arg(args, 0)))
	d := c.Config.Domains
	return c.anyPage(func(p *views.Page) bool {
		hit, anchors := false, 0.0
		for _, u := range p.URIs {
			site := linkedSite(u, d)
			if site == "" {
				continue
			}
			anchors++
			for _, text := range u.Anchors {
				claimed := claimedSite(text, d)
				hit = hit || claimed != "" && claimed != site
			}
		}
		most := arg(args, 1)
		return hit && anchors >= least && (most == "" || anchors < number(most))
	})
}

// linkedSite is the registered domain that a link with a text leads to, "" for none.
func linkedSite(u *views.PageURI, d *views.Domains) string {
	m := webHost.FindStringSubmatch(u.URI)
	if len(u.Anchors) == 0 || m == nil || views.IsIP(m[1]) {
		return ""
	}
	site := d.Trim(m[1])
	if domain, _ := d.OfURI(site); domain == "" || !d.Valid(domain) {
		return ""
	}
	return site
}

// claimedSite is the domain or the address that the text of a link names by https, "" for none.
func claimedSite(text string, d *views.Domains) string {
	h := httpsHost.FindStringSubmatch(text)
	if h == nil {
		return ""
	}
	if views.IsIP(h[1]) {
		return h[1]
	}
	if domain := d.Trim(h[1]); d.Valid(domain) {
		return domain
	}
	return ""
}

// uriListed looks the links up in the list that the rule names.
func uriListed(c *Context, args []string) float64 {
	name := arg(args, 0)
	if name == "" {
		name = c.Rule
	}
	list, ok := c.Config.URILists[name]
	if !ok || c.Lists == nil {
		return 0
	}
	for _, host := range c.lookedUp() {
		key := host
		if views.IsIP(host) {
			if strings.Contains(c.Flags, "domains_only") {
				continue
			}
			key = reverse(host)
		} else if strings.Contains(c.Flags, "ips_only") || !list.Host {
			continue
		}
		if list.Test.Any(c.Lists.Listed(key, list.Zone)) {
			return 1
		}
	}
	return 0
}

// lookedUp are the domains of links that are looked up: twenty at most, those that a reader clicks first.
func (c *Context) lookedUp() []string {
	return once(c, "lookedup", func() []string {
		most := int(c.Config.number("uridnsbl_max_domains", 20))
		mail := c.Config.number("uridnsbl_skip_mailto", 1) == 0
		var first, then []string
		for _, u := range c.Message.Links() {
			if !mail && isMailto(u.Raw) {
				continue
			}
			for _, d := range u.Domains {
				if c.Config.SkipDomains[d] || slices.Contains(first, d) || slices.Contains(then, d) {
					continue
				}
				if slices.Contains(u.Types, "a") || slices.Contains(u.Types, "parsed") {
					first = append(first, d)
				} else {
					then = append(then, d)
				}
			}
		}
		all := append(first, then...)
		return all[:min(most, len(all))]
	})
}
