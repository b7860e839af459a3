package app_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"testing"

	"postern/cmd/postern/app"
	"postern/internal/config"
	"postern/internal/mail"
	"postern/policy/records/lessons"
)

// What users taught before there was a classifier is taken over, once.
func TestEarlierLessonsAreTakenOver(t *testing.T) {
	dir := t.TempDir()
	text := fmt.Sprintf("hostname = \"mx.corp.test\"\ndata_dir = %q\ndomains = [\"corp.test\"]\n[[door]]\nname = \"mx\"\nlisten = \"127.0.0.1:0\"\n"+
		"[[door]]\nname = \"imap\"\nprotocol = \"imap\"\nlisten = \"127.0.0.1:0\"\n[mail_backend.default]\nimap = [\"127.0.0.1:9\"]\n[next_hop.default]\naddresses = [\"127.0.0.1:9\"]\n[filters.classify]\nquorum = 1\n", dir)
	cfg, err := config.Parse(filepath.Join(dir, "postern.toml"), []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	j, err := lessons.Open(filepath.Join(dir, "lessons.db"), lessons.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		raw := fmt.Appendf(nil, "From: a@b.example\r\nSubject: %d\r\n\r\nbuy number %d now\r\n", n, n)
		sum := sha256.Sum256(raw)
		l := lessons.Lesson{User: "ann", SHA256: hex.EncodeToString(sum[:]), Spam: n > 0, How: lessons.Move}
		if _, err := j.Learn(context.Background(), l, mail.NewMessage(raw)); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		a, err := app.Open(cfg, app.Outside{})
		if err != nil {
			t.Fatal(err)
		}
		s, err := a.Learning.Status(context.Background())
		if err != nil || s.Ham != 1 || s.Spam != 2 || s.Event != 3 {
			t.Errorf("%+v %v", s, err)
		}
		a.Close()
	}
}
