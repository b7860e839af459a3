package mimeview

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/internal/mail"
)

// Honest mail is hardly ever gravely ambiguous: with POSTERN_CORPUS set to a folder that has one named "ham", at most 4
// in 4,150 of its messages are.
func TestCorpusIsNotGrave(t *testing.T) {
	dir := os.Getenv("POSTERN_CORPUS")
	if dir == "" {
		t.Skip("set POSTERN_CORPUS to a folder of messages")
	}
	all, grave, objects := 0, 0, 0
	kinds, limits, ways := map[string]int{}, map[string]int{}, map[string]int{}
	var took, slowest time.Duration
	err := filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() || !strings.Contains(name, "ham") || entry.Name() == "cmds" {
			return err
		}
		raw, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if bytes.HasPrefix(raw, []byte("From ")) {
			_, raw, _ = bytes.Cut(raw, []byte("\n"))
		}
		raw = bytes.ReplaceAll(bytes.ReplaceAll(raw, []byte("\r"), nil), []byte("\n"), []byte("\r\n"))
		start := time.Now()
		v := New(mail.NewMessage(raw), Options{})
		found := v.Ambiguities()
		once := time.Since(start)
		took += once
		slowest = max(slowest, once)
		all++
		objects += len(v.Objects())
		for _, o := range v.Objects() {
			ways[o.Reading]++
		}
		bad := false
		seen := map[string]bool{}
		for _, a := range found {
			if !seen[a.Kind] {
				kinds[a.Kind]++
			}
			seen[a.Kind] = true
			if a.Grave() {
				bad = true
				t.Logf("%s: %s: %q", filepath.Base(name), a.Kind, a.Detail)
			}
		}
		for _, l := range v.Limits() {
			limits[l]++
		}
		if bad {
			grave++
		}
		return v.Close()
	})
	if err != nil || all == 0 {
		t.Fatalf("%d messages, %v", all, err)
	}
	t.Logf("%d messages, %d grave, %d objects, %v each, %v the slowest", all, grave, objects, took/time.Duration(all), slowest)
	t.Logf("kinds %v", kinds)
	t.Logf("limits %v", limits)
	for way, n := range ways {
		if n > 20 {
			t.Logf("%5d %s", n, way)
		}
	}
	if grave*4150 > 4*all {
		t.Errorf("%d of %d are grave", grave, all)
	}
}
