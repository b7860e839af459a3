package lab_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	pdns "postern/internal/dns"
)

// hostile is one message made to cost much, and what must be seen of it at the next hop.
type hostile struct {
	name string
	zone pdns.Exchanger
	from string
	raw  string
	want string // a symbol in X-Postern, or a result in Authentication-Results
}

// silence is a DNS that never answers.
type silence struct{}

func (silence) Exchange(ctx context.Context, _ *dns.Msg, _, _ string) (*dns.Msg, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// signature is a DKIM-Signature that has to be checked to the end to be found wrong: the hash of the body is right.
func signature(n int, h, body string) string {
	hash := sha256.Sum256([]byte(body))
	return fmt.Sprintf("DKIM-Signature: v=1; a=rsa-sha256; c=simple/simple; d=d%d.attack.test; s=s; h=%s; bh=%s; b=%s\n", n, h,
		base64.StdEncoding.EncodeToString(hash[:]), base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{byte(n)}, 128)))
}

func hostiles() []hostile {
	rest := "From: <x@attack.test>\nDate: Mon, 02 Nov 2026 10:00:00 +0000\nMessage-ID: <hostile@attack.test>\nSubject: x\n\n"
	key := "v=DKIM1; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDwIRP/UC3SBsEmGqZ9ZJW3/DkMoGeLnQg1fWn7/zYtIxN2SnFCjxOCKG9v3b4jYfcTNh5ijSsq631uBItLa7od+v/RtdC2UzJ1lWT947qR+Rcac2gbto/NMqJ0fzfVjH4OuKhitdY9tf6mcwGjaNBcWToIMmPSPDdQPNUYckcQ2QIDAQAB"
	keys, wide := newRecords(), newRecords()
	eight, many := "", ""
	for n := range 8 {
		eight += signature(n, "from", "\r\n")
		keys.text(fmt.Sprintf("s._domainkey.d%d.attack.test", n), key)
	}
	for n := range 950 {
		many += signature(n, "from", "x\r\n")
	}
	big := newRecords()
	big.text("s._domainkey.d0.attack.test", "v=DKIM1; p="+strings.Repeat("A", 64<<10))
	for level := range 12 { // 10 includes at each of 10 levels: 10^10 look-ups if nobody counts
		includes := "v=spf1"
		for n := range 10 {
			includes += fmt.Sprintf(" include:l%d-%d.attack.test", level+1, n)
		}
		for n := range 10 {
			wide.text(fmt.Sprintf("l%d-%d.attack.test", level, n), includes+" -all")
		}
	}
	wide.text("attack.test", "v=spf1 include:l0-0.attack.test -all")
	loop := newRecords()
	loop.add("attack.test", "CNAME", "a.attack.test.")
	loop.add("a.attack.test", "CNAME", "attack.test.")
	names := strings.TrimSuffix(strings.Repeat("x:", 20_000), ":")
	return []hostile{
		{"16 MiB of CRLF, 8 simple/simple signatures", keys, "x@attack.test", eight + rest + strings.Repeat("\n", 8<<20), "dkim=fail"},
		{"950 signatures", keys, "x@attack.test", many + rest + "x\n", "DKIM_LIMIT"},
		{"20,000 names in h=", keys, "x@attack.test", signature(0, names, "x\r\n") + rest + "x\n", "dkim=permerror"},
		{"a key of 64 KiB", big, "x@attack.test", signature(0, "from", "x\r\n") + rest + "x\n", "dkim=permerror"},
		{"an SPF include tree of 10^10", wide, "x@attack.test", rest + "x\n", "spf=permerror"},
		{"a CNAME loop", loop, "x@attack.test", rest + "x\n", "spf=temperror"},
		{"a resolver that never answers", silence{}, "x@attack.test", eight + rest + "x\n", "spf=temperror"},
	}
}

// Each costs little and ends, is not taken for good, and other mail flows meanwhile. DN-01, DN-05, DN-08, DN-10, DK-02, DK-04, DK-17.
func TestHostileAuthenticationIsBounded(t *testing.T) {
	for _, h := range hostiles() {
		t.Run(h.name, func(t *testing.T) {
			g := openGateway(t, true, nil)
			g.world.become(h.zone)
			stop := make(chan struct{})
			others := make(chan int)
			go func() { others <- g.flow(stop) }()
			before, start := cpu(t), time.Now()
			a := g.send(letter{client: "192.0.2.66", helo: "attack.test", from: h.from, raw: h.raw})
			took, used := time.Since(start), cpu(t)-before
			close(stop)
			passed := <-others
			t.Logf("%d; %s CPU for gateway, sender and next hop together, %s in all, %d other messages meanwhile", a.code, used.Round(time.Millisecond), took.Round(time.Millisecond), passed)
			if passed == 0 {
				t.Error("no other mail was taken meanwhile")
			}
			if a.code >= 400 && a.code < 500 {
				return
			}
			for _, m := range g.hop.Messages() {
				if head, _, _ := bytes.Cut(m.Data, []byte("\r\n\r\n")); bytes.Contains(head, []byte("<hostile@")) {
					ours, _, _ := bytes.Cut(head, []byte("\r\nDKIM-Signature: "))
					if !strings.Contains(string(ours), h.want) || strings.Contains(string(ours), "dkim=pass") || strings.Contains(string(ours), "spf=pass") {
						t.Errorf("want %s in\n%.2000s", h.want, ours)
					}
					return
				}
			}
			t.Errorf("answered with %d %s and not delivered", a.code, a.text)
		})
	}
}

// flow sends small mail from elsewhere until it is told to stop, at least once, and counts what was taken.
func (g *gateway) flow(stop chan struct{}) (passed int) {
	for {
		a := g.send(letter{client: "192.0.2.1", helo: "[192.0.2.1]", from: "", raw: "From: a@[192.0.2.1]\nMessage-ID: <o@x.test>\nDate: Mon, 02 Nov 2026 10:00:00 +0000\n\nx\n"})
		if a.code == 250 {
			passed++
		}
		select {
		case <-stop:
			return passed
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// cpu is what this process has used so far.
func cpu(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
