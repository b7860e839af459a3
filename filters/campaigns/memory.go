package campaigns

import (
	"context"
	"fmt"
	"strings"
	"time"

	"postern/filters"
	"postern/internal/state"
)

// memory is what is remembered of campaigns. It holds no words of any mail.
type memory struct {
	state *state.State
	half  time.Duration
	now   func() time.Time
}

// The kinds of keys.
const (
	keyBand     = "camp-band"     // a band of a sketch: the campaign's id, and the bytes to compare with
	keyFates    = "camp-fates"    // how much was held and let in
	keyNetworks = "camp-networks" // from which networks held mail came
	keyLessons  = "camp-lessons"  // what people said
	keyUsers    = "camp-users"    // who
	keyTrusted  = "camp-admin"    // that an admin was among them
	keyGoodFrom = "camp-good"     // from whom it is good
	keySeen     = "camp-seen"     // since when, for the admin's table
)

// keepFor is how long what is not a tally is kept after it was last seen.
func (m memory) keepFor() time.Duration { return 2 * m.half }

// idDigits is the length of a text's id.
const idDigits = 16

// anybody stands for the authors of a campaign that an admin calls good as a whole.
const anybody = "*"

// like is the id of the campaign whose text is like this one, else the text's own.
func (m memory) like(ctx context.Context, s *sketch) (id string, known bool) {
	for i := range bands {
		value, ok := m.state.Get(ctx, state.Key(keyBand, s.band(i)))
		if ok && len(value) == idDigits+width && s.alike(value[idDigits:]) {
			return string(value[:idDigits]), true
		}
	}

	return s.id(), false
}

// history is what is known of a fingerprint.
type history struct {
	fates    state.Tally // held, let in
	networks int
	lessons  state.Tally // called spam, called good
	users    int
	trusted  bool
	// goodFrom says that it was called good when it came from this author.
	goodFrom bool
}

// history is what is known of a fingerprint in mail of a proven author, "" for none.
func (m memory) history(ctx context.Context, p fingerprint, author string) (h history) {
	if p.text != nil && !p.known {
		return h
	}
	key := p.key()
	if h.fates = m.state.Tally(ctx, state.Key(keyFates, key), state.Tally{}, m.half); h.fates[0] > 0 {
		h.networks = m.state.Size(ctx, state.Key(keyNetworks, key))
	}
	if p.kind == kindStructure {
		return h // nobody is asked about a form
	}
	if h.lessons = m.state.Tally(ctx, state.Key(keyLessons, key), state.Tally{}, m.half); h.lessons != (state.Tally{}) {
		h.users = m.state.Size(ctx, state.Key(keyUsers, key))
		_, h.trusted = m.state.Get(ctx, state.Key(keyTrusted, key))
		h.goodFrom = m.isGoodFrom(ctx, key, author)
	}

	return h
}

// isGoodFrom says whether a campaign was called good when it came from an author, or as a whole. The same words with other
// links may come from anybody.
func (m memory) isGoodFrom(ctx context.Context, key, author string) bool {
	if _, all := m.state.Get(ctx, state.Key(keyGoodFrom, key, anybody)); all {
		return true
	}
	if author == "" {
		return false
	}
	_, good := m.state.Get(ctx, state.Key(keyGoodFrom, key, author))

	return good
}

// add counts the fate of one mail. Network is that of a client whose mail was held, "" for none.
func (m memory) add(ctx context.Context, p fingerprint, fates state.Tally, network string) {
	m.begin(ctx, p)
	key := p.key()
	sum := m.state.Tally(ctx, state.Key(keyFates, key), fates, m.half)
	if network != "" {
		m.state.AddTo(ctx, state.Key(keyNetworks, key), network, m.keepFor())
	}
	if sum[0]+sum[1] > 1.5 {
		m.seen(ctx, key)
	}
}

// begin makes a text known by its bands.
func (m memory) begin(ctx context.Context, p fingerprint) {
	if p.text == nil {
		return
	}
	value := append([]byte(p.id), p.text.bytes()...)
	for i := range bands {
		m.state.PutNew(ctx, state.Key(keyBand, p.text.band(i)), value, m.keepFor())
	}
}

// seen keeps since when the admin's table has a campaign.
func (m memory) seen(ctx context.Context, key string) {
	m.state.PutNew(ctx, state.Key(keySeen, key), []byte(m.now().UTC().Format(time.RFC3339)), 4*m.half)
}

// teach counts what somebody says. A user counts once, whatever the number of lessons.
func (m memory) teach(ctx context.Context, p fingerprint, add state.Tally, l filters.Lesson, author string) {
	key := p.key()
	_, fresh := m.state.AddTo(ctx, state.Key(keyUsers, key), l.By, m.keepFor())
	if !fresh && !l.Trusted {
		return
	}
	m.begin(ctx, p)
	m.state.Tally(ctx, state.Key(keyLessons, key), add, m.half)
	if !l.Spam && author != "" {
		m.state.Put(ctx, state.Key(keyGoodFrom, key, author), []byte{1}, m.keepFor())
	}
	if l.Trusted {
		m.state.Put(ctx, state.Key(keyTrusted, key), []byte{1}, m.keepFor())
	}
	m.seen(ctx, key)
}

// forget takes a campaign out: its next mail begins anew.
func (m memory) forget(ctx context.Context, key string) {
	for _, kind := range []string{keyFates, keyNetworks, keyLessons, keyUsers, keyTrusted, keySeen} {
		m.state.Delete(ctx, state.Key(kind, key))
	}
	m.state.Delete(ctx, state.Key(keyGoodFrom, key, anybody))
}

// The verbs of the admin's table.
const (
	verbForget = "forget"
	verbSpam   = "spam"
	verbGood   = "good"
)

// Verbs implements filters.AdminTable.
func (f *filter) Verbs() []string { return []string{verbForget, verbSpam, verbGood} }

// Rows implements filters.AdminTable.
func (f *filter) Rows(ctx context.Context, limit int) ([]filters.Row, error) {
	var rows []filters.Row
	prefix := keySeen + ":{"
	for _, e := range f.memory.state.List(ctx, prefix, limit) {
		key := strings.TrimSuffix(strings.TrimPrefix(e.Key, prefix), "}")
		h := f.memory.history(ctx, named(key), "")
		since, _ := time.Parse(time.RFC3339, string(e.Value)) // the zero time is shown as none
		rows = append(rows, filters.Row{Key: key, Since: since, Text: fmt.Sprintf("%.0f held from %d networks, %.0f let in; %.0f times called spam, %.0f times good",
			h.fates[0], h.networks, h.fates[1], h.lessons[0], h.lessons[1])})
	}

	return rows, nil
}

// Apply implements filters.AdminTable.
func (f *filter) Apply(ctx context.Context, verb, key string) error {
	if _, there := f.memory.state.Get(ctx, state.Key(keySeen, key)); !there {
		return filters.ErrNoRow
	}
	lesson := filters.Lesson{By: "admin", Trusted: true, Spam: verb == verbSpam}
	switch verb {
	case verbForget:
		f.memory.forget(ctx, key)
	case verbSpam:
		f.memory.teach(ctx, named(key), state.Tally{4, 0}, lesson, "")
	case verbGood:
		f.memory.teach(ctx, named(key), state.Tally{0, 4}, lesson, anybody)
	default:
		return filters.ErrUnknownVerb
	}

	return nil
}

// named is the fingerprint of a key.
func named(key string) fingerprint {
	k, id, _ := strings.Cut(key, "-")

	return fingerprint{kind: kind(k), id: id, known: true}
}
