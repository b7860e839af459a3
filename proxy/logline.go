package proxy

import (
	"slices"
	"strings"

	"postern/internal/mail"
	"postern/policy"
	"postern/policy/records/ledger"
)

// logReasons is how many symbols the log line of a message names.
const logReasons = 5

// logMessage writes the one line of a transaction, for grep and for programs that read logs. Its keys and their order are
// documented and do not change; new ones come last. Text from outside is escaped by the log.
func (x *Transaction) logMessage(rec *ledger.Transaction) {
	s := x.tx.Session
	verdict, score := policy.Accept, 0.0
	var fates []string
	for i, r := range rec.Recipients {
		verdict = max(verdict, r.Disposition)
		if i == 0 || r.Score > score {
			score = r.Score
		}
		if !slices.Contains(fates, string(r.Fate)) {
			fates = append(fates, string(r.Fate))
		}
	}
	if len(fates) == 0 {
		fates = []string{string(x.withoutRecipients())}
	}

	x.g.Log.Info("message", "id", rec.ID, "client", s.Client.String(), "helo", s.Helo, "from", rec.From, "to", len(rec.Recipients), "size", rec.Size,
		"verdict", verdict.String(), "score", score, "reasons", heaviest(rec.Findings), "fate", strings.Join(fates, ","),
		"ms", x.g.Now().Sub(x.started).Milliseconds(), "door", s.Door, "user", s.User, "reply", rec.Reply)
}

// withoutRecipients is the fate of a transaction that never had one.
func (x *Transaction) withoutRecipients() ledger.Word {
	switch {
	case x.answered == nil || x.answered.Positive():
		return ledger.Abandoned
	case x.answered.Permanent():
		return ledger.Refused
	}
	return ledger.Deferred
}

// heaviest names the symbols that weighed most.
func heaviest(reasons []policy.Reason) string {
	sorted := slices.Clone(reasons)
	slices.SortStableFunc(sorted, func(a, b policy.Reason) int {
		switch {
		case a.Score > b.Score:
			return -1
		case a.Score < b.Score:
			return 1
		}
		return 0
	})
	var names []string
	for _, r := range sorted[:min(len(sorted), logReasons)] {
		names = append(names, r.Symbol)
	}
	return strings.Join(names, ",")
}

// logRefusal writes the line of a refusal before the message: stage is mail or rcpt.
func (x *Transaction) logRefusal(stage, to string, r mail.Reply) {
	if r.Positive() {
		return
	}
	s := x.tx.Session
	x.g.Log.Info("refused", "id", x.tx.ID, "client", s.Client.String(), "helo", s.Helo, "from", x.tx.From.String(), "stage", stage, "to", to,
		"reply", r.String(), "door", s.Door, "user", s.User)
}
