package clamav

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// session is one connection to clamd in its IDSESSION mode: several scans, one after the other. clamd(8), "COMMANDS".
type session struct {
	conn net.Conn
	in   *bufio.Reader
	// fresh is set until the first scan is done: a later one may find that clamd has closed the connection for idleness.
	fresh bool
}

// errSize is clamd's word that the stream is longer than its StreamMaxLength.
var errSize = errors.New("longer than clamd's StreamMaxLength")

// dial connects to "unix:PATH", "/PATH" or "HOST:PORT".
func dial(ctx context.Context, address string) (*session, error) {
	network, address := place(address)
	d := net.Dialer{Timeout: 5 * time.Second}
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	if _, err := io.WriteString(conn, "zIDSESSION\x00"); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return &session{conn, bufio.NewReader(conn), true}, nil
}

// chunk is how much goes to clamd at once, maxAnswer how long its answer may be, in octets.
const (
	chunk     = 64 << 10
	maxAnswer = 4096
)

// scan sends one content and gives the name of what clamd found in it, "" for nothing. After any error the session is of
// no use any more.
func (s *session) scan(ctx context.Context, content io.Reader) (virus string, err error) {
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(time.Minute)
	}
	if err := s.conn.SetDeadline(deadline); err != nil {
		return "", err
	}
	stop := context.AfterFunc(ctx, func() { _ = s.conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := s.send(content); err != nil {
		// clamd says why it takes no more, if it does, before it closes
		if said, heard := s.answer(); heard == nil {
			if _, why := verdict(said); why != nil {
				return "", why
			}
		}
		return "", err
	}
	said, err := s.answer()
	if err != nil {
		return "", err
	}
	s.fresh = false
	return verdict(said)
}

// send writes INSTREAM: each chunk with its length in front, a length of zero at the end.
func (s *session) send(content io.Reader) error {
	out := make([]byte, 4+chunk)
	head := []byte("zINSTREAM\x00")
	for {
		n, err := io.ReadFull(content, out[4:])
		last := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !last {
			return fmt.Errorf("read the content: %w", err)
		}
		binary.BigEndian.PutUint32(out, uint32(n))
		octets := append(head, out[:4+n]...)
		if n == 0 {
			octets = append(head, 0, 0, 0, 0)
		} else if last {
			octets = append(octets, 0, 0, 0, 0)
		}
		if _, err := s.conn.Write(octets); err != nil {
			return err
		}
		if last {
			return nil
		}
		head = head[:0]
	}
}

// answer reads up to the NUL that ends an answer.
func (s *session) answer() (string, error) {
	var said []byte
	for len(said) < maxAnswer {
		c, err := s.in.ReadByte()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return "", err
		}
		if c == 0 {
			return string(said), nil
		}
		said = append(said, c)
	}
	return "", fmt.Errorf("an answer of more than %d octets", maxAnswer)
}

// verdict reads "1: stream: OK", "2: stream: Eicar-Signature FOUND" or an error. Only a plain OK is clean.
func verdict(said string) (virus string, err error) {
	said = strings.TrimRight(said, "\r\n")
	if strings.Contains(said, "size limit exceeded") {
		return "", errSize
	}
	id, rest, ok := strings.Cut(said, ": ")
	if !ok || strings.Trim(id, "0123456789") != "" {
		rest = said
	}
	rest, ok = strings.CutPrefix(rest, "stream: ")
	if ok && rest == "OK" {
		return "", nil
	}
	if name, found := strings.CutSuffix(rest, " FOUND"); ok && found && name != "" {
		return name, nil
	}
	return "", fmt.Errorf("clamd answered %q", said)
}

func (s *session) close() { _ = s.conn.Close() } // nothing is to be saved

// pingOne asks one clamd: clamd(8), PING.
func pingOne(ctx context.Context, address string) error {
	network, where := place(address)
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, where)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // all is said
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return err
		}
	}
	if _, err := io.WriteString(conn, "zPING\x00"); err != nil {
		return err
	}
	const limit = 64
	answer, err := bufio.NewReader(io.LimitReader(conn, limit)).ReadString(0)
	if err == nil && answer != "PONG\x00" {
		err = fmt.Errorf("it answers %q to a ping", answer)
	}
	return err
}

// place parts "unix:PATH", "/PATH" or "HOST:PORT" for a dialer.
func place(address string) (network, where string) {
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		return "unix", path
	}
	if strings.HasPrefix(address, "/") {
		return "unix", address
	}
	return "tcp", address
}
