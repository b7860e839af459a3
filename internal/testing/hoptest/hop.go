// Package hoptest holds next hops for tests: a recording one that takes everything unless told otherwise, and one that
// plays a script and may do so as badly as a script can say.
package hoptest

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Options say how a recording hop behaves. The zero value takes every message over SMTP on 127.0.0.1.
type Options struct {
	// Address is where it listens: "" for a free port of 127.0.0.1, HOST:PORT, or the path of a socket.
	Address string
	LMTP    bool
	// Extensions are the lines of the EHLO reply; nil is DefaultExtensions. STARTTLS and AUTH are added by themselves.
	Extensions []string
	// TLS makes it offer STARTTLS, or speak TLS from the first byte if Implicit is set.
	TLS      *tls.Config
	Implicit bool
	// Users are those that may log in, by name.
	Users map[string]string
	// Replies are the answers other than the usual ones; see Hop.Reply.
	Replies map[string]string
}

// DefaultExtensions is what a recording hop offers if nothing else is said.
func DefaultExtensions() []string {
	return []string{"PIPELINING", "SIZE 52428800", "8BITMIME", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES"}
}

// Message is one that the hop took.
type Message struct {
	Helo string
	// From and To are the paths as they came, angle brackets included; To holds the recipients it accepted.
	From string
	To   []string
	// MailLine and RcptLines are the whole commands.
	MailLine  string
	RcptLines []string
	// Raw are the octets between 354 and the dot as they were on the wire; Data is the same with the dots unstuffed.
	Raw, Data []byte
	TLS       bool
	User      string
	// XClient and XForward are the commands that spoke of its client.
	XClient, XForward []string
	// Defects names what must never be in a message: "bare CR", "bare LF", "NUL", "unstuffed dot".
	Defects []string
}

// Hop is a recording hop.
type Hop struct {
	options  Options
	listener net.Listener
	wait     sync.WaitGroup

	mu       sync.Mutex
	replies  map[string]string
	messages []Message
	commands []string
	conns    map[net.Conn]bool
	total    int
	closed   bool
}

// New starts a hop that ends with the test.
func New(t testing.TB, o Options) *Hop {
	t.Helper()
	h, err := start(o)
	if err != nil {
		t.Fatalf("hoptest: %v", err)
	}
	t.Cleanup(h.Close)
	return h
}

func start(o Options) (*Hop, error) {
	network := "tcp"
	if o.Address == "" {
		o.Address = "127.0.0.1:0"
	} else if strings.HasPrefix(o.Address, "/") {
		network = "unix"
	}
	if o.Extensions == nil {
		o.Extensions = DefaultExtensions()
	}
	l, err := net.Listen(network, o.Address)
	if err != nil {
		return nil, err
	}
	h := &Hop{options: o, listener: l, replies: map[string]string{}, conns: map[net.Conn]bool{}}
	maps.Copy(h.replies, o.Replies)
	h.wait.Go(h.accept)
	return h, nil
}

// Addr is where it listens.
func (h *Hop) Addr() string { return h.listener.Addr().String() }

// Reply sets the answer to all commands that begin with prefix, in any case; the longest prefix counts, and "" takes the
// answer back. "GREETING" is the greeting and "." the reply to a message (in LMTP ".<bob@example.org>" for one recipient).
//
// The text is one reply, its lines parted by "\n", sent as it stands. "CLOSE" closes without a word, "HANG" says nothing,
// "SLOW text" sends an octet every 100 ms, "ENDLESS" sends digits without end, "RAW text" sends exactly text, and
// "text\nCLOSE" closes behind the reply. "ONCE text" holds for one command, "AFTER 300ms text" takes its time.
func (h *Hop) Reply(prefix, text string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if text == "" {
		delete(h.replies, prefix)
	} else {
		h.replies[prefix] = text
	}
}

// Messages are those that were taken so far.
func (h *Hop) Messages() []Message {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.messages)
}

// Commands are all command lines so far, of all connections; credentials too.
func (h *Hop) Commands() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.commands)
}

// Connections says how many there were, and how many are open.
func (h *Hop) Connections() (total, open int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.total, len(h.conns)
}

// Forget empties the record.
func (h *Hop) Forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.messages, h.commands, h.total = nil, nil, 0
}

// Hangup closes all connections; the hop goes on listening.
func (h *Hop) Hangup() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for nc := range h.conns {
		_ = nc.Close() // its goroutine sees it
	}
}

// Close ends the hop, all connections with it.
func (h *Hop) Close() {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	_ = h.listener.Close() // the second time it fails, as it should
	h.Hangup()
	h.wait.Wait()
}

func (h *Hop) accept() {
	for {
		nc, err := h.listener.Accept()
		if err != nil {
			return
		}
		h.mu.Lock()
		if h.closed {
			_ = nc.Close() // too late
			h.mu.Unlock()
			return
		}
		h.conns[nc] = true
		h.total++
		h.mu.Unlock()
		h.wait.Go(func() {
			s := &session{hop: h, nc: nc, r: bufio.NewReader(nc)}
			s.serve()
			_ = nc.Close() // done with it
			h.mu.Lock()
			delete(h.conns, nc)
			h.mu.Unlock()
		})
	}
}

// answer finds what was set for a command, else the usual answer.
func (h *Hop) answer(line, usual string) string {
	found := h.set(line, usual)
	if after, ok := strings.CutPrefix(found, "AFTER "); ok {
		pause, text, _ := strings.Cut(after, " ")
		if d, err := time.ParseDuration(pause); err == nil {
			time.Sleep(d)
			return text
		}
	}
	return found
}

func (h *Hop) set(line, usual string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	best, found, of := -1, usual, ""
	for prefix, text := range h.replies {
		if len(prefix) > best && len(line) >= len(prefix) && strings.EqualFold(line[:len(prefix)], prefix) {
			best, found, of = len(prefix), text, prefix
		}
	}
	if text, once := strings.CutPrefix(found, "ONCE "); once {
		delete(h.replies, of)
		return text
	}
	return found
}

func (h *Hop) take(m Message) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.messages = append(h.messages, m)
	return fmt.Sprintf("250 2.0.0 Ok: queued as HOP%d", len(h.messages))
}

func (h *Hop) heard(line string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.commands = append(h.commands, line)
}

// say sends an answer as Reply describes it; false ends the connection.
func say(nc net.Conn, text string) bool {
	switch word, rest, _ := strings.Cut(text, " "); word {
	case "CLOSE":
		return false
	case "HANG":
		drain(nc)
		return false
	case "RAW":
		_, err := nc.Write([]byte(rest))
		return err == nil
	case "ENDLESS":
		for {
			if _, err := nc.Write([]byte(strings.Repeat("2", 4096))); err != nil {
				return false
			}
		}
	case "SLOW":
		for _, c := range []byte(rest + "\r\n") {
			if _, err := nc.Write([]byte{c}); err != nil {
				return false
			}
			time.Sleep(100 * time.Millisecond)
		}
		return true
	}
	text, bye := strings.CutSuffix(text, "\nCLOSE")
	_, err := nc.Write([]byte(strings.ReplaceAll(text, "\n", "\r\n") + "\r\n"))
	return err == nil && !bye
}

// drain waits for the other side to go away.
func drain(nc net.Conn) {
	b := make([]byte, 4096)
	for {
		if _, err := nc.Read(b); err != nil {
			return
		}
	}
}
