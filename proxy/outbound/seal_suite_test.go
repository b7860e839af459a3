package outbound

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"postern/filters/arc"
	"postern/internal/dns"
	"postern/internal/mail"
	"postern/internal/mail/signature"
)

// signScenario is a document of the signing part of the ARC test suite of ValiMail.
type signScenario struct {
	Description, Domain, Sel, Privatekey string
	TXT                                  map[string]string `yaml:"txt-records"`
	Tests                                map[string]struct {
		Message, T string
		AS         string `yaml:"AS"`
		AMS        string `yaml:"AMS"`
		AAR        string `yaml:"AAR"`
		Names      string `yaml:"sig-headers"`
		ID         string `yaml:"srv-id"`
	}
}

// TestSuites runs the signing suites that lie in the folder arc of POSTERN_SUITES. They are not ours to ship.
func TestSuites(t *testing.T) {
	files, _ := filepath.Glob(filepath.Join(os.Getenv("POSTERN_SUITES"), "arc", "*sign*.yml"))
	if os.Getenv("POSTERN_SUITES") == "" || len(files) == 0 {
		t.Skip("POSTERN_SUITES names no folder with arc/*sign*.yml")
	}
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = f.Close() }()
		run, good := 0, 0
		for d := yaml.NewDecoder(f); ; {
			var s signScenario
			if err := d.Decode(&s); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			for name := range s.Tests {
				run++
				if t.Run(s.Description+"/"+name, func(t *testing.T) { s.run(t, name) }) {
					good++
				}
			}
		}
		t.Logf("%s: %d of %d", filepath.Base(file), good, run)
	}
}

func (s signScenario) run(t *testing.T, name string) {
	test := s.Tests[name]
	m := mail.NewMessage([]byte(strings.ReplaceAll(test.Message, "\n", "\r\n")))
	private, kind, err := parsePEM([]byte(s.Privatekey))
	if err != nil {
		t.Fatal(err)
	}
	zone := ""
	for name, text := range s.TXT {
		zone += name + " TXT " + strings.ReplaceAll(strings.TrimSpace(text), "\n", " ") + "\n"
	}
	r, err := dns.NewZoneResolver(zone)
	if err != nil {
		t.Fatal(err)
	}
	o, err := arc.Validator{DNS: r, Now: time.Now, MaxLookups: 50}.Validate(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	before, failed := signature.Newest(m.Header())
	got := ""
	if !failed {
		seconds, _ := strconv.ParseInt(strings.TrimSpace(test.T), 10, 64)
		seal := sealing{domain: s.Domain, key: key{selector: s.Sel, kind: kind, private: private}, now: time.Unix(seconds, 0), instance: before + 1,
			cv: o.Result, names: strings.Split(test.Names, ":"), payload: merged(m.Header(), test.ID)}
		fields, err := seal.fields(m.Header(), mail.Copy{Message: m})
		if err != nil {
			t.Fatal(err)
		}
		got = string(fields)
	}
	h := mail.ParseHeader([]byte(got + "\r\n"))
	for field, want := range map[string]string{signature.FieldAS: test.AS, signature.FieldAMS: test.AMS, signature.FieldAAR: test.AAR} {
		if got := squeeze(h.Get(field)); got != squeeze(want) {
			t.Errorf("%s (%s, %s):\n%s\nwant\n%s", field, o.Result, o.Why, got, squeeze(want))
		}
	}
}

// squeeze drops white space: the suite folds otherwise.
func squeeze(text string) string { return strings.Join(strings.Fields(text), "") }

// merged joins the results of all fields of one server.
func merged(h *mail.Header, id string) string {
	text := id
	for _, f := range h.All("Authentication-Results") {
		if mail.AuthservID(f.Value()) == id {
			_, results, _ := strings.Cut(f.Value(), ";")
			text += "; " + strings.TrimSpace(results)
		}
	}
	return text
}
