package imapd

import (
	"net"
	"strings"
	"testing"
	"time"

	"postern/proxy/imapd/wire"
	"postern/proxy/line"
)

// said is a connection that says one thing.
type said struct {
	net.Conn
	*strings.Reader
}

func (s said) Read(p []byte) (int, error)      { return s.Reader.Read(p) }
func (s said) SetReadDeadline(time.Time) error { return nil }

// command reads the command that a text begins with; literals must be non-synchronising.
func command(text string) *wire.Command {
	r := line.NewReader(said{Reader: strings.NewReader(text)}, &line.Buffers{})
	c, err := wire.ReadCommand(r, wire.Limits{Text: 10000, Literal: 10000, Literals: 70, Depth: 10})
	for err == nil && c.Literal != nil && c.Fits() {
		err = c.TakeLiteral(r)
	}
	if err != nil || c.Literal != nil {
		return nil
	}
	return c
}

// RFC 2971 section 3.3.
func TestParseID(t *testing.T) {
	pairs := func(n int) string { return strings.TrimSuffix(strings.Repeat(`"a" "b" `, n), " ") }
	for args, want := range map[string]string{
		`NIL`: `NIL`, `nil`: `NIL`, `()`: `NIL`,
		`("name" "x")`:                              `("name" "x")`,
		`("name" NIL "x-y" "z" "os" "a\"b\\")`:      `("name" NIL "os" "a\"b\\")`,
		`("X-Originating-IP" "1.2.3.4")`:            `NIL`,
		"({4+}\r\nname {3+}\r\na\"b)":               `("name" "a\"b")`,
		"(\"name\" {4+}\r\na\r\nb)":                 `NIL`,
		`(` + pairs(30) + `)`:                       `(` + pairs(30) + `)`,
		`(` + pairs(31) + `)`:                       "refused",
		`("name")`:                                  "refused",
		`(name "x")`:                                "refused",
		`("name" (x))`:                              "refused",
		`("` + strings.Repeat("a", 31) + `" "x")`:   "refused",
		`("a" "` + strings.Repeat("a", 1025) + `")`: "refused",
		`("a" "b") x`:                               "refused",
		`x`:                                         "refused",
	} {
		got := "refused"
		if p, good := parseID(command("a ID " + args + "\r\n").Args()); good {
			got = forwardID(p)
		}
		if got != want {
			t.Errorf("%.80q becomes %.80q, want %.80q", args, got, want)
		}
	}
}

func FuzzID(f *testing.F) {
	for _, seed := range []string{"NIL", `("name" "x" "x-y" NIL)`, "({4+}\r\nname {3+}\r\na\"b)", `("a" "\\\"")`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, args string) {
		c := command("a ID " + args + "\r\n")
		if c == nil {
			return
		}
		pairs, good := parseID(c.Args())
		if !good {
			return
		}
		text := forwardID(pairs)
		again := command("a ID " + text + "\r\n")
		if again == nil {
			t.Fatalf("%q is no command", text)
		}
		same, good := parseID(again.Args())
		if !good || forwardID(same) != text {
			t.Fatalf("%q is read as %v", text, same)
		}
		for _, p := range same {
			if strings.HasPrefix(strings.ToLower(p.field), "x-") {
				t.Fatalf("%q goes through", p.field)
			}
		}
	})
}

func FuzzCapabilities(f *testing.F) {
	for _, seed := range []string{"IMAP4rev1 LITERAL+ IDLE", "imap4REV1 compress=DEFLATE NOTIFY RIGHTS=texk x-new", "AUTH=PLAIN STARTTLS LOGINDISABLED URLAUTH URL-PARTIAL UIDONLY"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, list string) {
		var k backend
		k.learn([]byte("[CAPABILITY " + list + "]"))
		for _, c := range k.capabilities.shown() {
			name, _, _ := strings.Cut(strings.ToUpper(c), "=")
			switch name {
			case "COMPRESS", "NOTIFY", "URLAUTH", "URL-PARTIAL", "UIDONLY", "CONVERT", "UNAUTHENTICATE", "AUTH", "STARTTLS", "LOGINDISABLED", "LOGIN-REFERRALS", "MAILBOX-REFERRALS":
				t.Fatalf("%q is shown", c)
			}
		}
	})
}

// NTLM's type 3 message: MS-NLMP section 2.2.1.3.
func FuzzNTLM(f *testing.F) {
	blob := make([]byte, 70)
	copy(blob, "NTLMSSP\x00\x03")
	blob[36], blob[40], blob[60] = 6, 64, 1
	copy(blob[64:], "b\x00o\x00b\x00")
	f.Add(blob)
	if got := ntlmUser(blob, ""); got != "bob" {
		f.Errorf("%q", got)
	}
	blob[28], blob[32] = 2, 64
	if got := ntlmUser(blob, ""); got != `b\bob` {
		f.Errorf("with its domain: %q", got)
	}
	f.Fuzz(func(_ *testing.T, blob []byte) { ntlmUser(blob, "") })
}

// A SELECT that fails, an EXPUNGE too many: what is not known for sure is not known.
func TestNumbersToUIDs(t *testing.T) {
	b := newSelected("INBOX")
	b.learn(1, 11)
	if b.uid(1) != 0 {
		t.Error("learnt while SELECT is under way")
	}
	b.settle()
	for n := uint32(1); n <= 5; n++ {
		b.learn(n, n+10)
	}
	b.learn(maxNumbers+7, 99)
	b.expunge(2)
	for number, want := range map[uint32]uint32{0: 0, 1: 11, 2: 13, 4: 15, 5: 0, maxNumbers + 7: 0} {
		if got := b.uid(number); got != want {
			t.Errorf("number %d is UID %d, want %d", number, got, want)
		}
	}
	b.forget()
	if b.uid(1) != 0 {
		t.Error("not forgotten")
	}
	for n := uint32(1); n <= 3000; n++ {
		b.learn(n, n+10)
	}
	for range maxExpunges + 1 {
		b.expunge(1)
	}
	if b.uid(1) != 0 {
		t.Error("too many EXPUNGE are followed")
	}
}
