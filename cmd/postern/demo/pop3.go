package demo

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/textproto"
	"strconv"
	"strings"
	"time"
)

// servePOP3 is a POP3 server (RFC 1939) as small as it can be: what a demo's mailbox needs.
func (m *MailSystem) servePOP3(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return // closed
		}
		go (&pop3{system: m, conn: c, out: bufio.NewWriter(c)}).run()
	}
}

type pop3 struct {
	system     *MailSystem
	conn       net.Conn
	out        *bufio.Writer
	user, name string
	box        [][]byte
}

func (p *pop3) run() {
	defer p.conn.Close()
	in := textproto.NewReader(bufio.NewReaderSize(p.conn, 1024))
	p.say("+OK demo POP3")
	for {
		if p.out.Flush() != nil || p.conn.SetDeadline(time.Now().Add(time.Minute)) != nil {
			return
		}
		line, err := in.ReadLine()
		if err != nil {
			return
		}
		verb, arg, _ := strings.Cut(line, " ")
		if !p.command(strings.ToUpper(verb), arg) {
			_ = p.out.Flush() // the client is gone or said QUIT
			return
		}
	}
}

func (p *pop3) say(format string, args ...any) { fmt.Fprintf(p.out, format+"\r\n", args...) }

func (p *pop3) command(verb, arg string) bool {
	switch verb {
	case "USER":
		p.name = arg
		p.say("+OK")
	case "PASS":
		p.pass(arg)
	case "CAPA":
		p.say("+OK\r\nUSER\r\nUIDL\r\n.")
	case "NOOP", "RSET":
		p.say("+OK")
	case "QUIT":
		p.say("+OK bye")
		return false
	case "STAT", "LIST", "UIDL", "RETR":
		if p.user == "" {
			p.say("-ERR log in first")
			return true
		}
		p.transaction(verb, arg)
	default:
		p.say("-ERR not known")
	}
	return true
}

func (p *pop3) pass(password string) {
	p.system.mu.Lock()
	b := p.system.boxes[p.name]
	ok := b != nil && b.Password != "" && b.Password == password
	if ok {
		p.user, p.box = p.name, append([][]byte(nil), b.messages...)
	}
	p.system.mu.Unlock()
	if ok {
		p.say("+OK")
	} else {
		p.say("-ERR login failed")
	}
}

func (p *pop3) transaction(verb, arg string) {
	total := 0
	for _, raw := range p.box {
		total += len(raw)
	}
	switch verb {
	case "STAT":
		p.say("+OK %d %d", len(p.box), total)
	case "LIST", "UIDL":
		if n, err := strconv.Atoi(arg); err == nil && n > 0 && n <= len(p.box) { // RFC 1939 section 7: of one message, in one line
			size := map[string]string{"LIST": strconv.Itoa(len(p.box[n-1])), "UIDL": fmt.Sprintf("demo-%d", n)}
			p.say("+OK %d %s", n, size[verb])
			return
		}
		p.say("+OK")
		for i, raw := range p.box {
			if verb == "LIST" {
				p.say("%d %d", i+1, len(raw))
			} else {
				p.say("%d demo-%d", i+1, i+1)
			}
		}
		p.say(".")
	case "RETR":
		n, err := strconv.Atoi(arg)
		if err != nil || n < 1 || n > len(p.box) {
			p.say("-ERR no such message")
			return
		}
		p.say("+OK")
		stuffed := bytes.ReplaceAll(append([]byte("\r\n"), p.box[n-1]...), []byte("\r\n."), []byte("\r\n.."))
		_, _ = p.out.Write(stuffed[2:]) // an error shows at the next Flush
		p.say(".")
	}
}
