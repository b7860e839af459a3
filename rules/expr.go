package rules

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// operation is what an expression does.
type operation uint8

const (
	opNumber operation = iota
	opName
	opMatching // the rules whose names match, until these are known
	opNot
	opMinus
	opChoice // ?:
	opAnd
	opOr
	opPlus
	opLess
	opTimes
	opOver
	opXor
	opBitAnd
	opBitOr
	opEqual
	opUnequal
	opBelow
	opAbove
	opAtMost
	opAtLeast
)

// expr is the expression of a meta. Its value is Perl's: && and || give one of their operands.
type expr struct {
	op    operation
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

// operator is how an operation is written.
type operator struct {
	text string
	op   operation
}

// operators by how tightly they bind in Perl.
func operators(level int) []operator {
	switch level {
	case 0:
		return []operator{{"||", opOr}}
	case 1:
		return []operator{{"&&", opAnd}}
	case 2:
		return []operator{{"^", opXor}, {"|", opBitOr}}
	case 3:
		return []operator{{"&", opBitAnd}}
	case 4:
		return []operator{{"==", opEqual}, {"!=", opUnequal}}
	case 5:
		return []operator{{"<=", opAtMost}, {">=", opAtLeast}, {"<", opBelow}, {">", opAbove}}
	case 6:
		return []operator{{"+", opPlus}, {"-", opLess}}
	case 7:
		return []operator{{"*", opTimes}, {"/", opOver}}
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
	return &expr{op: opChoice, left: e, right: yes, third: no}, err
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
		op, ok := p.operator(level)
		if !ok {
			return left, nil
		}
		right, err := p.binary(level+1, depth)
		if err != nil {
			return nil, err
		}
		left = &expr{op: op, left: left, right: right}
	}
}

func (p *exprParser) operator(level int) (operation, bool) {
	p.skip()
	for _, o := range operators(level) {
		if !strings.HasPrefix(p.rest, o.text) {
			continue
		}
		if bitwise := o.op == opBitOr || o.op == opBitAnd; bitwise && strings.HasPrefix(p.rest, o.text+o.text) {
			continue
		}
		p.rest = p.rest[len(o.text):]
		return o.op, true
	}
	return 0, false
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
		return p.negated(opNot, depth)
	case '-':
		return p.negated(opMinus, depth)
	case '+':
		p.rest = p.rest[1:]
		return p.unary(depth + 1)
	case '(':
		return p.group(depth)
	}

	return p.operand(text)
}

func (p *exprParser) negated(op operation, depth int) (*expr, error) {
	p.rest = p.rest[1:]
	e, err := p.unary(depth + 1)

	return &expr{op: op, left: e}, err
}

// group reads what stands in parentheses. Nothing in them is 0.
func (p *exprParser) group(depth int) (*expr, error) {
	p.rest = p.rest[1:]
	if strings.HasPrefix(p.skip(), ")") {
		p.rest = p.rest[1:]
		return &expr{op: opNumber}, nil
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
		return &expr{op: opNumber, num: f}, err
	}
	if word == "rules_matching" {
		pattern, rest, ok := parenthesised(p.skip())
		if !ok {
			return nil, errors.New("want rules_matching(PATTERN)")
		}
		p.rest = rest
		return &expr{op: opMatching, name: pattern}, nil
	}
	if !isRuleName(word) {
		return nil, fmt.Errorf("can't read the expression from %q on", text)
	}

	return &expr{op: opName, name: word}, nil
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
		if x.op == opName && !seen[x.name] {
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
	case opName:
		return not && e.name == name
	case opNot:
		left, right = !not, true
	case opBelow, opAtMost, opEqual, opUnequal, opLess, opXor, opChoice, opMinus:
		left, right = true, true
	case opAbove, opAtLeast:
		right = true
	}
	return e.left.asksNot(name, left) || e.right.asksNot(name, right) || e.third.asksNot(name, not)
}

func (e *expr) value(of func(*expr) float64) float64 {
	switch e.op {
	case opNumber:
		return e.num
	case opName:
		return of(e)
	case opNot:
		return truth(e.left.value(of) == 0)
	case opMinus:
		return -e.left.value(of)
	}
	return e.joined(e.left.value(of), of)
}

// joined is the value of an operation whose left side is known. The others are worked out only if they are needed.
func (e *expr) joined(l float64, of func(*expr) float64) float64 {
	switch e.op {
	case opChoice:
		if l != 0 {
			return e.right.value(of)
		}
		return e.third.value(of)
	case opAnd:
		if l == 0 {
			return l
		}
		return e.right.value(of)
	case opOr:
		if l != 0 {
			return l
		}
		return e.right.value(of)
	}
	return arithmetic(e.op, l, e.right.value(of))
}

func arithmetic(op operation, l, r float64) float64 {
	switch op {
	case opPlus:
		return l + r
	case opLess:
		return l - r
	case opTimes:
		return l * r
	case opOver:
		if r == 0 {
			return 0
		}
		return l / r
	case opXor:
		return float64(int64(l) ^ int64(r))
	case opBitAnd:
		return float64(int64(l) & int64(r))
	case opBitOr:
		return float64(int64(l) | int64(r))
	}
	return truth(compare(op, l, r))
}

func compare(op operation, l, r float64) bool {
	switch op {
	case opEqual:
		return l == r
	case opUnequal:
		return l != r
	case opBelow:
		return l < r
	case opAbove:
		return l > r
	case opAtMost:
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
