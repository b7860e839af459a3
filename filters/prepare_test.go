package filters_test

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"postern/filters"
	"postern/internal/dns"
	"postern/internal/mail"
)

// ahead is a filter that asks ahead.
type ahead struct {
	prepare func(context.Context) filters.Filter
}

func (a ahead) Prepare(ctx context.Context, _ *mail.Transaction) filters.Filter {
	return a.prepare(ctx)
}

func (a ahead) Inspect(context.Context, *mail.Transaction) ([]filters.Finding, error) {
	return []filters.Finding{{Symbol: "UNPREPARED"}}, nil
}

// after runs two filters, one that takes a minute and one behind it that asks ahead.
func after(t *testing.T, prepare func(context.Context) filters.Filter) (symbols []string) {
	t.Helper()
	slow := inspect(func(ctx context.Context, _ *mail.Transaction) ([]filters.Finding, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
	c, err := filters.NewChain([]filters.Link{
		{Spec: filters.Spec{Name: "slow", Stages: mail.StageMessage, Timeout: time.Minute}, Filter: slow},
		{Spec: filters.Spec{Name: "ahead", Stages: mail.StageMessage, After: []string{"slow"}, Timeout: 5 * time.Second}, Filter: ahead{prepare}},
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	run := c.Start(t.Context(), &mail.Transaction{Session: &mail.Session{}, Message: mail.NewMessage(nil)})
	defer run.Close()
	for _, f := range run.Stage(t.Context(), mail.StageMessage) {
		symbols = append(symbols, f.Symbol)
	}
	return symbols
}

// What asks ahead does so while others are slow, and fails as others do: by an own fault it is never nothing found.
func TestAskingAheadWaitsForNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		got := after(t, func(context.Context) filters.Filter {
			asked := time.Since(start)
			return inspect(func(context.Context, *mail.Transaction) ([]filters.Finding, error) {
				if asked != 0 {
					return nil, nil
				}
				return []filters.Finding{{Symbol: "PREPARED"}}, nil
			})
		})
		if !slices.Equal(got, []string{filters.Failed, "PREPARED"}) {
			t.Error(got)
		}
		if got := after(t, func(context.Context) filters.Filter { panic("x") }); !slices.Equal(got, []string{filters.Failed, filters.Failed}) {
			t.Error("panic:", got)
		}
		if got := after(t, func(context.Context) filters.Filter { time.Sleep(time.Hour); return nil }); !slices.Equal(got, []string{filters.Failed, filters.Failed}) {
			t.Error("hangs:", got)
		}
		time.Sleep(time.Hour)
	})
}

// Exhausting the queries of one filter leaves those of the others.
func TestEachFilterHasItsOwnQueries(t *testing.T) {
	resolver, err := dns.NewZoneResolver("a.example TXT x")
	if err != nil {
		t.Fatal(err)
	}
	ask := func(n int) inspect {
		return func(ctx context.Context, _ *mail.Transaction) (found []filters.Finding, err error) {
			for range n {
				_, err = resolver.LookupTXT(ctx, "a.example")
			}
			if err != nil {
				found = []filters.Finding{{Symbol: "SPENT"}}
			}
			return found, nil
		}
	}
	c, err := filters.NewChain([]filters.Link{
		{Spec: filters.Spec{Name: "greedy", Stages: mail.StageMessage}, Filter: ask(dns.DefaultQueries + 1)},
		{Spec: filters.Spec{Name: "modest", Stages: mail.StageMessage, After: []string{"greedy"}}, Filter: ask(dns.DefaultQueries)},
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	run := c.Start(t.Context(), &mail.Transaction{Session: &mail.Session{}})
	defer run.Close()
	if found := run.Stage(t.Context(), mail.StageMessage); len(found) != 1 {
		t.Errorf("%v", found)
	}
}
