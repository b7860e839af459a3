package links

import (
	"encoding/base64"
	"strings"

	"postern/internal/mail"
	"postern/internal/mimeview"
	"postern/internal/mimeview/links"
)

// look gathers what is found, each symbol with what it was seen in first.
type look struct {
	*filter
	sender map[string]bool   // domains
	brands []int             // that the sender is of
	owned  map[string]bool   // hosts of the sender and of ours
	judged map[string]bool   // hosts and paths that were looked at for brands
	found  map[string]string // symbols
}

func (l *look) add(symbol, evidence string) {
	if _, there := l.found[symbol]; !there {
		l.found[symbol] = evidence
	}
}

func (l *look) links(all []mimeview.Link) {
	for i := range all {
		link := &all[i]
		if link.Text != "" {
			l.mismatch(link, all[i+1:])
		}
		if homograph(link) {
			l.add("URL_HOMOGRAPH", link.Host)
		}
		if what := obfuscated(link); what != "" {
			l.add("URL_OBFUSCATED", what+": "+link.Raw)
		}
		if link.Has(links.Redirector) && i+1 < len(all) {
			l.add("URL_REDIRECTOR", link.Host+" to "+all[i+1].Host)
		}
	}
}

// mismatch judges a link whose text shows another domain. What it carries stands behind it. A domain that the sender has
// proven to be its own may count clicks.
func (l *look) mismatch(link *mimeview.Link, behind []mimeview.Link) {
	shown, own := links.Shown(link.Text), l.ownShown(link.Text)
	if own != "" {
		shown = own
	}
	if shown == "" || shown == link.Domain || !leadsToHost(link) {
		return
	}
	if l.ours(link.Host) != "" || l.endsAt(behind, shown, own) {
		return
	}

	if symbol := l.mismatchSymbol(link, own != ""); symbol != "" {
		l.add(symbol, shown+" leads to "+link.Host)
	}
}

// mismatchSymbol is what a link is reported as whose text shows another domain: one of ours (own) or any other. It is "" for
// one that honest senders write.
func (l *look) mismatchSymbol(link *mimeview.Link, own bool) string {
	switch {
	case own && l.oursSent():
	case own:
		return "PHISHING_OWN_DOMAIN"
	case link.Has(links.IPHost):
		return "PHISHING_IP"
	case link.Domain != "" && !l.sender[link.Domain]:
		return "PHISHING"
	}
	return ""
}

// leadsToHost says whether a link opens something at a host, which one to a mailbox does not.
func leadsToHost(link *mimeview.Link) bool { return link.Host != "" && link.Scheme != "mailto" }

// endsAt says whether what a link redirects to is what its text shows.
func (l *look) endsAt(behind []mimeview.Link, shown, own string) bool {
	for i := range behind {
		if !behind[i].Has(links.Redirected) {
			return false
		}
		if behind[i].Domain == shown || own != "" && l.ours(behind[i].Host) == own {
			return true
		}
	}

	return false
}

// oursSent says whether the message is proven to be our own: a newsletter, sent by a service.
func (l *look) oursSent() bool {
	for domain := range l.sender {
		if l.local(domain) {
			return true
		}
	}

	return false
}

// ownShown is the domain of ours that the text of a link shows, also one below no public suffix, "" if it shows none.
func (l *look) ownShown(text string) string {
	text = strings.TrimSpace(text)
	if text == "" || strings.IndexByte(text, '.') < 0 || strings.ContainsAny(text, " @") {
		return ""
	}
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	shown, ok := links.Parse(text, "")
	if !ok {
		return ""
	}
	return l.ours(shown.Host)
}

// ours is the domain of ours that a host is, or lies below.
func (l *look) ours(host string) string {
	for range 5 {
		if host == "" {
			return ""
		}
		if l.local(host) {
			return host
		}
		_, host, _ = strings.Cut(host, ".")
	}
	return ""
}

// homograph holds for a host that reads as another one. A name that is wholly of one other script, its last label too, is
// what it reads as.
func homograph(link *mimeview.Link) bool {
	if link.Has(links.MixedScript) {
		return true
	}
	top := link.Host[strings.LastIndexByte(link.Host, '.')+1:]
	return link.Has(links.Confusable) && !strings.HasPrefix(top, "xn--")
}

// obfuscated says how a link is written that no program writes so by itself.
func obfuscated(link *mimeview.Link) string {
	head := strings.TrimSpace(link.Raw)
	if i := strings.IndexAny(head, "?#"); i >= 0 {
		head = head[:i]
	}
	switch {
	case link.Has(links.ControlInURL) && brokenHost(head):
		return "control characters"
	case link.Has(links.OddSlashes) && strings.Contains(head[:min(len(head), 12)], `\`):
		return "backslashes"
	case link.Has(links.UnicodeDot):
		return "dots of another script"
	case link.Has(links.BadPunycode):
		return "an xn-- label that stands for nothing"
	case link.Has(links.OddScheme) && wrapsScheme(link.Raw):
		return "a scheme around another"
	}
	return ""
}

func wrapsScheme(link string) bool {
	return strings.HasPrefix(link, "view-source:") || strings.HasPrefix(link, "jar:")
}

// brokenHost says whether a control stands in the scheme or in the host. Mailers that break long lines put line ends
// into hosts, but none breaks the first word.
func brokenHost(text string) bool {
	scheme, rest, ok := strings.Cut(text, ":")
	if !ok {
		return false
	}
	host := strings.TrimLeft(rest, `/\`)
	if i := strings.IndexAny(host, "/\\\r\n"); i >= 0 {
		host = host[:i]
	}
	control := func(r rune) bool { return r < ' ' || r == 0x7F }
	return strings.ContainsFunc(scheme, control) || strings.ContainsFunc(strings.TrimFunc(host, control), control)
}

// recipients looks for the addresses of the envelope in links: as they are, escaped, and in base64, of which the last
// letter depends on what follows.
func (l *look) recipients(all []mimeview.Link, to []mail.Recipient) {
	for _, r := range to[:min(len(to), maxRecipients)] {
		if r.Address.IsNull() || r.Address.Domain == "" {
			continue
		}
		address := strings.ToLower(r.Address.Local + "@" + r.Address.Domain)
		coded := base64.RawStdEncoding.EncodeToString([]byte(address))
		for i := range all[:min(len(all), maxLinks)] {
			link := &all[i]
			if !leadsToHost(link) || strings.HasPrefix(link.Where, "header ") || l.own(link.Host, link.Domain) {
				continue
			}
			if names(link.URL, address) || strings.Contains(link.URL, coded[:len(coded)-1]) {
				l.add("URL_RECIPIENT", address+" in a link to "+link.Host)
				return
			}
		}
	}
}

// names says whether a link holds an address, its @ escaped or not.
func names(link, address string) bool {
	lower := strings.ToLower(link)
	return strings.Contains(lower, address) || strings.Contains(lower, strings.Replace(address, "@", "%40", 1))
}

// codes reports links to strangers in QR codes.
func (l *look) codes(codes []mimeview.Link) {
	for i := range codes {
		link := &codes[i]
		if link.Scheme != "http" && link.Scheme != "https" || l.own(link.Host, link.Domain) {
			continue
		}
		symbol := "QR_LINK"
		if link.Where == mimeview.PlaceDrawn {
			symbol = "QR_DRAWN"
		}
		l.add(symbol, link.Host)
	}
}

// amounts counts the letters and digits that are shown and that are hidden, each of the part that has most. Where little is
// hidden nothing is counted.
func amounts(view *mimeview.View) (shown, hidden int) {
	for _, p := range view.Parts() {
		if len(p.Hidden) > preheader {
			hidden = max(hidden, mimeview.Letters(p.Hidden))
		}
	}
	if hidden <= preheader {
		return 0, 0
	}
	for _, p := range view.Parts() {
		shown = max(shown, mimeview.Letters(p.Text))
	}
	return shown, hidden
}

// evidenceOf is the beginning of what is hidden.
func evidenceOf(view *mimeview.View) string {
	limit := ""
	for _, p := range view.Parts() {
		if len(p.Hidden) > len(limit) {
			limit = p.Hidden
		}
	}
	return strings.Join(strings.Fields(limit[:min(len(limit), 300)]), " ")
}
