package lists

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/unicode"

	"postern/policy"
)

// A case file has lines of options, an empty line, the text to import, a line "----" and the report that is expected.
func TestImportCases(t *testing.T) {
	files, err := filepath.Glob("testdata/import/*.txt")
	if err != nil || len(files) < 10 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			head, rest, _ := strings.Cut(string(raw), "\n\n")
			text, want, _ := strings.Cut(rest, "----\n")
			format, o, input := options(t, head, text)
			report, err := Import(format, bytes.NewReader(input), o)
			got := shown(report, err)
			if os.Getenv("POSTERN_UPDATE") != "" {
				if err := os.WriteFile(file, []byte(head+"\n\n"+text+"----\n"+got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func options(t *testing.T, head, text string) (Format, ImportOptions, []byte) {
	t.Helper()
	o, format, input := ImportOptions{}, Format(""), []byte(text)
	for line := range strings.SplitSeq(head, "\n") {
		name, value, _ := strings.Cut(line, " ")
		switch name {
		case "format":
			format = Format(value)
		case "list":
			o.List = policy.ListName(value)
		case "scope":
			scope, of, _ := strings.Cut(value, " ")
			o.Scope, o.ScopeOf = Scope(scope), of
		case "widen":
			o.Widen = true
		case "reason":
			o.Reason = value
		case "escapes": // octets that a text file can't have
			input = []byte(strings.NewReplacer(`\x02`, "\x02", `\xff`, "\xff", `\x00`, "\x00", `\e`, "\x1b", `\r`, "\r").Replace(string(input)))
		case "utf-16le", "utf-16be", "utf-8":
			encoder := map[string]encoding.Encoding{"utf-16le": unicode.UTF16(unicode.LittleEndian, unicode.UseBOM), "utf-16be": unicode.UTF16(unicode.BigEndian, unicode.UseBOM), "utf-8": unicode.UTF8BOM}[name]
			var err error
			if input, err = encoder.NewEncoder().Bytes(input); err != nil {
				t.Fatal(err)
			}
		case "#":
		default:
			t.Fatalf("%q is no option", line)
		}
	}
	return format, o, input
}

func shown(r *Report, err error) string {
	if err != nil {
		return "error " + err.Error() + "\n"
	}
	var b strings.Builder
	for _, l := range r.Lines {
		fmt.Fprintf(&b, "%d %s %s", l.Number, l.Outcome, l.Text)
		if l.Why != "" {
			fmt.Fprintf(&b, " (%s)", l.Why)
		}
		b.WriteByte('\n')
	}
	for _, e := range r.Entries {
		fmt.Fprintf(&b, "= %s", e.List)
		for _, field := range [][2]string{{"for", strings.TrimSpace(string(e.Scope) + " " + e.ScopeOf)}, {"sender", e.Sender}, {"network", networkText(e.Network)}, {"recipient", e.Recipient}, {"reason", e.Reason}} {
			if field[1] != "" {
				fmt.Fprintf(&b, " %s %s", field[0], field[1])
			}
		}
		if e.Unauthenticated {
			b.WriteString(" UNAUTHENTICATED")
		}
		if !e.Expires.IsZero() {
			b.WriteString(" expires " + e.Expires.Format(time.RFC3339))
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func TestImportIsBounded(t *testing.T) {
	if _, err := Import(Rspamd, io.LimitReader(zeros{}, MaxImport+10), ImportOptions{}); err == nil {
		t.Error("a text over the bound was read")
	}
	many := strings.Repeat("a.example\n", maxThings)
	r, err := Import(Rspamd, strings.NewReader(many), ImportOptions{})
	if err != nil || len(r.Entries) != 1 || r.Taken != maxThings {
		t.Errorf("%v", err)
	}
	if _, err := Import(Rspamd, strings.NewReader(strings.Repeat("/x/\n", maxRefused+2)), ImportOptions{}); err == nil {
		t.Error("a text of nothing but refusals was read to its end")
	}
	r, err = Import(SpamAssassin, strings.NewReader("whitelist_from "+strings.Repeat("a@b.example ", 5000)+"\n"), ImportOptions{})
	if err != nil || r.Refused != 1 || len(r.Lines[0].Text) > shownLine+10 {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := Import("spamexperts", strings.NewReader(""), ImportOptions{}); err == nil {
		t.Error("an unknown form was read")
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// Whatever is imported: no panic, entries that are valid as they are, and a report that can be printed.
func FuzzImport(f *testing.F) {
	files, _ := filepath.Glob("testdata/import/*.txt")
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(raw), "\n\n")
		text, _, _ := strings.Cut(rest, "----\n")
		for n := range 5 {
			f.Add(n, []byte(text), n%2 == 0)
		}
	}
	f.Add(4, []byte("\xff\xfeV\x00"), false)
	f.Fuzz(func(t *testing.T, n int, text []byte, widen bool) {
		format := []Format{PMG, SpamAssassin, Rspamd, ASSP, Exchange}[uint(n)%5]
		r, err := Import(format, bytes.NewReader(text), ImportOptions{Widen: widen})
		if err != nil {
			return
		}
		for _, e := range r.Entries {
			again, err := e.Normal()
			if err != nil || again.ID != e.ID {
				t.Errorf("%+v: %v", e, err)
			}
			if e.Unauthenticated {
				t.Errorf("%+v holds without proof", e)
			}
		}
		for _, l := range r.Lines {
			if !utf8.ValidString(l.Text+l.Why) || strings.ContainsAny(l.Text+l.Why, "\x00\x1b\r\n\u2028") {
				t.Errorf("%q", l.Text+l.Why)
			}
			if l.Outcome == Widened && !widen {
				t.Errorf("widened though nobody asked: %+v", l)
			}
		}
	})
}

func TestErrInvalid(t *testing.T) {
	for name, e := range map[string]Entry{
		"no list": {Scope: Admin, Sender: "a.example"}, "nobody": {List: policy.Allow, Scope: Admin}, "no scope": {List: policy.Allow, Sender: "a.example"},
		"another user":     {List: policy.Allow, Scope: User, ScopeOf: "ann@ours.test", Sender: "a.example", Recipient: "ben@ours.test"},
		"a whole domain":   {List: policy.Allow, Scope: User, ScopeOf: "ann@ours.test", Sender: "a.example", Recipient: "ours.test"},
		"another domain":   {List: policy.Block, Scope: Domain, ScopeOf: "ours.test", Sender: "a.example", Recipient: "ann@theirs.test"},
		"below the domain": {List: policy.Block, Scope: Domain, ScopeOf: "ours.test", Sender: "a.example", Recipient: ".ours.test"},
		"null sender":      {List: policy.Allow, Scope: Admin, Sender: "<>"}, "not a sender": {List: policy.Block, Scope: Admin, Sender: "a b"},
	} {
		if _, err := e.Normal(); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
