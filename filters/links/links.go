// Package links judges where the links of a message lead, as far as that shows in them: nothing is ever fetched or asked.
// Links to IP addresses, with a name before the host, or with an escaped host are rules of the filter content.
package links

import (
	"context"
	"fmt"

	"postern/filters"
	"postern/internal/config"
	"postern/internal/mail"
	"postern/internal/mimeview"
	"postern/internal/state"
)

// Spec is what is known of the filter.
var Spec = filters.Spec{
	Name:   "links",
	Help:   "Judges links by how they are written and where they lead, and what the text hides: another target than the one shown, look-alike hosts, free hosting, QR codes, hidden words.",
	Stages: mail.StageMessage, Content: true,
	After: []string{"spf", "dkim", "attachments"},
	Symbols: []filters.Symbol{
		{Name: "PHISHING", Score: 0.5, Help: "A link shows an address of one domain and leads to another"},
		{Name: "PHISHING_OWN_DOMAIN", Score: 5, Help: "A link shows an address of ours and leads elsewhere"},
		{Name: "PHISHING_IP", Score: 5, Help: "A link shows a domain and leads to an IP address"},
		{Name: "URL_HOMOGRAPH", Score: 3, Help: "The host of a link mixes scripts, or is written in letters that only look Latin"},
		{Name: "URL_OBFUSCATED", Score: 2, Help: "A link is written so that readers open it and filters don't find it"},
		{Name: "URL_REDIRECTOR", Score: 0, Help: "A link leads on to another one by a known service"},
		{Name: "URL_RECIPIENT", Score: 0.3, Help: "The address of a recipient stands in a link"},
		{Name: "URL_FREE_HOST", Score: 0.2, Help: "A link leads to a host where anybody gets a page (tables/free_host.txt)"},
		{Name: "URL_FORM", Score: 0.3, Help: "A link leads to a form builder, or to a service for notes and designs (tables/form.txt)"},
		{Name: "URL_CLOUD_STORAGE", Score: 0.3, Help: "A link leads to a page in cloud storage (tables/storage.txt)"},
		{Name: "URL_TUNNEL", Score: 1, Help: "A link leads into a tunnel to somebody's machine, or to a gateway of a peer-to-peer network (tables/tunnel.txt)"},
		{Name: "URL_SHORTENED", Score: 0.2, Help: "A link is shortened, so that it doesn't show where it leads (tables/shortener.txt)"},
		{Name: "URL_OPEN_REDIRECT", Score: 0.5, Help: "A link leads elsewhere by a page of a well-known site that leads on (tables/redirector.txt)"},
		{Name: "URL_BRAND_HOST", Score: 1, Help: "A link names a known brand in a host or path that is not that brand's"},
		{Name: "URL_FOREIGN", Score: 0, Help: "No link leads to the sender's own domain, and one leads to a domain that belongs to nobody known"},
		{Name: urlTLDBad, Score: scoreTLD, Help: "Most mail with links to this top-level domain was bad here"},
		{Name: "QR_LINK", Score: 0.5, Help: "A picture has a link in a QR code"},
		{Name: "QR_DRAWN", Score: 1.5, Help: "A link stands in a QR code that is drawn from characters, or from the cells of a table"},
		{Name: "LINK_ONLY", Score: 0.1, Help: "There is hardly more than a link"},
		{Name: "HIDDEN_TEXT", Score: 1.5, Help: "More text is hidden than shown"},
		{Name: "HIDDEN_SALT", Score: 0.5, Help: "Words are hidden between those that are shown"},
		{Name: "INVISIBLE_CHARS", Score: 1, Help: "Words of the text are cut by characters that can't be seen"},
		{Name: "PICTURE_LINKED", Score: 0.3, Help: "A linked picture stands in place of text"},
		{Name: "HTML_PASSWORD_FORM", Score: 1.5, Help: "A form that asks for a password, in the mail or in an attached page"},
		{Name: "PDF_LINK_ONLY", Score: 0.5, Help: "A PDF has a link or a QR code that leads to a stranger, and hardly a word"},
	},
	Settings: func() any { return &Settings{} },
	New:      newFilter,
}

const scoreTLD = 0.5

// Settings are the filter's settings.
type Settings struct {
	// Hosts are lines of the tables besides the shipped ones, each with its kind: free_host, form, storage, tunnel, shortener,
	// redirector or tracker, such as "form forms.corner.example". "-form typeform.com" takes a shipped line out.
	Hosts []string `toml:"hosts"`
}

type filter struct {
	local func(domain string) bool
	hosts *hosts
	table filters.BrandHosts // nil for nobody who knows them
	state *state.State
}

func newFilter(section config.Section, env filters.Env) (filters.Filter, error) {
	var s Settings
	if err := section.Decode(&s); err != nil {
		return nil, err
	}
	known, err := newHosts(s.Hosts)
	if err != nil {
		return nil, fmt.Errorf("[filters.links]: hosts: %w", err)
	}
	if env.Local == nil {
		env.Local = func(string) bool { return false }
	}

	return &filter{local: env.Local, hosts: known, table: env.Brands, state: env.State}, nil
}

// Bounds.
const (
	// maxLinks is how many links are searched for addresses of recipients, maxRecipients for how many of these.
	maxLinks      = 500
	maxRecipients = 5
	// preheader is how many letters and digits honest mail hides: the line that stands beside the subject.
	preheader = 500
)

// Inspect implements filters.Filter.
func (f *filter) Inspect(ctx context.Context, tx *mail.Transaction) ([]filters.Finding, error) {
	if tx.Session.Outbound() {
		return nil, nil
	}
	view := mimeview.Of(tx.Message) // what of it is too much to read is MIME_LIMIT, of the filter mime
	if err := view.Err(); err != nil {
		return nil, err
	}
	l := f.look(tx)
	all := view.Links()
	l.links(all)
	l.recipients(all, tx.Recipients)
	l.platforms(view, all)
	l.shows(view)
	codes, _ := view.QRLinks()
	l.links(codes)
	l.platforms(view, codes)
	l.foreign(tx.Message, view, all, codes)
	l.codes(codes)
	if err := l.attached(ctx, tx.Message); err != nil {
		return nil, err
	}
	f.tld(ctx, l, all)
	if shown, hidden := amounts(view); hidden > preheader && hidden > shown {
		l.add("HIDDEN_TEXT", evidenceOf(view))
	}
	var found []filters.Finding
	for _, s := range Spec.Symbols {
		if evidence, ok := l.found[s.Name]; ok {
			found = append(found, filters.Finding{Symbol: s.Name, Evidence: filters.Printable(evidence)})
		}
	}
	return found, nil
}

// look begins a look at a message.
func (f *filter) look(tx *mail.Transaction) *look {
	l := &look{filter: f, sender: senders(tx), found: map[string]string{}, owned: map[string]bool{}, judged: map[string]bool{}}
	l.senderBrands()

	return l
}

// senders are the registered domains that SPF or DKIM stood for.
func senders(tx *mail.Transaction) map[string]bool {
	all := map[string]bool{}
	spf, dkim := filters.ProvenDomains(tx)
	for _, d := range append(spf, dkim...) {
		all[filters.RegisteredDomain(d)] = true
	}
	return all
}
