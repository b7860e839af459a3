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
	parts := view.Parts()
	followed := func(link *mimeview.Link) bool { return clickable(link) && !isFile(parts, link.Part) }
	var strange []string
	for i, link := range slices.Concat(all[:min(len(all), maxLinks)], codes) {
		isCode := i >= len(all)
		if link.Has(links.Redirected) || !isCode && !followed(&link) {
			continue
		}
		if l.leadsHome(&link, author) {
			return
		}
		if link.Domain == "" && !link.Has(links.IPHost) || slices.Contains(strange, link.Domain) {
			continue
		}
		if l.isStrange(&link) {
			strange = append(strange, link.Domain)
		}
	}
	if n := len(strange); n > 0 && n <= mostStrange {
		l.add("URL_FOREIGN", strings.Join(strange, ", "))
	}
}

// leadsHome holds for a link to who sends the mail, or to us.
func (l *look) leadsHome(link *mimeview.Link, author string) bool {
	return author != "" && link.Domain == author || l.own(link.Host, link.Domain)
}

// isStrange holds for a host that belongs to nobody known. On a platform everybody is a stranger.
func (l *look) isStrange(link *mimeview.Link) bool {
	kinds := l.hosts.find(link)
	if slices.Contains(kinds, tracker) || slices.Contains(kinds, redirector) {
		return false
	}

	return len(kinds) > 0 || l.table == nil || len(l.table.Of(link.Host)) == 0
}
