package ledger

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"postern/internal/mail"
	"postern/policy"
)

// Query says which records are looked for. What it leaves out does not matter; what it names must all hold.
type Query struct {
	// Text are words of subject, sender, author, recipients, Message-ID, client name, HELO and login, in any order; case,
	// accents and look-alike letters make no difference. A word with "*" behind it is the front of one.
	Text string
	// Since is included, Until isn't.
	Since, Until time.Time
	// Sender and Recipient are addresses or domains ("example.org", "@example.org"); "<>" is the null sender.
	Sender, Recipient string
	// Domain is that of the sender or of a recipient.
	Domain string
	Client netip.Prefix
	// ID is an id or its front, four characters or more.
	ID     string
	Symbol string
	// Disposition is that of a recipient: of the one that Recipient names, if it does.
	Disposition *policy.Disposition
	// SHA256 is the message's, in hex. MessageID is with or without brackets. Subject is a whole one, as it was sent: it is
	// found among hashed ones, too.
	SHA256, MessageID, Subject string
	User, Door, PolicyVersion  string
	// Fate is what became of it after the transaction, once at least: of the copy of the recipient that Recipient names, if
	// it does.
	Fate Word
	// Direction is "in" or "out".
	Direction string
	Kind      *Kind
	// Limit is how many records are given, the newest first; 0 is 100, MaxLimit is the most.
	Limit int
	// After is where a page ended: what Page gave as next.
	After string
}

// Filter is the former name of Query.
type Filter = Query

// Limits of a Query.
const (
	defaultLimit = 100
	MaxLimit     = 10000
	maxQueryText = 1000 // octets
	maxQueryWord = 20
	minFront     = 2 // characters of a word before its "*"
)

// ErrQuery says that a Query makes no sense; what is wrong stands behind it.
var ErrQuery = errors.New("the search can't be made")

func bad(format string, values ...any) error {
	return fmt.Errorf("%w: %s", ErrQuery, Printable(fmt.Sprintf(format, values...)))
}

// term is one of those that must all hold: any one of its tokens, or all words that begin with it.
type term struct {
	tokens []string
	front  bool
}

// search is a Query as the databases understand it.
type search struct {
	query Query
	terms []term
	// from is included, below isn't.
	from, below int64
	id, after   string
	limit       int
	looking     bool // the fronts of words are looked for in each record
}

// plan reads a query. All errors are ErrQuery.
func (l *Ledger) plan(q Query) (*search, error) {
	s := &search{query: q, below: 1<<63 - 1, limit: q.Limit, id: strings.Trim(q.ID, "() \t\r\n")}
	switch {
	case q.Limit < 0 || q.Limit > MaxLimit:
		return nil, bad("a page has 1 to %d records, not %d", MaxLimit, q.Limit)
	case q.Limit == 0:
		s.limit = defaultLimit
	}
	if !q.Since.IsZero() {
		s.from = stamp(q.Since)
	}
	if !q.Until.IsZero() {
		s.below = stamp(q.Until)
		if !q.Since.Before(q.Until) {
			return nil, bad("it ends at %s, before it begins", q.Until.UTC().Format(time.RFC3339))
		}
	}
	for _, step := range []func() error{s.text, s.addresses, s.became, s.network, s.front, s.cursor} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return s, s.values(l.privacy)
}

func (s *search) exact(f field, value string) {
	if value != "" {
		s.terms = append(s.terms, term{tokens: []string{exact(f, value)}})
	}
}

// text reads the words. Nothing in them is an operator.
func (s *search) text() error {
	text := strings.TrimSpace(s.query.Text)
	if text == "" {
		return nil
	}
	if len(text) > maxQueryText {
		return bad("the text has %d octets, %d are the limit", len(text), maxQueryText)
	}
	for _, piece := range strings.Fields(text) {
		whole, front := strings.CutSuffix(piece, "*")
		found := words(whole, false)
		for i, w := range found {
			last := front && i == len(found)-1
			if last && len([]rune(w)) < minFront {
				return bad("%q: a word needs %d characters or more before the \"*\"", piece, minFront)
			}
			s.terms = append(s.terms, term{[]string{w}, last})
		}
	}
	switch {
	case len(s.terms) == 0:
		return bad("there is no word in %q", cut(text, 100))
	case len(s.terms) > maxQueryWord:
		return bad("the text has %d words, %d are the limit", len(s.terms), maxQueryWord)
	}
	return nil
}

func (s *search) addresses() error {
	for _, a := range []struct {
		value           string
		address, domain field
	}{{s.query.Sender, fieldSender, fieldSenderDomain}, {s.query.Recipient, fieldRecipient, fieldRecipientDomain}} {
		address, domain, whole := addressOrDomain(a.value)
		switch {
		case a.value == "":
		case whole:
			s.terms = append(s.terms, term{tokens: []string{exact(a.address, address)}})
		default:
			s.exact(a.domain, domain)
		}
	}
	if d := strings.TrimPrefix(strings.TrimSpace(s.query.Domain), "@"); d != "" {
		d = foldDomain(d)
		s.terms = append(s.terms, term{tokens: []string{exact(fieldSenderDomain, d), exact(fieldRecipientDomain, d)}})
	}
	return nil
}

// addressOrDomain reads an address or domain of a search.
func addressOrDomain(value string) (address, domain string, whole bool) {
	value = strings.TrimSpace(value)
	if value == "<>" {
		return "", "", true
	}
	if inner, ok := strings.CutPrefix(value, "<"); ok {
		value = strings.TrimSuffix(inner, ">")
	}
	if local, domain, found := cutLast(value, "@"); !found || local == "" {
		if !found {
			domain = value
		}
		return "", foldDomain(domain), false
	}
	address, domain = fold(value)
	return address, domain, true
}

func (s *search) network() error {
	p := s.query.Client
	if p == (netip.Prefix{}) {
		return nil
	}
	if !p.IsValid() {
		return bad("the client is no address and no network")
	}
	if a := p.Addr(); a.Is4In6() {
		if p.Bits() < 96 {
			return bad("%s: write an IPv4 network as one", p)
		}
		s.query.Client = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
	}
	if tokens := networks(s.query.Client); len(tokens) > 0 {
		s.terms = append(s.terms, term{tokens: tokens})
	}
	return nil
}

const shortestFront = 4

func (s *search) front() error {
	if s.id == "" {
		return nil
	}
	if !mail.ValidID(s.id) {
		return bad("%q is not an id", cut(s.id, maxID))
	}
	if len(s.id) < shortestFront {
		return bad("%q is too short for an id, %d characters are needed", s.id, shortestFront)
	}
	s.id = strings.ToUpper(s.id)
	return nil
}

// cursor reads where the page before ended.
func (s *search) cursor() error {
	if s.query.After == "" {
		return nil
	}
	if s.id != "" {
		if !mail.ValidID(s.query.After) {
			return bad("%q is not where a page ended", cut(s.query.After, maxID))
		}
		s.after = s.query.After
		return nil
	}
	n, err := strconv.ParseInt(s.query.After, 36, 64)
	if err != nil || n < 0 {
		return bad("%q is not where a page ended", cut(s.query.After, maxID))
	}
	s.below = min(s.below, n)
	return nil
}

func (s *search) values(p Privacy) error {
	q := &s.query
	if q.Disposition != nil {
		s.exact(fieldDisposition, q.Disposition.String())
	}
	if q.SHA256 != "" {
		sum := strings.ToLower(strings.TrimSpace(q.SHA256))
		if raw, err := hex.DecodeString(sum); err != nil || len(raw) != 32 {
			return bad("%q is not a SHA-256: 64 hexadecimal digits", cut(q.SHA256, 100))
		}
		s.exact(fieldSHA256, sum)
	}
	if q.Direction != "" && q.Direction != "in" && q.Direction != "out" {
		return bad("the direction is in or out, not %q", cut(q.Direction, 100))
	}
	if q.MessageID != "" && messageID(q.MessageID) == "" {
		return bad("%q is not a Message-ID", cut(q.MessageID, 100))
	}
	if q.Subject != "" {
		kept := p.subject(q.Subject)
		if kept == "" {
			return bad("subjects are not kept")
		}
		s.exact(fieldSubject, cut(kept, maxText))
	}
	s.exact(fieldMessageID, cut(messageID(q.MessageID), maxText))
	s.exact(fieldSymbol, strings.ToUpper(strings.TrimSpace(q.Symbol)))
	s.exact(fieldUser, strings.ToLower(strings.TrimSpace(q.User)))
	s.exact(fieldDoor, q.Door)
	s.exact(fieldDirection, q.Direction)
	s.exact(fieldPolicy, q.PolicyVersion)
	if q.Kind != nil {
		s.terms = append(s.terms, term{tokens: []string{exact(fieldKind, string(*q.Kind))}})
	}
	return nil
}

// holds checks what the terms of a transaction don't cover.
func (s *search) holds(t *Transaction) bool {
	return inside(s.query.Client, t.Client) && s.treated(t) && (!s.looking || s.begins(t.terms())) && (s.id == "" || !t.Time.Before(s.query.Since) && (s.query.Until.IsZero() || t.Time.Before(s.query.Until)))
}

// fronts says whether the beginning of a word is looked for.
func (s *search) fronts() bool {
	return slices.ContainsFunc(s.terms, func(t term) bool { return t.front })
}

// begins says whether a record with these terms has a word for each front that is looked for.
func (s *search) begins(terms string) bool {
	terms = " " + terms
	for _, piece := range strings.Fields(s.query.Text) {
		whole, front := strings.CutSuffix(piece, "*")
		if found := words(whole, false); front && len(found) > 0 && !strings.Contains(terms, " "+found[len(found)-1]) {
			return false
		}
	}
	return true
}

// treated says whether the recipient that is looked for, and no other, had the disposition.
func (s *search) treated(t *Transaction) bool {
	if s.query.Disposition == nil || s.query.Recipient == "" {
		return true
	}
	address, domain, whole := addressOrDomain(s.query.Recipient)
	return slices.ContainsFunc(t.Recipients, func(r Recipient) bool {
		a, d := fold(r.Address)
		return r.Disposition == *s.query.Disposition && (whole && a == address || !whole && d == domain)
	})
}

func inside(p netip.Prefix, a netip.Addr) bool {
	return !p.IsValid() || p.Contains(a.Unmap().WithZone(""))
}

func addrText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.Unmap().WithZone("").String()
}

// match writes terms as a query of FTS5, or of tsquery. Tokens have neither quotes nor anything else that means something.
func match(terms []term, and, or, front, quote string) string {
	var all []string
	for _, t := range terms {
		var any []string
		for _, token := range t.tokens {
			one := quote + token + quote
			if t.front {
				one += front
			}
			any = append(any, one)
		}
		all = append(all, "("+strings.Join(any, or)+")")
	}
	return strings.Join(all, and)
}
