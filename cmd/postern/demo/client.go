package demo

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"strings"
	"time"
)

// client speaks SMTP as a case of the script wants it, tricks included. It is no model for real clients.
type client struct {
	conn net.Conn
	text *textproto.Conn
}

// Answer is how the gateway answered a case: the reply that ended it.
type Answer struct {
	Code int
	Text string
	At   string // the command it answered
}

// send plays a case once.
func send(ctx context.Context, door, submission string, c Case, raw []byte) (Answer, error) {
	address := door
	if c.Login != "" {
		address = submission
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return Answer{}, fmt.Errorf("demo client: %w", err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return Answer{}, fmt.Errorf("demo client: %w", err)
	}
	cl := &client{conn, textproto.NewConn(conn)}
	a, err := cl.play(c, raw)
	if err != nil {
		return a, fmt.Errorf("demo client, %s: %w", c.Name, err)
	}
	return a, nil
}

// play goes through the dialogue and stops at the first refusal.
func (cl *client) play(c Case, raw []byte) (Answer, error) {
	steps := []func() (Answer, error){
		func() (Answer, error) { return cl.expect("greeting", "") },
		func() (Answer, error) { return cl.expect("XCLIENT", "XCLIENT ADDR="+c.Client) },
	}
	if c.Login != "" {
		steps = append(steps, cl.startTLS)
	}
	steps = append(steps, func() (Answer, error) { return cl.expect("EHLO", "EHLO "+c.Helo) })
	if c.Via == "injection" {
		steps = append(steps, func() (Answer, error) {
			return cl.expect("STARTTLS", "STARTTLS\r\nMAIL FROM:<"+c.From+">\r\nRCPT TO:"+c.To[0])
		})
	}
	if user, password, ok := strings.Cut(c.Login, " "); ok {
		plain := base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00" + password))
		steps = append(steps, func() (Answer, error) { return cl.expect("AUTH", "AUTH PLAIN "+plain) })
	}
	steps = append(steps, func() (Answer, error) { return cl.expect("MAIL", "MAIL FROM:<"+c.From+">") })
	for _, to := range c.To {
		steps = append(steps, func() (Answer, error) { return cl.expect("RCPT", "RCPT TO:"+to) })
	}
	steps = append(steps, func() (Answer, error) { return cl.message(c, raw) })
	var last Answer
	for _, step := range steps {
		a, err := step()
		if err != nil || a.Code >= 400 {
			return a, err
		}
		last = a
	}
	_, err := cl.expect("QUIT", "QUIT")
	return last, err
}

func (cl *client) expect(at, line string) (Answer, error) {
	if line != "" {
		if err := cl.text.PrintfLine("%s", line); err != nil {
			return Answer{}, err
		}
	}
	code, text, err := cl.text.ReadResponse(0)
	var protocol *textproto.Error
	if errors.As(err, &protocol) {
		err = nil
	}
	return Answer{Code: code, Text: text, At: at}, err
}

func (cl *client) startTLS() (Answer, error) {
	if a, err := cl.expect("EHLO", "EHLO demo"); err != nil || a.Code != 250 {
		return a, err
	}
	a, err := cl.expect("STARTTLS", "STARTTLS")
	if err != nil || a.Code != 220 {
		return a, err
	}
	// the demo's gateway signs its certificate itself: there is nothing to check it against
	t := tls.Client(cl.conn, &tls.Config{InsecureSkipVerify: true})
	cl.conn, cl.text = t, textproto.NewConn(t)
	return a, t.Handshake()
}

func (cl *client) message(c Case, raw []byte) (Answer, error) {
	stuffed := bytes.ReplaceAll(raw, []byte("\r\n."), []byte("\r\n.."))
	if c.Smuggle != "" {
		stuffed = append(stuffed, c.Smuggle...)
	}
	switch c.Via {
	case "bdat":
		return cl.chunks(raw)
	case "early":
		return cl.expect("DATA", "DATA\r\n"+string(stuffed)+".")
	}
	if a, err := cl.expect("DATA", "DATA"); err != nil || a.Code != 354 {
		return a, err
	}
	if _, err := cl.conn.Write(stuffed); err != nil {
		return Answer{}, err
	}
	return cl.expect("message", ".")
}

// chunks sends the message in two BDAT chunks (RFC 3030), cut in the middle of whatever stands there.
func (cl *client) chunks(raw []byte) (Answer, error) {
	half := len(raw) / 2
	for _, last := range []bool{false, true} {
		part, word := raw[:half], ""
		if last {
			part, word = raw[half:], " LAST"
		}
		if err := cl.text.PrintfLine("BDAT %d%s", len(part), word); err != nil {
			return Answer{}, err
		}
		if _, err := cl.conn.Write(part); err != nil {
			return Answer{}, err
		}
		if a, err := cl.expect("BDAT", ""); err != nil || a.Code != 250 || last {
			return a, err
		}
	}
	return Answer{}, nil
}
