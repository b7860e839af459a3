package relay

import (
	"bytes"
	"errors"
	"io"
)

// blockSize is how much of a message goes into one write.
const blockSize = 32 << 10

// errNotNormal means that a message holds a bare CR, a bare LF or a NUL. None may be sent to any server: a server that
// reads a line end there would see other commands than we do.
var errNotNormal = errors.New("bare CR, bare LF or NUL in the message")

// dotWriter writes a message as DATA wants it, in blocks: RFC 5321 section 4.5.2, a line that begins with "." gets one
// more. It tells an error of the connection (err) from one of the message.
type dotWriter struct {
	w   io.Writer
	buf []byte // its capacity is the block
	err error  // of w
	// mid is set inside a line, cr behind a CR whose LF has not come yet.
	mid, cr bool
}

// Write takes octets of the message.
func (d *dotWriter) Write(p []byte) (int, error) {
	if bytes.IndexByte(p, 0) >= 0 {
		return 0, errNotNormal
	}
	total := len(p)
	for len(p) > 0 {
		if !d.mid && !d.cr && p[0] == '.' {
			d.put(dot)
		}
		n, err := d.line(p)
		if err != nil {
			return 0, err
		}
		d.put(p[:n])
		if d.err != nil {
			return 0, d.err
		}
		p = p[n:]
	}
	return total, nil
}

// line says how many octets from the front belong to the same line, line end included.
func (d *dotWriter) line(p []byte) (int, error) {
	if d.cr {
		if p[0] != '\n' {
			return 0, errNotNormal
		}
		d.cr, d.mid = false, false
		return 1, nil
	}
	n := bytes.IndexByte(p, '\r')
	lf := n
	if n < 0 {
		n, lf = len(p), len(p)
	}
	if bytes.IndexByte(p[:lf], '\n') >= 0 {
		return 0, errNotNormal
	}
	switch {
	case n == len(p):
		d.mid = true
		return n, nil
	case n == len(p)-1:
		d.mid, d.cr = true, true
		return n + 1, nil
	case p[n+1] != '\n':
		return 0, errNotNormal
	}
	d.mid = false
	return n + 2, nil
}

// Close writes what is left, a line end if the message has none, and the dot that ends it.
func (d *dotWriter) Close() error {
	if d.cr {
		return errNotNormal
	}
	if d.mid {
		d.put(crlf)
	}
	d.put(endOfData)
	d.flush()
	return d.err
}

var (
	dot       = []byte(".")
	crlf      = []byte("\r\n")
	endOfData = []byte(".\r\n")
)

func (d *dotWriter) put(p []byte) {
	for d.err == nil && len(p) > 0 {
		n := min(len(p), cap(d.buf)-len(d.buf))
		d.buf = append(d.buf, p[:n]...)
		p = p[n:]
		if len(d.buf) == cap(d.buf) {
			d.flush()
		}
	}
}

func (d *dotWriter) flush() {
	if d.err == nil && len(d.buf) > 0 {
		_, d.err = d.w.Write(d.buf)
		d.buf = d.buf[:0]
	}
}
