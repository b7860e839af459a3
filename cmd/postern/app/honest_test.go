package app_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"postern/cmd/postern/app"
	"postern/internal/dns"
	"postern/internal/mail"
	"postern/policy"
	"postern/policy/records/quarantine"
)

const honestDate = "Mon, 02 Nov 2026 10:00:00 +0000"

// How many honest messages there are at least, and of how many kinds.
const (
	leastHonest      = 400
	leastHonestKinds = 40
)

// Honest mail in the shapes of many kinds of senders, each through the SMTP door of the gateway as it is shipped, from an
// address that its domain allows and signed for it: none is held or refused. Each is then fetched from a mailbox as mail
// that came in another way would be: none is masked. POSTERN_HONEST_OUT names a folder that the messages are written to.
func TestHonest(t *testing.T) {
	t.Parallel()
	cases := honestCases(t)
	sealer, err := newHonestSealer()
	if err != nil {
		t.Fatal(err)
	}
	for i := range cases {
		cases[i].message = sealer.seal(cases[i].message, cases[i].author(), cases[i].unsigned)
		cases[i].write(t, i)
	}
	resolver, err := dns.NewZoneResolver(sealer.zone(cases))
	if err != nil {
		t.Fatal(err)
	}
	now, err := time.Parse(time.RFC1123Z, honestDate)
	if err != nil {
		t.Fatal(err)
	}
	g := openGate(t, app.Outside{Resolver: resolver, Now: func() time.Time { return now }})
	var kinds []string
	table := map[string]*honestRow{}
	for i, c := range cases {
		if table[c.kind] == nil {
			table[c.kind] = &honestRow{}
			kinds = append(kinds, c.kind)
		}
		table[c.kind].add(t, g, c, i)
	}
	var b strings.Builder
	all := honestRow{}
	fmt.Fprintf(&b, "%-52s %5s %5s %5s %5s %5s\n", "kind", "sent", "tag", "held", "5xx", "mask")
	for _, k := range kinds {
		fmt.Fprintf(&b, "%-52s %s\n", k, table[k])
		all.sum(table[k])
	}
	fmt.Fprintf(&b, "%-52s %s\n", fmt.Sprintf("%d kinds", len(kinds)), all)
	t.Log("\n" + b.String())
	if !racing && all.sent < leastHonest || len(kinds) < leastHonestKinds {
		t.Errorf("%d messages of %d kinds", all.sent, len(kinds))
	}
}

func honestCases(t *testing.T) (cases []honestCase) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "honest", "*.txt"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range honestTemplates(string(text)) {
			all, err := h.variants()
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			for i, c := range all {
				if !racing || i < 2 && len(c.message) < 200<<10 { // the race detector needs each way once, not each variant
					cases = append(cases, c)
				}
			}
		}
	}
	for i := range cases {
		if cases[i].from == "" {
			cases[i].from = "bounce@" + cases[i].author()
		}
	}
	return cases
}

type honestRow struct{ sent, tagged, held, refused, masked int }

func (r honestRow) String() string {
	return fmt.Sprintf("%5d %5d %5d %5d %5d", r.sent, r.tagged, r.held, r.refused, r.masked)
}

func (r *honestRow) sum(o *honestRow) {
	r.sent += o.sent
	r.tagged += o.tagged
	r.held += o.held
	r.refused += o.refused
	r.masked += o.masked
}

func (r *honestRow) add(t *testing.T, g *gate, c honestCase, i int) {
	t.Helper()
	r.sent++
	before := g.held()
	code, said := c.send(g, i)
	switch {
	case code != 250:
		r.refused++
		t.Errorf("%s,%s (%d): %d %s", c.kind, c.title, i, code, said)
	case g.held() > before:
		r.held++
		t.Errorf("%s,%s (%d): held: %s", c.kind, c.title, i, g.lastHeld())
	default:
		all := g.inside.Messages()
		if len(all) == 0 {
			t.Errorf("%s,%s (%d): lost", c.kind, c.title, i)
		} else if bytes.Contains(all[len(all)-1].Data, []byte("X-Spam-Flag: YES")) {
			r.tagged++
			t.Logf("%s,%s (%d): tagged: %s", c.kind, c.title, i, reasons(all[len(all)-1].Data))
		}
		said := results.Find(all[max(0, len(all)-1)].Data)
		if proven := bytes.Contains(said, []byte("dmarc=pass")) && (c.unsigned || bytes.Contains(said, []byte("dkim=pass"))); !c.unproven && !proven {
			t.Errorf("%s,%s (%d): the fixture is not proven: %s", c.kind, c.title, i, said)
		} else if n := bytes.Count(c.message, []byte("\nARC-Seal:")); n > 0 && !bytes.Contains(said, []byte("arc=pass")) {
			t.Errorf("%s,%s (%d): the chain does not verify: %s", c.kind, c.title, i, said)
		}
	}
	g.inside.Forget()
	if v := c.fetched(g, i); v.Disposition >= policy.Quarantine && v.Disposition != policy.Defer {
		r.masked++
		t.Errorf("%s,%s (%d): masked: %s %v", c.kind, c.title, i, v.Decisive, v.Reasons)
	}
}

var results = regexp.MustCompile(`(?m)^Authentication-Results: .*\r\n(?:[ \t].*\r\n)*`)

var ownField = regexp.MustCompile(`(?m)^X-Postern[A-Za-z-]*: .*\r\n(?:[ \t].*\r\n)*`)

// reasons are the symbols in the gateway's own field.
func reasons(message []byte) string {
	return strings.Join(strings.Fields(string(ownField.Find(message))), " ")
}

func (g *gate) lastHeld() string {
	items, err := g.app.Quarantine.List(context.Background(), quarantine.Filter{Limit: 1})
	if err != nil || len(items) == 0 {
		return fmt.Sprint(err)
	}
	why := items[0].Reason
	for _, r := range items[0].Reasons {
		why += fmt.Sprintf("; %s %v %q", r.Symbol, r.Score, r.Evidence)
	}
	return why
}

// send brings the message to the SMTP door from one of the senders' addresses.
func (c honestCase) send(g *gate, i int) (code int, said string) {
	g.t.Helper()
	if c.known {
		from := g.from("127.0.0.99", "mx")
		from.say("", 220)
		from.say("EHLO inside.ours.test", 250)
		code, said = from.message("ben@ours.test", c.authorAddress(),
			"From: Ben <ben@ours.test>\r\nTo: <"+c.authorAddress()+">\r\nDate: "+honestDate+"\r\nMessage-ID: <"+fmt.Sprint(i)+"@ours.test>\r\nSubject: question\r\n\r\nCould you send it?\r\n")
		if code != 250 {
			g.t.Fatal(code, said)
		}
	}
	conn, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP("127.0.0.5")}, Timeout: 10 * time.Second}).Dial("tcp", g.doors["proxied"])
	if err != nil {
		g.t.Fatal(err)
	}
	door := g.over(conn)
	defer conn.Close()
	door.send(fmt.Sprintf("PROXY TCP4 %s 10.0.0.1 1234 25\r\n", clientOf(i)))
	door.say("", 220)
	door.say(fmt.Sprintf("EHLO out%d.mail.example", i), 250)
	stuffed := bytes.ReplaceAll(append([]byte("\r\n"), c.message...), []byte("\r\n."), []byte("\r\n.."))[2:]
	if !bytes.HasSuffix(stuffed, []byte("\r\n")) {
		stuffed = append(stuffed, '\r', '\n')
	}
	parameters := ""
	for _, b := range []byte(c.from) {
		if b >= 0x80 {
			parameters = " SMTPUTF8"
		}
	}
	for _, line := range []string{"MAIL FROM:<" + strings.Trim(c.from, "<>") + ">" + parameters, "RCPT TO:<ben@ours.test>", "DATA"} {
		door.send(line + "\r\n")
		if code, said = door.reply(); code >= 400 || code == 0 {
			return code, line + ": " + said
		}
	}
	door.send(string(stuffed) + ".\r\n")
	code, said = door.reply()
	door.count(code)
	return code, said
}

// fetched is the verdict of the POP3 and IMAP doors.
func (c honestCase) fetched(g *gate, i int) policy.Verdict {
	session := &mail.Session{ID: mail.NewID(time.Now()), Started: time.Now()}
	tx := &mail.Transaction{ID: fmt.Sprint("fetched", i), Session: session, Message: mail.NewMessage(c.message),
		Recipients: []mail.Recipient{{Address: mail.Address{Local: "ben", Domain: "ours.test"}}}}
	return g.app.Gateway.JudgeFetched(context.Background(), tx)
}

var (
	fromField   = regexp.MustCompile(`(?im)^From:((?:.*\n)(?:[ \t].*\n)*)`)
	lastAddress = regexp.MustCompile(`([^\s<>"(),;:]+@[^\s<>"(),;:]+)`)
)

// authorAddress is the last address of the From field.
func (c honestCase) authorAddress() string {
	field := fromField.FindSubmatch(c.message)
	if field == nil {
		return "someone@mail.example"
	}
	all := lastAddress.FindAllString(string(field[1]), -1)
	if len(all) == 0 {
		return "someone@mail.example"
	}
	return all[len(all)-1]
}

func (c honestCase) author() string { return strings.ToLower(domainOf(c.authorAddress())) }

func domainOf(address string) string {
	at := strings.LastIndexByte(address, '@')
	return strings.TrimRight(strings.ToLower(strings.Trim(address[at+1:], "<>")), ".")
}

// write saves the message to a folder for inspection, with the envelope in its name.
func (c honestCase) write(t *testing.T, i int) {
	dir := os.Getenv("POSTERN_HONEST_OUT")
	if dir == "" {
		return
	}
	if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%03d-%s.eml", i, regexp.MustCompile(`[^a-z0-9]+`).ReplaceAllString(strings.ToLower(c.kind), "-"))), c.message, 0o600); err != nil {
		t.Fatal(err)
	}
}
