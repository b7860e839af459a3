package dkim

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/dns"
	"postern/internal/mail"
	"postern/internal/mail/signature"
	"postern/internal/testing/filtertest"
)

// TestSuite runs the suite that lies in the folder dkim of POSTERN_SUITES, in the form of chasquid's: NAME.msg, NAME.dns,
// and NAME.result or NAME.error. It wants five signatures looked at and l= to count. It is not ours to ship.
func TestSuite(t *testing.T) {
	files, _ := filepath.Glob(filepath.Join(os.Getenv("POSTERN_SUITES"), "dkim", "*.msg"))
	if os.Getenv("POSTERN_SUITES") == "" || len(files) == 0 {
		t.Skip("POSTERN_SUITES names no folder with dkim/*.msg")
	}
	good := 0
	for _, file := range files {
		base := strings.TrimSuffix(file, ".msg")
		if t.Run(filepath.Base(base), func(t *testing.T) { suiteCase(t, base) }) {
			good++
		}
	}
	t.Logf("%d of %d", good, len(files))
}

func suiteCase(t *testing.T, base string) {
	m := mail.NewMessage([]byte(strings.ReplaceAll(strings.ReplaceAll(content(t, base+".msg"), "\r\n", "\n"), "\n", "\r\n")))
	if problem := strings.TrimSpace(content(t, base+".error")); problem != "" && problem != "<nil>" {
		if len(m.Header().Defects) == 0 {
			t.Errorf("no defect in a header that has one: %s", problem)
		}
		return
	}
	var want struct {
		Found, Valid int
		Results      []struct{ Domain, Selector, B, State string }
	}
	if err := json.Unmarshal([]byte(content(t, base+".result")), &want); err != nil {
		t.Fatal(err)
	}
	var zone strings.Builder
	for line := range strings.Lines(strings.ReplaceAll(content(t, base+".dns"), "\\\n", " ")) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch value = strings.TrimSpace(value); value {
		case "":
		case "TEMPERROR":
			zone.WriteString(name + " SERVFAIL\n")
		case "PERMERROR":
			zone.WriteString(name + " A 192.0.2.1\n")
		default:
			zone.WriteString(name + " TXT " + value + "\n")
		}
	}
	r, err := dns.NewZoneResolver(zone.String())
	if err != nil {
		t.Fatal(err)
	}
	got, err := signature.Verifier{DNS: r, Now: filtertest.Now, Max: 5, AllowLength: true}.Verify(t.Context(), m)
	if err != nil || len(got) != want.Found {
		t.Fatalf("%d signatures, %v, want %d", len(got), err, want.Found)
	}
	for i, w := range want.Results {
		g := got[i]
		state := map[mail.AuthVerdict]string{"pass": "SUCCESS", "temperror": "TEMPFAIL"}[g.Status]
		if state == "" {
			state = "PERMFAIL"
		}
		same := g.Signature.Domain == w.Domain && g.Signature.Selector == w.Selector && g.Signature.SigText == w.B
		if state != w.State || !same && w.Domain != "" {
			t.Errorf("signature %d: %s (%s), want %s", i, g.Status, g.Why, w.State)
		}
	}
}

func content(t *testing.T, name string) string {
	text, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return string(text)
}
