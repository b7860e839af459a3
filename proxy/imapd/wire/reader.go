// Package wire reads IMAP4 as a proxy needs it: token by token, as a stream, within limits, so that the proxy and the
// server behind it never differ about where a command ends. It knows the grammar of RFC 9051 section 9 and RFC 3501
// section 9, and nothing of mail.
package wire

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// What ends a connection: nothing that comes behind these is ever read as a command.
var (
	// ErrLineLimit is an overlong line.
	ErrLineLimit = errors.New("line too long")
	// ErrBareLine is a CR or LF that is not part of a CRLF, or a NUL: what one reads as one line, another reads as two.
	ErrBareLine = errors.New("bare CR, bare LF or NUL in a line")
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

	conn    net.Conn
	buffers *Buffers
	rest    []byte
	buf     []byte
	r, w    int
	bulk    bool // buf is lent
	full    bool // the last read filled the buffer
}

// NewReader makes a reader.
func NewReader(c net.Conn, b *Buffers) *Reader {
	rest := make([]byte, restSize)
	return &Reader{conn: c, buffers: b, rest: rest, buf: rest, Now: time.Now}
}

// Conn is the connection it reads.
func (r *Reader) Conn() net.Conn { return r.conn }

// Buffered says how many octets have arrived that nobody has read yet.
func (r *Reader) Buffered() int { return r.w - r.r }

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

// fill reads once more. It makes room first: by moving what is left, and by the large buffer if the small one was filled.
func (r *Reader) fill() error {
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
	if r.Before != nil {
		if err := r.Before(); err != nil {
			return err
		}
	}
	if err := r.deadline(); err != nil {
		return err
	}
	n, err := r.conn.Read(r.buf[r.w:])
	r.w += n
	r.full = r.w == len(r.buf)
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

func (r *Reader) deadline() error {
	var until time.Time
	if r.Idle > 0 {
		until = r.Now().Add(r.Idle)
	}
	if !r.Cap.IsZero() && (until.IsZero() || r.Cap.Before(until)) {
		until = r.Cap
	}
	if err := r.conn.SetReadDeadline(until); err != nil {
		return err
	}
	if r.Over != nil && r.Over() {
		return os.ErrDeadlineExceeded
	}
	return nil
}

// Line reads a line of up to limit octets and gives it without its CRLF. The slice is good until the next call. extend may
// allow more for a line that begins so; it may be nil.
//
// RFC 9051 section 2.2: all interactions are lines, ended by CRLF and by nothing else.
func (r *Reader) Line(limit int, extend func(prefix []byte) int) ([]byte, error) {
	var long []byte
	seen := 0
	for {
		if i := bytes.IndexByte(r.buf[r.r+seen:r.w], '\n'); i >= 0 {
			line := r.buf[r.r : r.r+seen+i+1]
			r.r += len(line)
			if long != nil {
				line = append(long, line...)
			}
			return ending(line, limit, extend)
		}
		seen = r.w - r.r
		if n := len(long) + seen; n > limit {
			if extend != nil && long == nil {
				limit = max(limit, extend(r.buf[r.r:r.w]))
			}
			if n > limit+1 {
				return nil, ErrLineLimit
			}
		}
		if seen >= bulkSize/2 {
			long = append(long, r.buf[r.r:r.w]...)
			r.r, seen = r.w, 0
		}
		if err := r.fill(); err != nil {
			return nil, err
		}
	}
}

func ending(line []byte, limit int, extend func([]byte) int) ([]byte, error) {
	n := len(line)
	if n < 2 || line[n-2] != '\r' {
		return nil, ErrBareLine
	}
	line = line[:n-2]
	if bytes.IndexByte(line, '\r') >= 0 || bytes.IndexByte(line, 0) >= 0 {
		return nil, ErrBareLine
	}
	if len(line) > limit && (extend == nil || len(line) > extend(line)) {
		return nil, ErrLineLimit
	}
	return line, nil
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
		if err := r.fill(); err != nil {
			return nil, false, err
		}
	}
}

// Next reads up to limit octets, at least one. The slice is good until the next call.
func (r *Reader) Next(limit int64) ([]byte, error) {
	if r.r == r.w {
		r.full = r.full || limit > restSize
		if err := r.fill(); err != nil {
			return nil, err
		}
	}
	n := min(int64(r.w-r.r), limit)
	piece := r.buf[r.r : r.r+int(n)]
	r.r += int(n)
	return piece, nil
}
