package retrieval_test

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/internal/mail"
	"postern/policy/records/lessons"
	"postern/proxy/retrieval"
	"postern/proxy/retrieval/seal"
)

// The same message is the same however it came to a mailbox: with and without mbsync's mark, below our seal and what
// servers put above it. What is different is different, also if it is large.
func TestALessonKnowsItsMessage(t *testing.T) {
	key := []byte(strings.Repeat("k", 32))
	now := time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC)
	const raw = "From: a@b.test\r\nMessage-ID: <1@b.test>\r\n\r\nHello\r\n"
	sealed := string(seal.Field(key, mail.NewID(now), "e", now, sha256.Sum256([]byte(raw)))) + raw
	large := "Subject: x\r\n\r\n" + strings.Repeat("x", lessons.MaxContent)
	for name, c := range map[string]struct {
		first, second string
		same          bool
	}{
		"twice":         {raw, raw, true},
		"mark":          {raw, "X-TUID: abcdefgh\r\n" + raw, true},
		"mark within":   {raw, strings.Replace(raw, "Message-ID", "X-TUID: abcdefgh\r\nMessage-ID", 1), true},
		"two marks":     {"X-TUID: 1\r\n" + raw, "X-TUID: 2\r\n" + raw, true},
		"seal":          {raw, sealed, true},
		"seal and more": {sealed, "Received: by x\r\n" + sealed, true},
		"seal and mark": {sealed, strings.Replace(sealed, "Message-ID", "X-TUID: abcdefgh\r\nMessage-ID", 1), true},
		"false seal":    {raw, sealed + "x", false},
		"a long mark":   {raw, "X-TUID: " + strings.Repeat("x", 200) + "\r\n" + raw, false},
		"large, mark":   {large, "X-TUID: abcdefgh\r\n" + large, true},
		"large":         {large, strings.Replace(large, "x", "y", 1), false},
		"other":         {raw, raw + "x", false},
	} {
		t.Run(name, func(t *testing.T) {
			j, err := lessons.Open(filepath.Join(t.TempDir(), "lessons.db"), lessons.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer j.Close()
			teacher := &retrieval.Teacher{Journal: j, SealKey: key, Log: slog.New(slog.DiscardHandler)}
			ctx := context.Background()
			teacher.Learn(ctx, lessons.Lesson{User: "Ann", Spam: true, How: lessons.Move}, mail.NewMessage([]byte(c.first)))
			teacher.TakeBack(ctx, lessons.Lesson{User: "ann", Spam: true}, mail.NewMessage([]byte(c.second)))
			s, err := j.Status(ctx)
			if err != nil || (s.Undone == 1) != c.same {
				t.Errorf("%+v, %v", s, err)
			}
		})
	}
}
