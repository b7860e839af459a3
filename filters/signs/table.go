package signs

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// aspect is what a sign is about. Signs of one aspect are often about one fact, so they hardly add to each other.
type aspect string

// The aspects.
const (
	aspectClaim   aspect = "claim"   // who the mail claims to be
	aspectAnswer  aspect = "answer"  // where answers go
	aspectOrigin  aspect = "origin"  // where it comes from
	aspectDisplay aspect = "display" // what it shows and hides
	aspectLink    aspect = "link"    // where links and codes lead
	aspectDemand  aspect = "demand"  // what it wants
)

// aspects are all, in the order of an explanation.
func aspects() []aspect {
	return []aspect{aspectClaim, aspectAnswer, aspectOrigin, aspectDisplay, aspectLink, aspectDemand}
}

// sign is what a symbol says.
type sign struct {
	aspect   aspect
	strength float64
	words    string
}

// combination is what several signs mean beyond their sum.
type combination struct {
	terms  [][]string // symbols and aspects, of each term any
	points float64
	words  string
}

// table is what signs.txt says.
type table struct {
	signs        map[string]sign
	combinations []combination
	trust        map[string]float64
	form         map[string]bool
	named        map[string]bool // symbols that count in combinations alone
}

func newTable() *table {
	return &table{signs: map[string]sign{}, trust: map[string]float64{}, form: map[string]bool{}, named: map[string]bool{}}
}

// maxStrength bounds one sign or combination.
const maxStrength = 8

// read adds lines to the table:
//
//	sign SYMBOL ASPECT STRENGTH words
//	together POINTS TERM[|TERM],TERM[,TERM] words
//	trust SYMBOL FACTOR
//	form SYMBOL
//	fact SYMBOL
//
// A term is a symbol or an aspect.
func (t *table) read(lines []string) error {
	for i, line := range lines {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		kind, rest, _ := strings.Cut(line, " ")
		var err error
		switch kind {
		case "sign":
			err = t.readSign(rest)
		case "together":
			err = t.readCombination(rest)
		case "trust":
			err = t.readTrust(rest)
		case "form":
			t.form[strings.TrimSpace(rest)] = true
		case "fact":
			t.named[strings.TrimSpace(rest)] = true
		default:
			err = fmt.Errorf("%q is none of sign, together, trust, form, fact", kind)
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", i+1, err)
		}
	}

	return nil
}

func (t *table) readSign(rest string) error {
	f := strings.Fields(rest)
	if out := len(f) == 3 && f[2] == "0"; len(f) < 4 && !out {
		return fmt.Errorf("write it as \"sign SYMBOL ASPECT STRENGTH words\"")
	}
	a := aspect(f[1])
	if !slices.Contains(aspects(), a) {
		return fmt.Errorf("%q is no aspect: it is one of %v", a, aspects())
	}
	n, err := number(f[2], maxStrength)
	if err != nil {
		return err
	}
	t.signs[f[0]] = sign{a, n, strings.Join(f[3:], " ")}

	return nil
}

func (t *table) readCombination(rest string) error {
	f := strings.Fields(rest)
	if len(f) < 3 {
		return fmt.Errorf("write it as \"together POINTS TERM,TERM words\"")
	}
	n, err := number(f[0], maxStrength)
	if err != nil {
		return err
	}
	terms := strings.Split(f[1], ",")
	if len(terms) < 2 {
		return fmt.Errorf("%q is a single term", f[1])
	}
	c := combination{points: n, words: strings.Join(f[2:], " ")}
	for _, term := range terms {
		c.terms = append(c.terms, strings.Split(term, "|"))
	}
	t.combinations = append(t.combinations, c)

	return nil
}

func (t *table) readTrust(rest string) error {
	f := strings.Fields(rest)
	if len(f) != 2 {
		return fmt.Errorf("write it as \"trust SYMBOL FACTOR\"")
	}
	n, err := number(f[1], 1)
	t.trust[f[0]] = n

	return err
}

func number(text string, most float64) (float64, error) {
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || !(n >= 0 && n <= most) {
		return 0, fmt.Errorf("%q is no number from 0 to %g", text, most)
	}

	return n, nil
}
