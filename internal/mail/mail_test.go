package mail

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestParsePath(t *testing.T) {
	text, err := os.ReadFile("testdata/paths.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		input, want, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " => ")
		if !ok || strings.HasPrefix(line, "#") {
			continue
		}
		a, rest, err := ParsePath(input+" REST", true)
		got := ""
		switch {
		case errors.Is(err, ErrPathSyntax):
			got = "! syntax"
		case errors.Is(err, ErrPathTooLong):
			got = "! too long"
		case err != nil:
			got = err.Error()
		case rest != " REST":
			got = "rest " + rest
		default:
			got = a.Path()
		}
		if got != want {
			t.Errorf("%s: got %s, want %s", input, got, want)
		}
	}
}

func TestRawUTF8NeedsTheExtension(t *testing.T) {
	for _, path := range []string{"<jörg@example.org>", "<bob@müller.example>", `<"jörg x"@example.org>`} {
		if _, _, err := ParsePath(path, false); !errors.Is(err, ErrNeedsSMTPUTF8) {
			t.Errorf("%s: %v", path, err)
		}
	}
	for _, path := range []string{"<a\u202eb@example.org>", "<a\u200bb@example.org>", "<a\x80b@example.org>", "<a\u0085b@example.org>"} {
		if a, _, err := ParsePath(path, true); err == nil {
			t.Errorf("%q was read as %q", path, a)
		}
	}
}

func TestDomainsCompareAsALabels(t *testing.T) {
	for _, domain := range []string{"müller.example", "MÜLLER.example", "xn--mller-kva.example", "XN--MLLER-KVA.EXAMPLE", "ｍüller.example"} {
		if got := (Address{"bob", domain}).ASCIIDomain(); got != "xn--mller-kva.example" {
			t.Errorf("%s: %q", domain, got)
		}
	}
}

// What ParsePath reads, String writes so that it is read the same way again, and no octet of it can end the path.
func FuzzParsePath(f *testing.F) {
	text, err := os.ReadFile("testdata/paths.txt")
	if err != nil {
		f.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		input, _, _ := strings.Cut(line, " => ")
		f.Add(input, true)
	}
	f.Fuzz(func(t *testing.T, text string, utf8 bool) {
		a, _, err := ParsePath(text, utf8)
		if err != nil {
			return
		}
		again, rest, err := ParsePath(a.Path(), true)
		if err != nil && !errors.Is(err, ErrPathTooLong) || err == nil && (again != a || rest != "") {
			t.Fatalf("%q became %q, which reads as %q rest %q: %v", text, a.Path(), again, rest, err)
		}
		if strings.ContainsAny(a.Path(), "\r\n\x00") || !utf8 && a.NeedsUTF8() {
			t.Fatalf("%q became %q", text, a.Path())
		}
	})
}

func TestReplyStaysInItsLine(t *testing.T) {
	r := NewReply(550, "5.1.1", "%s", "no\r\n250 ok\x1b[2J"+strings.Repeat("x", 1000)).WithID("ID1")
	if !strings.HasSuffix(string(r.AppendWire(nil)), " (ID1)\r\n") {
		t.Errorf("the id is cut off: %q", r.AppendWire(nil))
	}
	for _, line := range strings.SplitAfter(string(r.AppendWire(nil)), "\r\n") {
		if line == "" {
			continue
		}
		if !strings.HasPrefix(line, "550") || len(line) > 512 || strings.Count(line, "\r")+strings.Count(line, "\n") != 2 || strings.ContainsRune(line, 0x1b) {
			t.Errorf("%q", line)
		}
	}
	if got := string((Reply{Code: 250, Text: "a\nb"}).AppendWire(nil)); got != "250-a\r\n250 b\r\n" {
		t.Errorf("%q", got)
	}
}

func TestParseHeader(t *testing.T) {
	h := ParseHeader([]byte("From: a@b.example\r\nSubject: one\r\n  two \r\nX-Empty:\r\n\r\nbody: no\r\n"))
	if len(h.Fields) != 3 || len(h.Defects) != 0 || h.Get("subject") != "one  two" || h.Get("X-Empty") != "" || h.Size != 53 {
		t.Errorf("%+v", h)
	}
	for raw, want := range map[string]Defect{
		" From: a@b.example\r\n\r\n":                     DefectFirstLineFolded,
		"From: a@b.example\r\nno colon here\r\n\r\n":     DefectNoColon,
		"From : a@b.example\r\n\r\n":                     DefectSpaceBeforeColon,
		"From\r\n : a@b.example\r\n\r\n":                 DefectFoldedName,
		"Fr om: a@b.example\r\n\r\n":                     DefectFieldName,
		": x\r\n\r\n":                                    DefectFieldName,
		"From: a\x00@b.example\r\n\r\n":                  DefectControl,
		"From: a@b.example\r\n":                          DefectNoBlankLine,
		"From: a@b.example\r\n \r\nX: y\r\n\r\n":         DefectEmptyFold,
		strings.Repeat("A: b\r\n", 1001) + "\r\nbody":    DefectTooManyFields,
		"A: " + strings.Repeat("x", 600000) + "\r\n\r\n": DefectTooLong,
	} {
		h := ParseHeader([]byte(raw))
		if !h.Has(want) {
			t.Errorf("%.40q: %v, want %q", raw, h.Defects, want)
		}
		if !h.Has(DefectNoBlankLine) && !bytes.HasSuffix([]byte(raw[:h.Size]), []byte("\r\n\r\n")) {
			t.Errorf("%.40q: body at %d", raw, h.Size)
		}
	}
}

// Fields lie side by side in the octets, in order and without overlap, and the lexer takes linear time.
func FuzzParseHeader(f *testing.F) {
	f.Add([]byte("From: a\r\n b\r\n\r\nbody"))
	f.Add([]byte(" x\r\n:\r\n\r\n"))
	f.Add([]byte("A\r\n\tB: c\r\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		h := ParseHeader(raw)
		at := 0
		for _, field := range h.Fields {
			if field.Offset < at || !bytes.Equal(raw[field.Offset:field.Offset+len(field.Raw)], field.Raw) {
				t.Fatalf("field %q at %d", field.Raw, field.Offset)
			}
			at = field.Offset + len(field.Raw)
			if strings.ContainsAny(field.Value(), "\r\n") && !bytes.Contains(field.Raw, []byte("\n")) {
				t.Fatalf("value %q", field.Value())
			}
		}
		if h.Size < at && !h.Has(DefectTooLong) {
			t.Fatalf("body at %d, last field ends at %d", h.Size, at)
		}
	})
}

func TestAuthservIDSeesThroughDisguises(t *testing.T) {
	for _, value := range []string{"gw.test; spf=pass", "GW.Test 1; none", " (a (nested) comment) gw.test ;x", `"gw.test"; x`, `"gw\.test"; x`, "gw.test.; x", "\tgw.test", "gw.test(c)"} {
		if got := AuthservID(value); got != "gw.test" {
			t.Errorf("%q: %q", value, got)
		}
	}
	for _, value := range []string{"sub.gw.test; x", "gw.test.evil; x", "", "(gw.test)", ";gw.test"} {
		if got := AuthservID(value); got == "gw.test" {
			t.Errorf("%q is not ours", value)
		}
	}
}

func TestAuthenticationResultsCantBeInjected(t *testing.T) {
	evil := "x\r\nBcc: v@far.example; dmarc=pass header.from=bank.example\x00\"\\("
	field := string(FormatAuthResults("gw.test", []AuthResult{{Method: "spf", Result: "fail", Reason: evil, Props: []AuthProp{{"smtp", "mailfrom", evil}}}}))
	if strings.Count(field, "\r\n") != 2 || !strings.HasSuffix(field, "\r\n") || strings.Contains(field, "\nBcc") || strings.ContainsRune(field, 0) {
		t.Fatalf("%q", field)
	}
	outside, quoted := "", false
	for i := 0; i < len(field); i++ {
		switch {
		case quoted && field[i] == '\\':
			i++
		case field[i] == '"':
			quoted = !quoted
		case !quoted:
			outside += field[i : i+1]
		}
	}
	if strings.Contains(outside, "dmarc") || quoted {
		t.Fatalf("outside of quotes: %q", outside)
	}
}

func message(t *testing.T, raw string) *Message {
	t.Helper()
	s := Spool{Dir: t.TempDir()}
	if _, err := io.Copy(&s, strings.NewReader(raw)); err != nil {
		t.Fatal(err)
	}
	m, err := s.Finish()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

func TestSpoolKeepsEveryOctet(t *testing.T) {
	for _, size := range []int{0, 1, MemoryLimit, MemoryLimit + 1, 3 * MemoryLimit} {
		raw := "From: a@b.example\r\n\r\n" + strings.Repeat("0123456789abcde\n", size/16+1)
		m := message(t, raw)
		got, err := io.ReadAll(m.Open())
		if err != nil || string(got) != raw || m.Size() != int64(len(raw)) || m.BodyOffset() != 21 {
			t.Errorf("size %d: %d octets back, body at %d, %v", size, len(got), m.BodyOffset(), err)
		}
		if (m.Memory() == nil) != (len(raw) > MemoryLimit) {
			t.Errorf("size %d: in memory %v", size, m.Memory() != nil)
		}
	}
}

// A copy is the fields on top and the message below without the fields left out, in memory and from a file, by WriteTo
// and by Open.
func TestCopy(t *testing.T) {
	for _, filler := range []int{0, 2 * MemoryLimit} {
		head := "A: 1\r\nB: 2\r\nC: 3\r\n"
		tail := "\r\nbody" + strings.Repeat("x", filler) + "\r\n"
		c := Copy{Top: []byte("T: 0\r\n"), Message: message(t, head+tail), Omit: []Span{{From: 6, To: 12}}}
		want := "T: 0\r\nA: 1\r\nC: 3\r\n" + tail
		var written bytes.Buffer
		n, err := c.WriteTo(&written)
		opened, err2 := io.ReadAll(c.Open())
		if err != nil || err2 != nil || n != int64(len(want)) || written.String() != want || string(opened) != want || c.Size() != n {
			t.Errorf("filler %d: wrote %d of %d, %v %v", filler, n, len(want), err, err2)
		}
	}
}

func TestStored(t *testing.T) {
	dir := t.TempDir()
	m := message(t, "From: a@b.example\r\n\r\nbody\r\n")
	type meta struct{ Route string }
	if err := WriteStored(dir, "ID1.1", meta{"default"}, Copy{Top: []byte("X: y\r\n"), Message: m}); err != nil {
		t.Fatal(err)
	}
	var got meta
	stored, err := OpenStored(filepath.Join(dir, "ID1.1"), &got)
	if err != nil {
		t.Fatal(err)
	}
	defer stored.Close()
	raw, err := io.ReadAll(stored.Open())
	if err != nil || got.Route != "default" || string(raw) != "X: y\r\nFrom: a@b.example\r\n\r\nbody\r\n" || stored.Header().Get("From") != "a@b.example" {
		t.Errorf("%+v %q %v", got, raw, err)
	}
	for _, id := range []string{"../x", "a/b", ".hidden", "", "a b", strings.Repeat("x", 99)} {
		if err := WriteStored(dir, id, meta{}, Copy{Message: m}); err == nil {
			t.Errorf("id %q was taken", id)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("the folder holds %v, %v", entries, err)
	}
}

// The longest name that a session makes: a copy of its hundred-thousandth transaction, refused, then released.
func TestIDsOfLongSessionsAreValid(t *testing.T) {
	if id := TransactionID(NewID(time.Now()), 100_000) + "-100-refused-r"; !ValidID(id) {
		t.Errorf("%s is no id", id)
	}
}

// What could be written and never be read again is not written at all.
func TestAStoredMessageCanBeRead(t *testing.T) {
	dir := t.TempDir()
	meta := strings.Repeat("x", 5<<20)
	if err := WriteStored(dir, "A", meta, Copy{Message: NewMessage([]byte("Subject: x\r\n\r\n"))}); err != nil {
		return
	}
	var again string
	m, err := OpenStored(filepath.Join(dir, "A"), &again)
	if err != nil || again != meta {
		t.Fatal(err)
	}
	_ = m.Close()
}

func TestIDsAreSortedByTime(t *testing.T) {
	a := NewID(time.UnixMilli(1_700_000_000_000))
	b := NewID(time.UnixMilli(1_700_000_000_001))
	if a >= b || len(a) != 16 || !ValidID(TransactionID(a, 12)) {
		t.Errorf("%s %s", a, b)
	}
}
