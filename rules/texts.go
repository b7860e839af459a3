package rules

import "postern/rules/scan"

// texts are what the rules of a group look at, with what one pass over each says.
type texts struct {
	pieces []string
	found  []*scan.Found
	// again says of a piece that the same text stands before it: the two forms of a message say the same.
	again []bool
	// any is what may be in one of them at least, nil if nobody looked.
	any *scan.Found
	// there says that a field is in the message.
	there bool
}

// pass looks once at each text.
func (t *texts) pass(s *scan.Set) {
	all := s.NewFounds(len(t.pieces))
	t.found = make([]*scan.Found, len(all))
	t.again = make([]bool, len(all))
	first := make(map[string]int, len(all))
	texts, found := make([]string, 0, len(all)), make([]*scan.Found, 0, len(all))
	for i, p := range t.pieces {
		if at, ok := first[p]; ok {
			t.found[i], t.again[i] = t.found[at], true
			continue
		}
		first[p] = i
		t.found[i] = &all[i]
		texts, found = append(texts, p), append(found, &all[i])
	}
	s.CandidatesOf(texts, found)
	t.any = s.NewFound()
	for _, f := range found {
		t.any.Join(f)
	}
}

// may says whether a rule may match one of the texts.
func (t *texts) may(r *rule) bool { return t.any == nil || !r.joined || t.any.May(r.index) }
