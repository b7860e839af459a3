package rules

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// expr is the expression of a meta. Its value is Perl's: && and || give one of their operands.
type expr struct {
	op    string // "num", "name", "!", "neg", "?" or the operator
	num   float64
	name  string
	left  *expr
	right *expr
	third *expr // of ?:
	// rule is the one of the name, once it is known.
	rule *rule
}

const maxExprDepth = 100

func parseExpr(text string) (*expr, error) {
	p := &exprParser{rest: text}
	e, err := p.choice(0)
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

// operators by how tightly they bind in Perl.
func operators(level int) []string {
	switch level {
	case 0:
		return []string{"||"}
	case 1:
		return []string{"&&"}
	case 2:
		return []string{"^", "|"}
	case 3:
		return []string{"&"}
	case 4:
		return []string{"==", "!="}
	case 5:
		return []string{"<=", ">=", "<", ">"}
	case 6:
		return []string{"+", "-"}
	case 7:
		return []string{"*", "/"}
	}
	return nil
}

// choice reads an expression with ?: or without.
func (p *exprParser) choice(depth int) (*expr, error) {
	if depth > maxExprDepth {
		return nil, errors.New("the expression is nested too deep")
	}
	e, err := p.binary(0, depth)
	if err != nil || !strings.HasPrefix(p.skip(), "?") {
		return e, err
	}
	p.rest = p.rest[1:]
	yes, err := p.choice(depth + 1)
	if err != nil {
		return nil, err
	}
	if !strings.HasPrefix(p.skip(), ":") {
		return nil, errors.New("a : is missing")
	}
	p.rest = p.rest[1:]
	no, err := p.choice(depth + 1)
	return &expr{op: "?", left: e, right: yes, third: no}, err
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
		if !strings.HasPrefix(p.rest, op) {
			continue
		}
		if bitwise := op == "|" || op == "&"; bitwise && strings.HasPrefix(p.rest, op+op) {
			continue
		}
		p.rest = p.rest[len(op):]
		return op
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
	case '+':
		p.rest = p.rest[1:]
		return p.unary(depth + 1)
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

// group reads what stands in parentheses. Nothing in them is 0.
func (p *exprParser) group(depth int) (*expr, error) {
	p.rest = p.rest[1:]
	if strings.HasPrefix(p.skip(), ")") {
		p.rest = p.rest[1:]
		return &expr{op: "num"}, nil
	}
	e, err := p.choice(depth + 1)
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
	n := runLength(text, ".")
	word := text[:n]
	p.rest = text[n:]

	if word != "" && (isDigit(word[0]) || word[0] == '.') {
		f, err := strconv.ParseFloat(word, 64)
		return &expr{op: "num", num: f}, err
	}
	if word == "rules_matching" {
		pattern, rest, ok := parenthesised(p.skip())
		if !ok {
			return nil, errors.New("want rules_matching(PATTERN)")
		}
		p.rest = rest
		return &expr{op: "matching", name: pattern}, nil
	}
	if !isRuleName(word) {
		return nil, fmt.Errorf("can't read the expression from %q on", text)
	}

	return &expr{op: "name", name: word}, nil
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

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
		if e.third != nil {
			e.third.visit(f)
		}
	}
}

// asks says whether the expression may hold because a rule does not: it stands under a "not" or in a comparison.
func (e *expr) asksNot(name string, not bool) bool {
	if e == nil {
		return false
	}
	left, right := not, not
	switch e.op {
	case "name":
		return not && e.name == name
	case "!":
		left, right = !not, true
	case "<", "<=", "==", "!=", "-", "^", "?", "neg":
		left, right = true, true
	case ">", ">=":
		right = true
	}
	return e.left.asksNot(name, left) || e.right.asksNot(name, right) || e.third.asksNot(name, not)
}

func (e *expr) value(of func(*expr) float64) float64 {
	switch e.op {
	case "num":
		return e.num
	case "name":
		return of(e)
	case "!":
		return truth(e.left.value(of) == 0)
	case "neg":
		return -e.left.value(of)
	}
	return e.joined(e.left.value(of), of)
}

// joined is the value of an operation whose left side is known. The others are worked out only if they are needed.
func (e *expr) joined(l float64, of func(*expr) float64) float64 {
	switch e.op {
	case "?":
		if l != 0 {
			return e.right.value(of)
		}
		return e.third.value(of)
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
	case "^":
		return float64(int64(l) ^ int64(r))
	case "&":
		return float64(int64(l) & int64(r))
	case "|":
		return float64(int64(l) | int64(r))
	}
	return truth(compare(op, l, r))
}

func compare(op string, l, r float64) bool {
	switch op {
	case "==":
		return l == r
	case "!=":
		return l != r
	case "<":
		return l < r
	case ">":
		return l > r
	case "<=":
		return l <= r
	}
	return l >= r
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
