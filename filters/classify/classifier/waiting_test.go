package classifier

import (
	"context"
	"errors"
	"path/filepath"
	"sync/atomic"
	"testing"

	"postern/filters/classify/lessonlog"
	"postern/internal/mail"
	"postern/internal/state"
)

// silent is a Redis that refuses the first connection, takes the next and never answers.
type silent struct {
	refused atomic.Bool
	asked   chan struct{}
}

func (s *silent) Claim(ctx context.Context, _ string) (string, error) {
	if s.refused.CompareAndSwap(false, true) {
		return "", errors.New("connection refused")
	}
	close(s.asked)
	<-ctx.Done()

	return "", ctx.Err()
}

func (*silent) Add(ctx context.Context, _ map[string]string) error { <-ctx.Done(); return ctx.Err() }

func (*silent) After(ctx context.Context, _ string, _ int) ([]state.StreamEntry, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// Who teaches, asks or judges does not wait for a Redis that is silent: the lesson waits on the disk.
func TestNobodyWaitsForTheOthers(t *testing.T) {
	book, err := lessonlog.Open(filepath.Join(t.TempDir(), "classifier.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = book.Close() })
	never := &silent{asked: make(chan struct{})}
	c, err := Open(context.Background(), Options{Book: book, Log: lessonlog.Share(book, never, "key"), Hostname: "mx.corp.example", HeaderName: "X-Postern", Rules: rules()})
	if err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.CatchUp(ctx) }()
	<-never.asked
	raw := letter(1, true)
	c.Taught(context.Background(), message(raw), lesson(raw, true)) // hangs for ever if it waits
	if _, err := c.Status(context.Background()); err != nil {
		t.Error(err)
	}
	c.Judge(&mail.Transaction{Session: &mail.Session{}, Message: message(raw)})
	cancel()
	if err := <-done; err == nil {
		t.Error("CatchUp says nothing of a Redis that it could not read")
	}
}
