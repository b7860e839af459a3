package retrieval

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"log/slog"
	"strings"

	"postern/filters"
	"postern/internal/mail"
	"postern/policy/records/lessons"
	"postern/proxy/retrieval/seal"
)

// Journal keeps lessons: see lessons.Journal.
type Journal interface {
	Learn(ctx context.Context, l lessons.Lesson, content *mail.Message) (lessons.Outcome, error)
	TakeBack(ctx context.Context, user, sha256 string, spam bool) (ok bool, err error)
	Pass(ctx context.Context, user, why string, messages int64) error
}

// Teacher takes what users say of messages into a journal. It is safe for use by many goroutines.
type Teacher struct {
	Journal Journal
	// SealKey is that of the SMTP door's seals.
	SealKey []byte
	Log     *slog.Logger
	// Taught is told each lesson that says something new, unless nil.
	Taught func(ctx context.Context, m *mail.Message, l filters.Lesson)
}

// Learn takes a lesson. Of the lesson's message up to lessons.MaxContent octets are there. An error is for the log.
func (t *Teacher) Learn(ctx context.Context, l lessons.Lesson, m *mail.Message) {
	_ = t.Take(ctx, l, m)
}

// Take is Learn for those whom an error concerns. It is in the log, too.
func (t *Teacher) Take(ctx context.Context, l lessons.Lesson, m *mail.Message) error {
	l.SHA256, l.User, l.MessageID = t.identity(m), strings.ToLower(l.User), bounded(m.Header().Get("Message-ID"))
	done, err := t.Journal.Learn(ctx, l, m)
	t.told("lesson", l, string(done), err)
	if err != nil || t.Taught == nil || l.How == lessons.Wish {
		return err
	}
	switch done {
	case lessons.Stored:
		t.Taught(ctx, m, taught(l))
	case lessons.Restored:
		t.Taught(ctx, m, withdrawn(l))
	case lessons.Repeated, lessons.Capped: // nothing new
	}

	return nil
}

func taught(l lessons.Lesson) filters.Lesson {
	return filters.Lesson{Spam: l.Spam, SHA256: l.SHA256, By: l.User, Way: l.How, Trusted: l.Admin}
}

func withdrawn(l lessons.Lesson) filters.Lesson {
	w := taught(l)
	w.Withdrawn = true

	return w
}

// TakeBack takes back the lesson that the user gave with this message, if there is one.
func (t *Teacher) TakeBack(ctx context.Context, l lessons.Lesson, m *mail.Message) {
	l.SHA256, l.User = t.identity(m), strings.ToLower(l.User)
	taken, err := t.Journal.TakeBack(ctx, l.User, l.SHA256, l.Spam)
	if taken || err != nil {
		t.told("lesson taken back", l, "", err)
	}
	if taken && t.Taught != nil {
		t.Taught(ctx, m, withdrawn(l))
	}
}

// Pass counts messages that gave no lesson.
func (t *Teacher) Pass(ctx context.Context, user, why string, messages int64) {
	err := t.Journal.Pass(ctx, strings.ToLower(user), why, messages)
	t.told("messages without a lesson", lessons.Lesson{User: user, How: why}, "", err)
}

func (t *Teacher) told(what string, l lessons.Lesson, outcome string, err error) {
	if err != nil {
		t.Log.Error(what, "user", l.User, "error", err)
		return
	}
	t.Log.Debug(what, "user", l.User, "sha256", l.SHA256, "spam", l.Spam, "how", l.How, "outcome", outcome)
}

// identitySize is how much of a message has a part in its identity, in octets: a little less than what is fetched of it,
// since marks are left out.
const identitySize = lessons.MaxContent - 1<<10

func (t *Teacher) identity(m *mail.Message) string {
	id, err := Identity(t.SealKey, m)
	if err != nil {
		t.Log.Error("a message for a lesson can't be read", "error", err)
	}
	return id
}

// Identity names a message however it came to a mailbox, in hexadecimal: the hash of what the SMTP door sealed if there
// is a seal, else that of all its octets, of a large message of the first 511 KiB. The mark that mbsync puts into each
// message it uploads is left out.
func Identity(sealKey []byte, m *mail.Message) (string, error) {
	raw, err := io.ReadAll(io.LimitReader(m.Open(), lessons.MaxContent))
	raw = unmarked(m, raw)
	if s, ok := seal.Open(sealKey, mail.NewMessage(raw)); ok {
		sum := s.Sum()
		return hex.EncodeToString(sum[:]), err
	}
	sum := sha256.Sum256(raw[:min(len(raw), identitySize)])
	return hex.EncodeToString(sum[:]), err
}

func unmarked(m *mail.Message, raw []byte) []byte {
	for _, f := range m.Header().Fields {
		if end := f.Offset + len(f.Raw); f.Is("X-TUID") && len(f.Raw) < 100 && end <= len(raw) {
			return append(bytes.Clone(raw[:f.Offset]), raw[end:]...)
		}
	}
	return raw
}
