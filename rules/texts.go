package rules

import (
	"slices"

	"postern/rules/scan"
)

// texts are what the rules of a group look at, with what one pass over each says.
type texts struct {
	pieces []string
	found  []*scan.Found
	// again says of a piece that the same text stands before it: the two forms of a message say the same.
	again []bool
	// there says that a field is in the message.
	there bool
}

// pass looks once at each text.
func (t *texts) pass(s *scan.Set) {
	all := s.NewFounds(len(t.pieces))
	t.found = make([]*scan.Found, len(all))
	t.again = make([]bool, len(all))
	first := make(map[string]int, len(all))
	for i, p := range t.pieces {
		if at, ok := first[p]; ok {
			t.found[i], t.again[i] = t.found[at], true
			continue
		}
		first[p] = i
		s.Candidates(p, &all[i])
		t.found[i] = &all[i]
	}
}

// may says whether a rule may match one of the texts.
func (t *texts) may(r *rule) bool {
	return t.found == nil || r.group == nil || slices.ContainsFunc(t.found, func(f *scan.Found) bool { return f.May(r.index) })
}
