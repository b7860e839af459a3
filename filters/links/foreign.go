package links

import (
	"slices"
	"strings"

	"postern/filters"
	"postern/internal/mail"
	"postern/internal/mimeview"
	"postern/internal/mimeview/links"
)

// mostStrange is how many strange domains a notice has at most: a letter full of news has many.
const mostStrange = 2

// foreign reports mail of which no link leads to who sends it, and one or two lead to domains that are not ours, of no known
// company and no counters of clicks. People send such links, too; who writes as a company or an office has pages of its own.
func (l *look) foreign(m *mail.Message, view *mimeview.View, all, codes []mimeview.Link) {
	// RFC 2919: mail of a list has the links of many.
	if m.Header().Count("List-Id") > 0 {
		return
	}
	author := filters.AuthorOrganization(m)
	if filters.IsFreemail(author) {
		author = ""
	}
	var strange []string
	for _, link := range followed(view, all, codes) {
		domain := link.Domain
		if link.Has(links.IPHost) {
			domain = link.Host
		}
		switch {
		case domain == "":
		case domain == author, l.own(link.Host, link.Domain):
			return
		case !slices.Contains(strange, domain) && l.isStrange(&link):
			strange = append(strange, domain)
		}
	}
	if n := len(strange); n > 0 && n <= mostStrange {
		l.add("URL_FOREIGN", strings.Join(strange, ", "))
	}
}

// followed are the links that a reader may follow, without those that others carry, and the codes.
func followed(view *mimeview.View, all, codes []mimeview.Link) []mimeview.Link {
	parts := view.Parts()
	var some []mimeview.Link
	for i := range all[:min(len(all), maxLinks)] {
		if clickable(&all[i]) && !isFile(parts, all[i].Part) {
			some = append(some, all[i])
		}
	}

	return slices.DeleteFunc(append(some, codes...), func(link mimeview.Link) bool { return link.Has(links.Redirected) })
}

// isStrange holds for a host that belongs to nobody known. On a platform everybody is a stranger.
func (l *look) isStrange(link *mimeview.Link) bool {
	kinds := l.hosts.find(link)
	if slices.Contains(kinds, tracker) || slices.Contains(kinds, redirector) {
		return false
	}

	return len(kinds) > 0 || l.table == nil || len(l.table.Of(link.Host)) == 0
}
