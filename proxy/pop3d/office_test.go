package pop3d_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/internal/mail"
	"postern/internal/state"
	"postern/internal/testing/transcript"
	"postern/policy"
	"postern/policy/records/ledger"
	"postern/proxy/access"
	"postern/proxy/frame"
	"postern/proxy/listen"
	"postern/proxy/pop3d"
	"postern/proxy/retrieval"
)

const notice = "This message was withheld by the mail gateway of gw.example. Tell your administrator the id {id}"

// house is a door with a gate, a verdicts and a backend behind it.
type house struct {
	server   *pop3d.Server
	listener *frame.Listener
	address  string
	verdicts *retrieval.VerdictCache
	client   *tls.Config
	log      lockedText

	mu          sync.Mutex
	connections []ledger.Connection
	judged      int
	judging     time.Duration // how long a judgement takes
}

type lockedText struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (h *house) Connection(c ledger.Connection) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.connections = append(h.connections, c)
}

// records waits until there are so many records of connections.
func (h *house) records(t *testing.T, n int) []ledger.Connection {
	t.Helper()
	for range 1000 {
		h.mu.Lock()
		all := append([]ledger.Connection(nil), h.connections...)
		h.mu.Unlock()
		if len(all) >= n {
			return all
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatal("no record of the connection")
	return nil
}

// judge finds bad what holds "evil".
func (h *house) judge(_ context.Context, tx *mail.Transaction) policy.Verdict {
	h.mu.Lock()
	h.judged++
	wait := h.judging
	h.mu.Unlock()
	time.Sleep(wait)
	raw, _ := tx.Message.Head(tx.Message.Size())
	if strings.Contains(string(raw), "away") {
		return policy.Verdict{Disposition: policy.Defer, Decisive: "the scanner is away"}
	}
	if strings.Contains(string(raw), "evil") {
		return policy.Verdict{Disposition: policy.Reject, Decisive: "evil", PolicyVersion: "1"}
	}
	return policy.Verdict{PolicyVersion: "1"}
}

func newHouse(t testing.TB, backend access.Backend, change func(*pop3d.Options)) *house {
	t.Helper()
	h := &house{}
	log := slog.New(slog.NewTextHandler(&h.log, nil))
	memory, err := state.NewMemory(state.MemoryOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = memory.Close() })
	if backend.Name == "" {
		backend.Name = "default"
	}
	if backend.TLS == "" {
		backend.TLS = access.TLSNone
	}
	gate := access.New(access.Options{
		Routes: []access.Route{{Name: "default", POP3: []access.Backend{backend}}}, Bans: listen.NewBans(listen.BanOptions{State: memory}),
		State: memory, Ledger: h, Log: log, FailDelay: 10 * time.Millisecond, Tokens: true, MaxSessions: 5000,
	})
	h.verdicts = retrieval.New(retrieval.Options{Judge: h.judge, State: memory, Log: log})
	certificate, pool := selfSigned(t)
	h.client = &tls.Config{RootCAs: pool, ServerName: "gw.example"}
	o := pop3d.Options{Name: "pop3", Hostname: "gw.example", TLS: &tls.Config{Certificates: []tls.Certificate{certificate}}, AuthInClear: true,
		Gate: gate, VerdictCache: h.verdicts, Notice: notice, SpoolDir: t.TempDir(), Log: log}
	if change != nil {
		change(&o)
	}
	h.server = pop3d.New(o)
	h.listener, err = frame.New(frame.Options{Address: "127.0.0.1:0", MaxPerNetwork: 5000, MaxConnections: 5000}, h.server)
	if err != nil {
		t.Fatal(err)
	}
	h.address = h.listener.Addr().String()
	go h.listener.Run()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		_ = h.listener.Shutdown(ctx)
	})
	return h
}

func selfSigned(t testing.TB) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	form := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "gw.example"}, DNSNames: []string{"gw.example"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, form, form, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// maildrop is a POP3 server that does what it is told: as RFC 1939 has it, or as a transcript says.
type maildrop struct {
	address string
	tls     *tls.Config // for STLS
	pool    *x509.CertPool

	mu       sync.Mutex
	messages []string
	replies  map[string]string
	lines    []string
}

func newMaildrop(t testing.TB, messages []string) *maildrop {
	t.Helper()
	certificate, pool := selfSigned(t)
	m := &maildrop{messages: messages, replies: map[string]string{}, tls: &tls.Config{Certificates: []tls.Certificate{certificate}}, pool: pool}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	m.address = l.Addr().String()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go m.serve(c)
		}
	}()
	return m
}

// Reply, Lines and Count are those of transcript.Hop. "close" as a reply closes the connection; \r stands for itself.
func (m *maildrop) Reply(prefix, text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.replies[prefix] = text; text == "" {
		delete(m.replies, prefix)
	}
}

func (m *maildrop) Lines() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]string(nil), m.lines...)
}

// replace has other messages lie there from now on, under the same ids.
func (m *maildrop) replace(messages []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.messages = messages
}

func (m *maildrop) Count() int { return len(m.messages) }

func (m *maildrop) told(line string) (string, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lines = append(m.lines, line)
	for prefix, reply := range m.replies {
		if strings.HasPrefix(line, prefix) {
			reply = strings.ReplaceAll(reply, "\n", "\r\n") + "\r\n"
			return strings.NewReplacer(`\l`, "\n", `\r`, "\r", `\0`, "\x00").Replace(reply), true
		}
	}
	return "", false
}

func (m *maildrop) serve(c net.Conn) {
	defer func() { _ = c.Close() }()
	in := bufio.NewReader(c)
	say := func(text string) { _, _ = c.Write([]byte(text)) }
	if reply, ok := m.told("CONNECT"); ok {
		say(reply)
	} else {
		say("+OK maildrop ready\r\n")
	}
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		reply, ok := m.told(line)
		switch {
		case ok && reply == "close\r\n":
			return
		case ok:
			say(reply)
		case line == "STLS":
			say("+OK go\r\n")
			t := tls.Server(c, m.tls)
			if t.Handshake() != nil {
				return
			}
			c, in = t, bufio.NewReader(t)
		case line == "QUIT":
			say("+OK bye\r\n")
			return
		default:
			say(m.answer(line))
		}
	}
}

func (m *maildrop) answer(line string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	words := strings.Fields(line + " x x")
	n, err := strconv.Atoi(words[1])
	if err == nil && (n < 1 || n > len(m.messages)) {
		return "-ERR no such message\r\n"
	}
	one := err == nil
	stuffed := func(s string) string {
		return strings.TrimPrefix(strings.ReplaceAll("\r\n"+s, "\r\n.", "\r\n.."), "\r\n") + ".\r\n"
	}
	var b strings.Builder
	switch words[0] {
	case "CAPA":
		return "+OK\r\nTOP\r\nUIDL\r\nPIPELINING\r\nSTLS\r\nSASL PLAIN NTLM\r\nIMPLEMENTATION x\r\nXSECRET\r\n.\r\n"
	case "LIST", "UIDL":
		for i, text := range m.messages {
			what := strconv.Itoa(len(text))
			if words[0] == "UIDL" {
				what = fmt.Sprintf("uid-%d", i+1)
			}
			if one && i+1 == n {
				return fmt.Sprintf("+OK %d %s\r\n", n, what)
			}
			fmt.Fprintf(&b, "%d %s\r\n", i+1, what)
		}
		return "+OK\r\n" + b.String() + ".\r\n"
	case "RETR":
		return "+OK here it is\r\n" + stuffed(m.messages[n-1])
	case "TOP":
		k, _ := strconv.Atoi(words[2])
		head, body, _ := strings.Cut(m.messages[n-1], "\r\n\r\n")
		lines := strings.SplitAfter(body, "\r\n")
		return "+OK\r\n" + stuffed(head+"\r\n\r\n"+strings.Join(lines[:min(k, len(lines))], ""))
	case "AUTH":
		return "+ \r\n"
	}
	return "+OK\r\n"
}

const (
	clean = "From: a@b.example\r\nSubject: hi\r\n\r\nhello\r\n.dotted\r\nthird\r\n"
	wrong = "From: a@b.example\r\nSubject: hi\r\n\r\nevil words\r\n.evil dot\r\nthird evil\r\n"
)

func TestTranscripts(t *testing.T) {
	transcript.RunAll(t, "testdata/*.txt", func(t *testing.T, settings map[string]string) transcript.Door {
		third := clean + "more\r\n"
		if settings["third"] != "" {
			third = strings.Replace(third, "hello", settings["third"], 1)
		}
		drop := newMaildrop(t, []string{clean, wrong, third})
		backend := access.Backend{Address: drop.address, Trust: &tls.Config{RootCAs: drop.pool}, Forward: settings["forward"] == "yes", TLS: access.TLSMode(settings["backend"])}
		if settings["backend"] == "away" {
			backend = access.Backend{Address: "127.0.0.1:1"}
		}
		h := newHouse(t, backend, func(o *pop3d.Options) {
			o.Implicit = settings["tls"] == "implicit"
			o.AuthInClear = settings["clear"] != "no"
			if d, err := time.ParseDuration(settings["preauth"]); err == nil {
				o.PreAuth = d
			}
			if d, err := time.ParseDuration(settings["idle"]); err == nil {
				o.Idle = d
			}
			if n, err := strconv.ParseInt(settings["max_message"], 10, 64); err == nil {
				o.MaxMessage = n
			}
			if settings["tls"] == "none" {
				o.TLS = nil
			}
		})
		for name, want := range settings {
			if name == "finding" {
				t.Cleanup(func() {
					r := h.records(t, 1)[0]
					if !strings.Contains(fmt.Sprint(r.Findings), want) {
						t.Errorf("findings are %v, want %s", r.Findings, want)
					}
				})
			}
		}
		t.Cleanup(func() {
			if text := h.log.String(); strings.Contains(text, "c4nary") || strings.Contains(text, "YzRuYXJ5") {
				t.Errorf("a password in the log:\n%s", text)
			}
		})
		return transcript.Door{Address: h.address, TLS: h.client, Hop: drop}
	})
}
