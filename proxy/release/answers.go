package release

import (
	"cmp"
	"context"
	"errors"
	"time"

	"postern/internal/mail"
	"postern/policy/records/ledger"
)

// answerWait is how long one waits to hear what the next hop says to released mail, answerLook how often one looks.
const (
	answerWait = 8 * time.Second
	answerLook = 100 * time.Millisecond
)

// Answers waits for what becomes of a queue item, for all its recipients, but not for long.
func Answers(ctx context.Context, l *ledger.Ledger, item string, recipients []mail.Recipient) []Answer {
	ctx, cancel := context.WithTimeout(ctx, answerWait)
	defer cancel()
	all := make([]Answer, len(recipients))
	for {
		fates, err := l.Fates(ctx, ledger.MessageOf(item))
		known := 0
		for i, r := range recipients {
			all[i].Recipient = r.Address.String()
			for _, f := range fates {
				if f.Item == item && f.Recipient == all[i].Recipient && f.Word != ledger.Released {
					all[i].Fate, all[i].Reply = f.Word, f.Reply
				}
			}
			if all[i].Fate != "" {
				known++
			}
		}
		if known == len(recipients) || err != nil && !errors.Is(err, ledger.ErrAway) {
			return told(all)
		}
		select {
		case <-ctx.Done():
			return told(all)
		case <-time.After(answerLook):
		}
	}
}

func told(all []Answer) []Answer {
	for i := range all {
		all[i].Text = all[i].words()
	}
	return all
}

// words tells it in plain words.
func (a Answer) words() string {
	switch a.Fate {
	case ledger.Delivered:
		return a.Recipient + ": delivered: " + a.Reply
	case ledger.Deferred:
		return a.Recipient + ": not delivered yet, it is tried again: " + a.Reply
	case "":
		return a.Recipient + ": on its way, the mail server has not answered yet"
	default: // refused, expired, or whatever else is an end without delivery
		return a.Recipient + ": not delivered: " + cmp.Or(a.Reply, string(a.Fate))
	}
}
