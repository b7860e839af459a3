package arc

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"postern/internal/dns"
	"postern/internal/mail"
)

// scenario is a document of a suite in the form of the ARC test suite of ValiMail.
type scenario struct {
	Description string
	Tests       map[string]struct{ Message, CV string }
	TXT         map[string]string `yaml:"txt-records"`
}

// TestSuites runs the validation suites that lie in the folder arc of POSTERN_SUITES. They are not ours to ship.
func TestSuites(t *testing.T) {
	files, _ := filepath.Glob(filepath.Join(os.Getenv("POSTERN_SUITES"), "arc", "*valid*.yml"))
	if os.Getenv("POSTERN_SUITES") == "" || len(files) == 0 {
		t.Skip("POSTERN_SUITES names no folder with arc/*valid*.yml")
	}
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = f.Close() }()
		run, good := 0, 0
		for d := yaml.NewDecoder(f); ; {
			var s scenario
			if err := d.Decode(&s); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			var zone strings.Builder
			for name, text := range s.TXT {
				zone.WriteString(name + " TXT " + strings.ReplaceAll(strings.TrimSpace(text), "\n", " ") + "\n")
			}
			r, err := dns.NewZoneResolver(zone.String())
			if err != nil {
				t.Fatal(err)
			}
			for name, test := range s.Tests {
				run++
				if t.Run(s.Description+"/"+name, func(t *testing.T) { validate(t, r, test.Message, test.CV) }) {
					good++
				}
			}
		}
		t.Logf("%s: %d of %d", filepath.Base(file), good, run)
	}
}

func validate(t *testing.T, r *dns.Resolver, message, cv string) {
	var steps []string
	v := Validator{DNS: r, Now: time.Now, MaxLookups: 50, Trace: func(s string) { steps = append(steps, s) }}
	o, err := v.Validate(t.Context(), mail.NewMessage([]byte(strings.ReplaceAll(message, "\n", "\r\n"))))
	if err != nil {
		t.Fatal(err)
	}
	want := mail.AuthVerdict(strings.ToLower(strings.TrimSpace(cv)))
	if want == "" { // a chain that says itself that it failed: the suite leaves it open, RFC 8617 section 5.2 step 2 does not
		want = "fail"
	}
	if o.Result != want {
		t.Errorf("%s, want %s\n%s", o.Result, want, strings.Join(steps, "\n"))
	}
}
