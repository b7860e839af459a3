package pop3d

import (
	"bytes"
	"net"
	"time"

	"postern/proxy/imapd/wire"
)

// writeTimeout is how long one write may take.
const writeTimeout = 2 * time.Minute

// outlet writes to one side of a session. At rest it holds no buffer. It is used by one goroutine.
type outlet struct {
	conn    net.Conn
	buffers *wire.Buffers
	buf     []byte
	octets  int64 // sent
	err     error
}

func newOutlet(c net.Conn, b *wire.Buffers) *outlet { return &outlet{conn: c, buffers: b} }

// say writes a line.
func (o *outlet) say(line string) { o.write([]byte(line)) }

// write buffers octets. An error shows at the next flush.
func (o *outlet) write(p []byte) {
	for len(p) > 0 && o.err == nil {
		if o.buf == nil {
			o.buf = o.buffers.Take()[:0]
		}
		n := copy(o.buf[len(o.buf):cap(o.buf)], p)
		o.buf, p = o.buf[:len(o.buf)+n], p[n:]
		if len(o.buf) == cap(o.buf) {
			o.send()
		}
	}
}

// flush sends what is buffered and gives the buffer back.
func (o *outlet) flush() error {
	if o.buf != nil {
		o.send()
		o.buffers.Give(o.buf)
		o.buf = nil
	}
	return o.err
}

func (o *outlet) send() {
	defer func() { o.buf = o.buf[:0] }()
	if o.err != nil || len(o.buf) == 0 {
		return
	}
	if o.err = o.conn.SetWriteDeadline(time.Now().Add(writeTimeout)); o.err != nil {
		return
	}
	n, err := o.conn.Write(o.buf)
	o.octets += int64(n)
	o.err = err
}

// stuffer writes the lines of a message: RFC 1939 section 3 doubles the dot that begins one.
type stuffer struct {
	out    *outlet
	inLine bool
	cr     bool // the last octet was a CR
	crlf   bool // the last line was ended by CRLF
}

func (w *stuffer) write(p []byte) {
	for len(p) > 0 {
		if !w.inLine && p[0] == '.' {
			w.out.say(".")
		}
		n := bytes.IndexByte(p, '\n') + 1
		w.inLine = n == 0
		if n == 0 {
			n = len(p)
		} else {
			w.crlf = n > 1 && p[n-2] == '\r' || n == 1 && w.cr
		}
		w.cr = p[n-1] == '\r'
		w.out.write(p[:n])
		p = p[n:]
	}
}

// end writes the line that ends the response.
func (w *stuffer) end() {
	if w.inLine {
		w.out.say("\r\n")
	}
	w.out.say(".\r\n")
}
