package rules

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Limits of a set. What is beyond is a Problem.
const (
	maxRules    = 50_000
	maxLine     = 16 << 10
	maxProblems = 1000
)

// Parse reads files of rules. A rule that stands there twice is the later one, at the earlier one's place, so that
// local files can change shipped rules.
func Parse(files ...File) (*Set, []Problem) { return ParseBeside(nil, files...) }

// ParseBeside reads files whose rules must not bear names that are taken: a rule would speak with the voice, the weight and
// the action of something else.
func ParseBeside(taken map[string]bool, files ...File) (*Set, []Problem) {
	p := &parser{set: &Set{byName: map[string]*rule{}}, taken: taken}
	for _, f := range files {
		p.file, p.line = f.Name, 0
		p.skips = p.skips[:0]
		for line := range strings.Lines(f.Text) {
			p.line++
			p.parseLine(strings.TrimRight(line, "\r\n"))
		}
		if len(p.skips) > 0 {
			p.problem("", "an if without endif")
		}
	}
	p.settle()
	p.set.collectLiterals()
	return p.set, p.problems
}

type parser struct {
	set      *Set
	taken    map[string]bool
	problems []Problem
	file     string
	line     int
	// skips has one entry for each if: whether its lines are left out.
	skips []bool
	// later are score, describe and tflags lines: they may stand before their rule.
	later []directive
}

type directive struct {
	word, name, rest string
	file             string
	line             int
}

func (p *parser) problem(text, why string) {
	if len(p.problems) < maxProblems {
		p.problems = append(p.problems, Problem{File: p.file, Line: p.line, Text: text, Why: why})
	}
}

// clash notes a rule whose name is taken.
func (p *parser) clash(text string) {
	if len(p.problems) < maxProblems {
		p.problems = append(p.problems, Problem{File: p.file, Line: p.line, Text: text, Taken: true,
			Why: "the rule is left out: a filter reports a symbol of that name; give the rule another one"})
	}
}

func (p *parser) parseLine(line string) {
	if len(line) > maxLine {
		p.problem(line[:60]+"...", "the line is too long")
		return
	}
	text := strings.TrimSpace(stripComment(line))
	if text == "" {
		return
	}
	word, rest := cut(text)
	word = strings.ToLower(word)
	if p.condition(word, rest, text) || p.skipping() {
		return
	}
	if why := p.directive(word, rest); why != "" {
		p.problem(text, why)
	}
}

// condition reads if, ifplugin, else and endif.
func (p *parser) condition(word, rest, text string) bool {
	switch word {
	case "if":
		hold, err := evalCondition(rest)
		if err != nil {
			p.problem(text, err.Error())
		}
		p.skips = append(p.skips, !hold)
	case "ifplugin": // there are no plugins
		p.skips = append(p.skips, true)
	case "else":
		if len(p.skips) == 0 {
			p.problem(text, "an else without if")
			return true
		}
		p.skips[len(p.skips)-1] = !p.skips[len(p.skips)-1]
	case "endif":
		if len(p.skips) == 0 {
			p.problem(text, "an endif without if")
			return true
		}
		p.skips = p.skips[:len(p.skips)-1]
	default:
		return false
	}
	return true
}

func (p *parser) skipping() bool {
	for _, s := range p.skips {
		if s {
			return true
		}
	}
	return false
}

// directive reads one line and gives the reason why it can't be used, or "".
func (p *parser) directive(word, rest string) string {
	name, value := cut(rest)
	switch word {
	case "lang", "test", "reuse", "priority", "loadplugin", "tryplugin", "require_version": // nothing to us
		return ""
	case "header", "body", "rawbody", "uri", "full", "meta":
		if !isRuleName(name) {
			return fmt.Sprintf("%q is not the name of a rule: letters, digits and _ are", name)
		}
		if p.taken[name] {
			p.clash(word + " " + rest)
			return ""
		}
		if len(p.set.rules) >= maxRules {
			return "too many rules"
		}
		r := &rule{name: name, file: p.file, line: p.line, maxHits: 1}
		if err := r.read(word, value); err != nil {
			return "the rule is left out: " + err.Error()
		}
		p.set.put(r)
		return ""
	case "score", "describe", "tflags":
		if !isRuleName(name) {
			return fmt.Sprintf("%q is not the name of a rule", name)
		}
		p.later = append(p.later, directive{word, name, value, p.file, p.line})
		return ""
	}
	return fmt.Sprintf("%q is no directive that is known here", word)
}

func (s *Set) put(r *rule) {
	if old := s.byName[r.name]; old != nil {
		*old = *r
		return
	}
	s.byName[r.name] = r
	s.rules = append(s.rules, r)
}

func (r *rule) read(word, value string) (err error) {
	switch word {
	case "header":
		return r.readHeader(value)
	case "meta":
		r.kind = kindMeta
		r.meta, err = parseExpr(value)
		return err
	}
	r.kind = map[string]kind{"body": kindBody, "rawbody": kindRaw, "uri": kindURI, "full": kindFull}[word]
	if strings.HasPrefix(value, "eval:") {
		return fmt.Errorf("%s is a function, and functions are not known here", value)
	}
	r.pattern, err = parsePattern(value)
	return err
}

// readHeader reads Header:mod =~ /re/ [if-unset: text], or exists:Header.
func (r *rule) readHeader(value string) (err error) {
	r.kind = kindHeader
	if name, ok := strings.CutPrefix(value, "exists:"); ok {
		r.header = headerSpec{name: name, exists: true}
		return nil
	}
	if strings.HasPrefix(value, "eval:") {
		return fmt.Errorf("%s is a function, and functions are not known here", value)
	}
	spec, rest := cut(value)
	op, re := cut(rest)
	if op != "=~" && op != "!~" {
		return fmt.Errorf("want =~ or !~ behind %q", spec)
	}
	r.negate = op == "!~"
	if i := strings.LastIndex(re, "[if-unset:"); i >= 0 && strings.HasSuffix(re, "]") {
		r.header.unset = strings.TrimSpace(re[i+len("[if-unset:") : len(re)-1])
		re = strings.TrimSpace(re[:i])
	}
	mods := strings.Split(spec, ":")
	r.header.name = mods[0]
	for _, m := range mods[1:] {
		switch m {
		case "raw":
			r.header.raw = true
		case "addr":
			r.header.addr = true
		case "name":
			r.header.display = true
		default:
			return fmt.Errorf("the modifier :%s is not known here", m)
		}
	}
	r.pattern, err = parsePattern(re)
	return err
}

// settle applies what may stand before its rule, and takes out metas that need themselves.
func (p *parser) settle() {
	for _, d := range p.later {
		p.file, p.line = d.file, d.line
		text := d.word + " " + d.name + " " + d.rest
		r := p.set.byName[d.name]
		if r == nil {
			p.problem(text, "there is no rule of this name, or it was left out")
			continue
		}
		if why := r.apply(d); why != "" {
			p.problem(text, why)
		}
	}
	for _, r := range p.set.rules {
		if r.kind != kindMeta {
			continue
		}
		p.file, p.line = r.file, r.line
		for _, name := range r.meta.names() {
			if p.set.byName[name] == nil {
				p.problem("meta "+r.name, name+" is not known and counts as 0")
			}
		}
	}
	p.breakCycles()
}

func (r *rule) apply(d directive) string {
	switch d.word {
	case "describe":
		r.describe = d.rest
	case "tflags":
		for flag := range strings.FieldsSeq(d.rest) {
			r.flag(flag)
		}
	case "score":
		fields := strings.Fields(d.rest)
		if len(fields) != 1 && len(fields) != 4 {
			return "want one score or four"
		}
		// the last of four is for sites with network tests and a classifier, as here
		text := fields[len(fields)-1]
		n, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(n) || math.Abs(n) > 10_000 {
			return fmt.Sprintf("%q is not a score", text)
		}
		r.score, r.scored = n, true
	}
	return ""
}

func (r *rule) flag(flag string) {
	switch {
	case flag == "nice":
		r.nice = true
	case flag == "multiple":
		r.multiple = true
		if r.maxHits == 1 {
			r.maxHits = 100
		}
	case strings.HasPrefix(flag, "maxhits="):
		if n, err := strconv.Atoi(flag[len("maxhits="):]); err == nil && n > 0 {
			r.maxHits = min(n, 1000)
		}
	}
}

// collectLiterals prepares the one pass over a text that says which rules can match at all. Header fields are short and
// are searched as they are.
func (s *Set) collectLiterals() {
	s.literals = map[kind]*literals{kindBody: {}, kindRaw: {}, kindURI: {}, kindFull: {}}
	for _, r := range s.rules {
		l := s.literals[r.kind]
		if l == nil || r.pattern == nil {
			continue
		}
		r.pattern.needs.number(l)
	}
	for _, l := range s.literals {
		l.build()
	}
}

func isRuleName(name string) bool {
	for i := range len(name) {
		c := name[i]
		if !(c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c == '_' || i > 0 && c >= '0' && c <= '9') {
			return false
		}
	}
	return name != "" && len(name) <= 128
}

// stripComment takes away what stands behind a # that no backslash escapes.
func stripComment(line string) string {
	for i := 0; i < len(line); i++ {
		switch line[i] {
		case '\\':
			i++
		case '#':
			return line[:i]
		}
	}
	return line
}

func cut(text string) (word, rest string) {
	i := strings.IndexAny(text, " \t")
	if i < 0 {
		return text, ""
	}
	return text[:i], strings.TrimLeft(text[i:], " \t")
}
