// Package lures reads what a mail wants: a password, a fee, a call, gift cards, a payment to another account. Each lure is a
// small grammar: slots that are filled by words of many languages, standing near each other. Which words and which slots is
// a table of text, lures.txt. Honest mail uses the same words, so a lure counts little by itself; the filter signs adds it to
// what else is odd.
package lures

import (
	"context"
	"embed"
	"fmt"
	"slices"
	"strings"

	"postern/filters"
	"postern/internal/config"
	"postern/internal/mail"
	"postern/internal/mimeview"
)

//go:embed words/*.txt lures.txt
var shipped embed.FS

// Settings are the filter's settings.
type Settings struct {
	// Lines are lines of the table besides the shipped ones, such as "slot fax en fax, facsimile". A line "lure" adds
	// another way to make one of the filter's symbols.
	Lines []string `toml:"lines"`
}

// lureSymbol is a symbol and what it counts at most.
type lureSymbol struct {
	name  string
	score float64
	help  string
}

func symbols() []lureSymbol {
	return []lureSymbol{
		{"LURE_EXTORTION", 5, "Extorts a payment, in a currency without banks"},
		{"LURE_GIFT_CARDS", 3.5, "Asks for gift cards and their codes"},
		{"LURE_PAYROLL", 1.2, "Asks to pay a salary to another account"},
		{"LURE_BANK_CHANGE", 1, "Gives a new bank account for a payment"},
		{"LURE_CALLBACK", 2, "Asks to call a number about a payment"},
		{"LURE_ACCOUNT", 2, "An account is closed or limited unless somebody acts"},
		{"LURE_MAILBOX", 2, "The recipient's mailbox or password is about to expire, or holds mail back"},
		{"LURE_WALLET", 2, "Asks for the words of a wallet, or to prove that it is one's own"},
		{"LURE_TASK", 0.7, "Asks whether somebody has time for a favour"},
		{"LURE_LOGIN", 0.8, "A page wants the account of somebody's work mail"},
		{"LURE_SCAN", 0.6, "A code is to be scanned, and something is urgent or to be confirmed"},
		{"LURE_WIRE", 1, "Somebody without time to talk asks for a transfer"},
		{"LURE_PURCHASE", 0.5, "A purchase that the reader did not make can be cancelled on a page"},
		{"LURE_RENT", 1.2, "Who is abroad lets a flat, and wants money ahead"},
		{"LURE_PARCEL", 1.2, "A parcel waits for a fee or an address"},
		{"LURE_TAX", 1, "A tax or government office pays back or demands"},
		{"LURE_FINE", 1, "A fine or toll is to be paid"},
		{"LURE_REFUND", 0.7, "Money is to be paid back"},
		{"LURE_PRIZE", 1.5, "Something was won, or is given for answers"},
		{"LURE_INVOICE", 0.5, "A payment is due, was made, or waits to be confirmed"},
		{"LURE_VOICEMAIL", 0.7, "A voice message or fax waits"},
		{"LURE_DOCUMENT", 0.5, "A document was shared or is to be signed"},
		{"LURE_SUBSCRIPTION", 0.7, "A subscription ends or could not be paid"},
		{"LURE_SIGNIN", 0.5, "Somebody has signed in"},
		{"LURE_JOB", 1, "An easy job is offered"},
		{"LURE_STAFF", 0.6, "The staff is to look at a raise, a policy or a list"},
		{"LURE_ADVANCE_FEE", 2.5, "Offers the money of others"},
		{"LURE_LOAN", 1.5, "A stranger lends money"},
		{"LURE_INVEST", 1.5, "Promises gains"},
		{"LURE_ROMANCE", 1, "A stranger looks for love"},
		{"LURE_ORDER", 0.3, "A stranger asks for an offer, or sends an order"},
	}
}

func spec() (all []filters.Symbol) {
	for _, s := range symbols() {
		all = append(all, filters.Symbol{Name: s.name, Score: s.score, Help: s.help})
	}

	return all
}

// Spec is what is known of the filter.
var Spec = filters.Spec{
	Name:   "lures",
	Help:   "Reads what a mail wants: a password, a fee, a call, gift cards, a payment to another account.",
	Stages: mail.StageMessage, Content: true,
	Inline:   true,
	After:    []string{"content"},
	Symbols:  spec(),
	Settings: func() any { return &Settings{} },
	New:      newFilter,
}

type filter struct{ table *table }

func newFilter(section config.Section, _ filters.Env) (filters.Filter, error) {
	var s Settings
	if err := section.Decode(&s); err != nil {
		return nil, err
	}
	t, err := shippedTable()
	if err != nil {
		return nil, err
	}
	if err := t.read(s.Lines); err != nil {
		return nil, fmt.Errorf("[filters.lures]: lines: %w", err)
	}
	t.done()

	return filter{t}, nil
}

// shippedTable reads the words first, then the lures that are made of them.
func shippedTable() (*table, error) {
	t := newTable()
	files, err := shipped.ReadDir("words")
	if err != nil {
		return nil, err
	}
	var names []string
	for _, f := range files {
		names = append(names, "words/"+f.Name())
	}
	for _, name := range append(names, "lures.txt") {
		text, err := shipped.ReadFile(name)
		if err != nil {
			return nil, err
		}
		if err := t.read(strings.Split(string(text), "\n")); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}

	return t, nil
}

// share is the part of a symbol's score that counts.
type share float64

// Weight implements policy.Weighted.
func (s share) Weight() float64 { return float64(s) }

// others is the part that counts of each lure besides the first: one story is often several lures.
const others = 0.3

// Inspect implements filters.Filter.
func (f filter) Inspect(_ context.Context, tx *mail.Transaction) ([]filters.Finding, error) {
	if tx.Session.Outbound() {
		return nil, nil
	}

	view := mimeview.Of(tx.Message)
	w := writer{folding: f.table.folding, b: make([]byte, 0, 8<<10)}
	w.write(name(tx.Message.Header()))
	w.write(cut(view.Subject(), maxSubject))
	var events []event
	for _, text := range texts(view) {
		w.write(text)
		if len(coins(text)) > 0 {
			events = []event{{slot: factCoin}}
		}
	}
	events = append(events, whole(tx.Message, view)...)
	words, length := f.table.events(w.b)
	if length < shortMail*halves {
		events = append(events, event{slot: factShort})
	}
	if f.table.warns(words) {
		events = append(events, event{slot: factWarning})
	}
	hits := f.table.find(append(events, words...))
	found := tx.AllFindings()
	hits = slices.DeleteFunc(hits, func(h hit) bool {
		return slices.ContainsFunc(found, func(one filters.Finding) bool { return slices.Contains(f.table.same[h.symbol], one.Symbol) })
	})

	return findings(hits, w.b), nil
}

// manyWarnings is how often who warns of fraud names it.
const manyWarnings = 2

func (t *table) warns(words []event) bool {
	awareness, n := t.slots["awareness"], 0
	for _, e := range words {
		if e.slot == awareness {
			n++
		}
	}

	return n >= manyWarnings
}

// shortMail is how many words make a short mail.
const shortMail = 90

// Bounds of what is read, in octets: of the name and the subject, of all texts, of one that is longer at its end.
const (
	maxName    = 200
	maxSubject = 500
	maxText    = 24 << 10
	maxTail    = 8 << 10
)

func cut(text string, most int) string { return strings.ToValidUTF8(text[:min(len(text), most)], "") }

// name is the name shown of the author.
func name(h *mail.Header) string {
	list, _, err := mail.ParseFrom(h.Get("From"))
	if err != nil || len(list) == 0 {
		return ""
	}

	return cut(list[0].Name, maxName)
}

// texts are what is shown of the message.
func texts(v *mimeview.View) (all []string) {
	room := maxText
	for _, p := range v.Shown() {
		if room <= 0 {
			break
		}
		text := p.Text
		if len(text) > room {
			tail := text[len(text)-min(maxTail, len(text)-room):]
			text = cut(text, room) + " " + strings.ToValidUTF8(tail, "")
		}
		all = append(all, text)
		room -= len(text)
	}

	return all
}

// whole are the facts about the whole mail.
func whole(m *mail.Message, v *mimeview.View) (all []event) {
	has := slices.ContainsFunc(v.Links(), func(l mimeview.Link) bool { return strings.HasPrefix(strings.ToLower(l.URL), "http") })
	if has {
		all = append(all, event{slot: factLink})
	} else {
		all = append(all, event{slot: factPlain})
	}
	if slices.ContainsFunc(v.Parts(), func(p *mimeview.Part) bool { return p.Attachment }) {
		all = append(all, event{slot: factAttachment})
	}
	if filters.AnswersNothing(m, v.Subject()) {
		all = append(all, event{slot: factUnthreaded})
	}

	return all
}

// findings puts the lure that counts most first; the others add a part.
func findings(hits []hit, text []byte) (all []filters.Finding) {
	best, most := -1, 0.0
	scores := symbols()
	score := func(h hit) float64 {
		at := slices.IndexFunc(scores, func(s lureSymbol) bool { return s.name == h.symbol })

		return scores[at].score * h.share
	}
	for i, h := range hits {
		if s := score(h); s > most {
			best, most = i, s
		}
	}
	for i, h := range hits {
		part := h.share
		if i != best {
			part *= others
		}
		var words []string
		for _, e := range h.words {
			words = append(words, string(text[e.start:e.end]))
		}
		all = append(all, filters.Finding{Symbol: h.symbol, Evidence: filters.Printable(strings.Join(words, ", ")), Value: share(part)})
	}

	return all
}
