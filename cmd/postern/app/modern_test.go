package app_test

import (
	"bytes"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/cmd/postern/app"
	"postern/internal/dns"
	"postern/internal/testing/modern"
	"postern/policy/records/quarantine"
)

// How much of each set there is at least, and what becomes of it.
const (
	leastModernHonest, leastModernHonestShapes = 400, 90
	leastModernPhish, leastModernPhishShapes   = 420, 60

	mostModernHeld, mostModernTagged = 0, 3
	leastModernCaught                = 396
)

// modernGates is how many gateways share a set, so that what one has learned of a shape helps little with its next.
const modernGates = 10

// Mail of today through the SMTP door of the gateway as it is shipped, which has seen next to none: what becomes of each
// shape of honest mail and of phishing, and that each is authenticated as it says. POSTERN_MODERN_OUT names a file for
// what each message hit.
func TestModernMail(t *testing.T) {
	t.Parallel()
	all, err := modern.Messages()
	if err != nil {
		t.Fatal(err)
	}
	zone, err := modern.Zone(all)
	if err != nil {
		t.Fatal(err)
	}
	var notes strings.Builder
	honest := modernSet(t, all, modern.Honest, zone, &notes)
	phish := modernSet(t, all, modern.Phish, zone, &notes)
	if name := os.Getenv("POSTERN_MODERN_OUT"); name != "" {
		if err := os.WriteFile(filepath.Clean(name), []byte(notes.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if racing {
		return // the race detector needs each way once, not each message
	}
	if honest.sent < leastModernHonest || honest.shapes < leastModernHonestShapes {
		t.Errorf("%d honest messages of %d shapes", honest.sent, honest.shapes)
	}
	if phish.sent < leastModernPhish || phish.shapes < leastModernPhishShapes {
		t.Errorf("%d phishing messages of %d shapes", phish.sent, phish.shapes)
	}
	if n := honest.held + honest.refused; n > mostModernHeld || honest.tagged > mostModernTagged {
		t.Errorf("of honest mail %d held or refused, %d tagged", n, honest.tagged)
	}
	if n := phish.held + phish.refused; n < leastModernCaught {
		t.Errorf("of %d phishing messages %d held or refused, it has been %d", phish.sent, n, leastModernCaught)
	}
}

type modernRow struct{ sent, accepted, tagged, held, refused, shapes int }

func (r modernRow) String() string {
	return fmt.Sprintf("%5d %5d %5d %5d %5d", r.sent, r.accepted, r.tagged, r.held, r.refused)
}

func (r *modernRow) count(fate string) {
	r.sent++
	switch fate {
	case "accepted":
		r.accepted++
	case "tagged":
		r.tagged++
	case "held":
		r.held++
	default:
		r.refused++
	}
}

// modernSet sends one set through gateways of its own, the messages of a shape in turn, and prints its table.
func modernSet(t *testing.T, all []modern.Message, set modern.Set, zone string, notes *strings.Builder) modernRow {
	t.Helper()
	resolver, err := dns.NewZoneResolver(zone)
	if err != nil {
		t.Fatal(err)
	}
	gates := make([]*gate, modernGates)
	if racing {
		gates = gates[:1]
	}
	for i := range gates {
		gates[i] = openGate(t, app.Outside{Resolver: resolver, Now: modern.Now})
	}
	var shapes []string
	table, languages, sum := map[string]*modernRow{}, map[string]*modernRow{}, modernRow{}
	for _, m := range all {
		if m.Set != set || racing && table[m.Shape] != nil {
			continue
		}
		for _, row := range []struct {
			of   map[string]*modernRow
			name string
		}{{table, m.Shape}, {languages, m.Language}} {
			if row.of[row.name] == nil {
				row.of[row.name] = &modernRow{}
			}
		}
		if !slices.Contains(shapes, m.Shape) {
			shapes = append(shapes, m.Shape)
		}
		fate, why := gates[table[m.Shape].sent%len(gates)].modern(m)
		table[m.Shape].count(fate)
		languages[m.Language].count(fate)
		sum.count(fate)
		fmt.Fprintf(notes, "%s\t%s\t%s\t%s\n", set, m.Name, fate, why)
		if set == modern.Honest && fate != "accepted" {
			t.Logf("%s: %s: %s", m.Name, fate, why)
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%-60s %5s %5s %5s %5s %5s\n", set, "sent", "pass", "tag", "held", "5xx")
	for _, s := range shapes {
		fmt.Fprintf(&b, "%-60s %s\n", s, table[s])
	}
	for _, l := range slices.Sorted(maps.Keys(languages)) {
		fmt.Fprintf(&b, "%-60s %s\n", l, languages[l])
	}
	fmt.Fprintf(&b, "%-60s %s\n", fmt.Sprintf("%d shapes, %d languages", len(shapes), len(languages)), sum)
	t.Log("\n" + b.String())
	sum.shapes = len(shapes)
	return sum
}

// modern sends one message and gives its fate and why.
func (g *gate) modern(m modern.Message) (fate, why string) {
	g.t.Helper()
	defer g.inside.Forget()
	before := g.heldOfAll()
	code, said := g.sendModern(m)
	switch {
	case code != 250:
		return "refused", fmt.Sprint(code, " ", strings.Join(strings.Fields(said), " "))
	case g.heldOfAll() > before:
		return "held", g.lastHeld()
	}
	all := g.inside.Messages()
	if len(all) == 0 {
		g.t.Errorf("%s: lost", m.Name)
		return "accepted", ""
	}
	data := all[len(all)-1].Data
	g.provenAsSaid(m, data)
	if bytes.Contains(data, []byte("X-Spam-Flag: YES")) {
		return "tagged", reasons(data)
	}
	return "accepted", reasons(data)
}

// heldOfAll counts all that is held: a set is larger than a page of it.
func (g *gate) heldOfAll() int {
	g.t.Helper()
	items, err := g.app.Quarantine.List(g.t.Context(), quarantine.Filter{Limit: 10000})
	if err != nil {
		g.t.Fatal(err)
	}
	return len(items)
}

// provenAsSaid compares what the gateway found with what the fixture says of itself.
func (g *gate) provenAsSaid(m modern.Message, data []byte) {
	g.t.Helper()
	said := results.Find(data)
	for name, want := range map[string]modern.Result{"dkim": m.Auth.DKIM, "spf": m.Auth.SPF, "dmarc": m.Auth.DMARC} {
		if !bytes.Contains(said, []byte(name+"="+string(want))) {
			g.t.Errorf("%s: not %s=%s: %s", m.Name, name, want, strings.Join(strings.Fields(string(said)), " "))
		}
	}
}

// sendModern brings the message to the SMTP door with its own envelope.
func (g *gate) sendModern(m modern.Message) (code int, said string) {
	g.t.Helper()
	conn, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP("127.0.0.5")}, Timeout: 10 * time.Second}).Dial("tcp", g.doors["proxied"])
	if err != nil {
		g.t.Fatal(err)
	}
	defer conn.Close()
	door := g.over(conn)
	door.send(fmt.Sprintf("PROXY TCP4 %s 10.0.0.1 1234 25\r\n", m.Envelope.Client))
	door.say("", 220)
	stuffed := bytes.ReplaceAll(append([]byte("\r\n"), m.Octets...), []byte("\r\n."), []byte("\r\n.."))[2:]
	if !bytes.HasSuffix(stuffed, []byte("\r\n")) {
		stuffed = append(stuffed, '\r', '\n')
	}
	for _, line := range []string{"EHLO " + m.Envelope.Helo, "MAIL FROM:<" + m.Envelope.From + ">", "RCPT TO:<" + m.Envelope.To + ">", "DATA"} {
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
