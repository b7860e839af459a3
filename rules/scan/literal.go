package scan

import (
	"slices"
	"strings"

	"postern/rules/perlre/syntax"
)

// Limits on the texts that stand for an expression.
const (
	maxTexts  = 24
	maxLength = 16
	maxChoice = 6 // octets of a set that are written out
)

// needed is what an expression says about the texts it matches, in lower case.
type needed struct {
	// all are all the texts it matches; nil if that is not known.
	all []string
	// oneOf are texts of which one stands in whatever it matches; nil if none are known.
	oneOf []string
}

// need works out what must stand in a text for an expression to match.
func need(n *syntax.Node) needed {
	switch n.Op {
	case syntax.OpSet:
		return needSet(n.Set)
	case syntax.OpConcat:
		return needAll(n.Sub)
	case syntax.OpAlt, syntax.OpCond:
		return needOne(n.Sub)
	case syntax.OpRepeat:
		return needTimes(n)
	case syntax.OpGroup, syntax.OpAtomic:
		return need(n.Sub[0])
	case syntax.OpBackref, syntax.OpFail:
		return needed{}
	}
	return needed{all: []string{""}}
}

func needSet(s syntax.Set) needed {
	var all []string
	for _, c := range s.Bytes() {
		if text := string([]byte{lower(c)}); !slices.Contains(all, text) {
			all = append(all, text)
		}
		if len(all) > maxChoice {
			return needed{}
		}
	}
	return needed{all: all}
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 32
	}
	return c
}

// needAll joins what stands one behind the other as long as that is few texts.
func needAll(subs []*syntax.Node) needed {
	run, whole := []string{""}, true
	var best []string
	for _, s := range subs {
		n := need(s)
		best = better(best, n.oneOf)
		joined, ok := join(run, n.all)
		if ok {
			run = joined
			continue
		}
		best = better(best, run)
		best = better(best, n.all)
		whole = false
		run = []string{""}
		if n.all != nil {
			run = n.all
		}
	}
	best = better(best, run)
	if whole {
		return needed{all: run, oneOf: best}
	}
	return needed{oneOf: best}
}

func join(a, b []string) ([]string, bool) {
	if b == nil || len(a)*len(b) > maxTexts {
		return nil, false
	}
	all := make([]string, 0, len(a)*len(b))
	for _, x := range a {
		for _, y := range b {
			if len(x)+len(y) > maxLength {
				return nil, false
			}
			all = append(all, x+y)
		}
	}
	return all, true
}

func needOne(subs []*syntax.Node) needed {
	all, oneOf := []string{}, []string{}
	for _, s := range subs {
		n := need(s)
		if n.all == nil {
			all = nil
		} else if all != nil {
			all = append(all, n.all...)
		}
		one := better(n.oneOf, n.all)
		if one == nil {
			oneOf = nil
		} else if oneOf != nil {
			oneOf = append(oneOf, one...)
		}
		if len(all) > maxTexts {
			all = nil
		}
		if len(oneOf) > 4*maxTexts {
			oneOf = nil
		}
	}
	return needed{all, oneOf}
}

func needTimes(n *syntax.Node) needed {
	sub := need(n.Sub[0])
	switch {
	case n.Min == 0 && n.Max == 1 && sub.all != nil && len(sub.all) < maxTexts:
		return needed{all: append([]string{""}, sub.all...)}
	case n.Min == 0:
		return needed{}
	case n.Max == n.Min:
		run := []string{""}
		for range n.Min {
			joined, ok := join(run, sub.all)
			if !ok {
				return needed{oneOf: better(better(sub.oneOf, sub.all), run)}
			}
			run = joined
		}
		return needed{all: run}
	}
	return needed{oneOf: better(sub.oneOf, sub.all)}
}

// better gives the texts of which it is rarer that one is met.
func better(a, b []string) []string {
	if worth(b) > worth(a) {
		return b
	}
	return a
}

// worth is how much texts say: the length of the shortest, less if there are many of them.
func worth(texts []string) int {
	if len(texts) == 0 {
		return 0
	}
	least := 1 << 20
	for _, t := range texts {
		w := 0
		for i := range len(t) {
			w += rarity(t[i])
		}
		if w > worthCommon && strings.Contains(common, t) {
			w = worthCommon
		}
		least = min(least, w)
	}
	for n := len(texts); n > 1; n /= 2 {
		least -= 2
	}
	return max(0, least)
}

// common are texts that most mail has: what is a part of them says little.
const common = "http://www. https://www. .com/ .com .net .org <a href=\"http src=\"http html> <br> <p> <td> <div style= <font " +
	"[ ip= rdns= helo= by= ident= envfrom= intl= id= auth= msa=0 ] \nreceived: from  by  with esmtp for < \nsubject: \nfrom: \nto: \ndate: " +
	"\nmessage-id: <  mime-version: 1.0 \ncontent-type: text/plain; charset= text/html; \nreturn-path: \nx-mailer: boundary= " +
	" and the ing you your that this with have from mail email "

const worthCommon = 3

// rarity is how much one octet says.
func rarity(c byte) int {
	switch c {
	case 'e', 't', 'a', 'o', 'i', 'n', ' ', 's', 'r':
		return 2
	case 'h', 'l', 'd', 'c', 'u', 'm', 'f', 'p', 'g', '.', '/', ',', '\n', '-', '=', '>', '<', '"':
		return 3
	}
	return 4
}
