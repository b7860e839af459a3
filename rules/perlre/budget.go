package perlre

// Budget is how many steps matching may take, and the room it works in. It belongs to one goroutine.
type Budget struct {
	left int
	used int
	out  bool
	room machine
}

// NewBudget allows a number of steps; one takes some nanoseconds.
func NewBudget(steps int) *Budget { return &Budget{left: steps} }

// Reset allows a number of steps anew.
func (b *Budget) Reset(steps int) { b.left, b.used, b.out = steps, 0, false }

// Exhausted says that matching ended because no step was left: that nothing was found means nothing.
func (b *Budget) Exhausted() bool { return b.out }

// Used are the steps taken since the budget was made or reset.
func (b *Budget) Used() int { return b.used }

// maxText is how long a text may be; nobody has such a mail.
const maxText = 1 << 30

// RuleSteps is a budget for one rule on one text: a few milliseconds.
const RuleSteps = 1 << 18

// defaultSteps is the budget of whoever brings none.
const defaultSteps = 1 << 20

// machine makes the room ready for a text.
func (b *Budget) machine(p *program, text string, from int, notEmpty bool) *machine {
	m := &b.room
	m.prog, m.text, m.from = p, text, from
	m.steps, m.began = b.left, b.left
	m.noEmptyAt = -1
	if notEmpty {
		m.noEmptyAt = from
	}
	m.stack = m.stack[:0]
	m.depth, m.limit = 0, -1
	m.memo.reset()
	m.failed = sized(m.failed, 2*p.loops)
	for i := range m.failed {
		m.failed[i] = -1
	}
	m.slots = sized(m.slots, p.slots)
	m.caps = m.caps[:0]
	if p.captures {
		m.caps = sized(m.caps, 2*(p.groups+1))
		m.opened = sized(m.opened, p.groups+1)
	}
	return m
}

func sized(s []int, n int) []int {
	if cap(s) < n {
		return make([]int, n)
	}
	return s[:n]
}

// settle takes the steps of a run off.
func (b *Budget) settle(m *machine) {
	b.used += m.began - max(0, m.steps)
	b.left = m.steps
	if m.steps < 0 {
		b.out = true
	}
	m.text = ""
}

func (re *Regexp) find(text string, from int, notEmpty bool, b *Budget) (Match, bool) {
	if b == nil {
		b = NewBudget(defaultSteps)
	}
	if from < 0 || from > len(text) || b.out {
		return Match{}, false
	}
	if len(text) > maxText {
		b.out = true
		return Match{}, false
	}
	if !re.look.possible(text, from) {
		b.left -= (len(text)-from)/64 + 1
		b.used += (len(text)-from)/64 + 1
		return Match{}, false
	}
	re.aheadOnce.Do(func() { re.ahead = newAhead(re.prog) })
	m := b.machine(re.prog, text, from, notEmpty)
	defer b.settle(m)
	for at := from; ; at++ {
		next, looked := re.look.next(text, at)
		m.steps -= looked
		if next < 0 {
			m.steps -= (len(text) - at) / 16
			return Match{}, false
		}
		if m.steps -= (next-at)/16 + 1; m.steps < 0 {
			return Match{}, false
		}
		at = next
		if re.ahead != nil {
			may, read := re.ahead.may(text, at)
			if m.steps -= read/2 + 1; !may {
				continue
			}
		}
		end, ok := m.attempt(at)
		if !ok {
			continue
		}
		found := Match{Start: m.kept, End: end, re: re, text: text, begun: at, from: from, notEmpty: notEmpty}
		if re.prog.captures {
			found.caps = append([]int(nil), m.caps...)
		}
		return found, true
	}
}
