package links

import (
	"slices"
	"strings"

	"postern/filters"
	"postern/internal/mimeview"
	"postern/internal/mimeview/links"
)

// symbolOf is what a link to a platform is reported as, "" for one that leads on, which needs a look at where.
func symbolOf(p platform) string {
	switch p {
	case freeHost:
		return "URL_FREE_HOST"
	case formHost:
		return "URL_FORM"
	case storage:
		return "URL_CLOUD_STORAGE"
	case tunnel:
		return "URL_TUNNEL"
	case shortener:
		return "URL_SHORTENED"
	}

	return ""
}

// clickable says whether a link is one that a reader may follow: not a picture's address, and not one that is not shown.
func clickable(link *mimeview.Link) bool {
	if !leadsToHost(link) || link.Has(links.HiddenLink) {
		return false
	}
	for _, place := range []string{"html a ", "html area ", "html form ", "html button ", "html input ", "html meta refresh", "qr ", "attachment"} {
		if strings.HasPrefix(link.Where, place) {
			return true
		}
	}

	return link.Where == "text" || link.Where == "subject"
}

// platforms judges the hosts of the links that may be followed.
func (l *look) platforms(view *mimeview.View, all []mimeview.Link) {
	parts := view.Parts()
	n := 0
	for i := range all {
		link := &all[i]
		if !clickable(link) || isFile(parts, link.Part) || l.own(link.Host, link.Domain) {
			continue
		}
		if n++; n > maxLinks {
			return
		}
		l.platform(link, all[i+1:])
	}
}

// isFile says whether a link stands in an attached text, such as a log or a patch. A page that is attached is shown as a mail
// is.
func isFile(parts []*mimeview.Part, i int) bool {
	return i >= 0 && i < len(parts) && parts[i].Attachment && parts[i].Type != "text/html"
}

// own says whether a host belongs to us, or to who has proven to be the sender: by a domain, or as a company of several.
func (l *look) own(host, domain string) bool {
	if known, ok := l.owned[host]; ok {
		return known
	}
	own := l.sender[domain] || l.ours(host) != ""
	if !own && len(l.brands) > 0 {
		own = slices.ContainsFunc(l.table.Of(host), func(b int) bool { return slices.Contains(l.brands, b) })
	}
	l.owned[host] = own

	return own
}

// senderBrands are the brands that the proven senders are of. Who has an address at a mail service is not the service.
func (l *look) senderBrands() {
	for domain := range l.sender {
		if l.table != nil && !filters.IsFreemail(domain) {
			l.brands = append(l.brands, l.table.Of(domain)...)
		}
	}
}

// platform judges one link. What it carries stands behind it.
func (l *look) platform(link *mimeview.Link, behind []mimeview.Link) {
	found := l.hosts.find(link)
	below := false
	for _, p := range found {
		symbol := symbolOf(p)
		switch {
		case p == redirector:
			l.leadsOn(link, behind)
			return
		case p == storage && !isPage(link.Path):
			continue
		}
		below = below || p == freeHost || p == tunnel || p == storage
		l.add(symbol, brief(link))
	}
	if symbol := "URL_BRAND_HOST"; l.found[symbol] == "" && !link.Has(links.Redirector) {
		l.brandIn(link, below, symbol)
	}
}

// brandIn looks for a brand's name in a host that is new, and in its path.
func (l *look) brandIn(link *mimeview.Link, below bool, symbol string) {
	if l.table == nil || link.Has(links.IPHost) || l.judged[link.Host+link.Path] {
		return
	}
	l.judged[link.Host+link.Path] = true
	path := link.Path
	if link.Has(links.Nested) { // what it carries is judged by itself
		path = ""
	}
	brand, name, ok := l.table.Within(link.Host, path, below)
	if ok && !slices.Contains(l.brands, brand) {
		l.add(symbol, name+": "+brief(link))
	}
}

// leadsOn reports a page that leads on, unless it does to us, to its owner or to the sender.
func (l *look) leadsOn(link *mimeview.Link, behind []mimeview.Link) {
	if link.Query == "" && !link.Has(links.Redirector) {
		return
	}
	to := "an address that is not shown"
	if len(behind) > 0 && behind[0].Has(links.Redirected) {
		target := &behind[0]
		if target.Domain == link.Domain || l.own(target.Host, target.Domain) {
			return
		}
		to = target.Host
	}
	l.add("URL_OPEN_REDIRECT", link.Host+" to "+to)
}

// isPage says whether a file in a storage is one that a browser shows as a page: by its name, or for want of one.
func isPage(path string) bool {
	name := strings.ToLower(path[strings.LastIndexByte(path, '/')+1:])
	dot := strings.LastIndexByte(name, '.')
	if dot < 0 {
		return true
	}
	switch name[dot:] {
	case ".htm", ".html", ".shtml", ".xhtml", ".svg", ".php", ".asp", ".aspx", ".jsp", ".mht", ".xml":
		return true
	}

	return false
}

// brief is a link as evidence.
func brief(link *mimeview.Link) string {
	text := link.Host + link.Path
	return text[:min(len(text), 120)]
}
