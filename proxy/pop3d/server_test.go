package pop3d_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"postern/proxy/access"
	"postern/proxy/frame"
	"postern/proxy/pop3d"
	"postern/proxy/retrieval"
)

// logIn opens a session of a door.
func logIn(t testing.TB, address string) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, in := dialLine(t, address)
	fmt.Fprint(conn, "USER c@d.example\r\nPASS c4nary\r\n")
	for range 3 {
		if line, err := in.ReadString('\n'); err != nil || !strings.HasPrefix(line, "+OK") {
			t.Fatal(line, err)
		}
	}
	return conn, in
}

// A client that waits for a judgement gets the status at once and then a line of the header now and then; what it has in
// the end is the message, or its mask, as without waiting.
func TestSignsOfLifeWhileAMessageIsJudged(t *testing.T) {
	head := "From: a@b.example\r\n" + strings.Repeat("X-Line: of the header\r\n", 50)
	for name, text := range map[string]string{"clean": head + "\r\nhello\r\n.dot\r\n", "bad": head + "\r\nevil\r\n", "no header": "\r\nhello\r\n", "nothing": ""} {
		for _, command := range []string{"RETR 1", "TOP 1 9999"} {
			drop := newMaildrop(t, []string{text})
			h := newHouse(t, access.Backend{Address: drop.address}, func(o *pop3d.Options) { o.Progress = 10 * time.Millisecond })
			h.judging = 300 * time.Millisecond
			conn, in := logIn(t, h.address)
			begun := time.Now()
			fmt.Fprint(conn, command+"\r\n")
			if line, err := in.ReadString('\n'); err != nil || !strings.HasPrefix(line, "+OK") {
				t.Fatal(line, err)
			}
			if waited := time.Since(begun); waited > 200*time.Millisecond {
				t.Errorf("%s, %s: the status came after %v", name, command, waited)
			}
			var got strings.Builder
			for lines := 0; ; lines++ {
				line, err := in.ReadString('\n')
				if err != nil {
					t.Fatal(err)
				}
				if line == ".\r\n" {
					break
				}
				if lines == 3 && strings.HasPrefix(text, head) && time.Since(begun) > 250*time.Millisecond {
					t.Errorf("%s, %s: three lines came after %v", name, command, time.Since(begun))
				}
				got.WriteString(strings.TrimPrefix(line, "."))
			}
			want := text
			if name == "bad" {
				want = strings.Replace(text, "evil", "This", 1)
			}
			if got.String() != want {
				t.Errorf("%s, %s: %q", name, command, got.String())
			}
		}
	}
}

// What the user reads is what his administrator can look up.
func TestTheNoticeNamesTheJudgement(t *testing.T) {
	drop := newMaildrop(t, []string{"From: a@b.example\r\n\r\n" + strings.Repeat("evil words in a line\r\n", 20)})
	h := newHouse(t, access.Backend{Address: drop.address}, nil)
	conn, in := logIn(t, h.address)
	fmt.Fprint(conn, "RETR 1\r\nQUIT\r\n")
	said, err := io.ReadAll(in)
	if err != nil {
		t.Fatal(err)
	}
	r, known := h.verdicts.Known(context.Background(), retrieval.Place{Backend: "default@" + drop.address, User: "c@d.example", UIDL: "uid-1"})
	if text := strings.ReplaceAll(string(said), "\r\n", ""); !known || !r.Masked || !strings.Contains(text, "the id "+r.ID) {
		t.Errorf("%v %+v\n%s", known, r, said)
	}
}

// script is a backend that says one thing and then does another.
func script(t *testing.T, after string, then func(c net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				in := bufio.NewReader(c)
				if after == "" {
					then(c)
					return
				}
				fmt.Fprint(c, "+OK ready\r\n")
				for {
					line, err := in.ReadString('\n')
					switch {
					case err != nil:
						return
					case strings.HasPrefix(line, after):
						then(c)
						return
					case strings.HasPrefix(line, "CAPA"):
						fmt.Fprint(c, "+OK\r\nUIDL\r\nPIPELINING\r\n.\r\n")
					default:
						fmt.Fprint(c, "+OK\r\n")
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}

// flood writes a text until nobody reads any more, 1 GiB at most.
func flood(text string) func(net.Conn) {
	block := bytes.Repeat([]byte(text), 64<<10/len(text))
	return func(c net.Conn) {
		for range 16 << 10 {
			if _, err := c.Write(block); err != nil {
				return
			}
		}
	}
}

// Whatever a server behind the gateway says, the session ends soon and takes little.
func TestHostileBackends(t *testing.T) {
	say := func(text string) func(net.Conn) {
		return func(c net.Conn) { fmt.Fprint(c, text) }
	}
	for name, c := range map[string]struct {
		after   string
		then    func(net.Conn)
		command string
		conduct bool
	}{
		"endless greeting":         {"", flood("+OK x"), "", true},
		"endless capabilities":     {"CAPA", flood("+OK\r\nX-ANY\r\n"), "", true},
		"endless status":           {"STAT", flood("+OK x"), "STAT", true},
		"endless listing":          {"LIST", flood("+OK\r\n1 2\r\n"), "LIST", true},
		"no dot":                   {"RETR", say("+OK\r\nFrom: x\r\n\r\nhello\r\n"), "RETR 1", false},
		"a NUL in the status":      {"STAT", say("+OK \x00\r\n"), "STAT", true},
		"a lone LF in the status":  {"STAT", say("+OK\n+OK evil\r\n"), "STAT", true},
		"PREAUTH":                  {"", say("* PREAUTH hello\r\n"), "", true},
		"refuses the greeting":     {"", say("-ERR go away\r\n"), "", false},
		"silence behind USER":      {"USER", func(net.Conn) {}, "", false},
		"garbage behind PASS":      {"PASS", say("250 2.0.0 Ok\r\n"), "", true},
		"unfinished UIDL":          {"UIDL", say("+OK\r\n1 a\r\n"), "UIDL", false},
		"a dot alone behind an LF": {"TOP", say("+OK\r\nFrom: x\r\n\n.\r\n+OK\r\n"), "TOP 1 0", true},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, access.Backend{Address: script(t, c.after, c.then)}, nil)
			conn, in := dialLine(t, h.address)
			fmt.Fprint(conn, "USER c@d.example\r\nPASS c4nary\r\n")
			if c.command != "" {
				fmt.Fprint(conn, c.command+"\r\n")
			} else {
				fmt.Fprint(conn, "QUIT\r\n")
			}
			if _, err := io.Copy(io.Discard, in); err != nil {
				t.Logf("the client saw %v", err)
			}
			r := h.records(t, 1)[0]
			if c.conduct != strings.Contains(fmt.Sprint(r.Findings), "BACKEND_MISCONDUCT") {
				t.Errorf("ended %q with %v", r.End, r.Findings)
			}
		})
	}
}

func TestALargeMessageComesThroughWithLittleMemory(t *testing.T) {
	const size = 40 << 20
	large := "From: a@b.example\r\n\r\n" + strings.Repeat(strings.Repeat("0123456789", 7)+"\r\n", size/72)
	drop := newMaildrop(t, []string{large})
	h := newHouse(t, access.Backend{Address: drop.address}, nil)
	conn, in := logIn(t, h.address)
	for range 2 { // judged, then known
		fmt.Fprint(conn, "RETR 1\r\n")
		if _, err := in.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(large))
		if _, err := io.ReadFull(in, got); err != nil || string(got) != large {
			t.Fatal("not the same", err)
		}
		if line, err := in.ReadString('\n'); line != ".\r\n" {
			t.Fatal(line, err)
		}
	}
	if h.judged != 1 {
		t.Errorf("judged %d times", h.judged)
	}
}

func TestShutdown(t *testing.T) {
	drop := newMaildrop(t, []string{clean})
	h := newHouse(t, access.Backend{Address: drop.address}, nil)
	_, before := dialLine(t, h.address)
	if _, err := before.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	_, in := logIn(t, h.address)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	_ = h.listener.Shutdown(ctx)
	if ctx.Err() != nil {
		t.Error("somebody was waited for until the time was over")
	}
	for _, r := range []*bufio.Reader{before, in} {
		if said, _ := io.ReadAll(r); !strings.Contains(string(said), "-ERR [SYS/TEMP] Shutting down") {
			t.Errorf("%q", said)
		}
	}
}

// Who may not come in hears why, and in TLS where the door speaks nothing else: RFC 8314 section 3.
func TestRefusal(t *testing.T) {
	drop := newMaildrop(t, []string{clean})
	for _, implicit := range []bool{false, true} {
		h := newHouse(t, access.Backend{Address: drop.address}, func(o *pop3d.Options) { o.Implicit = implicit })
		small, err := frame.New(frame.Options{Address: "127.0.0.1:0", MaxConnections: 1}, h.server)
		if err != nil {
			t.Fatal(err)
		}
		go small.Run()
		for _, want := range []string{"+OK", "-ERR [SYS/TEMP] "} {
			conn, err := net.Dial("tcp", small.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
			if implicit {
				conn = tls.Client(conn, h.client)
			}
			defer conn.Close()
			if said, err := bufio.NewReader(conn).ReadString('\n'); !strings.HasPrefix(said, want) {
				t.Errorf("implicit TLS %v: %q %v, want %s", implicit, said, err, want)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		_ = small.Shutdown(ctx)
		cancel()
		if all := h.records(t, 2); all[0].End != "refused: too many connections" {
			t.Errorf("%+v", all)
		}
	}
}

// RFC 7301 section 3.2, and ALPACA: who asks for another protocol gets no handshake.
func TestAnotherProtocolGetsNoHandshake(t *testing.T) {
	drop := newMaildrop(t, []string{clean})
	h := newHouse(t, access.Backend{Address: drop.address}, func(o *pop3d.Options) { o.Implicit = true })
	for _, c := range []struct {
		protocols []string
		good      bool
	}{{nil, true}, {[]string{"pop3"}, true}, {[]string{"http/1.1", "pop3"}, true}, {[]string{"h2", "http/1.1"}, false}, {[]string{"imap"}, false}} {
		config := h.client.Clone()
		config.NextProtos = c.protocols
		conn, _ := dialLine(t, h.address)
		if err := tls.Client(conn, config).Handshake(); (err == nil) != c.good {
			t.Errorf("%q: %v", c.protocols, err)
		}
		_ = conn.Close()
	}
	for _, r := range h.records(t, 5) {
		if r.End == "TLS handshake failed" && !strings.Contains(fmt.Sprint(r.Findings), "ALPN_MISMATCH") {
			t.Errorf("%+v", r)
		}
	}
}

// A session that waits for its client takes little: both its legs, our test's ends of them included.
func TestIdleSessionsAreSmall(t *testing.T) {
	if testing.Short() {
		t.Skip("counts memory")
	}
	drop := newMaildrop(t, []string{clean})
	h := newHouse(t, access.Backend{Address: drop.address}, nil)
	const sessions = 300
	use := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapInuse + m.StackInuse
	}
	logIn(t, h.address)
	before := use()
	var conns []net.Conn
	for range sessions {
		conn, in := logIn(t, h.address)
		fmt.Fprint(conn, "RETR 1\r\n")
		for line := ""; line != ".\r\n"; {
			var err error
			if line, err = in.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
		}
		conns = append(conns, conn)
	}
	each := (use() - before) / sessions
	t.Logf("%d octets for each idle session, the client's and the backend's ends in the test among them", each)
	if each > 128<<10 {
		t.Errorf("%d octets for each idle session", each)
	}
	runtime.KeepAlive(conns)
}
