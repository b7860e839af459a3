// Package probe sends test messages through an SMTP door, as a client from outside would, and says how they fared.
package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-smtp"

	"postern/internal/mail"
	"postern/policy"
	"postern/policy/records/ledger"
)

// Record remembers how the test messages fared. Its zero value is ready.
type Record struct {
	mu    sync.Mutex
	last  []Result
	badly int // times in a row
	at    time.Time
}

// Result is what became of one test message.
type Result struct {
	Name  string  `json:"name"`
	Want  string  `json:"want"`
	Reply string  `json:"reply"`
	Good  bool    `json:"good"`
	Took  float64 `json:"took_ms"`
}

// Failed says what was wrong with the last test messages, if those before fared no better; else it is "".
func (p *Record) Failed() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.badly < failsBefore {
		return ""
	}
	var bad []string
	for _, r := range p.last {
		if !r.Good {
			bad = append(bad, fmt.Sprintf("%s: wanted %s, got %s", r.Name, r.Want, r.Reply))
		}
	}
	return strings.Join(bad, "; ")
}

// Note takes the results of one round.
func (p *Record) Note(results []Result, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last, p.at = results, now
	if slices.ContainsFunc(results, func(r Result) bool { return !r.Good }) {
		p.badly++
	} else {
		p.badly = 0
	}
}

// failsBefore is how many rounds in a row must fail before it is trouble.
const failsBefore = 2

// testMessage is one of those that a probe sends.
type testMessage struct {
	name, body string
	// delivered says that it must arrive; else it must not.
	delivered bool
}

// testMessages are an honest one, the test string of spam filters, and that of virus scanners. The latter two are put
// together here, so that no scanner trips over this program.
func testMessages() []testMessage {
	gtube := "XJS*C4JDBQADN1.NSBN3*2IDNEN*" + "GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
	eicar := `X5O!P%@AP[4\PZX54(P^)7CC)7}$` + "EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
	attached := "--b\r\nContent-Type: text/plain\r\n\r\nThis is a test of the mail gateway.\r\n--b\r\nContent-Type: application/octet-stream; name=\"eicar.com\"\r\n" +
		"Content-Disposition: attachment; filename=\"eicar.com\"\r\n\r\n" + eicar + "\r\n--b--\r\n"
	return []testMessage{
		{"ham", "\r\nThis is a test of the mail gateway. It comes by itself, and nobody has to do anything.\r\n", true},
		{"GTUBE", "\r\n" + gtube + "\r\n", false},
		{"EICAR", "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" + attached, false},
	}
}

// probeTimeout bounds one test message.
const probeTimeout = time.Minute

// Send sends the test messages to an SMTP door and says how they fared. A message that is held counts as not delivered:
// held asks, by its Message-ID, whether it was.
func Send(ctx context.Context, address, host, from, to string, now time.Time, held func(ctx context.Context, messageID string) bool) []Result {
	var results []Result
	for _, m := range testMessages() {
		id := fmt.Sprintf("<%s.%s@%s>", strings.ToLower(m.name), mail.NewID(now), host)
		text := fmt.Sprintf("From: Postern <%s>\r\nTo: <%s>\r\nSubject: Postern probe: %s\r\nDate: %s\r\nMessage-ID: %s\r\nAuto-Submitted: auto-generated\r\n%s",
			from, to, m.name, now.Format(time.RFC1123Z), id, m.body)
		begun := time.Now()
		err := sendOne(ctx, address, host, from, to, text)
		r := Result{Name: m.name, Want: "delivered", Reply: "250, delivered", Took: float64(time.Since(begun).Microseconds()) / 1000}
		if !m.delivered {
			r.Want = "refused or held"
		}
		refused := false
		if err != nil {
			r.Reply = ledger.Printable(err.Error())
			answer, ok := errors.AsType[*smtp.SMTPError](err)
			refused = ok && answer.Code >= 500
		} else if held(ctx, id) {
			refused, r.Reply = true, "250, held"
		}
		r.Good = m.delivered && err == nil && !refused || !m.delivered && refused
		results = append(results, r)
	}
	return results
}

func sendOne(ctx context.Context, address, host, from, to, text string) error {
	d := net.Dialer{Timeout: 10 * time.Second}
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	if err := c.SetDeadline(time.Now().Add(probeTimeout)); err != nil {
		return errors.Join(err, c.Close())
	}
	client := smtp.NewClient(c)
	defer func() { _ = client.Close() }() // it may have said QUIT
	if err := client.Hello(host); err != nil {
		return err
	}
	if err := client.SendMail(from, []string{to}, strings.NewReader(text)); err != nil {
		return err
	}
	_ = client.Quit() // the message is answered
	return nil
}

// Reachable turns the address of a listener into one to connect to: loopback where it listens everywhere.
func Reachable(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	if a, err := netip.ParseAddr(host); host == "" || err == nil && a.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// Held asks a ledger whether the message with this Message-ID was taken and kept back.
func Held(ctx context.Context, l *ledger.Ledger, messageID string) bool {
	found, err := l.Search(ctx, ledger.Query{MessageID: messageID, Limit: 1})
	if err != nil || len(found) == 0 {
		return false
	}
	return slices.ContainsFunc(found[0].Recipients, func(r ledger.Recipient) bool { return r.Disposition >= policy.Quarantine })
}
