// Package brands finds mail that claims to be of a known company or office (a bank, a parcel service, a provider) and is
// not: in the name shown, the address, the subject and the text. The claim is excused by a domain of that brand, in From or
// proven by SPF or DKIM.
package brands

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/net/publicsuffix"

	"postern/filters"
	"postern/internal/config"
	"postern/internal/mail"
	"postern/internal/mimeview"
)

// Settings are the filter's settings.
type Settings struct {
	// Brands are lines of the table besides the shipped ones: "bank | Corner Bank, CornerBank | cornerbank.example".
	Brands []string `toml:"brands"`
}

// The symbols.
const (
	inName      = "BRAND_DISPLAY_NAME"
	inAddress   = "BRAND_LOCAL_PART"
	inSubject   = "BRAND_SUBJECT"
	inText      = "BRAND_TEXT"
	inLookalike = "LOOKALIKE_BRAND"
)

// Spec is what is known of the filter.
var Spec = filters.Spec{
	Name:   "brands",
	Help:   "Finds mail that claims to be of a known company or office and does not come from its domains.",
	Stages: mail.StageMessage, Content: true,
	Inline: true,
	After:  []string{"spf", "dkim"},
	Symbols: []filters.Symbol{
		{Name: inName, Score: 3, Help: "The name shown is that of a known brand, the mail does not come from its domains"},
		{Name: inAddress, Score: 0.5, Help: "The address names a known brand, the mail does not come from its domains"},
		{Name: inSubject, Score: 0, Help: "The subject names a known brand, the mail does not come from its domains"},
		{Name: inText, Score: 0.3, Help: "The text speaks for a known brand, the mail does not come from its domains"},
		{Name: inLookalike, Score: 2, Help: "A sender's domain is made to look like that of a known brand"},
	},
	Settings: func() any { return &Settings{} },
	New:      newFilter,
}

type filter struct {
	table *Table
	local func(string) bool
}

// Configured is the shipped table with the lines of an admin's.
func Configured(section config.Section) (*Table, error) {
	var s Settings
	if err := section.Decode(&s); err != nil {
		return nil, err
	}
	t, err := Shipped(s.Brands...)
	if err != nil {
		return nil, fmt.Errorf("[filters.brands]: brands: %w", err)
	}

	return t, nil
}

func newFilter(section config.Section, env filters.Env) (filters.Filter, error) {
	t, err := Configured(section)
	if err != nil {
		return nil, err
	}
	if env.Local == nil {
		env.Local = func(string) bool { return false }
	}

	return filter{t, env.Local}, nil
}

// Inspect implements filters.Filter.
func (f filter) Inspect(_ context.Context, tx *mail.Transaction) ([]filters.Finding, error) {
	if tx.Session.Outbound() {
		return nil, nil
	}

	l := look{filter: f, header: tx.Message.Header()}
	l.from = l.boxes("From")
	if len(l.from) == 0 || f.local(l.from[0].Address.ASCIIDomain()) {
		return nil, nil // a forged address of ours is the affair of impersonation
	}
	l.senders, l.list = senders(tx, l.from), filters.ProvenList(tx)
	for _, b := range l.from {
		l.name(b)
		l.address(b.Address)
		l.lookalike("From", b.Address)
	}
	for _, b := range l.boxes("Reply-To") {
		l.lookalike("Reply-To", b.Address)
	}
	view := mimeview.Of(tx.Message)
	l.subject(view.Subject())
	l.text(view)

	return l.found, nil
}

// senders are the domains that the mail comes from: the authors' and those that SPF or DKIM stand for.
func senders(tx *mail.Transaction, from []mail.Mailbox) []string {
	spf, dkim := filters.ProvenDomains(tx)
	all := append(spf, dkim...)
	for i, d := range all {
		all[i] = mail.ASCIIDomain(d)
	}
	all = slices.DeleteFunc(all, filters.IsFreemail) // a proven user of a mail service is not the service
	for _, b := range from {
		if d := b.Address.ASCIIDomain(); !filters.IsFreemail(d) || isReserved(b.Address.Local) {
			all = append(all, d)
		}
	}

	return all
}

// isReserved holds for local parts that no mail service gives to its users.
func isReserved(local string) bool {
	switch strings.ToLower(local) {
	case "no-reply", "noreply", "no_reply", "do-not-reply", "donotreply", "postmaster", "mailer-daemon", "abuse", "security", "support",
		"service", "kundenservice", "info", "admin", "newsletter", "account", "accounts", "mailservice", "notification", "notifications":
		return true
	}

	return false
}

// look is one look at a message.
type look struct {
	filter
	header  *mail.Header
	from    []mail.Mailbox
	senders []string
	// list is set for mail that came over a mailing list whose own domain is proven.
	list  bool
	named []int // brands that are claimed in the name shown
	found []filters.Finding
	// claimed is told of each finding if it is set.
	claimed func(brand int, symbol, evidence string)
}

// maxBoxes bounds the mailboxes of a field that are looked at (filter dmarc refuses more than ten authors), maxPieces the
// pieces of text, maxName the octets of a name, maxFront and maxTail those of a text: a letter says at its beginning and at its
// end for whom it speaks.
const (
	maxBoxes  = 20
	maxPieces = 4
	maxName   = 500
	maxFront  = 2 << 10
	maxTail   = 1 << 10
)

func (l *look) boxes(field string) (all []mail.Mailbox) {
	for _, f := range l.header.All(field) {
		if list, _, err := mail.ParseFrom(f.Value()); err == nil {
			all = append(all, list...)
		}
	}

	return all[:min(len(all), maxBoxes)]
}

func (l *look) add(brand int, symbol, evidence string) {
	if l.claimed != nil {
		l.claimed(brand, symbol, filters.Printable(evidence))
	}
	if _, there := mail.Find(l.found, symbol); !there {
		l.found = append(l.found, filters.Finding{Symbol: symbol, Evidence: filters.Printable(evidence)})
	}
}

// excused says whether the mail comes from the brand that it names.
func (l *look) excused(brand int) bool {
	return slices.ContainsFunc(l.senders, func(d string) bool { return l.table.Owns(brand, d) })
}

// name looks at the name that is shown with an address.
func (l *look) name(b mail.Mailbox) {
	shown := withoutAddress(b.Name[:min(len(b.Name), maxName)], b.Address)
	if l.list && strings.Contains(shown, " via ") {
		return // the list has put itself in the place of an author whose DMARC policy forbids changes
	}
	claims, words := l.table.Find(shown)
	if len(claims) == 0 {
		claims = l.table.disguised(shown)
	}
	for _, c := range claims {
		if branch := c.Common && l.table.branch(c.Brand, b.Address.ASCIIDomain()); branch || !c.Speaks(words) {
			continue
		}
		if !l.excused(c.Brand) {
			l.named = append(l.named, c.Brand)
			l.add(c.Brand, inName, b.Name+" is "+b.Address.String()+", not "+c.Name)
		}
	}
}

// address looks at what stands in front of the "@": netflix@shop.example.
func (l *look) address(a mail.Address) {
	local := strings.ToLower(a.Local[:min(len(a.Local), maxName)])
	for word := range strings.FieldsFuncSeq(local, func(r rune) bool { return strings.ContainsRune("._-+=", r) }) {
		brand, ok := l.table.joined[letters(word)]
		if ok && !l.excused(brand) {
			l.add(brand, inAddress, a.String()+" is not of "+l.table.Brands[brand].Names[0])
			return
		}
	}
}

// subject looks at the subject of a mail that is no answer.
func (l *look) subject(subject string) {
	if answers(subject) {
		return
	}
	claims, _ := l.table.Find(withoutAddresses(subject[:min(len(subject), maxName)]))
	for _, c := range claims {
		if !c.Common && !l.excused(c.Brand) {
			l.add(c.Brand, inSubject, c.Name)
		}
	}
}

// answers says whether a subject begins with a word of up to four letters and a colon, as answers and forwarded mail do.
func answers(subject string) bool {
	i := strings.IndexByte(subject, ':')

	return i > 0 && i <= 4 && !strings.ContainsAny(subject[:i], " \t") || strings.HasPrefix(subject, "[")
}

// text looks at what the letter says of itself.
func (l *look) text(v *mimeview.View) {
	var pieces []string
	for _, p := range v.Shown() {
		n := len(p.Text)
		if n <= maxFront+maxTail {
			pieces = append(pieces, p.Text)
		} else {
			pieces = append(pieces, whole(p.Text[:maxFront]), whole(p.Text[n-maxTail:]))
		}
		if len(pieces) >= maxPieces {
			break
		}
	}
	for _, piece := range pieces {
		claims, words := l.table.Find(strings.ReplaceAll(piece, "©", " copyright "))
		for _, c := range claims {
			if c.SpeaksIn(words) && !l.excused(c.Brand) {
				l.add(c.Brand, inText, strings.Join(words[max(0, c.At-2):min(len(words), c.At+c.Words+1)], " "))
				return
			}
		}
	}
}

// whole takes the halves of characters off both ends.
func whole(text string) string { return strings.ToValidUTF8(text, "") }

// lookalike looks for a brand in a domain that is not its own: with other words joined, below another domain, with a letter
// changed.
func (l *look) lookalike(where string, a mail.Address) {
	domain := a.ASCIIDomain()
	if l.table.known(domain) || l.table.isTenant(domain) {
		return
	}
	suffix, _ := publicsuffix.PublicSuffix(domain)
	for label := range strings.SplitSeq(strings.TrimSuffix(strings.TrimSuffix(domain, suffix), "."), ".") {
		brand, how, ok := l.table.imitated(label)
		if ok && !l.excused(brand) {
			l.add(brand, inLookalike, where+" "+domain+" looks like "+l.table.Brands[brand].Names[0]+": "+how)
		}
		for _, brand := range l.named {
			if how, ok := l.table.nearly(label, brand); ok {
				l.add(brand, inLookalike, where+" "+domain+" looks like "+l.table.Brands[brand].Names[0]+": "+how)
			}
		}
	}
}
