package mask

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emersion/go-message"
	_ "github.com/emersion/go-message/charset" // so that no part's charset is an error

	"postern/internal/mail"
	"postern/internal/mimeview"
)

const notice = "This message was withheld by the mail gateway of gw.example because it holds malware.\r\n" +
	"Tell your administrator the id 01HXYZ -- he can release it = he will."

// masked gives the message overwritten in one go.
func masked(t testing.TB, raw []byte) (*Plan, []byte) {
	t.Helper()
	m := mail.NewMessage(bytes.Clone(raw))
	defer m.Close()
	p := New(m, notice)
	out := bytes.Clone(raw)
	p.Message(out, 0)
	return p, out
}

// lineEndsStay says that the length and every CR and LF are where they were, and no others are there.
func lineEndsStay(t testing.TB, raw, out []byte) {
	t.Helper()
	if len(raw) != len(out) {
		t.Fatalf("%d octets became %d", len(raw), len(out))
	}
	for i := range raw {
		was, is := raw[i] == '\r' || raw[i] == '\n', out[i] == '\r' || out[i] == '\n'
		if was != is || was && raw[i] != out[i] {
			t.Fatalf("octet %d: %q became %q", i, raw[i], out[i])
		}
	}
}

// nothingLeft says that no 8 octets of a content are left, blanks aside.
func nothingLeft(t testing.TB, secrets [][]byte, out []byte) {
	t.Helper()
	seen := map[string]bool{}
	for i := 0; i+8 <= len(out); i++ {
		seen[string(out[i:i+8])] = true
	}
	for _, s := range secrets {
		for i := 0; i+8 <= len(s); i++ {
			if w := s[i : i+8]; seen[string(w)] && len(bytes.Trim(w, " \r\n\t")) > 0 && !strings.Contains(notice, string(w)) {
				t.Fatalf("%q is left in\n%s", w, out)
			}
		}
	}
}

// viewTree is the structure as our own reader sees it.
func viewTree(raw []byte) string {
	m := mail.NewMessage(bytes.Clone(raw))
	defer m.Close()
	var b strings.Builder
	var walk func(p *mimeview.Part)
	walk = func(p *mimeview.Part) {
		if p.Reading != "" {
			return
		}
		fmt.Fprintf(&b, "%d %s %s %d-%d-%d %s\n", p.Depth, p.Type, p.Encoding, p.Header, p.Start, p.End, p.Name)
		fmt.Fprintf(&b, "%d octets, %d lines\n", len(p.Body), bytes.Count(raw[p.Start:p.End], []byte("\n")))
		for _, inner := range p.Parts {
			walk(inner)
		}
	}
	v := mimeview.Of(m)
	walk(v.Root())
	return b.String()
}

// messageTree is the structure as another reader sees it, with the decoded lengths and contents of the leaves.
func messageTree(t testing.TB, raw []byte) (tree string, contents [][]byte) {
	t.Helper()
	var b strings.Builder
	var walk func(e *message.Entity)
	walk = func(e *message.Entity) {
		kind, params, err := e.Header.ContentType()
		fmt.Fprintf(&b, "%s %v %v %s\n", kind, params, err, e.Header.Get("Content-Disposition"))
		if kind == "message/rfc822" {
			inner, err := message.Read(e.Body)
			if err != nil {
				t.Fatal(err)
			}
			walk(inner)
			return
		}
		if parts := e.MultipartReader(); parts != nil {
			for {
				part, err := parts.NextPart()
				if errors.Is(err, io.EOF) {
					return
				}
				if err != nil {
					t.Fatalf("%v in\n%s", err, raw)
				}
				walk(part)
			}
		}
		body, err := io.ReadAll(e.Body)
		fmt.Fprintf(&b, "%d octets, %v\n", len(body), err)
		contents = append(contents, body)
	}
	e, err := message.Read(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	walk(e)
	return b.String(), contents
}

func TestStructureStaysAndContentGoes(t *testing.T) {
	for seed := range uint64(400) {
		g := newGenerator(seed)
		raw := []byte(g.message())
		plan, out := masked(t, raw)
		lineEndsStay(t, raw, out)
		nothingLeft(t, g.secrets, out)
		if plan.root == nil {
			t.Fatalf("seed %d: taken for doubtful:\n%s\n%s", seed, viewTree(raw), raw)
		}
		if !bytes.Equal(raw[:plan.header], out[:plan.header]) {
			t.Fatal("the header changed")
		}
		if was, is := viewTree(raw), viewTree(out); was != is {
			t.Fatalf("seed %d: our reader saw\n%s\nand now\n%s\nof\n%s\n%s", seed, was, is, raw, out)
		}
		was, _ := messageTree(t, raw)
		is, contents := messageTree(t, out)
		if was != is {
			t.Fatalf("seed %d: go-message saw\n%s\nand now\n%s\nof\n%s\n%s", seed, was, is, raw, out)
		}
		nothingLeft(t, g.secrets, bytes.Join(contents, nil))
		if i := bytes.Index(out[plan.header:], []byte("\n.")); i >= 0 {
			t.Fatalf("seed %d: a line begins with a dot", seed)
		}
	}
}

func TestPiecesEqualTheWhole(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	for seed := range uint64(200) {
		g := newGenerator(seed)
		raw := []byte(g.message())
		plan, out := masked(t, raw)
		if plan.root == nil {
			t.Fatalf("seed %d: taken for doubtful:\n%s\n%s", seed, viewTree(raw), raw)
		}
		for range 20 {
			from := r.IntN(len(raw))
			to := from + r.IntN(len(raw)-from+1)
			piece := bytes.Clone(raw[from:to])
			plan.Message(piece, int64(from))
			if !bytes.Equal(piece, out[from:to]) {
				t.Fatalf("seed %d: octets %d-%d read\n%q, in the whole\n%q", seed, from, to, piece, out[from:to])
			}
		}
		body := bytes.Clone(raw[plan.body:])
		if plan.Text(body, 0); !bytes.Equal(body, out[plan.body:]) {
			t.Fatalf("seed %d: the text differs", seed)
		}
		head := bytes.Clone(raw[:plan.body])
		if plan.Header(head, 0); !bytes.Equal(head, raw[:plan.body]) {
			t.Fatalf("seed %d: the header differs", seed)
		}
		sections(t, r, plan, plan.root, "", raw, out)
	}
}

// sections compares each part, in two pieces, with the same octets of the whole.
func sections(t *testing.T, r *rand.Rand, plan *Plan, n *node, name string, raw, out []byte) {
	t.Helper()
	check := func(section string, from, to int64) {
		t.Helper()
		cut := int64(0)
		if to > from {
			cut = r.Int64N(to - from)
		}
		piece := bytes.Clone(raw[from:to])
		plan.Section(section, piece[cut:], cut)
		plan.Section(section, piece[:cut], 0)
		if !bytes.Equal(piece, out[from:to]) {
			t.Fatalf("section %s: %q, in the whole %q", section, piece, out[from:to])
		}
	}
	under := func(m *node, dot string) {
		if m.parts == nil && (n == plan.root || n.inner != nil) {
			check(dot+"1", m.start, m.end)
		}
		for i, part := range m.parts {
			one := fmt.Sprintf("%s%d", dot, i+1)
			check(one, part.start, part.end)
			check(one+".MIME", part.header, part.start)
			sections(t, r, plan, part, one, raw, out)
		}
	}
	switch {
	case n.inner != nil && name != "":
		check(name+".HEADER", n.inner.header, n.inner.start)
		check(name+".TEXT", n.inner.start, n.inner.end)
		under(n.inner, name+".")
	case name == "":
		under(n, "")
	default:
		under(n, name+".")
	}
}

// What any reader could see in another way loses all behind the top header: testdata/doubt holds messages whose secret
// is "evil.example".
func TestDoubtTakesAll(t *testing.T) {
	files, err := filepath.Glob("testdata/doubt/*.eml")
	if err != nil || len(files) == 0 {
		t.Fatal("no cases", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".eml"), func(t *testing.T) {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Contains(raw, []byte("\r")) && !strings.Contains(file, "bare_lf") {
				raw = bytes.ReplaceAll(raw, []byte("\n"), []byte("\r\n"))
			}
			plan, out := masked(t, raw)
			lineEndsStay(t, raw, out)
			if bytes.Contains(out, []byte("evil.example")) {
				t.Errorf("left:\n%s", out)
			}
			for from := range raw { // wherever a server sees the body begin
				text := bytes.Clone(raw[from:])
				plan.Text(text, 0)
				if bytes.Contains(text, []byte("evil")) {
					t.Fatalf("left in the text from %d on:\n%s", from, text)
				}
				if int64(from) == plan.body && plan.header <= plan.body && !bytes.Equal(text, out[from:]) {
					t.Errorf("the text differs from the whole:\n%s\n%s", text, out[from:])
				}
			}
			if !bytes.HasPrefix(out, []byte("From: ")) {
				t.Errorf("the header is gone:\n%s", out)
			}
		})
	}
}

func TestTheNoticeIsRead(t *testing.T) {
	body := strings.Repeat("wicked words in a long line of text, and more of them\r\n", 8)
	for encoding, text := range map[string]string{
		"7bit": body, "quoted-printable": strings.ReplaceAll(body, "in", "i=6E"), "base64": base64.StdEncoding.EncodeToString([]byte(body)),
	} {
		raw := "From: a@b.example\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: " + encoding + "\r\n\r\n" + text
		_, out := masked(t, []byte(raw))
		_, contents := messageTree(t, out)
		plain := strings.Join(strings.Fields(string(contents[0])), "")
		if !strings.Contains(plain, strings.Join(strings.Fields("Tell your administrator the id 01HXYZ"), "")) {
			t.Errorf("%s: the reader sees %q", encoding, contents[0])
		}
	}
}

func TestAServerThatReadsOtherwiseGetsNothing(t *testing.T) {
	for seed := range uint64(100) {
		g := newGenerator(seed)
		raw := []byte(g.message())
		plan, _ := masked(t, raw)
		secret := bytes.Repeat([]byte("evil.example "), len(raw)/13+40)
		for _, section := range []string{"1", "1.1", "1.MIME", "2.HEADER", "3.TEXT", "1.2.3", "9", "x", "1.", "HEADER", "TEXT", "1.HEADER"} {
			for _, off := range []int64{0, 1, 77, int64(len(raw)) + 5, 1 << 60} {
				b := bytes.Clone(secret)
				plan.Section(section, b, off)
				own := int(max(0, plan.header-off))
				if section != "HEADER" && !strings.HasSuffix(section, "MIME") {
					own = 0
				}
				if bytes.Contains(b[min(own, len(b)):], []byte("evil")) {
					t.Fatalf("seed %d: section %s at %d: %q", seed, section, off, b)
				}
			}
		}
		b := bytes.Clone(secret)
		if plan.Binary("1", b, 0); bytes.Contains(b, []byte("evil")) {
			t.Fatal("binary")
		}
	}
}

// Messages that went wrong on their way, or were made so: lines lost, doubled, moved, cut, ended otherwise.
func TestNothingOfBrokenMessagesIsLeft(t *testing.T) {
	for seed := range uint64(3000) {
		g := newGenerator(seed)
		lines := strings.SplitAfter(g.message(), "\r\n")
		for range 1 + g.r.IntN(4) {
			i, j := 1+g.r.IntN(len(lines)-1), 1+g.r.IntN(len(lines)-1)
			switch g.r.IntN(6) {
			case 0:
				lines = append(lines[:i], lines[i+1:]...)
			case 1:
				lines[j] = lines[i] + lines[j]
			case 2:
				lines[i], lines[j] = lines[j], lines[i]
			case 3:
				lines[i] = strings.TrimSuffix(lines[i], "\r\n")
			case 4:
				lines[i] = strings.TrimSuffix(lines[i], "\r\n") + []string{"\n", "\r", " \r\n", ";\r\n", "=\r\n"}[g.r.IntN(5)]
			case 5:
				lines = append(lines[:i:i], append([]string{[]string{"\r\n", " \r\n", "--\r\n", "Content-Type: text/plain\r\n"}[g.r.IntN(4)]}, lines[i:]...)...)
			}
			if len(lines) < 3 {
				break
			}
		}
		raw := []byte(strings.Join(lines, ""))
		plan, out := masked(t, raw)
		lineEndsStay(t, raw, out)
		nothingLeft(t, g.secrets, out[plan.header:])
	}
}

func TestPlansAreBounded(t *testing.T) {
	var b strings.Builder
	b.WriteString("From: a@b.example\r\nMIME-Version: 1.0\r\nContent-Type: application/x\r\nContent-Transfer-Encoding: base64\r\n\r\n")
	for i := range 60000 {
		b.WriteString("QUJDRA=="[:4] + strings.Repeat(" ", i%7) + "\r\n")
	}
	raw := []byte(b.String())
	plan, out := masked(t, raw)
	lineEndsStay(t, raw, out)
	if len(plan.spans) > maxSpans {
		t.Errorf("%d spans", len(plan.spans))
	}
	for _, s := range plan.spans {
		if s.leaf != nil && len(s.leaf.runs) > maxSpans {
			t.Errorf("%d runs", len(s.leaf.runs))
		}
	}
	if bytes.Contains(out, []byte("QUJD")) {
		t.Error("content left")
	}
}

func FuzzMask(f *testing.F) {
	for seed := range uint64(20) {
		f.Add([]byte(newGenerator(seed).message()), 10, 90)
	}
	files, _ := filepath.Glob("testdata/doubt/*.eml")
	for _, file := range files {
		if raw, err := os.ReadFile(file); err == nil {
			f.Add(bytes.ReplaceAll(raw, []byte("\n"), []byte("\r\n")), 0, 1000)
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte, from, length int) {
		plan, out := masked(t, raw)
		lineEndsStay(t, raw, out)
		from = max(0, min(from, len(raw)))
		to := max(from, min(len(raw), from+max(0, length)))
		piece := bytes.Clone(raw[from:to])
		if plan.Message(piece, int64(from)); !bytes.Equal(piece, out[from:to]) {
			t.Fatalf("octets %d-%d read %q, in the whole %q", from, to, piece, out[from:to])
		}
		if plan.root == nil { // a stranger's octets through a plan that knows nothing
			if rest := bytes.Join(bytes.Fields(out[plan.header:]), nil); len(rest) > len(notice) {
				t.Fatalf("left: %q", rest)
			}
			return
		}
		if was, is := viewTree(raw), viewTree(out); strings.Count(was, "\n") != strings.Count(is, "\n") && len(plan.spans) < maxSpans {
			t.Fatalf("our reader saw\n%s\nand now\n%s\nof %q\n%q", was, is, raw, out)
		}
	})
}
