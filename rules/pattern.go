package rules

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"postern/rules/perlre"
)

// readPattern reads /re/mods.
func (r *rule) readPattern(text string) error {
	expr, err := unwrap(text)
	if err != nil {
		return err
	}
	r.expr = expr
	for _, m := range template.FindAllStringSubmatch(expr, -1) {
		r.templates = append(r.templates, m[1])
	}
	if len(r.templates) > 0 { // what it is made of is known only with a message
		return nil
	}
	r.re, err = compileExpr(expr)
	return err
}

// template is the place of a captured value.
var template = regexp.MustCompile(`%\{([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*)\}`)

// compileExpr compiles an expression that has its modifiers in front, as unwrap gives it.
func compileExpr(expr string) (*perlre.Regexp, error) {
	var flags perlre.Flags
	if rest, ok := strings.CutPrefix(expr, "(?"); ok {
		if mods, body, ok := strings.Cut(rest, ")"); ok && strings.Trim(mods, "imsxn") == "" && mods != "" {
			known := map[rune]perlre.Flags{'i': perlre.IgnoreCase, 'm': perlre.MultiLine, 's': perlre.DotAll, 'x': perlre.Extended}
			all := true
			for _, m := range mods {
				flags |= known[m]
				all = all && known[m] != 0
			}
			if all {
				expr = body
			}
		}
	}
	re, err := perlre.Compile(expr, flags)
	if err != nil {
		return nil, fmt.Errorf("the expression can't be used: %w", err)
	}
	return re, nil
}

// unwrap takes the delimiters away and puts the modifiers in front.
func unwrap(text string) (string, error) {
	body, mods, end, ok := delimited(text)
	if !ok {
		return "", errors.New("want an expression as /.../ or m{...}")
	}
	if strings.ContainsFunc(mods, func(r rune) bool { return !strings.ContainsRune("imsxnoagupd", r) }) {
		return "", fmt.Errorf("the modifiers %q are not known", mods)
	}
	if !strings.ContainsRune(")}]", rune(end)) && unquoted(body, end) {
		return "", fmt.Errorf("%q stands unquoted in the expression", end)
	}
	if mods = strings.Map(func(r rune) rune {
		if strings.ContainsRune("imsxn", r) {
			return r
		}
		return -1
	}, mods); mods != "" {
		body = "(?" + mods + ")" + body
	}
	return body, nil
}

// delimited parts an expression from its delimiters and modifiers.
func delimited(text string) (body, mods string, end byte, ok bool) {
	rest := text
	if !strings.HasPrefix(text, "/") {
		if rest, ok = strings.CutPrefix(text, "m"); !ok {
			if rest, ok = strings.CutPrefix(text, "qr"); !ok {
				return "", "", 0, false
			}
		}
	}
	if len(rest) < 2 || isWord(rest[0]) || rest[0] == ' ' || rest[0] == '\\' {
		return "", "", 0, false
	}
	end, rest = rest[0], rest[1:]
	if i := strings.IndexByte("({[<", end); i >= 0 {
		end = ")}]>"[i]
	}
	last := len(rest)
	for last > 0 && rest[last-1] >= 'a' && rest[last-1] <= 'z' {
		last--
	}
	if last == 0 || rest[last-1] != end {
		return "", "", 0, false
	}
	return rest[:last-1], rest[last:], end, true
}

// unquoted says whether a delimiter stands in an expression without a backslash.
func unquoted(body string, delimiter byte) bool {
	for i := 0; i < len(body); i++ {
		switch body[i] {
		case '\\':
			i++
		case delimiter:
			return true
		}
	}
	return false
}

// replaceTags are the abbreviations of rules that fight obfuscation: <A> for all that looks like an A.
type replaceTags struct {
	tags, pre, inter, post map[string]string
	rules                  map[string]bool
	open, close            string
}

func (t *replaceTags) set(word, name, value, rest string) string {
	switch word {
	case "replace_rules":
		for r := range strings.FieldsSeq(rest) {
			t.rules[r] = true
		}
		return ""
	case "replace_start":
		t.open = rest
		return ""
	case "replace_end":
		t.close = rest
		return ""
	}
	if value == "" {
		return "want a name and what it stands for"
	}
	into := map[string]*map[string]string{"replace_tag": &t.tags, "replace_pre": &t.pre, "replace_inter": &t.inter, "replace_post": &t.post}[word]
	if *into == nil {
		*into = map[string]string{}
	}
	(*into)[name] = value
	return ""
}

// take removes <word NAME> from an expression and gives the name.
func (t *replaceTags) take(expr, word string) (rest, name string) {
	mark := t.open + word + " "
	i := strings.Index(expr, mark)
	if i < 0 {
		return expr, ""
	}
	end := strings.Index(expr[i+len(mark):], t.close)
	if end <= 0 {
		return expr, ""
	}
	name = expr[i+len(mark) : i+len(mark)+end]
	return expr[:i] + expr[i+len(mark)+end+len(t.close):], name
}

// splitTags parts an expression in tags and what is between them.
func splitTags(expr string) []string {
	var parts []string
	for {
		open := strings.IndexByte(expr, '<')
		for open >= 0 {
			end := strings.IndexAny(expr[open+1:], "<>")
			if end > 0 && expr[open+1+end] == '>' {
				parts = append(parts, expr[:open], expr[open:open+end+2])
				expr = expr[open+end+2:]
				break
			}
			next := strings.IndexByte(expr[open+1:], '<')
			if next < 0 {
				open = -1
				break
			}
			open += 1 + next
		}
		if open < 0 {
			break
		}
	}
	if expr != "" {
		parts = append(parts, expr)
	}
	return parts
}

// expand puts in what tags stand for, in up to six passes: tags may stand for tags.
func (t *replaceTags) expand(expr string) string {
	for range 6 {
		var pre, post, inter string
		expr, pre = t.take(expr, "pre")
		expr, post = t.take(expr, "post")
		expr, inter = t.take(expr, "inter")
		parts := splitTags(expr)
		again := false
		for i, part := range parts {
			if inter != "" && part == "" {
				parts[i] = t.inter[inter]
				continue
			}
			at := strings.Index(part, t.open)
			if at < 0 {
				continue
			}
			end := strings.Index(part[at+len(t.open):], t.close)
			if end < 1 {
				continue
			}
			name := part[at+len(t.open) : at+len(t.open)+end]
			tag := t.open + name + t.close
			with := tag
			if value, ok := t.tags[name]; ok && value != "" {
				with = value
				again = again || splitTags(value) != nil && strings.Contains(value, "<") && strings.Contains(value, ">")
			}
			parts[i] = strings.ReplaceAll(part, tag, t.pre[pre]+with+t.post[post])
		}
		expr = strings.Join(parts, "")
		if !again {
			break
		}
	}
	return expr
}

// replace expands the tags of the rules that ask for it.
func (p *parser) replace() {
	for name := range p.tags.rules {
		r := p.set.byName[name]
		if r == nil || r.expr == "" {
			continue
		}
		expanded := p.tags.expand(r.expr)
		if expanded == r.expr {
			continue
		}
		if len(r.templates) > 0 {
			r.expr = expanded
			continue
		}
		re, err := compileExpr(expanded)
		if err != nil {
			p.add(Problem{File: r.file, Line: r.line, Text: r.kind.String() + " " + name, Rule: name, Points: r.score, Kind: BadLine, Why: err.Error()})
			continue
		}
		r.expr, r.re = expanded, re
	}
}
