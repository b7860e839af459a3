package mask

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"postern/internal/testing/dovecottest"
)

// imapDialogue speaks IMAP to a server without any reading of what it says.
type imapDialogue struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
	tags int
}

func dialIMAP(t *testing.T, address string) *imapDialogue {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		t.Fatal(err)
	}
	d := &imapDialogue{t: t, conn: conn, in: bufio.NewReader(conn)}
	if _, err := d.in.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	return d
}

// ask sends a command and gives all that comes up to its end.
func (d *imapDialogue) ask(command string) string {
	d.t.Helper()
	d.tags++
	tag := fmt.Sprintf("t%d", d.tags)
	if _, err := fmt.Fprintf(d.conn, "%s %s\r\n", tag, command); err != nil {
		d.t.Fatal(err)
	}
	var all strings.Builder
	for {
		line, err := d.in.ReadString('\n')
		if err != nil {
			d.t.Fatalf("%s: %v", command[:min(len(command), 100)], err)
		}
		if strings.HasPrefix(line, tag+" ") {
			if !strings.HasPrefix(line, tag+" OK") {
				d.t.Fatalf("%s: %s", command[:min(len(command), 100)], line)
			}
			return all.String()
		}
		all.WriteString(line)
	}
}

func (d *imapDialogue) store(raw []byte) {
	d.t.Helper()
	d.ask(fmt.Sprintf("APPEND INBOX {%d+}\r\n%s", len(raw), raw))
}

// What a real server tells of a message, and of its masked form put into the same mailbox, is the same in every octet;
// and what it gives of each part is what the plan makes of the same part of the original.
func TestDovecotTellsTheSameOfBoth(t *testing.T) {
	server := dovecottest.Start(t, dovecottest.Options{})
	d := dialIMAP(t, server.IMAP)
	d.ask("LOGIN ann " + dovecottest.Password)
	const messages = 60
	for seed := range uint64(messages) {
		raw := []byte(newGenerator(seed).message())
		plan, out := masked(t, raw)
		if plan.root == nil {
			t.Fatalf("seed %d is taken for doubtful", seed)
		}
		d.store(raw)
		d.store(out)
	}
	d.ask("SELECT INBOX")
	for seed := range uint64(messages) {
		raw := []byte(newGenerator(seed).message())
		plan, _ := masked(t, raw)
		tell := "RFC822.SIZE BODYSTRUCTURE BODY ENVELOPE BODY.PEEK[HEADER]"
		var sections []string
		walk(plan.root, "", func(section string, leaf bool) {
			if sections = append(sections, section, section+".MIME", section+".HEADER", section+".TEXT"); leaf {
				tell += " BINARY.SIZE[" + section + "]"
			}
		})
		n := 2*seed + 1
		both := func(items string) (was, is string) {
			was, is = d.ask(fmt.Sprintf("FETCH %d (%s)", n, items)), d.ask(fmt.Sprintf("FETCH %d (%s)", n+1, items))
			return was, strings.Replace(is, fmt.Sprintf("* %d FETCH", n+1), fmt.Sprintf("* %d FETCH", n), 1)
		}
		if was, is := both(tell); was != is || !strings.Contains(was, "BODYSTRUCTURE (") {
			t.Fatalf("seed %d: Dovecot told\n%s\nand now\n%s\nof\n%s", seed, was, is, raw)
		}
		for _, section := range sections {
			was, is := both("BODY.PEEK[" + section + "]")
			original, overwritten := []byte(literal(t, was, section)), literal(t, is, section)
			if plan.Section(section, original, 0); string(original) != overwritten {
				t.Fatalf("seed %d: section %s is by the plan\n%q\nand in the masked message\n%q", seed, section, original, overwritten)
			}
		}
	}
}

// walk names each part of a plan by its section.
func walk(n *node, name string, tell func(section string, leaf bool)) {
	dot := name
	if dot != "" {
		dot += "."
	}
	switch {
	case n.inner != nil && name == "":
		tell("1", false)
		walk(n.inner, "1", tell)
	case n.inner != nil:
		walk(n.inner, name, tell)
	case n.parts == nil && name == "":
		tell("1", true)
	}
	for i, part := range n.parts {
		section := fmt.Sprintf("%s%d", dot, i+1)
		tell(section, part.parts == nil && part.inner == nil)
		walk(part, section, tell)
	}
}

func literal(t *testing.T, response, section string) string {
	t.Helper()
	_, rest, ok := strings.Cut(response, "BODY["+section+"] ")
	if !ok {
		t.Fatalf("no section %s", section)
	}
	switch rest[0] {
	case '"':
		end := strings.IndexByte(rest[1:], '"')
		return rest[1 : 1+end]
	case '{':
		var n int
		if _, err := fmt.Sscanf(rest, "{%d}", &n); err != nil {
			t.Fatal(err)
		}
		_, rest, _ = strings.Cut(rest, "\r\n")
		return rest[:n]
	}
	return ""
}
