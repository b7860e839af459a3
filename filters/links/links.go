// Package links judges where the links of a message lead, as far as that shows in them: nothing is ever fetched or asked.
// Links to IP addresses, with a name before the host, or with an escaped host are rules of the filter content.
package links

import (
	"context"

	"postern/filters"
	"postern/internal/config"
	"postern/internal/mail"
	"postern/internal/mimeview"
)

// Spec is what is known of the filter.
var Spec = filters.Spec{
	Name:   "links",
	Help:   "Judges links by how they are written: another target than the one shown, look-alike hosts, QR codes, hidden text.",
	Stages: mail.StageMessage, Content: true,
	After: []string{"spf", "dkim"},
	Symbols: []filters.Symbol{
		{Name: "PHISHING", Score: 0.5, Help: "A link shows an address of one domain and leads to another"},
		{Name: "PHISHING_OWN_DOMAIN", Score: 5, Help: "A link shows an address of ours and leads elsewhere"},
		{Name: "PHISHING_IP", Score: 5, Help: "A link shows a domain and leads to an IP address"},
		{Name: "URL_HOMOGRAPH", Score: 3, Help: "The host of a link mixes scripts, or is written in letters that only look Latin"},
		{Name: "URL_OBFUSCATED", Score: 2, Help: "A link is written so that readers open it and filters don't find it"},
		{Name: "URL_REDIRECTOR", Score: 0, Help: "A link leads on to another one by a known service"},
		{Name: "URL_RECIPIENT", Score: 0.3, Help: "The address of a recipient stands in a link"},
		{Name: "QR_LINK", Score: 0.5, Help: "A message of pictures and little text has a link in a QR code"},
		{Name: "HIDDEN_TEXT", Score: 1.5, Help: "More text is hidden than shown"},
	},
	New: func(section config.Section, env filters.Env) (filters.Filter, error) {
		if err := section.Decode(&struct{}{}); err != nil {
			return nil, err
		}
		if env.Local == nil {
			env.Local = func(string) bool { return false }
		}
		return filter{env.Local}, nil
	},
}

type filter struct{ local func(domain string) bool }

// Bounds.
const (
	// maxLinks is how many links are searched for addresses of recipients, maxRecipients for how many of these.
	maxLinks      = 500
	maxRecipients = 5
	// preheader is how many letters and digits honest mail hides: the line that stands beside the subject.
	preheader = 500
)

func (f filter) Inspect(_ context.Context, tx *mail.Transaction) ([]filters.Finding, error) {
	if tx.Session.Outbound() {
		return nil, nil
	}
	view := mimeview.Of(tx.Message) // what of it is too much to read is MIME_LIMIT, of the filter mime
	if err := view.Err(); err != nil {
		return nil, err
	}
	l := look{local: f.local, sender: senders(tx), found: map[string]string{}}
	l.links(view.Links())
	l.recipients(view.Links(), tx.Recipients)
	// The search takes some 50 ms for each megapixel, of at most five pictures of 4 megapixels.
	if view.MostlyPictures() {
		codes, _ := view.QRLinks()
		l.links(codes)
		l.codes(codes)
	}
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

// senders are the registered domains that SPF or DKIM stood for.
func senders(tx *mail.Transaction) map[string]bool {
	all := map[string]bool{}
	spf, dkim := filters.ProvenDomains(tx)
	for _, d := range append(spf, dkim...) {
		all[filters.RegisteredDomain(d)] = true
	}
	return all
}
