package main

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	mdns "github.com/miekg/dns"

	"postern/internal/dns"
)

// nameServer serves a zone on loopback and gives a configuration that asks it.
func nameServer(t *testing.T, text string) (config string) {
	t.Helper()
	zone, err := dns.ParseZone(text)
	if err != nil {
		t.Fatal(err)
	}
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	up := make(chan struct{})
	s := &mdns.Server{PacketConn: pc, NotifyStartedFunc: func() { close(up) }, Handler: mdns.HandlerFunc(func(w mdns.ResponseWriter, q *mdns.Msg) {
		if reply, err := zone.Exchange(context.Background(), q, "", ""); err == nil {
			_ = w.WriteMsg(reply)
		}
	})}
	go func() { _ = s.ActivateAndServe() }()
	<-up
	t.Cleanup(func() { _ = s.Shutdown() })
	config = filepath.Join(t.TempDir(), "postern.toml")
	if err := os.WriteFile(config, []byte("[dns]\nservers = [\""+pc.LocalAddr().String()+"\"]\ntimeout = \"2s\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return config
}

func TestSPFExplains(t *testing.T) {
	config := nameServer(t, `
example.org      TXT v=spf1 include:inc.example.org mx -all exp=why.example.org
inc.example.org  TXT v=spf1 ip4:198.51.100.0/24 ?all
example.org      MX  10 mx.example.org
mx.example.org   A   192.0.2.1
why.example.org  TXT ask %{o} about %{i}
helo.example.org TXT v=spf1 -all
`)
	for _, c := range []struct {
		ip   string
		code int
		want []string
	}{
		{"192.0.2.1", exitDone, []string{"spf=pass  the sender for example.org from 192.0.2.1\n  matches mx of example.org\n",
			"    include:inc.example.org: look-up 1: inc.example.org\n      inc.example.org TXT: v=spf1 ip4", "mx: look-up 2: example.org: mx.example.org 192.0.2.1: matches\n", "spf=fail  HELO for helo.example.org"}},
		{"203.0.113.1", exitNo, []string{"spf=fail  the sender", "the domain says: ask example.org about 203.0.113.1\n", "-all: matches\n"}},
	} {
		var out, problems strings.Builder
		code := run(world{t.Context(), strings.NewReader(""), &out, &problems}, []string{"spf", "-c", config, "--ip", c.ip, "--helo", "helo.example.org", "--from", "<bob@example.org>"})
		if code != c.code || problems.Len() > 0 {
			t.Errorf("%s: exit %d, %s", c.ip, code, problems.String())
		}
		for _, want := range c.want {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s: no %q in\n%s", c.ip, want, out.String())
			}
		}
	}
}

func TestARCExplains(t *testing.T) {
	text, err := os.ReadFile("../../filters/arc/testdata/allow.txt")
	if err != nil {
		t.Fatal(err)
	}
	head, message, _ := strings.Cut(string(text), "\n\n")
	zone := ""
	for line := range strings.Lines(head) {
		if rest, ok := strings.CutPrefix(line, "dns "); ok {
			zone += rest
		}
	}
	config := nameServer(t, zone)
	for body, c := range map[string]struct {
		code int
		want string
	}{
		"":       {exitDone, "-: arc=pass oldest-pass=0\n    2 ARC sets, each whole, cv as it must be\n    instance 2: ARC-Message-Signature of list.example (s=s): pass"},
		"Buy!\n": {exitNo, "-: arc=fail: instance 2: ARC-Message-Signature: the body was changed after signing\n"},
	} {
		var out, problems strings.Builder
		code := run(world{t.Context(), strings.NewReader(message + body), &out, &problems}, []string{"arc", "verify", "-c", config, "-"})
		if code != c.code || !strings.Contains(out.String(), c.want) || problems.Len() > 0 {
			t.Errorf("exit %d, %s\n%s", code, problems.String(), out.String())
		}
		if !strings.Contains(out.String(), "instance 1, sealed by relay.example, says: mx.relay.example: spf=pass dmarc=pass") {
			t.Errorf("what the sealers say is missing:\n%s", out.String())
		}
	}
}
