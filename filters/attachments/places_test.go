package attachments

import (
	"context"
	"strings"
	"testing"
	"time"

	"postern/internal/mail"
)

// Messages are taken apart a few at a time. One that finds no place in time is not clean; a small one needs none.
func TestPlaces(t *testing.T) {
	made, err := newFilter(defaults())
	if err != nil {
		t.Fatal(err)
	}
	f := made.(filter)
	for range cap(f.places) {
		f.places <- struct{}{}
	}
	inspect := func(text string) error {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		m := mail.NewMessage([]byte("From: a@b.example\r\n\r\n" + text))
		defer m.Close()
		_, err := f.Inspect(ctx, &mail.Transaction{Session: &mail.Session{}, Message: m})
		return err
	}
	if err := inspect(strings.Repeat("x\r\n", 10_000)); err == nil {
		t.Error("a message that nobody looked into is clean")
	}
	if err := inspect("hello\r\n"); err != nil {
		t.Error(err)
	}
	<-f.places
	if err := inspect(strings.Repeat("x\r\n", 10_000)); err != nil {
		t.Error(err)
	}
}
