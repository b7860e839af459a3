package app_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"postern/cmd/postern/app"
	"postern/internal/config"
	"postern/internal/mail"
	"postern/policy/records/quarantine"
)

// A held message whose release was interrupted, and that can't be read any more, blocks no other mail.
func TestAnUnreadableReleaseDoesNotStopTheStart(t *testing.T) {
	dir := t.TempDir()
	cfg, err := config.Parse(filepath.Join(dir, "postern.toml"), []byte("hostname = \"gw.test\"\ndata_dir = \"data\"\ndomains = [\"ours.test\"]\n[[door]]\nname = \"mx\"\nlisten = \"127.0.0.1:0\"\n[next_hop.\"default\"]\naddresses = [\"127.0.0.1:9\"]\n[dns]\nservers = [\"127.0.0.1:9\"]\n"))
	if err != nil {
		t.Fatal(err)
	}
	if problems := cfg.Check(app.KnownFilters()); len(problems) > 0 {
		t.Fatal(problems)
	}
	out := app.Outside{Log: slog.New(slog.DiscardHandler)}
	h, err := app.Open(cfg, out)
	if err != nil {
		t.Fatal(err)
	}
	item := quarantine.Item{ID: "A.1-1", Route: mail.RouteTo("default"), Recipients: []mail.Recipient{{Address: mail.Address{Local: "a", Domain: "ours.test"}}}}
	if err := h.Quarantine.Hold(t.Context(), item, mail.Copy{Message: mail.NewMessage([]byte("Subject: x\r\n\r\nx\r\n"))}); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Quarantine.Claim(t.Context(), item.ID, "ann"); err != nil {
		t.Fatal(err)
	}
	h.Close()
	files, err := filepath.Glob(filepath.Join(cfg.DataDir, "quarantine", "*", item.ID))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	if err := os.WriteFile(files[0], []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	if h, err = app.Open(cfg, out); err != nil {
		t.Fatal(err)
	}
	h.Close()
}
