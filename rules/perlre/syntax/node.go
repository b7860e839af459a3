package syntax

// Op is what a node of the tree is.
type Op uint8

// The nodes.
const (
	OpEmpty   Op = iota // matches the empty string
	OpFail              // matches nothing
	OpSet               // one octet of Set
	OpConcat            // Sub, one behind the other
	OpAlt               // one of Sub, the first that leads to a match
	OpRepeat            // Sub[0], Min to Max times
	OpGroup             // Sub[0], captured as N
	OpAtomic            // Sub[0], the first way it matches only
	OpLook              // Sub[0] stands ahead, or behind; or does not
	OpBackref           // what group N matched, or the first set one of Refs
	OpAssert            // Assert
	OpKeep              // \K
	OpCond              // if Cond (or group N) then Sub[0] else Sub[1]
)

// Mode is how a repeat goes about its work.
type Mode uint8

// The ways to repeat.
const (
	Greedy Mode = iota
	Lazy
	Possessive
)

// Fold is for which letters case does not count.
type Fold uint8

// The ways to fold.
const (
	FoldNone Fold = iota
	FoldASCII
	FoldLatin // ISO 8859-1, as /aai does
)

// Assert is a condition on a place in the text.
type Assert uint8

// The assertions.
const (
	BeginText      Assert = iota // \A, and ^ without /m
	BeginLine                    // ^ with /m
	EndText                      // \z
	EndTextLine                  // \Z, and $ without /m: at the end, or before a last \n
	EndLine                      // $ with /m
	WordBoundary                 // \b
	NoWordBoundary               // \B
	LastMatch                    // \G
)

// Node is a part of an expression.
type Node struct {
	Op       Op
	Mode     Mode
	Assert   Assert
	Fold     Fold // OpBackref
	Negative bool // OpLook
	Behind   bool // OpLook
	Set      Set
	Min, Max int // OpRepeat; Max is Unlimited without a limit
	N        int
	Refs     []int // OpBackref by name: the groups of that name
	Cond     *Node // OpCond: an OpLook
	Sub      []*Node
}

// Unlimited is the Max of a repeat that has none.
const Unlimited = -1

// Tree is an expression that was read.
type Tree struct {
	Root   *Node
	Groups int              // capturing groups, without the whole match
	Names  map[string][]int // named groups
	// HasBackref says that what matches depends on what was matched before.
	HasBackref bool
	// Wide says that there are characters above 0xff, which stand for their octets in UTF-8 here.
	Wide bool
}

// Widths are the shortest and the longest text a node matches; Unlimited if there is no longest.
func (n *Node) Widths() (lo, hi int) {
	switch n.Op {
	case OpSet:
		return 1, 1
	case OpConcat:
		for _, s := range n.Sub {
			l, h := s.Widths()
			lo, hi = lo+l, plus(hi, h)
		}
		return lo, hi
	case OpAlt, OpCond:
		lo, hi = n.Sub[0].Widths()
		for _, s := range n.Sub[1:] {
			l, h := s.Widths()
			lo = min(lo, l)
			hi = wider(hi, h)
		}
		return lo, hi
	case OpRepeat:
		l, h := n.Sub[0].Widths()
		return min(l*n.Min, 1<<30), times(h, n.Max)
	case OpGroup, OpAtomic:
		return n.Sub[0].Widths()
	case OpBackref:
		return 0, Unlimited
	}
	return 0, 0
}

func plus(a, b int) int {
	if a == Unlimited || b == Unlimited {
		return Unlimited
	}
	return min(a+b, 1<<30)
}

func wider(a, b int) int {
	if a == Unlimited || b == Unlimited {
		return Unlimited
	}
	return max(a, b)
}

func times(width, n int) int {
	if width == 0 || n == 0 {
		return 0
	}
	if width == Unlimited || n == Unlimited {
		return Unlimited
	}
	return min(width*n, 1<<30)
}
