package lures

import (
	"slices"
	"strings"
)

// halves is how many steps a word is; a Chinese character or a kana is one.
const halves = 2

// event is a slot that is filled, by the text from start to end.
type event struct {
	slot       slot
	tongue     language
	at         int // in half words
	start, end int
}

// maxEvents bounds what is kept of a text: a letter of ten kilobytes has some hundred.
const maxEvents = 4000

// events finds the slots that a text fills, in the order of their places.
func (t *table) events(text []byte) (all []event, length int) {
	const octetsAnEvent = 16 // in dense text
	all = make([]event, 0, min(len(text)/octetsAnEvent, maxEvents))
	at := 0
	var digits number
	for i := 0; i < len(text) && len(all) < maxEvents; {
		c := text[i]
		here := i
		if !digits.word(text[i:]) {
			if digits.isPhone() {
				all = append(all, event{factPhone, 0, at, max(0, i-digits.octets), i - 1})
			}
			digits = number{}
		}
		found := func(o out, length int) { all = append(all, event{o.slot, o.tongue, at, here, here + length}) }
		if c >= 0xd8 && c <= 0xdb {
			for _, skip := range prefixes(text[i:]) {
				from := len(all)
				if here = i + skip; !t.words.begins.may(text[here:]) {
					continue
				}
				t.words.walk(text[here:], found)
				slices.Reverse(all[from:])
			}
		} else if t.words.begins.may(text[i:]) {
			from := len(all)
			t.words.walk(text[i:], found)
			slices.Reverse(all[from:]) // the longest first: it says most
		}
		next, steps := nextWord(text, i)
		i, at = next, at+steps
	}
	if digits.isPhone() { // the last words of a text
		all = append(all, event{factPhone, 0, at, max(0, len(text)-digits.octets), len(text)})
	}

	return all, at
}

// nextWord is where the next word begins, and how many steps away that is.
func nextWord(text []byte, i int) (next, steps int) {
	steps = halves
	if leadsIdeograph(text[i]) {
		i, steps = i+3, 1
	} else {
		for i < len(text) && text[i] != ' ' && !leadsIdeograph(text[i]) {
			i++
		}
	}
	for i < len(text) && text[i] == ' ' {
		i++
	}

	return i, steps
}

// number is a run of words of digits.
type number struct {
	groups, digits, octets int
	year                   bool
}

// word adds a word to the run, if it is one of digits.
func (n *number) word(text []byte) bool {
	k := 0
	for k < len(text) && text[k] >= '0' && text[k] <= '9' {
		k++
	}
	if k == 0 || k < len(text) && text[k] != ' ' {
		return false
	}
	n.groups, n.digits, n.octets = n.groups+1, n.digits+k, n.octets+k+1
	n.year = n.year || k == 4 && (string(text[:2]) == "19" || string(text[:2]) == "20")

	return true
}

// isPhone says whether the run is as long as a telephone number and does not look like a date. ITU-T E.164: at most 15
// digits.
func (n *number) isPhone() bool {
	return n.digits >= 9 && n.digits <= 15 && (n.groups > 1 && !n.year || n.groups == 1 && n.digits >= 10 || n.groups == 4 && n.digits >= 10)
}

// prefixes are the places at which an Arabic word may begin: behind "and", "with", "to" and the article, which are written
// in one with it.
func prefixes(word []byte) []int {
	all := []int{0}
	skip := 0
	if len(word) > 5 && slices.Contains([]string{"و", "ب", "ل", "ف", "ک"}, string(word[:2])) {
		skip = 2
		all = append(all, skip)
	}
	rest := string(word[skip:min(len(word), skip+8)])
	switch {
	case len(rest) > 6 && strings.HasPrefix(rest, "ال"):
		all = append(all, skip+4)
	case skip > 0 && len(rest) > 4 && strings.HasPrefix(rest, "ل"):
		all = append(all, skip+2)
	}

	return all
}

// hit is a lure that a mail has.
type hit struct {
	symbol string
	share  float64
	words  []event
}

// mostTongues is in how many languages a mail is read: those with the most words, the second with at least one for so many
// of the first.
const (
	mostTongues = 2
	leastOfMost = 3
)

// find gives for each symbol the lure that counts most.
func (t *table) find(all []event) (hits []hit) {
	counts := make([]int, len(t.tongues))
	for _, e := range all {
		counts[e.tongue]++
	}
	counts[0] = 0
	most := slices.Max(counts)
	for range mostTongues {
		tongue := slices.Index(counts, slices.Max(counts))
		if counts[tongue] == 0 || counts[tongue]*leastOfMost < most { // words that are also some of another language
			break
		}
		counts[tongue] = 0
		hits = t.findIn(language(tongue), all, hits)
	}

	return hits
}

// findIn adds the lures of a language.
func (t *table) findIn(tongue language, all []event, hits []hit) []hit {
	words := make([]event, 0, len(all))
	there := make([]bool, len(t.slots))
	for _, e := range all {
		if e.tongue == tongue || e.tongue == 0 {
			words = append(words, e)
			there[e.slot] = true
		}
	}
	for i := range t.lures {
		l := &t.lures[i]
		if !l.possible(there) {
			continue
		}
		at := slices.IndexFunc(hits, func(h hit) bool { return h.symbol == l.symbol })
		if at >= 0 && hits[at].share >= l.share {
			continue
		}
		found, ok := l.near(words, there)
		switch {
		case !ok:
		case at >= 0:
			hits[at] = hit{l.symbol, l.share, found}
		default:
			hits = append(hits, hit{l.symbol, l.share, found})
		}
	}

	return hits
}

// possible says whether a mail has all that a lure is made of, wherever it stands.
func (l *lure) possible(there []bool) bool {
	for _, m := range l.terms {
		if slices.ContainsFunc(m.slots, func(s slot) bool { return there[s] }) == m.absent {
			return false
		}
	}

	return true
}

// near says whether the parts of a lure stand within its window, and where they do first.
func (l *lure) near(all []event, there []bool) ([]event, bool) {
	p := parts{lure: l}
	for i, m := range l.terms {
		p.fixed[i] = m.absent || slices.ContainsFunc(m.slots, func(s slot) bool { return everywhere(s) && there[s] })
	}
	for _, e := range all {
		if p.fill(e) && p.complete(e.at) {
			return p.words(), true
		}
	}

	return nil, false
}

// parts are the terms of a lure while a text is read: where each was filled last, and those that no place fills.
type parts struct {
	*lure
	last, before [maxTerms]event
	seen, again  [maxTerms]bool // whether there is a last one, and one before it
	fixed        [maxTerms]bool
}

// fresh says whether a term is filled within the window that ends at a place.
func (p *parts) fresh(i, at int) bool { return p.seen[i] && p.last[i].at >= at-p.window }

// fill puts an event where it is needed most: words at one place are one fact, and fill one term.
func (p *parts) fill(e event) bool {
	at, taken := -1, -1
	for i, m := range p.terms {
		if p.fixed[i] {
			continue
		}
		isHere := p.seen[i] && p.last[i].at == e.at
		if isHere && e.slot >= facts {
			taken = i
		}
		isNeeded := at < 0 || !p.fresh(i, e.at) && p.fresh(at, e.at)
		if isNeeded && slices.Contains(m.slots, e.slot) {
			at = i
		}
	}
	switch {
	case at < 0:
		return false
	case taken < 0:
	case p.fresh(at, e.at) || p.before[taken].at < e.at-p.window || !p.again[taken]:
		return false
	default: // the other term was filled before
		p.last[taken] = p.before[taken]
	}
	p.before[at], p.again[at] = p.last[at], p.seen[at]
	p.last[at], p.seen[at] = e, true

	return true
}

func (p *parts) complete(at int) bool {
	for i := range p.terms {
		if !p.fixed[i] && !p.fresh(i, at) {
			return false
		}
	}

	return true
}

func (p *parts) words() (all []event) {
	for i := range p.terms {
		if !p.fixed[i] {
			all = append(all, p.last[i])
		}
	}

	return all
}
