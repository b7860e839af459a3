package app_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/policy/records/quarantine"
)

// Refused mail is kept for a while, encrypted on disk, and can be released; by default none is kept.
func TestRefusedMailIsKept(t *testing.T) {
	const gtube = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
	for setting, want := range map[string]int{"": 0, "[quarantine]\nhold_rejected = \"24h\"\n": 1} {
		g := newGate(t, setting)
		c := g.dial("mx")
		if code, said := c.message("anna@friend.example", "ben@ours.test", head+"Subject: x\r\n\r\n"+gtube+"\r\nwhat-nobody-may-read\r\n"); code != 550 {
			t.Fatal(code, said)
		}
		all, err := g.app.Quarantine.List(context.Background(), quarantine.Filter{Category: quarantine.Rejected})
		if err != nil || len(all) != want {
			t.Fatalf("%q: %d are kept, %v", setting, len(all), err)
		}
		err = filepath.WalkDir(g.dir, func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			if text, err := os.ReadFile(path); err == nil && strings.Contains(path, "quarantine") && strings.Contains(string(text), "what-nobody-may-read") {
				t.Errorf("%s can be read by anybody", path)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range all {
			_, m, err := g.app.Quarantine.Get(context.Background(), item.ID)
			if err != nil {
				t.Fatal(err)
			}
			text, err := m.Head(m.Size())
			if err != nil || !strings.Contains(string(text), "what-nobody-may-read") {
				t.Errorf("%v, %.300s", err, text)
			}
			_ = m.Close()
		}
	}
}
