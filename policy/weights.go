package policy

import (
	"maps"
	"slices"

	"postern/filters"
)

// Weight is a symbol's score and action for incoming mail, where nothing particular applies to the recipient.
type Weight struct {
	Symbol string  `json:"symbol"`
	Score  float64 `json:"score"`
	// Action is the word that stands in [actions], "" for none.
	Action filters.Action `json:"action,omitempty"`
	Help   string         `json:"help,omitempty"`
}

// Weights are all symbols that there can be, by name.
func (p *Policy) Weights() []Weight {
	all := make([]Weight, 0, len(p.inbound.symbols))

	for _, name := range slices.Sorted(maps.Keys(p.inbound.symbols)) {
		s := p.inbound.symbols[name]
		all = append(all, Weight{Symbol: name, Score: float64(s.score) / 1000, Action: s.action(), Help: s.help})
	}

	return all
}

// Thresholds are those that hold where nothing particular does.
func (p *Policy) Thresholds() Thresholds { return p.inbound.required }

// ForReading is the policy for mail already in a mailbox. Symbols of form alone weigh nothing there: masking an old
// message needs evidence in its content.
func (p *Policy) ForReading() *Policy {
	reading := *p
	relax := func(s *scope) *scope {
		relaxed := *s
		relaxed.symbols = maps.Clone(s.symbols)

		for name, one := range relaxed.symbols {
			if one.form {
				one.score, one.does, one.forced = min(one.score, 0), nil, Accept
				relaxed.symbols[name] = one
			}
		}

		return &relaxed
	}
	each := func(scopes map[string]*scope) map[string]*scope {
		all := maps.Clone(scopes)
		for name, s := range all {
			all[name] = relax(s)
		}
		return all
	}

	reading.inbound, reading.outbound = relax(p.inbound), relax(p.outbound)
	reading.domains, reading.groups, reading.recipients = each(p.domains), each(p.groups), each(p.recipients)

	return &reading
}
