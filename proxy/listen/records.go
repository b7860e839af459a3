package listen

import "net"

// Records makes a connection fit for being read by crypto/tls for a long time: no read goes past the TLS record under way.
// crypto/tls never gives back what a read made its buffer grow to; without this, a session that once fetched a large
// message keeps twice as much for as long as it lives.
func Records(c net.Conn) net.Conn { return &records{Conn: c} }

// RFC 8446 section 5.1: a record has a header of five octets, the last two of which are its length.
const recordHeader = 5

type records struct {
	net.Conn
	scratch [512]byte // what was read ahead: a record's header, small records whole
	r, w    int
	left    int // of the record under way, header not counted
	head    int // octets of its header that were given
	length  int
}

// Read implements net.Conn.
func (c *records) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return c.Conn.Read(p)
	}
	if c.r == c.w && c.left > 0 && c.left >= len(c.scratch)/2 {
		n, err := c.Conn.Read(p[:min(len(p), c.left)])
		c.left -= n
		return n, err
	}
	if c.r == c.w {
		n, err := c.Conn.Read(c.scratch[:])
		if n <= 0 {
			return n, err
		}
		c.r, c.w = 0, n // an error comes again
	}
	return c.give(p), nil
}

// give gives octets that were read ahead, up to the end of the record.
func (c *records) give(p []byte) (n int) {
	for n < len(p) && c.r < c.w {
		if c.left > 0 {
			m := copy(p[n:], c.scratch[c.r:min(c.w, c.r+c.left)])
			n, c.r, c.left = n+m, c.r+m, c.left-m
			if c.left == 0 {
				return n
			}
			continue
		}
		b := c.scratch[c.r]
		p[n] = b
		n, c.r = n+1, c.r+1
		if c.head >= recordHeader-2 {
			c.length = c.length<<8 | int(b)
		}
		if c.head++; c.head == recordHeader {
			c.left, c.head, c.length = c.length, 0, 0
			if c.left == 0 {
				return n
			}
		}
	}
	return n
}
