package rules

import (
	"fmt"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
)

// settle applies what may stand before its rule, and finds out which rules can be run, and which are needed.
func (p *parser) settle() {
	s := p.set
	if len(p.reused) > 0 {
		p.placeholders()
	}
	for _, d := range p.later {
		p.apply(d)
	}
	for _, r := range s.rules {
		r.score = r.standard()
		if r.scored {
			r.score = r.scores[0]
			if p.options.Network {
				r.score = r.scores[1]
			}
		}
	}
	p.unweighed()
	p.replace()
	p.expandMatching()
	p.breakCycles()
	p.report()
	p.reach()
}

// manyUnweighed is how many rules of a file can go without a score before it is taken for one whose scores are in another
// file that is not there. SpamAssassin's own set has one, which sa-update brings and packages leave out.
const manyUnweighed = 50

// unweighed marks the rules of such files, and tells of them.
func (p *parser) unweighed() {
	by := map[string][]*rule{}
	var files []string
	for _, r := range p.set.rules {
		plain := !r.hidden() && !strings.HasPrefix(r.name, "T_") && r.kind != kindEmpty
		if !r.foreign || r.scored || !plain {
			continue
		}
		if by[r.file] == nil {
			files = append(files, r.file)
		}
		by[r.file] = append(by[r.file], r)
	}
	for _, file := range files {
		if len(by[file]) < manyUnweighed {
			continue
		}
		for _, r := range by[file] {
			r.unweighed = true
		}
		p.add(Problem{File: file, Line: by[file][0].line, Text: by[file][0].name, Kind: NoWeights,
			Why: fmt.Sprintf("this and %d more rules of the file have no score, so each counts 1 point and all together no more than 2; sa-update brings their scores (72_scores.cf)", len(by[file])-1)})
	}
}

// placeholders makes the rules that only reuse lines name: results that others would have noted.
func (p *parser) placeholders() {
	for _, d := range p.reused {
		if isRuleName(d.name) && p.set.byName[d.name] == nil && d.foreign {
			p.set.put(&rule{name: d.name, kind: kindEmpty, file: d.file, line: d.line, foreign: true})
		}
	}
}

// apply takes one of the lines that may stand before their rule.
func (p *parser) apply(d directive) {
	r := p.set.byName[d.name]
	text := d.word + " " + d.name + " " + d.rest
	why := ""
	switch {
	case r == nil && d.foreign: // the rule stands in a block for a plugin, or was given up long ago
		return
	case r == nil:
		why = "there is no rule of this name, or it was left out"
	default:
		why = r.apply(d)
	}
	if why != "" {
		p.add(Problem{File: d.file, Line: d.line, Text: text, Why: why, Kind: BadLine, Rule: d.name})
	}
}

func (r *rule) apply(d directive) string {
	switch d.word {
	case "describe":
		r.describe = d.rest
	case "tflags":
		r.setFlags(d.rest)
	case "score":
		return r.setScore(strings.Fields(d.rest))
	}
	return ""
}

func (r *rule) setFlags(text string) {
	r.flags = text
	r.multiple, r.maxHits = r.flag("multiple"), 1
	r.learns, r.asks, r.noSubject = r.flag("learn"), r.flag("net"), r.flag("nosubject")
	if r.multiple {
		r.maxHits = mostHits
		for f := range strings.FieldsSeq(text) {
			if n, err := strconv.Atoi(strings.TrimPrefix(f, "maxhits=")); err == nil && n > 0 && strings.HasPrefix(f, "maxhits=") {
				r.maxHits = min(n, mostHits)
			}
		}
	}
}

// mostHits is how often a rule is counted.
const mostHits = 5000

// setScore reads one score or four; in parentheses they are added to what there was.
func (r *rule) setScore(fields []string) string {
	if len(fields) != 1 && len(fields) != 4 {
		return "want one score or four"
	}
	var scores [4]float64
	relative := false
	for i, f := range fields {
		inner, ok := strings.CutPrefix(f, "(")
		if ok {
			f, relative = strings.TrimSuffix(inner, ")"), true
		}
		if scores[i], ok = readScore(f); !ok {
			return fmt.Sprintf("%q is not a score", f)
		}
	}
	if len(fields) == 1 {
		scores = [4]float64{scores[0], scores[0], scores[0], scores[0]}
	}
	if relative {
		if !r.scored {
			return "a score in parentheses changes one that stands before it"
		}
		for i := range scores {
			scores[i] += r.scores[i]
		}
	}
	r.scores, r.scored = scores, true
	return ""
}

// readScore reads a number that can be a score.
func readScore(text string) (score float64, ok bool) {
	n, err := strconv.ParseFloat(text, 64)
	return n, err == nil && !math.IsNaN(n) && math.Abs(n) <= 10_000
}

// expandMatching puts in the rules that rules_matching names: their sum.
func (p *parser) expandMatching() {
	for _, r := range p.set.rules {
		if r.kind != kindMeta {
			continue
		}
		r.meta.visit(func(e *expr) {
			if e.op != opMatching {
				return
			}
			pattern := e.name
			*e = expr{op: opNumber}
			for _, other := range p.set.rules {
				if ok, _ := path.Match(pattern, other.name); ok && other != r {
					sum := *e
					*e = expr{op: opPlus, left: &sum, right: &expr{op: opName, name: other.name}}
				}
			}
		})
	}
}

// breakCycles takes out the metas that need themselves, and those that need such: no order solves them.
func (p *parser) breakCycles() {
	waits := map[string]int{}
	needed := map[string][]string{}
	var ready []string
	for _, r := range p.set.rules {
		if r.kind != kindMeta {
			continue
		}
		for _, name := range r.meta.names() {
			if other := p.set.byName[name]; other != nil && other.kind == kindMeta {
				waits[r.name]++
				needed[name] = append(needed[name], r.name)
			}
		}
		if waits[r.name] == 0 {
			ready = append(ready, r.name)
		}
	}
	release(ready, needed, waits)
	for _, r := range p.set.rules {
		if waits[r.name] > 0 {
			r.broken = "it needs itself, or a meta that does"
			p.add(Problem{File: r.file, Line: r.line, Text: "meta " + r.name, Rule: r.name, Points: r.points(), Kind: BadLine, Why: "the rule is left out: " + r.broken})
		}
	}
}

// release goes through the metas that wait for no other, and from each to those that waited for it: waits counts what each
// still waits for. What waits in the end stands in a cycle.
func release(ready []string, needed map[string][]string, waits map[string]int) {
	for len(ready) > 0 {
		name := ready[len(ready)-1]
		ready = ready[:len(ready)-1]
		for _, n := range needed[name] {
			if waits[n]--; waits[n] == 0 {
				ready = append(ready, n)
			}
		}
	}
}

// points is what a rule can cost a message.
func (r *rule) points() float64 {
	if r.hidden() {
		return 0
	}
	return r.score
}

// missing says why a rule gives nothing here that it gives elsewhere, "" if it is as it should be.
func (p *parser) missing(name string) string {
	r := p.set.byName[name]
	switch {
	case r == nil:
		return name + " is not known and counts as 0"
	case r.broken != "":
		return name + ": " + r.broken
	}
	return ""
}

// report tells of the rules that can't be run, and of the metas that need them.
func (p *parser) report() {
	lost := map[string]string{}
	for _, r := range p.set.rules {
		if r.broken != "" && r.kind != kindMeta {
			lost[r.name] = r.broken
			p.add(Problem{File: r.file, Line: r.line, Text: r.kind.String() + " " + r.name, Rule: r.name, Points: r.points(), Kind: Unsupported, Why: r.broken})
		}
		if r.left {
			p.add(Problem{File: r.file, Line: r.line, Text: r.kind.String() + " " + r.name, Rule: r.name, Points: r.points(), Kind: Left,
				Why: "a filter reports a symbol of that name; the rule serves other rules only"})
		}
	}
	for p.loseMetas(lost) {
	}
	p.cover(lost)
}

// loseMetas adds the metas that need a lost rule, and says whether there were any.
func (p *parser) loseMetas(lost map[string]string) (any bool) {
	for _, r := range p.set.rules {
		if r.kind != kindMeta || lost[r.name] != "" || r.broken != "" {
			continue
		}
		if name := p.firstLost(r, lost); name != "" {
			lost[r.name] = name
			any = true
			p.lostMeta(r, name)
		}
	}
	return any
}

// cover counts the rules that have a score, and those of them that work.
func (p *parser) cover(lost map[string]string) {
	for _, r := range p.set.rules {
		if r.hidden() || !r.weighs() {
			continue
		}
		if p.set.coverage.Scored++; lost[r.name] == "" && r.broken == "" {
			p.set.coverage.Whole++
		}
	}
}

// weighs says whether one of the scores of a rule is more than a note.
func (r *rule) weighs() bool {
	if !r.scored {
		return true
	}
	for _, s := range r.scores {
		if math.Abs(s) > 0.0011 {
			return true
		}
	}
	return false
}

// firstLost is the first rule that a meta needs and that is lost, "" for none. What SpamAssassin does not have either is no
// loss.
func (p *parser) firstLost(r *rule, lost map[string]string) string {
	for _, name := range r.meta.names() {
		theirs := r.foreign && p.set.byName[name] == nil && !p.skipped[name]
		if lost[name] != "" || p.missing(name) != "" && !theirs {
			return name
		}
	}
	return ""
}

func (p *parser) lostMeta(r *rule, name string) {
	problem := Problem{File: r.file, Line: r.line, Text: "meta " + r.name, Rule: r.name, Points: r.points(), Kind: Lost}
	problem.Why = "it needs a rule that is not there: " + p.missing(name)
	if p.missing(name) == "" {
		problem.Why = "it needs " + name + ", which needs a rule that is not there"
	}
	if r.meta.asksNot(name, false) {
		problem.Kind = Loose
		problem.Why += "; it may hold only because of that"
	}
	p.add(problem)
}

// reach marks the rules that are run: those with a score, and what they need.
func (p *parser) reach() {
	for _, r := range p.set.rules {
		if r.reports() || p.options.All {
			p.mark(r)
		}
	}
	p.deadMetas()
	// captures serve expressions that hold their values
	used := map[string]bool{}
	for _, r := range p.set.rules {
		for _, t := range r.templates {
			used[t] = used[t] || r.live
		}
	}
	for _, r := range p.set.rules {
		if r.re != nil && slices.ContainsFunc(r.re.Names(), func(n string) bool { return used[n] }) {
			p.mark(r)
		}
	}
}

// mark marks a rule and what it needs.
func (p *parser) mark(r *rule) {
	if r == nil || r.live || !r.runs() {
		return
	}
	r.live = true
	if r.kind == kindMeta {
		for _, name := range r.meta.names() {
			p.mark(p.set.byName[name])
		}
	}
}

// deadMetas: SpamAssassin never comes to a meta that needs another one which a score of 0 switches off.
func (p *parser) deadMetas() {
	for again := true; again; {
		again = false
		for _, r := range p.set.rules {
			if r.kind != kindMeta || !r.foreign || !r.runs() {
				continue
			}
			if slices.ContainsFunc(r.meta.names(), p.metaOff) {
				r.score, r.live, again = 0, false, true
			}
		}
	}
}

// metaOff says whether a meta of a name is switched off.
func (p *parser) metaOff(name string) bool {
	r := p.set.byName[name]
	return r != nil && r.kind == kindMeta && r.off()
}

// runs says whether a rule can be run and is not switched off.
func (r *rule) runs() bool { return !r.off() && r.broken == "" }
