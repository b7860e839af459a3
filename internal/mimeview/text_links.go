package mimeview

import (
	stdbase64 "encoding/base64"
	"slices"
	"strings"

	"postern/internal/mail"
	"postern/internal/mimeview/htmltext"
	"postern/internal/mimeview/links"
)

// Link is an address in a message: package links tells what its fields hold.
type Link = links.Link

// How many links are kept: of different addresses as they stand in the message, and in all, with what redirectors lead to.
// Honest digests have more than a thousand.
const (
	maxURLs  = 5000
	maxLinks = 8000
	// Of one host no more than perHost are kept once there are many: a log or a table has a hundred thousand addresses of a few
	// hosts, and what is asked about them is asked of the host.
	many    = 2000
	perHost = 50
	// maxRecipients is how many addresses of recipients are looked for in links.
	maxRecipients = 5
)

// linkList gathers the links of a message, each once for what the reader sees of it.
type linkList struct {
	view       *View
	all        []Link
	seen       map[seenLink]bool
	urls       []string
	listed     map[string]bool
	hosts      map[string]int
	recipients []recipient
	full       bool
}

type seenLink struct{ raw, base, text string }

func newLinks(v *View) *linkList {
	l := &linkList{view: v, seen: map[seenLink]bool{}, listed: map[string]bool{}, hosts: map[string]int{}}
	for _, name := range []string{"To", "Cc", "Delivered-To"} {
		for _, field := range v.message.Header().All(name) {
			if len(field.Raw) > 4096 || len(l.recipients) >= maxRecipients {
				continue
			}
			boxes, _, err := mail.ParseFrom(field.Value())
			if err != nil {
				continue
			}
			for _, b := range boxes {
				if b.Address.Local != "" && b.Address.Domain != "" && len(l.recipients) < maxRecipients {
					l.recipients = append(l.recipients, newRecipient(strings.ToLower(b.Address.Local+"@"+b.Address.Domain)))
				}
			}
		}
	}
	return l
}

// where is what is known of a link besides its address.
type where struct {
	place, text, base string
	part              int
	flags             []string
	quiet             bool // not in URLs
}

// add reads an address. It says false when no more are wanted.
func (l *linkList) add(raw string, w where) bool {
	key := seenLink{raw, w.base, w.text}
	if l.seen[key] {
		return true
	}
	if l.full || len(l.seen) >= maxURLs || len(l.all) >= maxLinks {
		l.full = true
		if strings.HasPrefix(w.place, "html") { // no page that is meant to be read has so many
			l.view.limit(LimitURLs)
		}
		l.view.cut(CutLinks)
		return false
	}
	link, ok := links.Parse(raw, w.base)
	if l.hosts[link.Host]++; l.hosts[link.Host] > perHost && len(l.seen) >= many {
		l.view.cut(CutLinks)
		return true
	}
	l.seen[key] = true
	if !ok {
		return true
	}
	link.Where, link.Text, link.Part = w.place, strings.ToValidUTF8(w.text, ""), w.part
	for _, f := range w.flags {
		link.Flag(f)
	}
	links.Mark(&link)
	l.judge(&link)
	targets := links.Targets(&link)
	l.keep(link, w.quiet)
	l.keepTargets(targets, w.quiet)
	return true
}

// keepTargets keeps the addresses that stand within an address.
func (l *linkList) keepTargets(targets []Link, quiet bool) {
	for i := range targets {
		if len(l.all) >= maxLinks {
			l.view.limit(LimitURLs)
			break
		}
		l.judge(&targets[i])
		l.keep(targets[i], quiet)
	}
}

// keep puts a link on the list, and on the list of addresses as it stands there and as it reads.
func (l *linkList) keep(link Link, quiet bool) {
	l.all = append(l.all, link)
	if quiet {
		return
	}
	raw := strings.TrimSpace(link.Raw)
	switch {
	case link.Has(links.NoScheme):
		raw = "http://" + raw
	case link.Has(links.Defanged) || !strings.Contains(raw, ":"):
		raw = link.URL
	case link.Has(links.ControlInURL):
		raw = links.WithoutControls(raw)
	}
	l.list(raw)
	if raw == link.URL {
		return
	}
	if leadsToHost(&link) && !showsHost(strings.ToLower(raw), link.Host) {
		l.list(link.URL)
	}
}

// leadsToHost says whether a link has a host that a browser connects to.
func leadsToHost(link *Link) bool { return link.Host != "" && link.Scheme != "mailto" }

// showsHost says whether the host can be read in an address as it was written.
func showsHost(raw, host string) bool {
	return strings.Contains(raw, "://"+host) || strings.Contains(raw, "@"+host)
}

func (l *linkList) list(url string) {
	if url != "" && !l.listed[url] {
		l.listed[url] = true
		l.urls = append(l.urls, url)
	}
}

func (l *linkList) done() ([]Link, []string) { return l.all, l.urls }

// judge flags what can be told only from the message.
func (l *linkList) judge(link *Link) {
	if shown := links.Shown(link.Text); shown != "" && link.Domain != shown && leadsToHost(link) {
		link.Flag(links.Mismatch)
	}
	if link.Scheme == "mailto" || len(l.recipients) == 0 {
		return
	}
	if slices.ContainsFunc([]string{link.Path, link.Query, link.Fragment}, l.namesRecipient) {
		link.Flag(links.CarriesAddress)
	}
}

// namesRecipient says whether a piece of an address holds that of a recipient, in any of its forms.
func (l *linkList) namesRecipient(piece string) bool {
	if piece == "" {
		return false
	}
	lower := strings.ToLower(piece)
	for _, r := range l.recipients {
		if strings.Contains(lower, r.plain) || strings.Contains(lower, r.escaped) || strings.Contains(piece, r.coded) {
			return true
		}
	}
	return false
}

// recipient is an address as it may stand in a link: in base64 the last letter depends on what follows and is left out.
type recipient struct{ plain, escaped, coded string }

func newRecipient(address string) recipient {
	coded := stdbase64.RawStdEncoding.EncodeToString([]byte(address))
	return recipient{address, strings.Replace(address, "@", "%40", 1), coded[:len(coded)-1]}
}

// isSurplus says whether a space stands at either end, or before another one.
func isSurplus(text string, at int) bool {
	return at == 0 || at+1 == len(text) || text[at+1] == ' '
}

// collapse makes each run of white space one space.
func collapse(text string) string {
	for i := range len(text) {
		odd := text[i] < ' ' || text[i] >= 0x80
		if odd || text[i] == ' ' && isSurplus(text, i) {
			return strings.Join(strings.Fields(text), " ")
		}
	}
	return text
}

// text finds the links in plain text.
func (l *linkList) text(text, place string, part int) {
	if l.full {
		return
	}
	links.Find(text, func(raw string) bool { return l.add(raw, where{place: place, part: part}) })
	l.bracketed(text, place, part)
}

// bracketed finds addresses in <> that go over several lines (RFC 3986 appendix C).
func (l *linkList) bracketed(text, place string, part int) {
	for n := 0; n < maxURLs && !l.full; n++ {
		i := strings.Index(text, "<http")
		if i < 0 {
			return
		}
		text = text[i+1:]
		end := strings.IndexAny(text[:min(len(text), links.MaxURL)], "<>\"")
		if end < 0 || text[end] != '>' {
			continue
		}
		whole := text[:end]
		if strings.IndexByte(whole, '\n') < 0 || strings.Count(whole, "\n") > 10 || strings.Contains(whole, "\n\n") {
			continue
		}
		whole = strings.Join(strings.Fields(whole), "")
		if strings.Count(whole, "://") > 0 {
			l.add(whole, where{place: place, part: part, flags: []string{links.SplitOverLines}})
		}
	}
}

// page takes the links of a page, those in its attributes first, then those in its text.
func (l *linkList) page(page *htmltext.Page, part int) {
	base := ""
	if b, ok := links.Parse(page.Base, ""); ok {
		base = b.URL
	}
	if page.Cut {
		l.view.cut(CutLinks)
	}
	l.all, l.urls = slices.Grow(l.all, len(page.Refs)), slices.Grow(l.urls, len(page.Refs))
	for _, ref := range page.Refs {
		w := where{place: ref.Where, text: collapse(ref.Text), base: base, part: part}
		if ref.Hidden && ref.Where != "html script" {
			w.flags = []string{links.HiddenLink}
		}
		if !l.add(ref.URL, w) {
			return
		}
	}
	l.text(page.Unstyled, "text", part)
}

// calendar takes the links of a calendar entry or a card (RFC 5545, RFC 6350): lines are unfolded and their escapes read.
func (l *linkList) calendar(text, kind string, part int) {
	text = strings.ReplaceAll(text, "\r\n", "\n")
	text = strings.NewReplacer("\n ", "", "\n\t", "", `\n`, "\n", `\N`, "\n", `\,`, ",", `\;`, ";").Replace(text)
	place := "calendar"
	if kind != "text/calendar" {
		place = "card"
	}
	l.text(text, place, part)
}

// header takes the links of the header: the fields that readers make buttons of, and the Subject.
func (l *linkList) header() {
	l.text(l.view.Subject(), "subject", -1)
	for _, name := range []string{"List-Unsubscribe", "List-Help", "List-Archive", "List-Post"} { // RFC 2369
		for i, field := range l.view.message.Header().All(name) {
			if i == maxRecipients {
				break
			}
			rest := field.Value()
			for n := 0; n < 10; n++ {
				_, after, ok := strings.Cut(rest, "<")
				if !ok {
					break
				}
				var raw string
				if raw, rest, ok = strings.Cut(after, ">"); !ok {
					break
				}
				l.add(strings.Join(strings.Fields(raw), ""), where{place: "header " + name, part: -1, quiet: true})
			}
		}
	}
}
