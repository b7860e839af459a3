package perlre

import (
	"errors"

	"postern/rules/perlre/syntax"
)

// opcode is what an instruction does.
type opcode uint8

const (
	opMatch   opcode = iota
	opFail           // go back
	opSet            // one octet of set
	opString         // the octets of text
	opFold           // the octets of text, case not counting
	opSplit          // go on at x; if that fails, at y
	opRepeat         // min to max octets of set
	opAssert         // assert
	opSubEnd         // the end of a look-around or an atomic group
	opNear           // the octet ahead or behind is of set, or is not
	opLook           // y matches ahead or behind, or does not
	opAtomic         // y matches, the first way only
	opOpen           // group n begins
	opClose          // group n ends
	opBackref        // what group n matched
	opKeep           // the match begins here
	opCond           // group n took part: x, otherwise y
	opMark           // note the place in slot n
	opMoved          // if the place is not that of slot n: y, otherwise x
	opCount          // set the counter in slot n to 0
	opCounter        // once more at y, or on at x
	opTurn           // count the counter in slot n up
	opSwitch         // go on where the next octet leads, one of ways
)

// inst is one instruction. x is the next one.
type inst struct {
	op               opcode
	mode             syntax.Mode
	assert           syntax.Assert
	negative, behind bool
	fold             syntax.Fold
	x, y             int32
	n                int32 // group or slot
	memo             int32 // number among those worth remembering
	counter          int32 // slot of the counter that counts here, -1 for none
	min, max         int32
	refs             *[]int
	text             string
	set              *syntax.Set
	// firstX and firstY are what octets can stand next for a match at x or y, nil if that is not known.
	firstX, firstY *syntax.Set
	ways           *ways
}

// ways are where a switch goes.
type ways struct {
	by   [256]uint8 // for each octet, the number of the way in to
	to   []int32
	last int32 // the way at the end of the text
}

// program is an expression as instructions.
type program struct {
	insts    []inst
	start    int32
	captures bool
	groups   int
	slots    int
	loops    int // opRepeats
	memos    int
	// begin are the octets that can stand first in a match, nil if that is not known.
	begin *syntax.Set
	// pure says that what follows an instruction depends on the place in the text only.
	pure bool
}

// Limits of programs.
const (
	maxInsts  = 50000
	maxExpand = 300 // instructions that a counted repeat may be written out to
	// What has no counter can be remembered, so that few turns of much are worth more instructions.
	maxExpandPure = 20000
	fewTimes      = 8
)

var errTooLarge = errors.New("the expression is too large")

// compiler writes a program from its end to its start: each instruction is told what follows it.
type compiler struct {
	program
	choices []choice
	counter int32 // slot of the counted repeat at work, -1 for none
}

func compile(t *syntax.Tree, captures bool) (*program, error) {
	c := &compiler{program: program{captures: captures, groups: t.Groups, pure: !t.HasBackref}, counter: -1}
	end := c.add(inst{op: opMatch})
	start, err := c.node(t.Root, end)
	if err != nil {
		return nil, err
	}
	c.start = start
	c.firsts()
	return &c.program, nil
}

func (c *compiler) add(in inst) int32 {
	if in.op != opCounter {
		in.counter = c.counter
	}
	switch in.op {
	case opSplit, opRepeat, opCounter:
		in.memo = int32(c.memos)
		c.memos++
	}
	if in.op == opRepeat {
		in.n = int32(c.loops)
		c.loops++
	}
	c.insts = append(c.insts, in)
	return int32(len(c.insts) - 1)
}

// references are the groups of a name.
func references(n *syntax.Node) *[]int {
	if n.Refs == nil {
		return nil
	}
	return &n.Refs
}

func (c *compiler) slot() int32 {
	c.slots++
	return int32(c.slots - 1)
}

// node writes a node that goes on at next.
func (c *compiler) node(n *syntax.Node, next int32) (int32, error) {
	if len(c.insts) > maxInsts {
		return 0, errTooLarge
	}
	switch n.Op {
	case syntax.OpEmpty:
		return next, nil
	case syntax.OpSet:
		return c.add(inst{op: opSet, set: &n.Set, x: next}), nil
	case syntax.OpConcat:
		return c.sequence(n.Sub, next)
	case syntax.OpAlt:
		return c.choice(n.Sub, next)
	case syntax.OpRepeat:
		return c.repeat(n, next)
	case syntax.OpGroup:
		return c.group(n, next)
	case syntax.OpAtomic, syntax.OpLook:
		return c.sub(n, next)
	case syntax.OpBackref:
		return c.add(inst{op: opBackref, n: int32(n.N), refs: references(n), fold: n.Fold, x: next}), nil
	case syntax.OpAssert:
		return c.add(inst{op: opAssert, assert: n.Assert, x: next}), nil
	case syntax.OpKeep:
		return c.add(inst{op: opKeep, x: next}), nil
	case syntax.OpCond:
		return c.condition(n, next)
	}
	return c.add(inst{op: opFail}), nil
}

// sequence writes runs of single letters as strings.
func (c *compiler) sequence(all []*syntax.Node, next int32) (int32, error) {
	for i := len(all); i > 0; {
		if text, fold, from := literal(all[:i]); len(text) > 1 {
			op := opString
			if fold {
				op = opFold
			}
			next = c.add(inst{op: op, text: text, x: next})
			i = from
			continue
		}
		i--
		var err error
		if next, err = c.node(all[i], next); err != nil {
			return 0, err
		}
	}
	return next, nil
}

// literal gives the text that the last nodes spell, lower case if case does not count, and where it begins.
func literal(all []*syntax.Node) (text string, fold bool, from int) {
	var b []byte
	decided := false
	for from = len(all); from > 0; from-- {
		n := all[from-1]
		if n.Op != syntax.OpSet {
			break
		}
		c, folds, ok := letter(n.Set)
		if !ok {
			break
		}
		if folds || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' {
			if decided && fold != folds {
				break
			}
			decided, fold = true, folds
		}
		b = append(b, c)
	}
	for i, j := 0, len(b)-1; i < j; i, j = i+1, j-1 {
		b[i], b[j] = b[j], b[i]
	}
	return string(b), fold, from
}

// letter gives the one octet of a set, in lower case if the set has both cases of a letter.
func letter(s syntax.Set) (c byte, folds, ok bool) {
	switch s.Len() {
	case 1:
		return s.Min(), false, true
	case 2:
		c := s.Min()
		if c >= 'A' && c <= 'Z' && s.Has(c+32) {
			return c + 32, true, true
		}
	}
	return 0, false, false
}

func (c *compiler) choice(all []*syntax.Node, next int32) (int32, error) {
	ways := make([]int32, len(all))
	var entry int32
	for i := len(all) - 1; i >= 0; i-- {
		x, err := c.node(all[i], next)
		if err != nil {
			return 0, err
		}
		ways[i] = x
		if i == len(all)-1 {
			entry = x
			continue
		}
		entry = c.add(inst{op: opSplit, x: x, y: entry})
	}
	if len(all) >= minSwitch {
		c.choices = append(c.choices, choice{entry, ways, c.counter})
	}
	return entry, nil
}

func (c *compiler) group(n *syntax.Node, next int32) (int32, error) {
	if !c.captures {
		return c.node(n.Sub[0], next)
	}
	entry, err := c.node(n.Sub[0], c.add(inst{op: opClose, n: int32(n.N), x: next}))
	if err != nil {
		return 0, err
	}
	return c.add(inst{op: opOpen, n: int32(n.N), x: entry}), nil
}

// sub writes look-arounds and atomic groups, which run by themselves.
func (c *compiler) sub(n *syntax.Node, next int32) (int32, error) {
	if n.Op == syntax.OpLook && n.Sub[0].Op == syntax.OpSet {
		return c.add(inst{op: opNear, set: &n.Sub[0].Set, negative: n.Negative, behind: n.Behind, x: next}), nil
	}
	entry, err := c.node(n.Sub[0], c.add(inst{op: opSubEnd}))
	if err != nil {
		return 0, err
	}
	if n.Op == syntax.OpAtomic {
		return c.add(inst{op: opAtomic, y: entry, x: next}), nil
	}
	in := inst{op: opLook, negative: n.Negative, behind: n.Behind, y: entry, x: next}
	if n.Behind {
		lo, hi := n.Sub[0].Widths()
		in.min, in.max = int32(lo), int32(hi)
	}
	return c.add(in), nil
}

func (c *compiler) condition(n *syntax.Node, next int32) (int32, error) {
	yes, err := c.node(n.Sub[0], next)
	if err != nil {
		return 0, err
	}
	no, err := c.node(n.Sub[1], next)
	if err != nil {
		return 0, err
	}
	if n.Cond == nil {
		return c.add(inst{op: opCond, n: int32(n.N), refs: references(n), x: yes, y: no}), nil
	}
	// Each branch behind its own form of the look-around: only one of them can hold.
	is, not := *n.Cond, *n.Cond
	not.Negative = !is.Negative
	if yes, err = c.sub(&is, yes); err != nil {
		return 0, err
	}
	if no, err = c.sub(&not, no); err != nil {
		return 0, err
	}
	return c.add(inst{op: opSplit, x: yes, y: no}), nil
}
