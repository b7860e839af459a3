package smtpd_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"postern/proxy/frame"
	"postern/proxy/smtpd"
)

// connection speaks with a door as a client whose connection a trusted proxy brought, and gives all that was said.
func connection(t *testing.T, b *bench, client, lines string) string {
	t.Helper()
	ours, theirs := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.server.Open(context.Background(), &frame.Conn{Conn: ours, Peer: netip.MustParseAddrPort("127.0.0.1:9"), Client: netip.MustParseAddrPort(client)}).Run()
	}()
	_ = theirs.SetDeadline(time.Now().Add(10 * time.Second))
	var said strings.Builder
	buf := make([]byte, 4096)
	for line := range strings.Lines(lines) {
		n, _ := theirs.Read(buf)
		said.Write(buf[:n])
		fmt.Fprintf(theirs, "%s\r\n", strings.ReplaceAll(strings.TrimSuffix(line, "\n"), "|", "\r\n"))
	}
	n, _ := theirs.Read(buf)
	said.Write(buf[:n])
	_ = theirs.Close()
	<-done
	return said.String()
}

// What came too early may be a login: the record says so and keeps none of it.
func TestNoPasswordInEvidence(t *testing.T) {
	const secret = "AHVzZXIAc2VjcmV0"
	for name, c := range map[string]struct {
		settings map[string]string
		lines    string
	}{
		"behind AUTH":   {map[string]string{"door": "submission"}, "EHLO a.example\nAUTH PLAIN|" + secret + "\n"},
		"behind EHLO":   {map[string]string{"door": "submission"}, "EHLO a.example|auth plain " + secret + "\n"},
		"with STARTTLS": {map[string]string{"door": "submission"}, "EHLO a.example\nSTARTTLS|EHLO a.example|AUTH LOGIN " + secret + "\n"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBenchInClear(t, c.settings)
			connection(t, b, "203.0.113.9:99", c.lines)
			b.ledger.mu.Lock()
			defer b.ledger.mu.Unlock()
			record := fmt.Sprintf("%+v", b.ledger.connections)
			if strings.Contains(record, secret) || !strings.Contains(record, "EARLY_INPUT") && !strings.Contains(record, "STARTTLS_INJECTION") {
				t.Errorf("recorded %s", record)
			}
		})
	}
}

func newBenchInClear(t *testing.T, settings map[string]string) *bench {
	b := newBench(t, settings)
	o := options(t, settings)
	o.AuthInClear = true
	b.server = smtpd.New(o, b.gateway, b.gateway.Log)
	return b
}
