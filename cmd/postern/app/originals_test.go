package app_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"testing"
	"time"

	"postern/internal/mail"
	"postern/policy/records/quarantine"
	"postern/policy/records/recall"
	"postern/proxy"
	"postern/proxy/release"
	"postern/proxy/retrieval/seal"
)

// A message masked when fetched is shown once it is released; one fetched by POP3, and so mostly deleted, is delivered
// again, under a seal that our own doors trust. The same release again, after a recall, shows it again.
func TestReleasesOfWhatWasFetched(t *testing.T) {
	const raw = "From: a@b.example\r\nSubject: x\r\n\r\nhello\r\n"
	key := []byte("0123456789abcdef0123456789abcdef")
	sum := sha256.Sum256([]byte(raw))
	for protocol, deliveries := range map[mail.Protocol]int{"imap": 0, "pop3": 1} {
		q, err := quarantine.Open(t.TempDir(), slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		now := time.Unix(1_800_000_000, 0)
		list, err := recall.Open(t.TempDir()+"/recall.db", func() time.Time { now = now.Add(2 * time.Second); return now })
		if err != nil {
			t.Fatal(err)
		}
		var put []string
		r := release.Releaser{Quarantine: q, Grants: list, Log: slog.New(slog.DiscardHandler),
			LetIn: func(id string, sum [sha256.Size]byte) []byte { return seal.LetIn(key, id, "x", now, sum) },
			Route: func(domain string) (mail.Route, bool) { return mail.RouteTo("default"), domain == "ours.test" },
			Put: func(_ context.Context, _ proxy.QueueItem, c mail.Copy) error {
				var b bytes.Buffer
				_, err := c.WriteTo(&b)
				put = append(put, b.String())
				return err
			}}
		item := quarantine.Item{ID: "MABC", Recipients: []mail.Recipient{{Address: mail.Address{Local: "ben", Domain: "ours.test"}}},
			Fetched: &quarantine.Fetched{Mailbox: "ben@ours.test", Protocol: protocol, SHA256: hex.EncodeToString(sum[:])}}
		if err := q.Hold(t.Context(), item, mail.Copy{Message: mail.NewMessage([]byte(raw))}); err != nil {
			t.Fatal(err)
		}
		granted := func() bool { return list.Granted(t.Context(), item.Fetched.SHA256, "ben@ours.test") }
		for range 2 {
			if granted() {
				t.Errorf("%s: shown before it is released", protocol)
			}
			if _, err := r.Release(t.Context(), release.Order{ID: "MABC", By: "ann"}); err != nil {
				t.Fatal(err)
			}
			if !granted() {
				t.Errorf("%s: not shown", protocol)
			}
			if err := list.Add(t.Context(), recall.Entry{SHA256: item.Fetched.SHA256, Why: "after all"}); err != nil {
				t.Fatal(err)
			}
		}
		if len(put) != deliveries {
			t.Fatalf("%s: %d deliveries", protocol, len(put))
		}
		for _, text := range put {
			if s, ok := seal.Open(key, mail.NewMessage([]byte("Received: x\r\n"+text))); !ok || !s.LetIn || s.ID != "MABC" {
				t.Errorf("%s: %q", protocol, text)
			}
		}
		if err := errors.Join(q.Close(), list.Close()); err != nil {
			t.Error(err)
		}
	}
}
