package app_test

import (
	"bufio"
	"container/heap"
	"database/sql"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	_ "modernc.org/sqlite" // reads the ledger's file

	"postern/cmd/postern/app"
	"postern/internal/dns"
)

// A simulated day at the edge: 50 honest senders, three of them large pools that try again from another address each
// time; 500 robots; a dictionary attack; many clients that hold idle connections. The clock is the test's, DNS is a
// zone file; the connections are real, with the client's address in a PROXY header.
type day struct {
	t *testing.T
	g *gate
	// greylist is the filter's mode.
	greylist string
	random   *rand.Rand
	mu       sync.Mutex
	now      time.Time
	events   events

	opened               int // connections
	robots, robotsToData int
	delays               map[string][]int // tries that each message of an honest sender took
	probes, recognised   int              // of the dictionary: recipients asked for, and answered as existing
}

// event is something that happens at a time.
type event struct {
	at time.Time
	n  int // in order of planning
	do func()
}

type events []event

func (e events) Len() int      { return len(e) }
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e events) Less(i, j int) bool {
	return e[i].at.Before(e[j].at) || e[i].at.Equal(e[j].at) && e[i].n < e[j].n
}

func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

func (d *day) at(when time.Time, do func()) {
	heap.Push(&d.events, event{when, d.events.Len() + d.opened<<20, do})
}

func (d *day) clock() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.now
}

func (d *day) live() {
	for d.events.Len() > 0 {
		e := heap.Pop(&d.events).(event)
		d.mu.Lock()
		if e.at.After(d.now) {
			d.now = e.at
		}
		d.mu.Unlock()
		e.do()
	}
}

// caller is a connection from a claimed address.
type caller struct {
	conn net.Conn
	in   *bufio.Reader
}

func (d *day) call(client string) *caller {
	d.t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP("127.0.0.5")}, Timeout: 10 * time.Second}
	conn, err := dialer.Dial("tcp", d.g.doors["proxied"])
	if err != nil {
		d.t.Fatal(err)
	}
	d.opened++
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	fmt.Fprintf(conn, "PROXY TCP4 %s 10.0.0.1 1234 25\r\n", client)
	return &caller{conn, bufio.NewReader(conn)}
}

// hear reads a reply; 0 means that the connection ended.
func (c *caller) hear() int {
	for {
		line, err := c.in.ReadString('\n')
		if err != nil || len(line) < 4 {
			return 0
		}
		if line[3] == ' ' {
			code := 0
			_, _ = fmt.Sscanf(line[:3], "%d", &code)
			return code
		}
	}
}

func (c *caller) say(line string) int {
	_, _ = io.WriteString(c.conn, line+"\r\n") // that it ended shows in the reply
	return c.hear()
}

// deliver tries one message and gives the code of the last reply, and whether that was the reply to DATA.
func (c *caller) deliver(helo, from string, to []string, text string) (code int, data bool) {
	defer c.conn.Close()
	if code = c.hear(); code != 220 {
		return code, false
	}
	for _, line := range []string{"EHLO " + helo, "MAIL FROM:<" + from + ">"} {
		if code = c.say(line); code >= 400 || code == 0 {
			return code, false
		}
	}
	taken := false
	for _, r := range to {
		code = c.say("RCPT TO:<" + r + ">")
		taken = taken || code == 250
		if code == 0 {
			return 0, false
		}
	}
	if !taken {
		return code, false
	}
	if code = c.say("DATA"); code != 354 {
		return code, false
	}
	code = c.say(strings.ReplaceAll(text, "\n", "\r\n") + "\r\n.")
	c.say("QUIT")
	return code, true
}

func letter(from, subject, body string) string {
	return "From: " + from + "\nTo: ben@ours.test\nDate: Mon, 02 Mar 2026 12:00:00 +0000\nMessage-ID: <" + fmt.Sprint(len(body)) + subject[:3] + "@" + from[strings.IndexByte(from, '@')+1:] + ">\nSubject: " + subject + "\n\n" + body
}

// honest plans the messages of a sender over the day. Each is tried again as good servers do, until it is taken.
func (d *day) honest(name, domain string, addresses []string, messages int) {
	for i := range messages {
		subject, body := "Minutes of the meeting", fmt.Sprintf("See you on Friday, %d.", i)
		if d.random.IntN(4) == 0 { // honest mail that looks odd
			subject, body = "FREE SHIPPING FOR YOUR ORDER TODAY", "Click here: http://www."+domain+"/unsubscribe\nDear customer, you have won a discount of $10,000.00!!!"
		}
		from := fmt.Sprintf("user%d@%s", d.random.IntN(3), domain)
		text := letter(from, subject, body)
		tries := 0
		var try func()
		try = func() {
			tries++
			client := addresses[d.random.IntN(len(addresses))]
			code, _ := d.call(client).deliver("mail."+domain, from, []string{"ben@ours.test"}, text)
			switch {
			case code == 250:
				d.delays[name] = append(d.delays[name], tries)
			case code >= 500:
				d.t.Errorf("%s was refused with %d", name, code)
			case tries > 20:
				d.t.Errorf("%s never got through", name)
			default:
				d.at(d.clock().Add(time.Duration(10+d.random.IntN(20))*time.Minute), try)
			}
		}
		d.at(d.now.Add(time.Duration(d.random.IntN(24*60))*time.Minute+time.Duration(d.random.IntN(60))*time.Second), try)
	}
}

// robot plans the connections of a robot of one kind. It never retries deferred mail.
func (d *day) robot(i int, kind string) {
	client := fmt.Sprintf("203.%d.%d.%d", i%7, i/7%250, 1+i%250)
	from := fmt.Sprintf("win%d@prize%d.example", i, i%40)
	text := letter(from, "You are a winner", "Claim your prize at http://prize.example/claim")
	for range 1 + d.random.IntN(3) {
		d.at(d.now.Add(time.Duration(d.random.IntN(24*60*60))*time.Second), func() {
			d.robots++
			c := d.call(client)
			helo := fmt.Sprintf("host%d.dyn.example", i)
			switch kind {
			case "early":
				_, _ = io.WriteString(c.conn, "EHLO "+helo+"\r\nMAIL FROM:<"+from+">\r\n")
			case "http":
				_, _ = io.WriteString(c.conn, "POST / HTTP/1.1\r\nHost: x\r\n\r\n")
			case "helo":
				helo = "gw.test"
			}
			if _, data := c.deliver(helo, from, []string{"ben@ours.test"}, text); data {
				d.robotsToData++
			}
		})
	}
}

// dictionaryCalls is how many connections the dictionary attack makes, each of which asks five questions.
const dictionaryCalls = 800

// dictionary plans an attack on the address book: from 20 clients, over the whole day.
func (d *day) dictionary() {
	names := []string{"info", "sales", "ben", "support", "office", "admin", "john", "mary", "hr", "ceo"}
	for i := range dictionaryCalls {
		client := fmt.Sprintf("198.18.%d.%d", i%20, 1+i%3)
		d.at(d.now.Add(time.Duration(i)*(24*time.Hour/dictionaryCalls)), func() {
			c := d.call(client)
			defer c.conn.Close()
			if c.hear() != 220 || c.say("EHLO probe.example") != 250 || c.say("MAIL FROM:<probe@probe.example>") != 250 {
				return
			}
			for n := range 5 {
				to := fmt.Sprintf("nosuch.%s%d@ours.test", names[(i+n)%len(names)], i)
				code := c.say("RCPT TO:<" + to + ">")
				if code == 0 || code == 421 {
					return
				}
				d.probes++
				if code == 250 {
					d.recognised++
				}
			}
		})
	}
}

// herd plans the idle connections: for an hour at noon, as many as the door allows.
func (d *day) herd() {
	var held []*caller
	noon := d.now.Add(12 * time.Hour)
	d.at(noon, func() {
		for i := range 150 {
			c := d.call(fmt.Sprintf("192.%d.%d.1", i%100, i))
			held = append(held, c)
			if i%2 == 0 {
				_, _ = io.WriteString(c.conn, "E") // and now and then another octet, if it were a real day
			}
		}
	})
	d.at(noon.Add(time.Hour), func() {
		for _, c := range held {
			_ = c.conn.Close()
		}
		for end := time.Now().Add(10 * time.Second); d.g.app.Open() > 20 && time.Now().Before(end); { // the door notices with a delay
			time.Sleep(5 * time.Millisecond)
		}
	})
}

const dayZone = `
2.0.0.127.first.test  A 127.0.0.2
2.0.0.127.second.test A 127.0.0.2
2.0.0.127.third.test  A 127.0.0.2
`

func TestADayAtTheEdge(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("a whole day, some ten seconds")
	}
	for _, greylist := range []string{"odd", "all"} {
		t.Run("greylist "+greylist, func(t *testing.T) {
			t.Parallel()
			aDay(t, greylist)
		})
	}
}

func aDay(t *testing.T, greylist string) {
	d := &day{t: t, greylist: greylist, random: rand.New(rand.NewPCG(7, 2026)), now: time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC), delays: map[string][]int{}}
	zone := strings.Builder{}
	zone.WriteString(dayZone)
	kinds := make([]string, 500)
	for i := range kinds {
		switch n := d.random.IntN(100); {
		case n < 55:
			kinds[i] = "listed"
			octets := strings.Split(fmt.Sprintf("203.%d.%d.%d", i%7, i/7%250, 1+i%250), ".")
			for _, list := range []string{"first", "second"} {
				fmt.Fprintf(&zone, "%s.%s.%s.%s.%s.test A 127.0.0.2\n", octets[3], octets[2], octets[1], octets[0], list)
			}
		case n < 78:
			kinds[i] = "early"
		case n < 88:
			kinds[i] = "http"
		case n < 97:
			kinds[i] = "helo"
		default:
			kinds[i] = "quiet" // it looks honest until DATA
		}
	}
	type sender struct {
		name, domain string
		addresses    []string
		messages     int
	}
	var senders []sender
	for i := range 47 {
		s := sender{fmt.Sprintf("sender %d", i), fmt.Sprintf("honest%d.example", i), []string{fmt.Sprintf("192.0.2.%d", 1+i)}, 2 + d.random.IntN(6)}
		fmt.Fprintf(&zone, "%s TXT v=spf1 ip4:%s -all\n", s.domain, s.addresses[0])
		senders = append(senders, s)
	}
	for i := range 3 {
		s := sender{fmt.Sprintf("pool %d", i), fmt.Sprintf("pool%d.example", i), nil, 60}
		var spf []string
		for n := range 40 {
			s.addresses = append(s.addresses, fmt.Sprintf("198.%d.%d.%d", 51+i, n*6, 10+n))
			spf = append(spf, "ip4:"+s.addresses[n])
		}
		fmt.Fprintf(&zone, "%s TXT v=spf1 include:_a.%s include:_b.%s -all\n_a.%s TXT v=spf1 %s -all\n_b.%s TXT v=spf1 %s -all\n",
			s.domain, s.domain, s.domain, s.domain, strings.Join(spf[:20], " "), s.domain, strings.Join(spf[20:], " "))
		senders = append(senders, s)
	}
	resolver, err := dns.NewZoneResolver(zone.String())
	if err != nil {
		t.Fatal(err)
	}
	policy := filepath.Join(t.TempDir(), "policy.toml")
	if err := os.WriteFile(policy, []byte("[thresholds]\nearly = 10\n[actions]\nHELO_OWN_NAME = \"reject\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	d.g = openGate(t, app.Outside{Resolver: resolver, Now: d.clock}, `
[smtp]
max_connections = 100
greet_delay = "5ms"
[policy]
file = "`+policy+`"
[filters.greylist]
mode = "`+greylist+`"
[filters.dnslists]
[[filters.dnslists.list]]
name = "first"
zone = "first.test"
kinds = ["client"]
weight = 7
[[filters.dnslists.list]]
name = "second"
zone = "second.test"
kinds = ["client"]
weight = 6
[[filters.dnslists.list]]
name = "third"
zone = "third.test"
kinds = ["client"]
weight = 4
`)
	d.g.inside.Reply("RCPT TO:<nosuch.", "550 5.1.1 no such user")
	for _, s := range senders {
		d.honest(s.name, s.domain, s.addresses, s.messages)
	}
	for i, kind := range kinds {
		d.robot(i, kind)
	}
	d.dictionary()
	d.herd()
	d.live()
	d.verdict()
}

func (d *day) verdict() {
	t := d.t
	messages, late, poolLate := 0, 0, 0
	for name, tries := range d.delays {
		for i, n := range tries {
			messages++
			if n > 1 {
				late++
			}
			if n > 2 {
				t.Errorf("%s: message %d took %d tries", name, i, n)
			}
			if strings.HasPrefix(name, "pool") && i > 0 && n > 1 {
				poolLate++
			}
		}
	}
	if len(d.delays) != 50 {
		t.Errorf("%d of 50 honest senders got through", len(d.delays))
	}
	share := 100 * float64(d.robots-d.robotsToData) / float64(d.robots)
	if share <= 95 {
		t.Errorf("%.1f %% of the robots' %d connections ended before DATA", share, d.robots)
	}
	// a greylisted client learns nothing of which users exist; else the harvest ends
	if d.recognised > 0 || d.greylist == "odd" && d.probes > dictionaryCalls*5/3 {
		t.Errorf("the dictionary got %d answers, %d of them yes", d.probes, d.recognised)
	}
	records := d.records()
	if records != d.opened {
		t.Errorf("%d connections, %d records", d.opened, records)
	}
	t.Logf("%d honest messages, %d of them tried twice, %d of pools after their first; robots: %d connections, %.1f %% ended before DATA; dictionary: %d of %d questions answered; %d connections, all in the ledger",
		messages, late, poolLate, d.robots, share, d.probes, dictionaryCalls*5, d.opened)
	if poolLate > 0 {
		t.Errorf("%d messages of pools were delayed after the first", poolLate)
	}
}

// records counts the records of connections in the ledger once it is closed.
func (d *day) records() int {
	d.g.app.Close()
	db, err := sql.Open("sqlite", filepath.Join(d.g.dir, "data", "ledger.db"))
	if err != nil {
		d.t.Fatal(err)
	}
	defer db.Close()
	n := 0
	if err := db.QueryRow("SELECT count(*) FROM connection").Scan(&n); err != nil {
		d.t.Fatal(err)
	}
	return n
}
