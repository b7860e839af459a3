package filters_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"postern/filters"
	"postern/internal/mail"
)

type inspect func(context.Context, *mail.Transaction) ([]filters.Finding, error)

func (f inspect) Inspect(ctx context.Context, tx *mail.Transaction) ([]filters.Finding, error) {
	return f(ctx, tx)
}

func chain(t *testing.T, spec filters.Spec, f inspect) *filters.Chain {
	t.Helper()
	c, err := filters.NewChain([]filters.Link{{Spec: spec, Filter: f}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A filter that was broken off has not looked: that is a finding, and never the same as nothing found.
func TestAFilterThatIsBrokenOffHasFailed(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := chain(t, filters.Spec{Name: "slow", Stages: mail.StageMessage}, func(ctx context.Context, _ *mail.Transaction) ([]filters.Finding, error) {
		cancel() // the door closes while the filter works
		<-ctx.Done()
		return nil, ctx.Err()
	})
	run := c.Start(ctx, &mail.Transaction{Session: &mail.Session{}})
	defer run.Close()
	if found := run.Stage(ctx, mail.StageMessage); len(found) != 1 || found[0].Symbol != filters.Failed {
		t.Errorf("found %v", found)
	}
}

// What works in the background reads the session as it was when it began: the client may say EHLO anew meanwhile. The
// race detector is the judge.
func TestBackgroundReadsItsOwnSession(t *testing.T) {
	names := make(chan string, 1)
	c := chain(t, filters.Spec{Name: "spf", Stages: mail.StageMail, Background: true}, func(ctx context.Context, tx *mail.Transaction) ([]filters.Finding, error) {
		<-ctx.Done()
		names <- tx.Session.Helo
		return nil, ctx.Err()
	})
	s := &mail.Session{Helo: "first.example"}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	run := c.Start(ctx, &mail.Transaction{Session: s})
	run.Stage(ctx, mail.StageMail)
	s.Helo = "second.example"
	if name := <-names; name != "first.example" {
		t.Errorf("the filter read %q", name)
	}
}
