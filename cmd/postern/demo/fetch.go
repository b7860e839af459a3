package demo

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// read logs in at a POP3 or IMAP door and fetches the newest message of the mailbox. The answer tells what came: 250 for a
// message, 535 for a refused login.
func read(ctx context.Context, door string, c Case) (Answer, []byte, error) {
	d := net.Dialer{Timeout: 5 * time.Second}
	conn, err := d.DialContext(ctx, "tcp", door)
	if err != nil {
		return Answer{}, nil, err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return Answer{}, nil, err
	}
	user, password, _ := strings.Cut(c.Login, " ")
	r := &reader{in: bufio.NewReader(conn), out: conn}
	if c.Via == "pop3" {
		return r.pop3(user, password)
	}
	return r.imap(user, password)
}

type reader struct {
	in  *bufio.Reader
	out io.Writer
}

func (r *reader) line() (string, error) {
	line, err := r.in.ReadString('\n')
	return strings.TrimRight(line, "\r\n"), err
}

func (r *reader) say(text string) error {
	_, err := io.WriteString(r.out, text+"\r\n")
	return err
}

// imap speaks IMAP: RFC 9051. Its commands are a, b, c and d.
func (r *reader) imap(user, password string) (Answer, []byte, error) {
	if _, err := r.line(); err != nil {
		return Answer{}, nil, err
	}
	var message []byte
	for _, command := range []string{"a LOGIN " + user + " " + password, "b SELECT INBOX", "c FETCH * BODY.PEEK[]", "d LOGOUT"} {
		if err := r.say(command); err != nil {
			return Answer{}, nil, err
		}
		for {
			line, err := r.line()
			if err != nil {
				return Answer{}, nil, err
			}
			if n, ok := literalSize(line); ok {
				message = make([]byte, n)
				if _, err := io.ReadFull(r.in, message); err != nil {
					return Answer{}, nil, err
				}
			}
			if strings.HasPrefix(line, command[:2]+"NO") {
				return Answer{Code: 535, Text: line[2:], At: "LOGIN"}, nil, nil
			}
			if strings.HasPrefix(line, command[:2]) {
				break
			}
		}
	}
	return fetched(message), message, nil
}

// literalSize is the size of the literal that a line announces.
func literalSize(line string) (int, bool) {
	open := strings.LastIndexByte(line, '{')
	if open < 0 || !strings.HasSuffix(line, "}") {
		return 0, false
	}
	n, err := strconv.Atoi(line[open+1 : len(line)-1])
	return n, err == nil && n >= 0 && n < 1<<20
}

// pop3 speaks POP3: RFC 1939.
func (r *reader) pop3(user, password string) (Answer, []byte, error) {
	count := ""
	for _, command := range []string{"", "USER " + user, "PASS " + password, "STAT", "RETR ", "QUIT"} {
		if command == "RETR " {
			command += count
		}
		if command != "" {
			if err := r.say(command); err != nil {
				return Answer{}, nil, err
			}
		}
		line, err := r.line()
		if err != nil {
			return Answer{}, nil, err
		}
		if !strings.HasPrefix(line, "+OK") {
			return Answer{Code: 535, Text: line, At: "PASS"}, nil, nil
		}
		if command == "STAT" {
			if f := strings.Fields(line); len(f) > 1 {
				count = f[1]
			}
		}
		if strings.HasPrefix(command, "RETR") {
			message, err := r.lines()
			return fetched(message), message, errors.Join(err, r.say("QUIT"))
		}
	}
	return Answer{}, nil, errors.New("nothing came")
}

func (r *reader) lines() ([]byte, error) {
	var message []byte
	for {
		line, err := r.line()
		if err != nil || line == "." {
			return message, err
		}
		message = append(message, strings.TrimPrefix(line, ".")...)
		message = append(message, "\r\n"...)
	}
}

func fetched(message []byte) Answer {
	how := "as it is"
	if strings.Contains(string(message), "withheld by the mail gateway") {
		how = "masked"
	}
	return Answer{Code: 250, Text: fmt.Sprintf("fetched %s, %d octets", how, len(message)), At: "message"}
}
