package classifier

import (
	"context"

	"postern/filters/classify/lessonlog"
	"postern/filters/classify/model"
)

// Canaries are honest messages that an admin confirmed: they are judged again after each batch of users' lessons. If these
// lessons made spam of them, the batch is rolled back.
const (
	maxCanaries = 40
	batchSize   = 25
	// harm is how many canaries more than before the batch may be taken for spam: they are from spamOdds on, at which the filter
	// begins to speak.
	harm     = 2
	spamOdds = 0.5
)

// guard watches what users' lessons do to the canaries. Like the model it follows from the log alone.
type guard struct {
	// past are the decisions that were learned, ham and spam.
	past     [2][]lessonlog.Decision
	canaries []*model.Features
	// first is the first event of the batch, n how many lessons are in it, wrong how many canaries were taken for spam before it.
	first    int64
	n, wrong int
	// poisoned is a batch to be rolled back: events from and to.
	poisoned []lessonlog.Event
}

// learned takes notice of a message that a model has just learned.
func (g *guard) learned(m *model.Model, d lessonlog.Decision, l *model.Lesson) {
	g.past[label(d.Spam)] = append(g.past[label(d.Spam)], d)
	if d.Trusted {
		if !d.Spam {
			g.canaries = append(g.canaries, &l.Features)
			g.canaries = g.canaries[max(0, len(g.canaries)-maxCanaries):]
		}
		if g.n == 0 {
			return
		}
	} else {
		if g.n == 0 {
			g.first = d.From
		}
		g.first = min(g.first, d.From)
		g.n++
	}
	if g.n < batchSize {
		return
	}
	wrong := g.count(m)
	if wrong > g.wrong+harm {
		g.poisoned = append(g.poisoned, lessonlog.Event{Kind: lessonlog.RolledBack, From: g.first, To: d.At})
	}
	g.n, g.wrong = 0, wrong
}

func (g *guard) count(m *model.Model) (wrong int) {
	for _, f := range g.canaries {
		if m.Odds(m.Score(f)) > spamOdds {
			wrong++
		}
	}

	return wrong
}

// defend rolls poisoned batches back. Where several gateways share the log each does so, which changes nothing more.
func (c *Classifier) defend(ctx context.Context) error {
	for _, e := range c.guard.poisoned {
		e.Way, e.By, e.Time = "canaries", "postern", c.o.Now()
		c.o.Logger.Error("users' lessons made spam of honest mail that an admin confirmed: they are rolled back", "first", e.From, "last", e.To)
		if err := c.o.Log.Append(ctx, e); err != nil {
			return err
		}
		c.redo, c.redoTook = true, 0
	}
	c.guard.poisoned = nil

	return nil
}
