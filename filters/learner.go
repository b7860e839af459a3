package filters

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"postern/internal/mail"
)

// A filter that learns from the fate of mail implements one of the interfaces below. It is called after the reply to
// the client, reads only, and is quick: it has LearnTimeout. What it learns is a fact for later mail, never for this
// one.

// RecipientLearner gets the reply to each recipient, which is the last of tx.Recipients at that time.
type RecipientLearner interface {
	Answered(ctx context.Context, tx *mail.Transaction, to mail.Address, r mail.Reply)
}

// MessageLearner gets policy's verdict on a judged message.
type MessageLearner interface {
	Decided(ctx context.Context, tx *mail.Transaction, judged []Decision)
}

// SessionLearner is called at the end of a connection.
type SessionLearner interface {
	Ended(ctx context.Context, s *mail.Session, c Conduct)
}

// LessonLearner gets what people say of a message: it was spam, or it was none.
type LessonLearner interface {
	Taught(ctx context.Context, m *mail.Message, l Lesson)
}

// Lesson is what somebody says of a message.
type Lesson struct {
	Spam bool
	// SHA256 names the message however it came, in hexadecimal.
	SHA256 string
	// By is the login or name of who says so, Way the way it came. Trusted is set for an admin, whose word counts for all.
	By, Way string
	Trusted bool
	// Withdrawn says that an earlier lesson of theirs no longer holds, and nothing else.
	Withdrawn bool
}

// Decision is what policy decided for one recipient.
type Decision struct {
	Recipient   mail.Address
	Disposition mail.Disposition
	Score       float64
}

// Conduct is how a client behaved during one connection.
type Conduct struct {
	Transactions, Recipients, Refused int
	// Delivered is how many messages were accepted by a next hop, Junk how many were refused or held for their content.
	Delivered, Junk int
	// End says how it ended.
	End string
}

// LearnTimeout bounds what all learners of one event may take.
const LearnTimeout = time.Second

// Answered tells the reply to a recipient.
func (c *Chain) Answered(ctx context.Context, tx *mail.Transaction, to mail.Address, r mail.Reply) {
	each(ctx, c, func(ctx context.Context, l RecipientLearner) { l.Answered(ctx, tx, to, r) })
}

// Decided tells the verdicts on a message.
func (c *Chain) Decided(ctx context.Context, tx *mail.Transaction, judged []Decision) {
	each(ctx, c, func(ctx context.Context, l MessageLearner) { l.Decided(ctx, tx, judged) })
}

// Ended tells that a connection is over.
func (c *Chain) Ended(ctx context.Context, s *mail.Session, conduct Conduct) {
	each(ctx, c, func(ctx context.Context, l SessionLearner) { l.Ended(ctx, s, conduct) })
}

// Taught tells what somebody says of a message.
func (c *Chain) Taught(ctx context.Context, m *mail.Message, lesson Lesson) {
	each(ctx, c, func(ctx context.Context, l LessonLearner) { l.Taught(ctx, m, lesson) })
}

// each asks all filters that are an L, in their order. One that panics is logged and keeps no other from learning.
func each[L any](ctx context.Context, c *Chain, tell func(context.Context, L)) {
	var cancel context.CancelFunc
	for _, wave := range c.waves {
		for _, link := range wave {
			l, ok := link.Filter.(L)
			if !ok {
				continue
			}
			if cancel == nil { // most chains of a stage have no learner, and a timer is not free
				ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), LearnTimeout)
				defer cancel()
			}
			guarded(c.log, link.Spec.Name, func() { tell(ctx, l) })
		}
	}
}

func guarded(log *slog.Logger, name string, work func()) {
	defer func() {
		if p := recover(); p != nil {
			log.Error("filter panicked while it learned", "filter", name, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		}
	}()
	work()
}
