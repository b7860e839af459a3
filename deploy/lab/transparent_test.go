package lab_test

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/internal/testing/lab"
)

// peer is what runs in the server's namespace when this test program is started again: servers that say who came.
func peer(addresses string) {
	for address := range strings.FieldsSeq(addresses) {
		l, err := net.Listen("tcp", address)
		if err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go speak(c)
			}
		}()
	}
	fmt.Println("listening")
	select {}
}

// speak says yes to everything, in the protocol of its port, and prints who came and what he said.
func speak(c net.Conn) {
	defer func() { _ = c.Close() }()
	_, port, _ := net.SplitHostPort(c.LocalAddr().String())
	from, _, _ := net.SplitHostPort(c.RemoteAddr().String())
	fmt.Println("came", port, from)
	say := func(text string) { _, _ = fmt.Fprintf(c, "%s\r\n", text) }
	greeting := map[string]string{"25": "220 hop ESMTP", "143": "* OK [CAPABILITY IMAP4rev1] ready", "110": "+OK ready"}[port]
	say(greeting)
	data := false
	for in := bufio.NewScanner(c); in.Scan(); {
		line := in.Text()
		fmt.Println("said", port, line)
		verb := strings.ToUpper(line)
		tag, _, _ := strings.Cut(line, " ")
		switch {
		case port == "143" && strings.Contains(verb, "CAPABILITY"):
			say("* CAPABILITY IMAP4rev1")
			say(tag + " OK done")
		case port == "143":
			say(tag + " OK done")
		case port == "110" && verb == "CAPA":
			say("+OK\r\nUSER\r\n.")
		case port == "110":
			say("+OK")
		case data && line == ".":
			data = false
			say("250 2.0.0 taken")
		case data:
		case verb == "DATA":
			data = true
			say("354 go on")
		default:
			say("250 2.0.0 fine")
		}
	}
}

// network is a client, a gateway and a server in namespaces of their own, joined by the gateway.
type network struct {
	t          *testing.T
	name       string
	out        bytes.Buffer
	mu         sync.Mutex
	serverPeer *exec.Cmd
}

func (n *network) ip(args ...string) {
	n.t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		lab.Missing(n.t, fmt.Sprintf("no network namespaces here: ip %s: %s", strings.Join(args, " "), out))
	}
}

func (n *network) in(space string, args ...string) string {
	n.t.Helper()
	out, err := exec.Command("ip", append([]string{"netns", "exec", n.name + space}, args...)...).CombinedOutput()
	if err != nil {
		n.t.Fatalf("in %s: %s: %v\n%s", space, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func newNetwork(t *testing.T) *network {
	lab.Need(t, "ip", "iproute2")
	lab.Need(t, "nft", "nftables")
	n := &network{t: t, name: fmt.Sprintf("pt%d", os.Getpid())}
	for _, space := range []string{"c", "g", "s"} {
		n.ip("netns", "add", n.name+space)
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", n.name+space).Run() })
		n.ip("-n", n.name+space, "link", "set", "lo", "up")
	}
	for side, at := range map[string]string{"c": "10.9.1", "s": "10.9.2"} {
		n.ip("link", "add", n.name+side, "netns", n.name+side, "type", "veth", "peer", "name", "to"+side, "netns", n.name+"g")
		n.ip("-n", n.name+side, "addr", "add", at+".2/24", "dev", n.name+side)
		n.ip("-n", n.name+"g", "addr", "add", at+".1/24", "dev", "to"+side)
		n.ip("-n", n.name+side, "link", "set", n.name+side, "up")
		n.ip("-n", n.name+"g", "link", "set", "to"+side, "up")
		n.ip("-n", n.name+side, "route", "add", "default", "via", at+".1")
	}
	n.in("g", "sysctl", "-qw", "net.ipv4.ip_forward=1")
	return n
}

// serve starts the servers behind the gateway.
func (n *network) serve() {
	n.serverPeer = exec.Command("ip", "netns", "exec", n.name+"s", os.Args[0])
	n.serverPeer.Env = append(os.Environ(), "POSTERN_LAB_PEER=10.9.2.2:25 10.9.2.2:143 10.9.2.2:110")
	n.serverPeer.Stdout = n
	if err := n.serverPeer.Start(); err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() {
		_ = n.serverPeer.Process.Kill()
		_ = n.serverPeer.Wait()
	})
	n.until("listening")
}

// Write takes in what the servers print.
func (n *network) Write(b []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.out.Write(b)
}

func (n *network) until(want string) {
	n.t.Helper()
	for range 100 {
		n.mu.Lock()
		got := n.out.String()
		n.mu.Unlock()
		if strings.Contains(got, want) {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	n.t.Fatalf("the servers never saw %q; they saw\n%s", want, n.out.String())
}

// The rules of docs/howto-transparent.md: connections to the server's ports come to us, and so do the server's answers to
// the clients' addresses.
const tproxyRules = `table inet postern {
	chain prerouting {
		type filter hook prerouting priority mangle; policy accept;
		meta l4proto tcp socket transparent 1 meta mark set 1 accept
		ip daddr 10.9.2.2 tcp dport 25 meta mark set 1 tproxy ip to :2525 accept
		ip daddr 10.9.2.2 tcp dport 143 meta mark set 1 tproxy ip to :2143 accept
		ip daddr 10.9.2.2 tcp dport 110 meta mark set 1 tproxy ip to :2110 accept
	}
}
`

const redirectRules = `table inet postern {
	chain prerouting {
		type nat hook prerouting priority dstnat; policy accept;
		ip daddr 10.9.2.2 tcp dport 25 redirect to :2525
		ip daddr 10.9.2.2 tcp dport 143 redirect to :2143
		ip daddr 10.9.2.2 tcp dport 110 redirect to :2110
	}
}
`

// A client that speaks with the server by its own address speaks with the gateway, and the server sees the client.
func TestTransparent(t *testing.T) {
	swaks, curl := lab.Need(t, "swaks", "swaks"), lab.Need(t, "curl", "curl")
	for _, c := range []struct{ name, rules, source, seen string }{
		{"tproxy", tproxyRules, "true", "10.9.1.2"}, {"redirect", redirectRules, "false", "10.9.2.1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := newNetwork(t)
			n.serve()
			rules := filepath.Join(lab.Dir(t), "rules.nft")
			if err := os.WriteFile(rules, []byte(c.rules), 0o600); err != nil {
				t.Fatal(err)
			}
			n.in("g", "nft", "-f", rules)
			n.in("g", "ip", "rule", "add", "fwmark", "1", "lookup", "100")
			n.in("g", "ip", "route", "add", "local", "0.0.0.0/0", "dev", "lo", "table", "100")
			gateway := filepath.Join(lab.Dir(t), "postern")
			script := fmt.Sprintf("#!/bin/sh\nexec ip netns exec %sg %s \"$@\"\n", n.name, program)
			if err := os.WriteFile(gateway, []byte(script), 0o700); err != nil { //nolint:gosec // a program
				t.Fatal(err)
			}
			more := ""
			for name, door := range map[string]string{"imap": ":2143", "pop3": ":2110"} {
				more += fmt.Sprintf("[[door]]\nname = %q\nprotocol = %q\nlisten = %q\ntls = \"none\"\nrequire_tls_for_auth = false\ntransparent = true\nfrom_client = %s\n", name, name, door, c.source)
			}
			p := lab.NewPostern(t, gateway, fmt.Sprintf(`hostname = "gw.test"
data_dir = "%%DATA%%"
domains = ["corp.test"]
[[door]]
listen = ":2525"
transparent = true
from_client = %s
%s
[next_hop."default"]
addresses = ["127.0.0.1:9"]
[dns]
servers = ["127.0.0.1:9"]
timeout = "100ms"
[filters.spf]
enabled = false
[filters.dkim]
enabled = false
[filters.dmarc]
enabled = false
[filters.dnslists]
enabled = false
`, c.source, more))
			p.Start(t)
			n.in("c", swaks, "--server", "10.9.2.2:25", "--from", "ann@example.org", "--to", "bob@corp.test", "--helo", "client.example.org", "--body", "hello there")
			n.until("came 25 " + c.seen)
			n.until("said 25 RCPT TO:<bob@corp.test>")
			n.until("hello there")
			for port, scheme := range map[string]string{"143": "imap", "110": "pop3"} {
				out, _ := exec.Command("ip", "netns", "exec", n.name+"c", curl, "-sv", "--max-time", "5", "--user", "ann:secret", "-X", "NOOP", scheme+"://10.9.2.2/").CombinedOutput()
				if bytes.Contains(out, []byte("denied")) {
					t.Errorf("%s: %s", scheme, out)
				}
				n.until("came " + port + " " + c.seen)
			}
			if record := p.Run(t, "ledger", "search", "--json"); !strings.Contains(record, "10.9.1.2") {
				t.Errorf("the ledger does not know the client:\n%s", record)
			}
		})
	}
}
