package rules

import "strings"

// AsksNetwork says whether there are rules that look names up, and that are run.
func (s *Set) AsksNetwork() bool { return s.asks }

// AsksFiles says whether there are rules that ask what attachments carry, and that are run.
func (s *Set) AsksFiles() bool { return s.files }

// Foreign says whether rules are run that were written for SpamAssassin: they ask for the way of a message.
func (s *Set) Foreign() bool { return s.foreign }

// looksUp says whether a rule looks names up.
func (r *rule) looksUp() bool {
	return r.kind == kindDNS || r.kind == kindEval && (strings.HasPrefix(r.function, "check_rbl") || r.function == "check_uridnsbl" || r.function == "check_dns_sender" || strings.HasPrefix(r.function, "check_hashbl"))
}

// Rehearse runs the rules that look names up, so that Input.Lists hears what they ask.
func (s *Set) Rehearse(in Input) {
	m := s.matcher(in)
	defer m.done()
	for _, r := range s.rules {
		if r.live && r.looksUp() {
			m.run(r)
		}
	}
}
