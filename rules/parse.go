package rules

import (
	"fmt"
	"slices"
	"strings"

	"postern/rules/eval"
	"postern/rules/views"
)

// Limits of a set. What is beyond is a Problem.
const (
	maxRules    = 100_000
	maxLine     = 64 << 10
	maxProblems = 100_000
)

// Options say for what a set is.
type Options struct {
	// Taken are the symbols of filters: no rule may speak with their voice, their weight and their action.
	Taken map[string]bool
	// Network says that names are looked up: of a rule's four scores the second one counts, else the first. There is no
	// classifier of SpamAssassin's here, for which the third and fourth are.
	Network bool
	// Maps are the names of those that rules may look values up in.
	Maps []string
	// All runs rules that nothing with a score needs, too.
	All bool
}

// Parse reads files of rules. A rule that stands there twice is the later one, at the earlier one's place, so that local
// files can change shipped rules.
func Parse(files ...File) (*Set, []Problem) { return ParseWith(Options{Network: true}, files...) }

// ParseWith reads files of rules for what the options say.
func ParseWith(o Options, files ...File) (*Set, []Problem) {
	p := &parser{options: o, set: &Set{byName: map[string]*rule{}, config: eval.NewConfig(), functions: eval.Functions()}, compat: map[string]bool{}, skipped: map[string]bool{}, tags: replaceTags{rules: map[string]bool{}, open: "<", close: ">"}}
	for _, f := range files {
		p.readFile(f)
	}
	p.settle()
	p.set.network = o.Network
	p.set.compile()
	return p.set, p.problems
}

type parser struct {
	set      *Set
	options  Options
	problems []Problem
	file     File
	line     int
	blocks   []*block
	// loaded are the plugins that lines load, nil if none does; compat are old names that lines bring back.
	loaded, compat map[string]bool
	// skipped are rules that SpamAssassin would have.
	skipped map[string]bool
	tags    replaceTags
	// including are the files around the one that is read.
	including []string
	// later are score, describe, tflags and priority lines: they may stand before their rule.
	later []directive
	// reused are the rules of reuse lines.
	reused []directive
}

type directive struct {
	word, name, rest string
	file             string
	line             int
	foreign          bool
}

func (p *parser) add(problem Problem) {
	if len(p.problems) < maxProblems {
		p.problems = append(p.problems, problem)
	}
}

func (p *parser) problem(text, why string) {
	p.add(Problem{File: p.file.Name, Line: p.line, Text: text, Why: why, Kind: BadLine})
}

func (p *parser) readFile(f File) {
	p.file, p.line, p.blocks = f, 0, nil
	for line := range strings.Lines(f.Text) {
		p.line++
		p.parseLine(strings.TrimRight(line, "\r\n"))
	}
	for _, b := range p.blocks {
		p.add(Problem{File: b.file, Line: b.line, Text: b.text, Why: "an if without endif", Kind: BadLine})
		p.endBlock(b)
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
	word = strings.ReplaceAll(strings.ToLower(word), "-", "_")
	if word == "lang" { // texts in other languages
		language, line := cut(rest)
		if !strings.HasPrefix("en_us", strings.ToLower(language)) {
			return
		}
		word, rest = cut(line)
		word = strings.ToLower(word)
	}
	if p.condition(word, rest, text) {
		return
	}
	if p.skipping() {
		p.skipLine(word, rest)
		return
	}
	if why := p.directive(word, rest); why != "" {
		p.problem(text, why)
	}
}

// ruleWord says whether a word begins a rule.
func ruleWord(word string) (kind, bool) {
	switch word {
	case "header":
		return kindHeader, true
	case "body":
		return kindBody, true
	case "rawbody":
		return kindRaw, true
	case "uri":
		return kindURI, true
	case "full":
		return kindFull, true
	case "meta":
		return kindMeta, true
	case "mimeheader":
		return kindPart, true
	case "uri_detail":
		return kindDetail, true
	case "askdns":
		return kindDNS, true
	}
	return 0, false
}

// directive reads one line and gives the reason why it can't be used, or "".
func (p *parser) directive(word, rest string) string {
	name, value := cut(rest)
	if k, ok := ruleWord(word); ok {
		return p.rule(word, k, name, value)
	}
	switch word {
	case "score", "describe", "tflags", "priority":
		if !isRuleName(name) {
			return fmt.Sprintf("%q is not the name of a rule", name)
		}
		p.later = append(p.later, directive{word, name, value, p.file.Name, p.line, p.file.Foreign})
		return ""
	case "reuse":
		p.reused = append(p.reused, directive{word, name, value, p.file.Name, p.line, p.file.Foreign})
		return ""
	case "loadplugin", "tryplugin":
		p.load(name)
		return ""
	case "enable_compat":
		p.compat[name] = true
		return ""
	case "replace_tag", "replace_pre", "replace_inter", "replace_post", "replace_rules", "replace_start", "replace_end":
		return p.tags.set(word, name, value, rest)
	case "redirector_pattern":
		return p.redirector(rest)
	}
	if why, known := p.setting(word, rest); known {
		return why
	}
	return fmt.Sprintf("%q is no directive that is known here", word)
}

// load notes a plugin. The first line of a .pre file says that only those count that lines load.
func (p *parser) load(name string) {
	if p.loaded == nil {
		p.loaded = map[string]bool{}
		if !strings.HasSuffix(p.file.Name, ".pre") {
			for _, n := range standardPlugins() {
				p.loaded[n] = true
			}
		}
	}
	p.loaded[pluginName(name)] = true
}

// rule reads a rule.
func (p *parser) rule(word string, k kind, name, value string) string {
	if !isRuleName(name) {
		return fmt.Sprintf("%q is not the name of a rule: letters, digits and _ are", name)
	}
	if p.options.Taken[name] && !p.file.Foreign {
		p.add(Problem{File: p.file.Name, Line: p.line, Text: word + " " + name + " " + value, Rule: name, Taken: true, Kind: NameTaken,
			Why: "the rule is left out: a filter reports a symbol of that name; give the rule another one"})
		return ""
	}
	if len(p.set.rules) >= maxRules {
		return "too many rules"
	}
	r := &rule{name: name, kind: k, file: p.file.Name, line: p.line, foreign: p.file.Foreign, maxHits: 1}
	r.left = p.options.Taken[name]
	if err := p.readRule(r, value); err != nil {
		p.add(Problem{File: p.file.Name, Line: p.line, Text: word + " " + name + " " + value, Rule: name, Kind: BadLine, Why: "the rule is left out: " + err.Error()})
		return ""
	}
	p.set.put(r)
	return ""
}

func (s *Set) put(r *rule) {
	if old := s.byName[r.name]; old != nil {
		*old = *r
		return
	}
	s.byName[r.name] = r
	s.rules = append(s.rules, r)
}

func (p *parser) readRule(r *rule, value string) (err error) {
	switch r.kind {
	case kindMeta:
		r.meta, err = parseExpr(value)
		return err
	case kindPart:
		return r.readPart(value)
	case kindDetail:
		return r.readDetail(value)
	case kindDNS:
		return r.readDNS(value)
	}
	if call, ok := strings.CutPrefix(strings.TrimPrefix(value, "rbl"), "eval:"); ok {
		return p.readCall(r, call)
	}
	if r.kind == kindHeader {
		return r.readHeader(value)
	}
	return r.readPattern(value)
}

// readCall reads name(arg, "arg"). A function that is not known is no fault of the line.
func (p *parser) readCall(r *rule, call string) error {
	name, inner, ok := strings.Cut(call, "(")
	inner, closed := strings.CutSuffix(strings.TrimSpace(inner), ")")
	if !ok || !closed {
		return fmt.Errorf("want a function as name(...)")
	}
	args, err := readArgs(inner)
	if err != nil {
		return err
	}
	r.kind, r.function, r.args = kindEval, strings.TrimSpace(name), args
	p.set.config.NoteSet(r.function, args)
	if p.set.functions[r.function] == nil {
		r.broken = "the function " + r.function + " is not known here"
	}
	if r.function == "check_map" {
		r.broken = eval.MapArgs(args, func(name string) bool { return slices.Contains(p.options.Maps, name) })
	}
	return nil
}

// readArgs parts arguments at commas. They are quoted, or words.
func readArgs(text string) ([]string, error) {
	var args []string
	for text = strings.TrimSpace(text); text != ""; text = strings.TrimSpace(text) {
		if q := text[0]; q == '"' || q == '\'' {
			end := strings.IndexByte(text[1:], q)
			for end >= 0 { // the quote that a comma or the end follows is the last one
				rest := strings.TrimSpace(text[end+2:])
				if rest == "" || rest[0] == ',' {
					break
				}
				more := strings.IndexByte(text[end+2:], q)
				if more < 0 {
					end = -1
					break
				}
				end += more + 1
			}
			if end < 0 {
				return nil, fmt.Errorf("an argument is not closed")
			}
			args, text = append(args, text[1:end+1]), text[end+2:]
		} else {
			end := strings.IndexByte(text, ',')
			if end < 0 {
				end = len(text)
			}
			args, text = append(args, strings.TrimSpace(text[:end])), text[end:]
		}
		text = strings.TrimPrefix(strings.TrimSpace(text), ",")
	}
	return args, nil
}

// readHeader reads Header:mod =~ /re/ [if-unset: text], or exists:Header.
func (r *rule) readHeader(value string) error {
	if name, ok := strings.CutPrefix(value, "exists:"); ok {
		r.exists = true
		return r.readSpec(strings.TrimSuffix(strings.TrimSpace(name), ":"))
	}
	at := strings.Index(value, "=~")
	if n := strings.Index(value, "!~"); n >= 0 && (at < 0 || n < at) {
		at, r.negate = n, true
	}
	if at <= 0 {
		return fmt.Errorf("want =~ or !~ behind the name of a field")
	}
	name := strings.TrimSuffix(strings.TrimSpace(value[:at]), ":")
	if strings.ContainsAny(name, " \t") {
		return fmt.Errorf("%q is not the name of a field", name)
	}
	if err := r.readSpec(name); err != nil {
		return err
	}
	pattern := strings.TrimSpace(value[at+2:])
	if i := strings.LastIndex(pattern, "[if-unset:"); i > 0 && strings.HasSuffix(pattern, "]") {
		r.unset, r.hasUn = strings.TrimLeft(pattern[i+len("[if-unset:"):len(pattern)-1], " \t"), true
		pattern = strings.TrimSpace(pattern[:i])
	}
	return r.readPattern(pattern)
}

// readSpec reads the name of a field and its modifiers.
func (r *rule) readSpec(name string) error {
	spec, unknown := views.ParseSpec(name)
	if unknown != "" {
		return fmt.Errorf("the modifier :%s is not known", unknown)
	}
	r.spec = spec
	return nil
}

func isRuleName(name string) bool {
	if name == "" || len(name) > 128 || isDigit(name[0]) {
		return false
	}
	return runLength(name, "") == len(name)
}

// stripComment takes away what stands behind a # that no backslash escapes.
func stripComment(line string) string {
	if !strings.Contains(line, "#") {
		return line
	}
	for i := 0; i < len(line); i++ {
		if line[i] == '#' && (i == 0 || line[i-1] != '\\') {
			line = line[:i]
			break
		}
	}
	return strings.ReplaceAll(line, `\#`, "#")
}

func cut(text string) (word, rest string) {
	i := strings.IndexAny(text, " \t")
	if i < 0 {
		return text, ""
	}
	return text[:i], strings.TrimLeft(text[i:], " \t")
}
