// Package impersonation finds mail with a pretended sender that DMARC can't detect: a name of ours with a foreign
// address, a domain that looks like one of ours, our own domain with nothing to prove it, a reply that goes elsewhere.
package impersonation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/publicsuffix"

	"postern/filters"
	"postern/internal/config"
	"postern/internal/mail"
	"postern/internal/mail/encodedword"
	"postern/internal/mimeview"
)

// Settings are the filter's settings.
type Settings struct {
	// ProtectedNames are people whose names are often abused, with their true addresses: "Ada Chief <ada@example.com>". A
	// name may occur several times.
	ProtectedNames []string `toml:"protected_names"`
	// ProtectedDomains are domains that no other may look like: partners, banks. The recipients' own domains always are.
	ProtectedDomains []string `toml:"protected_domains"`
	// BIMI asks for the brand record of authors for whom DMARC passed. It costs a DNS query a message; no image is fetched.
	BIMI bool `toml:"bimi"`
}

// Spec is what is known of the filter.
var Spec = filters.Spec{
	Name:    "impersonation",
	Help:    "Looks for senders that pretend to be somebody else: names and domains like ours, replies that go elsewhere.",
	Stages:  mail.StageMessage,
	After:   []string{"spf", "dkim", "arc", "dmarc"},
	Timeout: 10 * time.Second,
	Symbols: []filters.Symbol{
		{Name: "SPOOF_OWN_DOMAIN", Score: 5, Action: filters.ActionQuarantine, Help: "From is one of our own domains, the mail comes from outside, and neither SPF nor DKIM stands for it"},
		{Name: "SPOOF_OWN_SENDER", Score: 2, Help: "Sender or Resent-From is one of our own domains, the mail comes from outside, and neither SPF nor DKIM stands for it"},
		{Name: "SPOOF_PROTECTED_NAME", Score: 4, Help: "The name shown is that of somebody of ours, the address is not"},
		{Name: "SPOOF_OWN_NAME", Score: 3, Help: "The name shown holds a domain of ours, the address is foreign"},
		{Name: "LOOKALIKE_CONFUSABLE", Score: 6, Action: filters.ActionQuarantine, Help: "A sender's domain is made of letters that look like one of our domains"},
		{Name: "LOOKALIKE_NEAR", Score: 4, Help: "A sender's domain is one letter, a hyphen or a label away from one of our domains"},
		{Name: "LOOKALIKE_JOINED", Score: 2, Help: "A sender's domain is one of our names with other words, as services that work for us have, too"},
		{Name: "HOMOGRAPH_DOMAIN", Score: 4, Help: "A sender's domain mixes scripts, or is written in letters that only look Latin"},
		{Name: "NAME_INVISIBLE", Score: 2, Help: "The name shown holds characters that can't be seen"},
		{Name: "FROM_COMMENT_ADDRESS", Score: 3, Help: "A comment in From holds an address of another domain"},
		{Name: "REPLYTO_FROM_OWN", Score: 2, Help: "From is one of our domains, replies go to another one"},
		{Name: "REPLYTO_FREEMAIL", Score: 1, Help: "From is a free mail service, replies go to another free mail service"},
		{Name: "FREEMAIL_REPLYTO_NEQ_FROM", Score: 0.7, Help: "Replies go to a free mail service, From is of none"},
		{Name: "REPLYTO_LOOKALIKE", Score: 3, Help: "Replies go to a domain that looks like the one in From"},
		{Name: "REPLYTO_DOM_NEQ_FROM_DOM", Score: 0.3, Help: "Replies go to another organisation than the author's"},
		{Name: "INTERNAL_LOOK", Score: 1.5, Help: "The name shown is that of a department of ours, the address is foreign"},
		{Name: "ADMIN_LOOK", Score: 0.3, Help: "The name shown is that of a mail administration, the address is foreign"},
		{Name: "FREEMAIL_OFFICE", Score: 0.3, Help: "The name shown is that of an office or a service, the address is of a free mail service"},
		{Name: "FAKE_REPLY", Score: 0, Help: "The subject is that of an answer, and the mail names nothing that it answers"},
		{Name: "LOOKALIKE_PARTNER", Score: 3, Help: "A sender's domain looks like that of somebody to whom our users write"},
		{Name: "FROM_NEQ_ENVFROM", Score: 0, Help: "The envelope sender has another domain than From"},
		{Name: "BIMI", Score: 0, Help: "The author's domain shows a brand logo (BIMI), and DMARC passed for it"},
	},
	Settings: func() any { return &Settings{} },
	New:      newFilter,
}

type filter struct {
	env     filters.Env
	bimi    bool
	look    *lookalikes
	names   []protectedName
	domains []string
}

func newFilter(section config.Section, env filters.Env) (filters.Filter, error) {
	var s Settings
	if err := section.Decode(&s); err != nil {
		return nil, err
	}
	if env.Local == nil {
		env.Local = func(string) bool { return false }
	}
	f := filter{env: env, bimi: s.BIMI, look: newLookalikes()}
	for _, text := range s.ProtectedNames {
		boxes, group, err := mail.ParseFrom(text)
		if one := err == nil && !group && len(boxes) == 1; !one || len(f.look.words(boxes[0].Name)) == 0 {
			return nil, fmt.Errorf("[filters.impersonation]: protected_names: %q: write it as \"Ada Chief <ada@example.com>\"", text)
		}
		f.names = append(f.names, protectedName{boxes[0].Name, f.look.words(boxes[0].Name), boxes[0].Address.Key()})
	}
	for _, d := range s.ProtectedDomains {
		ascii := mail.ASCIIDomain(d)
		if ascii == "" || !mail.ValidDomain(d) {
			return nil, fmt.Errorf("[filters.impersonation]: protected_domains: %q is not a domain", d)
		}
		f.domains = append(f.domains, ascii)
	}
	return f, nil
}

func (f filter) Inspect(ctx context.Context, tx *mail.Transaction) ([]filters.Finding, error) {
	if tx.Session.Outbound() {
		return nil, nil
	}
	s := f.senders(tx)
	var r report
	for _, b := range s.from {
		f.ownDomain(&r, tx, b)
		f.name(&r, b)
	}
	f.ownSender(&r, tx, s)
	f.comments(&r, s)
	f.domainsOf(&r, tx, s)
	f.replies(ctx, &r, tx, s)
	f.departments(&r, tx, s)
	offices(&r, s)
	if subject := mimeview.DecodeValue(tx.Message.Header().Get("Subject")); filters.AnswersNothing(tx.Message, subject) {
		r.add("FAKE_REPLY", subject[:min(len(subject), maxEvidence)])
	}
	f.partners(ctx, &r, tx, s)
	f.envelope(&r, tx, s)
	return r.found, f.brand(ctx, &r, tx)
}

type report struct{ found []filters.Finding }

// add reports a symbol once a message.
func (r *report) add(symbol, evidence string) {
	if _, there := mail.Find(r.found, symbol); !there {
		r.found = append(r.found, filters.Finding{Symbol: symbol, Evidence: filters.Printable(evidence)})
	}
}

// senders are all addresses that a reader may take for the sender.
type senders struct {
	raw                   []string // the From fields as they are
	from, sender, replyTo []mail.Mailbox
	resent                []mail.Mailbox // Resent-From and Resent-Sender
}

func (f filter) senders(tx *mail.Transaction) senders {
	h := tx.Message.Header()
	read := func(name string) (boxes []mail.Mailbox) {
		for _, field := range h.All(name) {
			list, _, err := mail.ParseFrom(field.Value())
			// the filter headers reports it for From; the others mislead no reader
			if err == nil || errors.Is(err, mail.ErrFromNoAddress) {
				boxes = append(boxes, list...)
			}
		}
		return boxes[:min(len(boxes), maxSenders)]
	}
	s := senders{from: read("From"), sender: read("Sender"), replyTo: read("Reply-To"), resent: append(read("Resent-From"), read("Resent-Sender")...)}
	for _, field := range h.All("From") {
		s.raw = append(s.raw, field.Value())
	}
	return s
}

// maxSenders bounds how many addresses of a field are looked at, maxName how much of a name and of evidence, in octets.
const (
	maxSenders  = 20
	maxName     = 2000
	maxEvidence = 100
)

// ownDomain checks the authentication of mail from outside that claims to be ours.
func (f filter) ownDomain(r *report, tx *mail.Transaction, b mail.Mailbox) {
	if f.unproven(tx, b.Address.ASCIIDomain()) {
		r.add("SPOOF_OWN_DOMAIN", b.Address.String()+" from "+tx.Session.Client.String())
	}
}

// ownSender checks the same for the fields of the sender or forwarder (RFC 5322 sections 3.6.2 and 3.6.6). Some readers
// show them. A list leaves the Sender of a letter of ours as it was.
func (f filter) ownSender(r *report, tx *mail.Transaction, s senders) {
	if _, there := mail.Find(r.found, "SPOOF_OWN_DOMAIN"); there || tx.Message.Header().Count("List-Id") > 0 {
		return
	}

	for _, list := range []struct {
		where string
		boxes []mail.Mailbox
	}{{"Sender", s.sender}, {"Resent", s.resent}} {
		for _, b := range list.boxes {
			if f.unproven(tx, b.Address.ASCIIDomain()) {
				r.add("SPOOF_OWN_SENDER", list.where+" "+b.Address.String()+" from "+tx.Session.Client.String())
			}
		}
	}
}

// unproven reports whether a domain is one of ours and not authenticated, in mail from outside.
func (f filter) unproven(tx *mail.Transaction, domain string) bool {
	return domain != "" && f.env.Local(domain) && tx.Session.Client.IsValid() && !authenticated(tx.AllFindings(), domain, f.env.Local)
}

// authenticated reports whether a domain of ours is authenticated: by DMARC where there is a policy, else SPF or DKIM
// for it or any other domain of ours. A check without an answer authenticates nothing: the filter dmarc defers such
// mail first.
func authenticated(findings []mail.Finding, domain string, local func(string) bool) bool {
	checked := false
	for _, finding := range findings {
		proven := false
		switch v := finding.Value.(type) {
		case filters.DMARC:
			proven = v.Domain == domain && (v.Result == mail.AuthPass || v.Override.Type == filters.LocalPolicy)
		case filters.ARC:
			proven = vouched(v, domain, local)
		case filters.SPF:
			checked = true
			proven = v.Result == mail.AuthPass && local(v.Domain)
		case filters.DKIM:
			checked = true
			proven = signedByUs(v, local)
		}
		if proven {
			return true
		}
	}

	return !checked // both filters are off: not checked
}

func signedByUs(signatures filters.DKIM, local func(string) bool) bool {
	for _, s := range signatures {
		if s.Result == mail.AuthPass && !s.Testing && local(mail.ASCIIDomain(s.Domain)) {
			return true
		}
	}

	return false
}

// vouched says whether a trusted sealer saw a proof before the mail was changed: so our own users' letters come back from a
// mailing list (RFC 8617 section 7.2.1).
func vouched(v filters.ARC, domain string, local func(string) bool) bool {
	if v.Result != mail.AuthPass || v.Trusted == "" {
		return false
	}
	for _, r := range v.Vouched {
		if r.Result != mail.AuthPass {
			continue
		}
		for _, p := range r.Props {
			of := mail.ASCIIDomain(p.Value[strings.LastIndexByte(p.Value, '@')+1:])
			switch string(r.Method) + "." + p.Property {
			case string(mail.MethodDMARC) + ".from":
				if of == domain {
					return true
				}
			case string(mail.MethodDKIM) + ".d", string(mail.MethodDKIM) + ".i", string(mail.MethodSPF) + ".mailfrom":
				if local(of) {
					return true
				}
			}
		}
	}
	return false
}

// name looks at the name that is shown with an address.
func (f filter) name(r *report, b mail.Mailbox) {
	if b.Name == "" {
		return
	}
	b.Name = b.Name[:min(len(b.Name), maxName)] // no reader shows more
	if mark := invisible(b.Name); mark != "" {
		r.add("NAME_INVISIBLE", mark+" in the name of "+b.Address.String())
	}
	if f.env.Local(b.Address.ASCIIDomain()) {
		return // an address of ours: any forgery is SPOOF_OWN_DOMAIN
	}
	for _, p := range f.names {
		if f.look.sameName(p, b.Name) && !f.trueAddress(b.Address.Key(), p) {
			r.add("SPOOF_PROTECTED_NAME", b.Name+" is "+b.Address.String())
		}
	}
	f.ownName(r, b)
}

// ownName reports each domain of ours that stands in the name of a stranger.
func (f filter) ownName(r *report, b mail.Mailbox) {
	for word := range strings.FieldsFuncSeq(b.Name, func(c rune) bool { return strings.ContainsRune(" \t<>()[]{}\"',;:/|@", c) }) {
		domain := mail.ASCIIDomain(strings.Trim(word, "."))
		if strings.Contains(domain, ".") && f.env.Local(domain) && !strings.Contains(b.Name, "@"+word) {
			r.add("SPOOF_OWN_NAME", b.Name+" is "+b.Address.String())
			return
		}
	}
}

// trueAddress reports whether an address belongs to a protected person, who may have several.
func (f filter) trueAddress(key string, person protectedName) bool {
	return slices.ContainsFunc(f.names, func(p protectedName) bool { return p.key == key && slices.Equal(p.words, person.words) })
}

// comments looks for addresses within the comments of From, which some readers show as the name.
func (f filter) comments(r *report, s senders) {
	for _, raw := range s.raw {
		text := comments(raw)
		if text == "" || len(s.from) == 0 {
			continue
		}
		for _, a := range mail.AddressesIn(encodedword.Decode(text)) {
			if !strings.Contains(a.Domain, ".") {
				continue
			}
			if f.organization(a.ASCIIDomain()) != f.organization(s.from[0].Address.ASCIIDomain()) {
				r.add("FROM_COMMENT_ADDRESS", "("+a.String()+") is "+s.from[0].Address.String())
				return
			}
		}
	}
}

// domainsOf compares the domains of all senders with ours.
func (f filter) domainsOf(r *report, tx *mail.Transaction, s senders) {
	own := f.own(tx)
	check := func(where string, a mail.Address) {
		domain := a.ASCIIDomain()
		if domain == "" || domain[0] == '[' || f.env.Local(domain) {
			return
		}
		if what := f.look.homograph(domain); what != "" {
			r.add("HOMOGRAPH_DOMAIN", where+" "+domain+": "+what)
		}
		for _, o := range own {
			switch kind, how := f.look.compare(domain, o); kind {
			case confusable:
				r.add("LOOKALIKE_CONFUSABLE", where+" "+domain+" looks like "+o)
			case near:
				r.add(f.nearSymbol(o, how), where+" "+domain+" is like "+o+": "+how)
			}
		}
	}
	for _, list := range []struct {
		where string
		boxes []mail.Mailbox
	}{{"From", s.from}, {"Sender", s.sender}, {"Reply-To", s.replyTo}} {
		for _, b := range list.boxes {
			check(list.where, b.Address)
		}
	}
	check("envelope sender", tx.From)
}

// nearSymbol is what a domain near one of ours is called. Services that work for us have our name in theirs; those of a bank
// that is protected have not.
func (f filter) nearSymbol(own, how string) string {
	if how == joinedWords && f.env.Local(own) {
		return "LOOKALIKE_JOINED"
	}

	return "LOOKALIKE_NEAR"
}

// own are the domains that nothing may look like: those of the recipients and those of the settings.
func (f filter) own(tx *mail.Transaction) []string {
	list := slices.Clone(f.domains)
	for _, rcpt := range tx.Recipients {
		d := rcpt.Address.ASCIIDomain()
		literal := strings.HasPrefix(d, "[")
		if known := literal || d == "" || slices.Contains(list, d); !known && f.env.Local(d) {
			list = append(list, d)
		}
		if len(list) == len(f.domains)+maxSenders {
			break
		}
	}
	return list
}

// envelope compares the reverse-path with From. For lists and where DMARC passed, the difference says nothing.
func (f filter) envelope(r *report, tx *mail.Transaction, s senders) {
	if tx.From.Domain == "" || len(s.from) == 0 || tx.Message.Header().Count("List-Id") > 0 {
		return
	}
	for _, finding := range tx.AllFindings() {
		if v, ok := finding.Value.(filters.DMARC); ok && v.Result == mail.AuthPass {
			return
		}
	}
	for _, b := range s.from {
		if f.organization(b.Address.ASCIIDomain()) == f.organization(tx.From.ASCIIDomain()) {
			return
		}
	}
	r.add("FROM_NEQ_ENVFROM", tx.From.String()+" for "+s.from[0].Address.String())
}

// organization is the registered domain by the public suffix list: here it decides nothing but a hint.
func (f filter) organization(domain string) string {
	org, err := publicsuffix.EffectiveTLDPlusOne(domain)
	if err != nil {
		return domain
	}
	return org
}

// isBIMI says whether the texts of a name are one BIMI record.
func isBIMI(texts []string) bool {
	return len(texts) == 1 && strings.HasPrefix(strings.ReplaceAll(texts[0], " ", ""), "v=BIMI1")
}

// brand looks for a BIMI record where DMARC passed with a policy that is meant (draft-brand-indicators-for-message-
// identification section 7.2). It reports the record and fetches nothing.
func (f filter) brand(ctx context.Context, r *report, tx *mail.Transaction) error {
	if !f.bimi {
		return nil
	}
	for _, finding := range tx.AllFindings() {
		v, ok := finding.Value.(filters.DMARC)
		enforced := v.Policy == filters.DMARCQuarantine || v.Policy == filters.DMARCReject
		if !ok || v.Result != mail.AuthPass || !enforced {
			continue
		}
		for _, domain := range slices.Compact([]string{v.Domain, v.Org}) {
			texts, err := f.env.DNS.LookupTXT(ctx, "default._bimi."+domain)
			if err == nil && isBIMI(texts) {
				r.add("BIMI", domain+": "+texts[0])
				return nil
			}
		}
	}
	return nil
}
