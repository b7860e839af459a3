package wire

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"postern/proxy/line"
)

// script is a connection that says what it has, in pieces of a size.
type script struct {
	net.Conn
	rest  []byte
	piece int
}

func (s *script) Read(p []byte) (int, error) {
	if len(s.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.rest[:min(len(s.rest), s.piece)])
	s.rest = s.rest[n:]
	return n, nil
}

func (s *script) SetReadDeadline(time.Time) error { return nil }

func reader(text []byte, piece int) *line.Reader {
	return line.NewReader(&script{rest: text, piece: max(piece, 1)}, &line.Buffers{})
}

func limits() Limits { return Limits{Text: 1000, Literal: 500, Literals: 3, Depth: 5} }

// take reads one command with its literals.
func take(r *line.Reader) (*Command, error) {
	c, err := ReadCommand(r, limits())
	for err == nil && c.Literal != nil {
		if !c.Fits() {
			return nil, io.ErrShortBuffer
		}
		err = c.TakeLiteral(r)
	}
	return c, err
}

func sent(c *Command, plus bool) string {
	var b strings.Builder
	for _, p := range c.Pieces(func(int64) bool { return plus }) {
		b.Write(p.Octets)
		if p.Wait {
			b.WriteString("<wait>")
		}
	}
	return b.String()
}

// What is forwarded is what was understood, its literals written anew.
func TestCommandsAreWrittenAnew(t *testing.T) {
	for in, want := range map[string]string{
		"a noop\r\n":                                "a NOOP\r\n",
		"a uid fetch 1 (FLAGS)\r\n":                 "a UID FETCH 1 (FLAGS)\r\n",
		"a CREATE {0003+}\r\na\r\n\r\n":             "a CREATE {3+}\r\na\r\n\r\n",
		"a X {1}\r\nb {2+}\r\ncd ~{1+}\r\n\x00\r\n": "a X {1+}\r\nb {2+}\r\ncd ~{1+}\r\n\x00\r\n",
		"a SEARCH (TEXT {1+}\r\nx)\r\n":             "a SEARCH (TEXT {1+}\r\nx)\r\n",
		"a X \"q \\\" \\\\ {5}\"\r\n":               "a X \"q \\\" \\\\ {5}\"\r\n",
		"a FETCH 1 BODY[HEADER.FIELDS (\"a\")]\r\n": "a FETCH 1 BODY[HEADER.FIELDS (\"a\")]\r\n",
	} {
		for piece := 1; piece < 40; piece += 7 {
			c, err := take(reader([]byte(in), piece))
			if err != nil {
				t.Fatalf("%q: %v", in, err)
			}
			if got := sent(c, true); got != want {
				t.Errorf("%q becomes %q, want %q", in, got, want)
			}
		}
	}
	c, err := take(reader([]byte("a X {1+}\r\nb {2}\r\ncd\r\n"), 100))
	if err != nil {
		t.Fatal(err)
	}
	if got := sent(c, false); got != "a X {1}\r\n<wait>b {2}\r\n<wait>cd\r\n" {
		t.Errorf("without LITERAL+ it becomes %q", got)
	}
}

func TestTokens(t *testing.T) {
	c, err := take(reader([]byte("a X a\\b \"q\\\"\" (c BODY.PEEK[HEADER.FIELDS (X \"]\" {1+}\r\n])]<0.5>) {3+}\r\nx y \"\" $\r\n"), 9))
	if err != nil {
		t.Fatal(err)
	}
	want := []Token{{Atom, `a\b`}, {String, `q"`}, {Kind: Open}, {Atom, "c"}, {Atom, "BODY.PEEK[HEADER.FIELDS (X \"]\" {1+}\r\n])]<0.5>"}, {Kind: Close}, {String, "x y"}, {String, ""}, {Atom, "$"}, {}}
	l := c.Args()
	for i, w := range want {
		if got := l.Next(); got != w {
			t.Errorf("token %d: %v, want %v", i, got, w)
		}
	}
}

func TestSets(t *testing.T) {
	for in, want := range map[string]string{"1": "1", "1:3,7,*": "1:3,7,9", "*:4": "9:4", "100:*": "9", "5:100": "5:9", "$": "$"} {
		s, ok := ParseSet(in)
		if !ok || s.String() != in {
			t.Errorf("%q is read as %v, %t", in, s, ok)
		}
		if got := s.Until(9).String(); got != want {
			t.Errorf("%q until 9 is %q, want %q", in, got, want)
		}
	}
	for _, in := range []string{"", "0", "1,", ",1", "1:", ":1", "a", "1:2:3", "4294967296", "-1", "+1", "01", "1 2", "$,1", "**"} {
		if s, ok := ParseSet(in); ok {
			t.Errorf("%q is read as %v", in, s)
		}
	}
	s, _ := ParseSet("3:1,4294967290:4294967295")
	if got := s.Numbers(5); len(got) != 5 || got[0] != 1 || got[3] != 4294967290 {
		t.Error(got)
	}
	if got := s.Numbers(100); len(got) != 9 || got[8] != 4294967295 {
		t.Error(got)
	}
}

func TestItems(t *testing.T) {
	for in, want := range map[string]Class{
		"BODY[]": Whole, "body.peek[]": Whole, "RFC822": Whole, "BODY[]<0>": Part, "BODY[]<0.5>": Part, "BODY[TEXT]": Part, "BODY[1]": Part,
		"BODY[1.2.TEXT]": Part, "RFC822.TEXT": Part, "BINARY[]": Part, "BINARY.PEEK[1]": Part, "PREVIEW": Part, "SNIPPET": Part, "X-ANY": Part,
		"RFC822.PEEK": Whole, "BODY[1.HEADERX]": Part, "BODY[FOO]": Part, "RFC822[]": Part,
		"BODY": Plain, "BODYSTRUCTURE": Plain, "BODY[HEADER]": Plain, "BODY[1.MIME]": Plain, "BODY[1.2.HEADER]": Plain, "BODY[HEADER]<0.9>": Plain,
		"BODY[HEADER.FIELDS (X)]": Plain, "BINARY.SIZE[1]": Plain, "FLAGS": Plain, "RFC822.HEADER": Plain, "RFC822.SIZE": Plain, "UID": Plain,
	} {
		if got := ParseItem(in); got.Class != want {
			t.Errorf("%s has class %d, want %d", in, got.Class, want)
		}
	}
	if it := ParseItem("BODY[1.2]<17>"); it.Origin != 17 || it.Section != "1.2" {
		t.Error(it)
	}
}

func FuzzCommand(f *testing.F) {
	for _, seed := range []string{"a NOOP\r\n", "a UID FETCH 1:* (BODY.PEEK[HEADER.FIELDS (A {1+}\r\nx)]<0.5>)\r\nb X\r\n", "a LOGIN {3+}\r\nbob \"x\\\"y\"\r\n",
		"a X {1}\r\n\x00\r\n", "a{5+}\r\n", "a X \" {5+}\r\nx y\r\n", "a X ~{2+}\r\n\x00\x00 ((({1+}\r\nx)))\r\n", "a X {99999999999999999999+}\r\n", "+ x\r\n", "\r\n", "a ID (\"x\" NIL)\r\n"} {
		f.Add([]byte(seed), 3)
	}
	f.Fuzz(func(t *testing.T, in []byte, piece int) {
		whole, errWhole := take(reader(bytes.Clone(in), len(in)+1))
		c, err := take(reader(bytes.Clone(in), piece%50))
		if (err == nil) != (errWhole == nil) {
			t.Fatalf("in pieces: %v, whole: %v", err, errWhole)
		}
		if err != nil {
			return
		}
		l := c.Args()
		for l.Next().Kind != End {
		}
		ParseItems(c.Args())
		text, _ := c.Args().AString()
		ParseSet(text)
		out := sent(c, true)
		if whole := sent(whole, true); out != whole {
			t.Fatalf("in pieces %q, whole %q", out, whole)
		}
		// what is sent is read as the same command, and ends where it ends
		again, err := take(reader([]byte(out+"z NOOP\r\n"), 64))
		if err != nil {
			t.Fatalf("%q can't be read again: %v", out, err)
		}
		if twice := sent(again, true); twice != out {
			t.Fatalf("%q becomes %q", out, twice)
		}
	})
}

// scan runs a FETCH response through in pieces, and gives its text, and the names of the items whose literals came.
func scan(in []byte, piece int) (text, heads string, uid uint32, end Event) {
	var f Fetch
	var b, h strings.Builder
	skip := int64(0)
	for len(in) > 0 {
		if skip > 0 {
			n := min(skip, int64(len(in)))
			in, skip = in[n:], skip-n
			continue
		}
		p := in[:min(len(in), piece)]
		n, e := f.Scan(p)
		b.Write(p[:n])
		in = in[n:]
		switch e {
		case EventDone, EventBroken:
			return b.String(), h.String(), f.UID, e
		case EventHead:
			skip = f.Literal.Size
			h.WriteString(f.Item.Name + "[" + f.Item.Section + "] ")
		case EventQuote:
			for over := false; !over && len(in) > 0; {
				var ok bool
				if n, _, over, ok = f.Quoted(in[:min(len(in), piece)], make([]byte, 0, 7)); !ok {
					return b.String(), h.String(), f.UID, EventBroken
				}
				in = in[n:]
			}
		}
	}
	return b.String(), h.String(), f.UID, EventMore
}

func TestFetchResponses(t *testing.T) {
	for in, literals := range map[string]int{
		"(FLAGS (\\Seen) UID 7)\r\n":                                                    0,
		"(UID 7 BODY[] {3}\r\nabc)\r\n":                                                 1,
		"(BODY[HEADER.FIELDS (\"A)\" {1}\r\nB)] {2}\r\nxy UID 7)\r\n":                   2,
		"(BODY[HEADER.FIELDS (A)] {2}\r\nxy UID 7 RFC822.TEXT \"a\\\"b\")\r\n":          1,
		"(ENVELOPE (\"UID 9\" ({3}\r\n)\r\n) NIL) UID 7 BINARY[1]<0> ~{1}\r\n\x00)\r\n": 2,
		"(UID 7 PREVIEW \")\" X ({1}\r\n) \"(\"))\r\n":                                  1,
	} {
		for _, piece := range []int{1, 2, 5, 1000} {
			_, heads, uid, end := scan([]byte(in), piece)
			if got := strings.Count(heads, "] "); end != EventDone || uid != 7 || got != literals {
				t.Errorf("%q in pieces of %d: literals of %q, UID %d, end %d", in, piece, heads, uid, end)
			}
		}
	}
	for _, in := range []string{"FLAGS ()\r\n", "(FLAGS\r\n", "(FLAGS () \r\n", "(X {5})\r\n", "(X {x}\r\n", "() x\r\n", "(X \"a\r\n", "(A B\nC)\r\n", "(((\r\n", "(X \"a\" Y)\r\n\r\n)"} {
		if _, _, _, end := scan([]byte(in), 1000); end == EventDone {
			t.Errorf("%q is read as a response", in)
		}
	}
}

func FuzzFetch(f *testing.F) {
	for _, seed := range []string{"(FLAGS (\\Seen) UID 7)\r\n", "(BODY[] {3}\r\nabc UID 7)\r\n", "(BODY[HEADER.FIELDS (\"A)\" {1}\r\nB)] {2}\r\nxy)\r\n", "(X (\"a\\\"\" ~{1}\r\nb) PREVIEW \"\")\r\n"} {
		f.Add([]byte(seed), 3)
	}
	f.Fuzz(func(t *testing.T, in []byte, piece int) {
		text, heads, uid, end := scan(in, len(in)+1)
		text2, heads2, uid2, end2 := scan(in, max(1, piece%40))
		if text != text2 || heads != heads2 || uid != uid2 || end != end2 {
			t.Fatalf("whole: %q %q %d %d, in pieces: %q %q %d %d", text, heads, uid, end, text2, heads2, uid2, end2)
		}
	})
}

func FuzzResponse(f *testing.F) {
	for _, seed := range []string{"* 5 EXISTS\r\n", "+ go\r\n", "a1 OK [CAPABILITY IMAP4rev1 X] done\r\n", "* LIST () \"/\" {5}\r\n", "* LIST () \"/\" \"{5}\r\n", "* 99999999999 FETCH\r\n"} {
		f.Add([]byte(seed), 3)
	}
	f.Fuzz(func(t *testing.T, in []byte, piece int) {
		if r, ok := ParseResponse(in); ok && r.Body <= len(in) {
			Code(in[r.Body:])
		} else if ok {
			t.Fatalf("%q: the body begins at %d", in, r.Body)
		}
		var whole, parts Tail
		lit, follows := whole.Piece(in, true)
		piece = max(1, piece%40)
		for len(in) > piece {
			parts.Piece(in[:piece], false)
			in = in[piece:]
		}
		if lit2, follows2 := parts.Piece(in, true); lit2 != lit || follows2 != follows {
			t.Fatalf("whole: %v %t, in pieces: %v %t", lit, follows, lit2, follows2)
		}
	})
}
