package app_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-msgauth/dkim"
	mdns "github.com/miekg/dns"

	"postern/internal/dns"
)

// fault is how DNS fails at one name.
type fault string

const (
	slow      fault = "slow"      // the answer comes after 1.2 s
	late      fault = "late"      // after 12 s: longer than any query waits
	silent    fault = "silent"    // never
	servfail  fault = "servfail"  //
	truncated fault = "truncated" // cut off by UDP, and TCP is refused
)

// sky is a world of DNS in which single names fail.
type sky struct {
	zone  *dns.Zone
	fails atomic.Pointer[map[string]fault]
}

func (s *sky) Exchange(ctx context.Context, query *mdns.Msg, server, network string) (*mdns.Msg, error) {
	wait := func(d time.Duration) error {
		select {
		case <-time.After(d):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	switch (*s.fails.Load())[strings.ToLower(query.Question[0].Name)] {
	case slow:
		if err := wait(1200 * time.Millisecond); err != nil {
			return nil, err
		}
	case late:
		if err := wait(12 * time.Second); err != nil {
			return nil, err
		}
	case silent:
		return nil, wait(time.Hour)
	case servfail:
		reply := new(mdns.Msg)
		reply.SetRcode(query, mdns.RcodeServerFailure)
		return reply, nil
	case truncated:
		if network == "tcp" {
			return nil, syscall.ECONNREFUSED
		}
		reply := new(mdns.Msg)
		reply.SetReply(query)
		reply.Truncated = true
		return reply, nil
	}
	return s.zone.Exchange(ctx, query, server, network)
}

func signingKey() (ed25519.PrivateKey, string) {
	k := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))
	return k, "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(k.Public().(ed25519.PublicKey))
}

// signedLetter writes a message, signed for a domain unless that is "".
func signedLetter(t testing.TB, author, signer string) []byte {
	t.Helper()
	text := "From: Chief <" + author + ">\r\nTo: ben@ours.test\r\nDate: Mon, 02 Mar 2026 12:00:00 +0000\r\nMessage-ID: <1@mail.example>\r\nSubject: transfer\r\n\r\nAt once.\r\n"
	if signer == "" {
		return []byte(text)
	}
	k, _ := signingKey()
	var out bytes.Buffer
	if err := dkim.Sign(&out, strings.NewReader(text), &dkim.SignOptions{Domain: signer, Selector: "k", Signer: k, HeaderKeys: []string{"From", "Subject", "Date"}}); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// nameServer answers by UDP on this machine as the sky does, and takes nothing by TCP.
func nameServer(t testing.TB, zone string, fails map[string]fault) *dns.Resolver {
	t.Helper()
	z, err := dns.ParseZone(zone)
	if err != nil {
		t.Fatal(err)
	}
	world := &sky{zone: z}
	world.fails.Store(&fails)
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	server := &mdns.Server{PacketConn: pc, Handler: mdns.HandlerFunc(func(w mdns.ResponseWriter, query *mdns.Msg) {
		if reply, err := world.Exchange(ctx, query, "", "udp"); err == nil {
			_ = w.WriteMsg(reply)
		}
	})}
	go func() { _ = server.ActivateAndServe() }()
	t.Cleanup(func() { cancel(); _ = server.Shutdown() })
	r, err := dns.New(dns.Options{Servers: []string{pc.LocalAddr().String()}, Timeout: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Forgeries of protected names whose senders make DNS slow, silent or wrong, each through the whole gateway. None is
// delivered: known failures are refused or held, unknown results are deferred, and in the end held.
func TestForgeriesUnderSlowNames(t *testing.T) {
	t.Parallel()
	_, key := signingKey()
	zone := "_dmarc.victim.example TXT v=DMARC1; p=reject\nk._domainkey.attack.example TXT " + key + "\ncut.victim.example TXT v=spf1 ip4:127.0.0.1 -all\n"
	fails := map[string]fault{"k._domainkey.attack.example.": late, "dead.victim.example.": servfail, "k._domainkey.dead.victim.example.": servfail,
		"cut.victim.example.": truncated, "mute.ours.test.": silent, "_dmarc.mute.example.": silent, "ours.test.": servfail}
	for _, d := range []string{"attack.example", "helo.attack.example"} {
		zone += d + " TXT v=spf1"
		for i := range 9 {
			zone += fmt.Sprintf(" include:i%d.attack.example", i+1)
		}
		zone += " -all\n"
	}
	for i := range 9 {
		name := fmt.Sprintf("i%d.attack.example", i+1)
		zone += name + " TXT v=spf1 -all\n"
		fails[name+"."] = slow
	}
	g := newGateIn(t, nameServer(t, zone, fails))
	t.Run("", func(t *testing.T) {
		for _, m := range []struct {
			name, from, author, signer string
			first, last                int
		}{
			{"slow includes, late key", "x@attack.example", "ceo@victim.example", "attack.example", 550, 550},
			{"the same, an own name", "x@attack.example", "boss@ours.test", "attack.example", 250, 250},
			{"SERVFAIL under the victim's name", "x@dead.victim.example", "ceo@victim.example", "", 451, 250},
			{"a key under the victim's name", "x@attack.example", "ceo@victim.example", "dead.victim.example", 451, 250},
			{"cut off, and no TCP", "x@cut.victim.example", "ceo@victim.example", "", 451, 250},
			{"an own name whose SPF is dead", "boss@ours.test", "boss@ours.test", "", 451, 250},
			{"a policy that is silent", "x@attack.example", "ceo@mute.example", "attack.example", 451, 250},
		} {
			t.Run(m.name, func(t *testing.T) {
				t.Parallel()
				text := string(signedLetter(t, m.author, m.signer))
				code := 0
				for try := range 7 {
					if try > 1 && m.author == "ceo@mute.example" {
						return // each try takes as long as DNS is silent
					}
					c := g.dial("mx")
					c.say("EHLO helo.attack.example", 250)
					var said string
					code, said = c.message(m.from, "ben@ours.test", text)
					if try == 0 && code != m.first || try > 0 && code != m.last && code != 451 {
						t.Fatalf("try %d: %d %s", try+1, code, said)
					}
					if code != 451 {
						return
					}
				}
				t.Errorf("ended with %d, want %d", code, m.last)
			})
		}
	})
	if all := g.settle(); len(all) > 0 {
		t.Errorf("%d are delivered, the first\n%.600s", len(all), all[0].Data)
	}
}

// Mail of a list that breaks what its members sign is held for a p=reject, and authors of different organizations are
// held or, if one of them does not pass a p=reject, refused.
func TestListsAndSeveralAuthors(t *testing.T) {
	t.Parallel()
	g := newGateIn(t, nameServer(t, "_dmarc.friend.example TXT v=DMARC1; p=reject\n_dmarc.victim.example TXT v=DMARC1; p=reject\n"+
		"lists.example.org TXT v=spf1 ip4:127.0.0.1 -all\none.example TXT v=spf1 ip4:127.0.0.1 -all\n", nil))
	list, err := os.ReadFile(filepath.Join("testdata", "list-of-p-reject.eml"))
	if err != nil {
		t.Fatal(err)
	}
	six := "From: a@one.example, b@two.example, c@three.example, d@four.example, e@five.example, ceo@victim.example\r\nSubject: x\r\n\r\nx\r\n"
	var many []string
	for i := range 12 {
		many = append(many, fmt.Sprintf("a@n%d.example", i))
	}
	for _, m := range []struct {
		name, from, text string
		code             int
	}{
		{"a list", "team-bounces@lists.example.org", strings.ReplaceAll(strings.ReplaceAll(string(list), "\r\n", "\n"), "\n", "\r\n"), 250},
		{"the same without a word of a list", "team-bounces@lists.example.org", "From: Anna <anna@friend.example>\r\nSubject: x\r\n\r\nx\r\n", 550},
		{"six authors, the last protected", "a@one.example", six, 550},
		{"two organizations", "a@one.example", "From: a@one.example, b@two.example\r\nSubject: x\r\n\r\nx\r\n", 250},
		{"more than are judged", "a@one.example", "From: " + strings.Join(many, ", ") + "\r\nSubject: x\r\n\r\nx\r\n", 550},
	} {
		code, said := g.dial("mx").message(m.from, "ben@ours.test", m.text)
		if code != m.code {
			t.Errorf("%s: %d %s", m.name, code, said)
		}
	}
	if all := g.settle(); len(all) > 0 || g.held() != 2 {
		t.Errorf("%d delivered, %d held", len(all), g.held())
	}
}
