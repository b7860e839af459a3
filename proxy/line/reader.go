// Package line reads and writes the lines and octets of one connection, within limits of size and of time. Every door
// speaks through it, and so do the connections to the servers behind them.
package line

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// Errors of a line. Any other error, and ErrEndless, ends the connection: nothing that comes behind it is ever read as a
// command.
var (
	// ErrLimit is a line over its limit. With Rules.Skip it was read to its end, so that the next one can be read.
	ErrLimit = errors.New("line too long")
	// ErrEndless is a line of which more than Rules.Skip octets came.
	ErrEndless = errors.New("endless line")
	// ErrBare is a CR or LF that is not part of a CRLF, or a NUL: what one reads as one line, another reads as two.
	ErrBare = errors.New("bare CR, bare LF or NUL in a line")
)

const (
	restSize = 512      // octets of the buffer of a connection at rest: thousands may be idle
	bulkSize = 32 << 10 // octets of the buffer of one that is busy
)

// Buffers lends large buffers to connections while they are busy. Its zero value is ready.
type Buffers struct{ pool sync.Pool }

// Take lends a buffer of 32 KiB.
func (b *Buffers) Take() []byte {
	if p, ok := b.pool.Get().(*[]byte); ok {
		return *p
	}
	return make([]byte, bulkSize)
}

// Give takes a buffer back.
func (b *Buffers) Give(p []byte) {
	p = p[:cap(p)]
	b.pool.Put(&p)
}

// Reader reads lines and octets off one connection. At rest it holds 512 octets.
type Reader struct {
	// Idle is how long one read may wait, 0 for ever; no read waits beyond Cap unless that is zero.
	Idle time.Duration
	Cap  time.Time
	Now  func() time.Time
	// Before is called before a read that may wait: the place to send what is buffered for the other side. May be nil.
	Before func() error
	// Over says that no read must wait any more. It may be nil. Whoever makes it true moves the read deadline, too.
	Over func() bool
	// Pressed says that connections are scarce: a read waits no longer than Hurry then. It may be nil.
	Pressed func() bool
	Hurry   time.Duration

	conn    net.Conn
	buffers *Buffers
	rest    []byte
	buf     []byte
	r, w    int
	bulk    bool // buf is lent
	full    bool // the last read filled the buffer
	lineCap time.Time
	bare    bool
	front   string
}

// NewReader makes a reader.
func NewReader(c net.Conn, b *Buffers) *Reader {
	rest := make([]byte, restSize)
	return &Reader{conn: c, buffers: b, rest: rest, buf: rest, Now: time.Now}
}

// Attach goes on with another connection, as TLS over the one before. What was read ahead off that is forgotten.
func (r *Reader) Attach(c net.Conn) {
	r.Close()
	r.conn = c
}

// Buffered says how many octets have arrived that nobody has read yet.
func (r *Reader) Buffered() int { return r.w - r.r }

// Arrived gives them. The slice is good until the next call.
func (r *Reader) Arrived() []byte { return r.buf[r.r:r.w] }

// HasLine says whether a whole line has arrived that nobody has read yet, so that Line need not wait.
func (r *Reader) HasLine() bool { return bytes.IndexByte(r.buf[r.r:r.w], '\n') >= 0 }

// Rest gives the large buffer back if all of it was read. The slices that were read are void then.
func (r *Reader) Rest() {
	if r.bulk && r.r == r.w {
		r.buffers.Give(r.buf)
		r.buf, r.bulk, r.full, r.r, r.w = r.rest, false, false, 0, 0
	}
}

// Close gives the large buffer back, whatever it holds.
func (r *Reader) Close() {
	r.r = r.w
	r.Rest()
}

// Widen has the next reads take the large buffer: much is about to come.
func (r *Reader) Widen() { r.full = true }

// Fill reads once more. It makes room first, and has sent what waits for the other side.
func (r *Reader) Fill() error {
	r.makeRoom()
	if r.Before != nil {
		if err := r.Before(); err != nil {
			return err
		}
	}

	until := r.deadline()
	for {
		look := until
		if r.Pressed != nil { // while it waits it looks up now and then
			look = earlier(until, r.Now().Add(r.Hurry))
		}
		n, err := r.read(look)
		if n > 0 {
			return nil
		}
		if look.Equal(until) || !errors.Is(err, os.ErrDeadlineExceeded) || r.Pressed() || r.over() {
			return err
		}
	}
}

// makeRoom moves what is left to the front, and takes the large buffer if the small one was filled.
func (r *Reader) makeRoom() {
	if r.r == r.w {
		r.r, r.w = 0, 0
	}
	if !r.bulk && (r.full || r.w == len(r.buf)) {
		large := r.buffers.Take()
		r.w = copy(large, r.buf[r.r:r.w])
		r.buf, r.bulk, r.r = large, true, 0
	}
	if r.w == len(r.buf) {
		r.w = copy(r.buf, r.buf[r.r:r.w])
		r.r = 0
	}
}

// read waits until a deadline once.
func (r *Reader) read(until time.Time) (int, error) {
	if err := r.conn.SetReadDeadline(until); err != nil {
		return 0, err
	}
	if r.over() {
		return 0, os.ErrDeadlineExceeded
	}
	n, err := r.conn.Read(r.buf[r.w:])
	r.w += n
	r.full = r.w == len(r.buf)
	if n == 0 && err == nil {
		err = io.ErrNoProgress
	}
	return n, err
}

func (r *Reader) over() bool { return r.Over != nil && r.Over() }

// deadline is the moment up to which the next read may wait, the zero time for ever.
func (r *Reader) deadline() time.Time {
	var until time.Time
	if r.Idle > 0 {
		until = r.Now().Add(r.Idle)
	}
	return earlier(earlier(until, r.Cap), r.lineCap)
}

// earlier is the earlier of two moments, of which the zero time is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// Segment reads the next piece of a line of any length: up to its LF if that comes within 32 KiB, else as much as the
// buffer holds. end says that the LF is part of it. The slice is good until the next call.
func (r *Reader) Segment() (piece []byte, end bool, err error) {
	seen := 0
	for {
		if i := bytes.IndexByte(r.buf[r.r+seen:r.w], '\n'); i >= 0 {
			piece = r.buf[r.r : r.r+seen+i+1]
			r.r += len(piece)
			return piece, true, nil
		}
		seen = r.w - r.r
		if seen == bulkSize {
			piece = r.buf[r.r:r.w]
			r.r = r.w
			return piece, false, nil
		}
		if err := r.Fill(); err != nil {
			return nil, false, err
		}
	}
}

// Next reads up to limit octets, at least one. The slice is good until the next call.
func (r *Reader) Next(limit int64) ([]byte, error) {
	if r.r == r.w {
		r.full = r.full || limit > restSize
		if err := r.Fill(); err != nil {
			return nil, err
		}
	}
	n := min(int64(r.w-r.r), limit)
	piece := r.buf[r.r : r.r+int(n)]
	r.r += int(n)
	return piece, nil
}

// Peek gives what has arrived, at least one octet. The slice is good until the next call. Discard takes octets off it.
func (r *Reader) Peek() ([]byte, error) {
	if r.r == r.w {
		if err := r.Fill(); err != nil {
			return nil, err
		}
	}
	return r.buf[r.r:r.w], nil
}

// Discard marks the first n octets of what Peek gave as read.
func (r *Reader) Discard(n int) { r.r += n }
