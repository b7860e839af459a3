package hoptest

import (
	"bufio"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// Script is a hop that plays the same dialogue on every connection:
//
//	# a comment
//	S: 220 hop.test           sends this line
//	S! "220 a\r\n250 b\r\n"   sends these octets, in Go's writing
//	C: MAIL FROM:*            wants a line; "*" stands for its rest
//	C. message                reads up to CRLF.CRLF
//	CLOSE, HANG, ENDLESS, SLOW text: as in Hop.Reply
//
// Behind its last line the script closes the connection.
type Script struct {
	listener net.Listener
	lines    []string
	wait     sync.WaitGroup
	mu       sync.Mutex
	conns    []net.Conn
	wrong    []string
}

// NewScript starts a scripted hop that ends with the test. What did not go as the script says stands in Wrong.
func NewScript(t testing.TB, text string) *Script {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("hoptest: %v", err)
	}
	s := &Script{listener: l}
	for line := range strings.SplitSeq(text, "\n") {
		if line = strings.TrimRight(line, "\r"); strings.TrimSpace(line) != "" && line[0] != '#' {
			s.lines = append(s.lines, line)
		}
	}
	s.wait.Go(s.accept)
	t.Cleanup(func() {
		_ = l.Close() // the test is over
		s.mu.Lock()
		for _, nc := range s.conns {
			_ = nc.Close()
		}
		s.mu.Unlock()
		s.wait.Wait()
	})
	return s
}

// Addr is where it listens.
func (s *Script) Addr() string { return s.listener.Addr().String() }

// Wrong says where a client did not follow the script.
func (s *Script) Wrong() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.wrong...)
}

func (s *Script) accept() {
	for {
		nc, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns = append(s.conns, nc)
		s.mu.Unlock()
		s.wait.Go(func() {
			defer nc.Close()
			if err := s.play(nc); err != nil {
				s.mu.Lock()
				s.wrong = append(s.wrong, err.Error())
				s.mu.Unlock()
			}
		})
	}
}

func (s *Script) play(nc net.Conn) error {
	r := bufio.NewReader(nc)
	for _, line := range s.lines {
		mark, rest, _ := strings.Cut(line, " ")
		switch mark {
		case "C:":
			got, err := r.ReadString('\n')
			if got = strings.TrimRight(got, "\r\n"); err != nil || !matches(rest, got) {
				return fmt.Errorf("want %q, got %q %v", rest, got, err)
			}
		case "C.":
			for got := ""; got != ".\r\n"; {
				var err error
				if got, err = r.ReadString('\n'); err != nil {
					return fmt.Errorf("in the message: %w", err)
				}
			}
		case "S!":
			raw, err := strconv.Unquote(rest)
			if err != nil {
				return fmt.Errorf("script: %s: %w", line, err)
			}
			rest = "RAW " + raw
			fallthrough
		case "S:":
			if !say(nc, rest) {
				return nil
			}
		default:
			if !say(nc, line) {
				return nil
			}
		}
	}
	return nil
}

func matches(pattern, line string) bool {
	if front, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(line, front)
	}
	return line == pattern
}
