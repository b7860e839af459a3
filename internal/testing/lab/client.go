package lab

import (
	"bytes"
	"fmt"
	"net"
	"net/textproto"
	"time"
)

// Client is a plain SMTP client for load: it says what it is told and gives the last reply.
type Client struct {
	conn net.Conn
	text *textproto.Conn
}

// DialClient connects, greets and, if client is not empty, claims its address by XCLIENT.
func DialClient(address, client string) (*Client, error) {
	conn, err := net.DialTimeout("tcp", address, 10*time.Second)
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(time.Now().Add(10 * time.Minute)); err != nil {
		return nil, err
	}
	c := &Client{conn, textproto.NewConn(conn)}
	lines := []string{"", "EHLO load.example.org"}
	if client != "" {
		lines = []string{"", "XCLIENT ADDR=" + client, "EHLO load.example.org"}
	}
	for _, line := range lines {
		if code, text, err := c.Say(line); err != nil || code >= 400 {
			return nil, fmt.Errorf("%q: %d %s %w", line, code, text, err)
		}
	}
	return c, nil
}

// Say sends a line, none if it is empty, and reads a reply.
func (c *Client) Say(line string) (int, string, error) {
	if line != "" {
		if err := c.text.PrintfLine("%s", line); err != nil {
			return 0, "", err
		}
	}
	code, text, err := c.text.ReadResponse(0)
	if _, refused := err.(*textproto.Error); refused {
		err = nil
	}
	return code, text, err
}

// Send sends one message, lines ended by CRLF, and gives the reply that ended it.
func (c *Client) Send(from, to string, raw []byte) (int, string, error) {
	for _, line := range []string{"MAIL FROM:<" + from + ">", "RCPT TO:<" + to + ">", "DATA"} {
		code, text, err := c.Say(line)
		if err != nil {
			return 0, "", err
		}
		if code >= 400 {
			_, _, err = c.Say("RSET")
			return code, text, err
		}
	}
	stuffed := raw
	if bytes.Contains(raw, []byte("\n.")) || bytes.HasPrefix(raw, []byte(".")) {
		stuffed = bytes.ReplaceAll(append([]byte("\r\n"), raw...), []byte("\r\n."), []byte("\r\n.."))[2:]
	}
	if !bytes.HasSuffix(stuffed, []byte("\r\n")) {
		stuffed = append(stuffed[:len(stuffed):len(stuffed)], "\r\n"...)
	}
	if _, err := c.conn.Write(stuffed); err != nil {
		return 0, "", err
	}
	return c.Say(".")
}

// Close says QUIT.
func (c *Client) Close() {
	_, _, _ = c.Say("QUIT") // polite, not more
	_ = c.conn.Close()
}
