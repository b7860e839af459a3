package attachments_test

import (
	"bytes"
	"context"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/filters"
	"postern/filters/attachments"
	"postern/internal/config"
	"postern/internal/mail"
)

// Honest mail is hardly ever held for its attachments: with POSTERN_CORPUS set to a folder that has one named "ham", at
// most 4 in 4,150 of its messages are.
func TestHamIsNotHeld(t *testing.T) {
	dir := os.Getenv("POSTERN_CORPUS")
	if dir == "" {
		t.Skip("set POSTERN_CORPUS to a folder of messages")
	}
	f, err := attachments.Spec.New(config.NewSection("filters.attachments", nil), filters.Env{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	all, held, counts := 0, 0, map[string]int{}
	var slowest time.Duration
	err = filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() || !strings.Contains(name, "ham") || entry.Name() == "cmds" {
			return err
		}
		raw, err := os.ReadFile(name)
		if bytes.HasPrefix(raw, []byte("From ")) {
			_, raw, _ = bytes.Cut(raw, []byte("\n"))
		}
		raw = bytes.ReplaceAll(bytes.ReplaceAll(raw, []byte("\r"), nil), []byte("\n"), []byte("\r\n"))
		m := mail.NewMessage(raw)
		defer m.Close()
		all++
		start := time.Now()
		found, ferr := f.Inspect(context.Background(), &mail.Transaction{Message: m, Session: &mail.Session{Client: netip.MustParseAddr("192.0.2.1")}})
		slowest = max(slowest, time.Since(start))
		if ferr != nil {
			t.Errorf("%s: %v", name, ferr)
		}
		bad := false
		for _, one := range found {
			counts[one.Symbol]++
			t.Logf("%s: %s %s", filepath.Base(name), one.Symbol, one.Evidence)
			bad = bad || slices.ContainsFunc(attachments.Spec.Symbols, func(s filters.Symbol) bool { return s.Name == one.Symbol && s.Action != filters.NoAction })
		}
		if bad {
			held++
		}
		return err
	})
	if err != nil || all == 0 {
		t.Fatalf("%d messages, %v", all, err)
	}
	t.Logf("%d messages, %d held or refused, slowest %v, %v", all, held, slowest, counts)
	if held*4150 > 4*all {
		t.Errorf("%d of %d are held or refused", held, all)
	}
}
