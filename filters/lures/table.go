package lures

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// slot is a place of a grammar: words that mean the same, in all languages. The first ones are facts.
type slot uint16

// fact is a slot that is filled by what a mail has, not by words.
type fact = slot

// The facts.
const (
	factPhone      fact = iota // a telephone number, where it stands
	factCoin                   // an address of a currency of which the check digits are right
	factLink                   // a link to a page
	factPlain                  // no link to a page
	factAttachment             // an attached file
	factShort                  // few words
	factUnthreaded             // a subject of an answer, of a mail that is none
	facts
)

func factNames() []string {
	return []string{"#phone", "#coin", "#link", "#plain", "#attachment", "#short", "#unthreaded"}
}

// everywhere holds for facts about the whole mail.
func everywhere(s slot) bool { return s >= factCoin && s < facts }

// term is one part of a lure: any of these slots, or none of them in the whole mail.
type term struct {
	slots  []slot
	absent bool
}

// lure is slots that stand near each other.
type lure struct {
	symbol string
	share  float64
	window int // in half words
	terms  []term
}

// language numbers the languages of the table. Words of the first go with those of all others.
type language uint8

const (
	anyLanguage  = "xx"
	maxLanguages = 64
)

// table is what lures.txt says. A symbol of same is not reported beside one of those content rules.
type table struct {
	slots   map[string]slot
	tongues []string
	same    map[string][]string
	phrases []phrase
	lures   []lure
	words   *trie
	*folding
}

// Bounds of the table: words of a phrase's length, of a window, terms of a lure.
const (
	maxPhrase = 120
	maxWindow = 500
	maxTerms  = 6
)

func newTable() *table {
	t := &table{slots: map[string]slot{}, tongues: []string{anyLanguage}, same: map[string][]string{}, folding: newFolding()}
	for i, name := range factNames() {
		t.slots[name] = slot(i)
	}

	return t
}

// read adds lines to the table:
//
//	slot NAME LANGUAGE phrase, phrase, beginning of a word*
//	lure SYMBOL PART WINDOW TERM TERM ...
//	same SYMBOL RULE,RULE
//
// A term is a slot or several with "|" between them; with "!" in front the mail must not have it.
func (t *table) read(lines []string) error {
	for i, line := range lines {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		kind, rest, _ := strings.Cut(line, " ")
		var err error
		switch kind {
		case "slot":
			err = t.readSlot(rest)
		case "lure":
			err = t.readLure(strings.Fields(rest))
		case "same":
			symbol, rules, _ := strings.Cut(rest, " ")
			t.same[symbol] = append(t.same[symbol], strings.Split(rules, ",")...)
		default:
			err = fmt.Errorf("%q is none of slot, lure, same", kind)
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", i+1, err)
		}
	}

	return nil
}

func (t *table) readSlot(rest string) error {
	name, rest, _ := strings.Cut(rest, " ")
	code, list, ok := strings.Cut(rest, " ")
	if malformed := !ok || len(code) != len(anyLanguage); malformed || name == "" || name[0] == '#' {
		return fmt.Errorf("slot %s: wanted are NAME LANGUAGE phrase, phrase", name)
	}
	tongue, err := t.language(code)
	if err != nil {
		return err
	}
	s, there := t.slots[name]
	if !there {
		s = slot(len(t.slots))
		t.slots[name] = s
	}
	for one := range strings.SplitSeq(list, ",") {
		one, stem := strings.CutSuffix(strings.TrimSpace(one), "*")
		w := writer{folding: t.folding}
		w.write(one)
		text := strings.TrimSpace(string(w.b))
		if text == "" || len(text) > maxPhrase || strings.Contains(one, "*") {
			return fmt.Errorf("slot %s: %q is no phrase", name, one)
		}
		t.phrases = append(t.phrases, phrase{text, out{s, tongue, stem}})
	}

	return nil
}

func (t *table) language(code string) (language, error) {
	at := slices.Index(t.tongues, code)
	if at < 0 {
		if len(t.tongues) == maxLanguages {
			return 0, fmt.Errorf("language %s: there are %d already", code, maxLanguages)
		}
		at = len(t.tongues)
		t.tongues = append(t.tongues, code)
	}

	return language(at), nil
}

func (t *table) readLure(fields []string) error {
	if len(fields) < 5 || len(fields)-3 > maxTerms {
		return fmt.Errorf("wanted are SYMBOL PART WINDOW and 2 to %d terms", maxTerms)
	}
	l := lure{symbol: fields[0]}
	if !slices.ContainsFunc(symbols(), func(s lureSymbol) bool { return s.name == l.symbol }) {
		return fmt.Errorf("%s is none of the filter's symbols", l.symbol)
	}
	var err error
	if l.share, err = strconv.ParseFloat(fields[1], 64); err != nil || l.share < 0 || l.share > 1 {
		return fmt.Errorf("%s: %q is no part from 0 to 1", l.symbol, fields[1])
	}
	if l.window, err = strconv.Atoi(fields[2]); err != nil || l.window < 1 || l.window > maxWindow {
		return fmt.Errorf("%s: %q is no number of words from 1 to %d", l.symbol, fields[2], maxWindow)
	}
	l.window *= halves
	for _, field := range fields[3:] {
		one, absent := strings.CutPrefix(field, "!")
		m := term{absent: absent}
		for name := range strings.SplitSeq(one, "|") {
			s, ok := t.slots[name]
			if !ok {
				return fmt.Errorf("%s: there is no slot %q", l.symbol, name)
			}
			m.slots = append(m.slots, s)
		}
		l.terms = append(l.terms, m)
	}
	t.lures = append(t.lures, l)

	return nil
}

// done builds what texts are searched with.
func (t *table) done() {
	t.words = newTrie(t.phrases)
	t.phrases = nil
}
