package rules

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// expr is the expression of a meta. Its value is Perl's: && and || give one of their operands.
type expr struct {
	op    string // "num", "name", "!", "neg" or the operator
	num   float64
	name  string
	left  *expr
	right *expr
}

const maxExprDepth = 60

func parseExpr(text string) (*expr, error) {
	p := &exprParser{rest: text}
	e, err := p.binary(0, 0)
	if err == nil && p.skip() != "" {
		err = fmt.Errorf("can't read the expression from %q on", p.rest)
	}
	return e, err
}

type exprParser struct{ rest string }

func (p *exprParser) skip() string {
	p.rest = strings.TrimLeft(p.rest, " \t")
	return p.rest
}

// operators by how tightly they bind.
func operators(level int) []string {
	switch level {
	case 0:
		return []string{"||"}
	case 1:
		return []string{"&&"}
	case 2:
		return []string{"==", "!=", "<=", ">=", "<", ">"}
	case 3:
		return []string{"+", "-"}
	case 4:
		return []string{"*", "/"}
	}
	return nil
}

func (p *exprParser) binary(level, depth int) (*expr, error) {
	if operators(level) == nil {
		return p.unary(depth)
	}
	left, err := p.binary(level+1, depth)
	if err != nil {
		return nil, err
	}
	for terms := 0; ; terms++ {
		if terms > 2000 {
			return nil, errors.New("the expression is too long")
		}
		op := p.operator(level)
		if op == "" {
			return left, nil
		}
		right, err := p.binary(level+1, depth)
		if err != nil {
			return nil, err
		}
		left = &expr{op: op, left: left, right: right}
	}
}

func (p *exprParser) operator(level int) string {
	p.skip()
	for _, op := range operators(level) {
		if strings.HasPrefix(p.rest, op) {
			p.rest = p.rest[len(op):]
			return op
		}
	}
	return ""
}

func (p *exprParser) unary(depth int) (*expr, error) {
	if depth > maxExprDepth {
		return nil, errors.New("the expression is nested too deep")
	}

	text := p.skip()
	if text == "" {
		return nil, errors.New("the expression ends too early")
	}
	switch text[0] {
	case '!':
		return p.negated("!", depth)
	case '-':
		return p.negated("neg", depth)
	case '(':
		return p.group(depth)
	}

	return p.operand(text)
}

func (p *exprParser) negated(op string, depth int) (*expr, error) {
	p.rest = p.rest[1:]
	e, err := p.unary(depth + 1)

	return &expr{op: op, left: e}, err
}

// group reads what stands in parentheses.
func (p *exprParser) group(depth int) (*expr, error) {
	p.rest = p.rest[1:]
	e, err := p.binary(0, depth+1)
	if err != nil {
		return e, err
	}
	if !strings.HasPrefix(p.skip(), ")") {
		return e, errors.New("a ) is missing")
	}
	p.rest = p.rest[1:]

	return e, nil
}

// operand reads a number or the name of a rule.
func (p *exprParser) operand(text string) (*expr, error) {
	n := 0
	for n < len(text) && (isWord(text[n]) || text[n] == '.') {
		n++
	}
	word := text[:n]
	p.rest = text[n:]

	if word != "" && (word[0] >= '0' && word[0] <= '9' || word[0] == '.') {
		f, err := strconv.ParseFloat(word, 64)
		return &expr{op: "num", num: f}, err
	}
	if !isRuleName(word) {
		return nil, fmt.Errorf("can't read the expression from %q on", text)
	}

	return &expr{op: "name", name: word}, nil
}

func isWord(c byte) bool {
	return c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_'
}

// names are the rules that the expression needs.
func (e *expr) names() []string {
	var all []string
	seen := map[string]bool{}
	e.visit(func(x *expr) {
		if x.op == "name" && !seen[x.name] {
			seen[x.name] = true
			all = append(all, x.name)
		}
	})
	return all
}

func (e *expr) visit(f func(*expr)) {
	for ; e != nil; e = e.left { // long sums lean to the left
		f(e)
		if e.right != nil {
			e.right.visit(f)
		}
	}
}

func (e *expr) value(of func(string) float64) float64 {
	switch e.op {
	case "num":
		return e.num
	case "name":
		return of(e.name)
	case "!":
		return truth(e.left.value(of) == 0)
	case "neg":
		return -e.left.value(of)
	}
	l := e.left.value(of)
	switch e.op {
	case "&&":
		if l == 0 {
			return l
		}
		return e.right.value(of)
	case "||":
		if l != 0 {
			return l
		}
		return e.right.value(of)
	}
	return arithmetic(e.op, l, e.right.value(of))
}

func arithmetic(op string, l, r float64) float64 {
	switch op {
	case "+":
		return l + r
	case "-":
		return l - r
	case "*":
		return l * r
	case "/":
		if r == 0 {
			return 0
		}
		return l / r
	case "==":
		return truth(l == r)
	case "!=":
		return truth(l != r)
	case "<":
		return truth(l < r)
	case ">":
		return truth(l > r)
	case "<=":
		return truth(l <= r)
	}
	return truth(l >= r)
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// evalCondition decides an if. There are no plugins and no optional features here, and the version is 4.
func evalCondition(text string) (bool, error) {
	var b strings.Builder
	for text != "" {
		i := strings.IndexAny(text, "pcv(")
		if i < 0 {
			b.WriteString(text)
			break
		}
		b.WriteString(text[:i])
		text = text[i:]
		rest, isCall := strings.CutPrefix(text, "plugin")
		if !isCall {
			rest, isCall = strings.CutPrefix(text, "can")
		}
		rest = strings.TrimLeft(rest, " \t")
		end := strings.IndexByte(rest, ')')
		switch {
		case isCall && strings.HasPrefix(rest, "(") && end > 0:
			b.WriteString("0")
			text = rest[end+1:]
		case strings.HasPrefix(text, "version"):
			b.WriteString("4.000000")
			text = text[len("version"):]
		default:
			b.WriteByte(text[0])
			text = text[1:]
		}
	}
	e, err := parseExpr(b.String())
	if err != nil {
		return false, fmt.Errorf("can't read the condition: its lines are left out: %w", err)
	}
	return e.value(func(string) float64 { return 0 }) != 0, nil
}

// breakCycles takes out metas that need themselves.
func (p *parser) breakCycles() {
	const (
		open = 1
		done = 2
	)
	state := map[string]int{}
	bad := map[string]bool{}
	var visit func(r *rule, depth int)
	visit = func(r *rule, depth int) {
		state[r.name] = open
		for _, name := range r.meta.names() {
			other := p.set.byName[name]
			if other == nil || other.kind != kindMeta {
				continue
			}
			if state[name] == open || depth > 1000 {
				bad[r.name] = true
			} else if state[name] == 0 {
				visit(other, depth+1)
			}
		}
		state[r.name] = done
	}
	for _, r := range p.set.rules {
		if r.kind == kindMeta && state[r.name] == 0 {
			visit(r, 0)
		}
	}
	kept := p.set.rules[:0]
	for _, r := range p.set.rules {
		if bad[r.name] {
			p.file, p.line = r.file, r.line
			p.problem("meta "+r.name, "the rule is left out: it needs itself")
			delete(p.set.byName, r.name)
			continue
		}
		kept = append(kept, r)
	}
	p.set.rules = kept
}
