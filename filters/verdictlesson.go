package filters

import "postern/internal/mail"

// A verdict must not feed on itself. What a filter learns of it is what the verdict would have been without that filter, as
// far as the default scores tell: bad is learned only if the others' findings make up at least half of the score, good
// only if without the filter's share the score is below unsure. A message whose only reasons are the filter's own teaches
// it nothing.
const unsure = 2

// VerdictLesson is what the verdicts on a message teach a filter whose own findings have added this much to the score: the
// mean over the recipients, from 0 to 1.
func VerdictLesson(judged []Decision, own float64) (bad, good float64) {
	for _, j := range judged {
		others := j.Score - own
		share := 0.0
		switch j.Disposition {
		case mail.Reject, mail.Quarantine:
			share = 1
		case mail.Tag:
			share = 0.5
		case mail.Accept:
			if others < unsure {
				good++
			}
			continue
		case mail.Defer: // nothing is known yet
			continue
		}
		if others >= j.Score/2 {
			bad += share
		}
	}
	n := float64(max(len(judged), 1))

	return bad / n, good / n
}
