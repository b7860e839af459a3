package smtpd

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"time"
)

// Errors of the reader that the session answers. Any other error ends the connection: nothing that comes after a read
// error is ever read as a command.
var (
	errLineTooLong = errors.New("line too long")
	errBareLF      = errors.New("line not ended by CRLF")
	errFlood       = errors.New("endless line")
)

// readerSize is the buffer of one connection at rest, in octets: small, as thousands may be idle.
const readerSize = 1024

// reader reads commands and message octets off one connection, with a rolling deadline.
type reader struct {
	conn net.Conn
	buf  []byte
	r, w int
	// tooLong is the front of the line that was too long last.
	tooLong string
	// bareLF is set when a line was ended by a bare LF and taken all the same.
	bareLF bool
	// idle is how long one read may wait; cap is the moment after which no read may wait any more, the zero time for
	// none. Together they stop a client that sends one octet now and then.
	idle time.Duration
	cap  time.Time
	// lineTime is how long a line may take from its first octet to its last.
	lineTime time.Duration
	// pressed says that connections are scarce: a wait is then no longer than hurry. It may be nil.
	pressed func() bool
	hurry   time.Duration
	// over says that the session is to end: no read waits any more. It may be nil.
	over func() bool
	// now is the clock.
	now func() time.Time
}

func newReader(conn net.Conn, idle time.Duration) *reader {
	return &reader{conn: conn, buf: make([]byte, readerSize), idle: idle, now: time.Now}
}

// buffered says how many octets have arrived that nobody has read yet.
func (r *reader) buffered() int { return r.w - r.r }

// fill reads once more from the connection. The buffer must have been used up or moved.
func (r *reader) fill() error {
	if r.r == r.w {
		r.r, r.w = 0, 0
	}
	if r.w == len(r.buf) {
		copy(r.buf, r.buf[r.r:r.w])
		r.w -= r.r
		r.r = 0
	}
	deadline := r.now().Add(r.idle)
	if !r.cap.IsZero() && r.cap.Before(deadline) {
		deadline = r.cap
	}
	for {
		look := deadline
		if r.pressed != nil { // while it waits it looks up now and then
			if soon := r.now().Add(r.hurry); soon.Before(look) {
				look = soon
			}
		}
		n, err := r.read(look)
		if n > 0 {
			return nil
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) || !look.Before(deadline) || r.pressed() || r.over != nil && r.over() {
			return err
		}
	}
}

// read waits until a deadline once.
func (r *reader) read(deadline time.Time) (int, error) {
	if err := r.conn.SetReadDeadline(deadline); err != nil {
		return 0, err
	}
	if r.over != nil && r.over() {
		return 0, os.ErrDeadlineExceeded
	}
	n, err := r.conn.Read(r.buf[r.w:])
	r.w += n
	if n == 0 && err == nil {
		err = io.ErrNoProgress
	}
	return n, err
}

// line reads a command line of up to limit octets and gives it without its CRLF. A longer one is read to its end and
// thrown away. In strict mode a line that is ended by a bare LF is an error.
//
// RFC 5321 section 2.3.8: lines are ended by CRLF and by nothing else.
func (r *reader) line(limit int, strict bool) (string, error) {
	total := r.cap
	defer func() { r.cap = total }()

	var long []byte
	over := false
	for read := 0; ; read += r.w - r.r {
		if read > maxJunk {
			return "", errFlood
		}
		if i := bytes.IndexByte(r.buf[r.r:r.w], '\n'); i >= 0 {
			line := r.buf[r.r : r.r+i+1]
			r.r += i + 1
			return r.endOfLine(long, line, limit, over, strict)
		}

		if !over {
			long = append(long, r.buf[r.r:r.w]...)
		}
		if len(long) > limit {
			r.tooLong = front(long, nil)
			over, long = true, nil
		}
		r.r = r.w
		if (len(long) > 0 || over) && r.cap == total {
			r.startLineTime(total)
		}
		if err := r.fill(); err != nil {
			return "", err
		}
	}
}

// endOfLine puts a line together of what was read before and its end. Over says that what was read before was too long.
func (r *reader) endOfLine(before, end []byte, limit int, over, strict bool) (string, error) {
	if over {
		return "", errLineTooLong
	}
	if len(before)+len(end) > limit {
		r.tooLong = front(before, end)
		return "", errLineTooLong
	}

	if before != nil {
		end = append(before, end...)
	}
	text, bare, err := trimLineEnd(end, strict)
	r.bareLF = r.bareLF || bare

	return text, err
}

// startLineTime bounds how long a line that has begun may take, within the total that bounds all.
func (r *reader) startLineTime(total time.Time) {
	if r.lineTime <= 0 {
		return
	}
	if end := r.now().Add(r.lineTime); total.IsZero() || end.Before(total) {
		r.cap = end
	}
}

// front gives the first octets of a line that came in two pieces: enough to know a command by.
func front(first, second []byte) string {
	const most = 8
	both := append(first[:min(len(first), most):min(len(first), most)], second[:min(len(second), most)]...)
	return string(both[:min(len(both), most)])
}

// maxJunk is how much of an endless line is read before the connection is given up, in octets.
const maxJunk = 256 << 10

func trimLineEnd(line []byte, strict bool) (text string, bare bool, err error) {
	n := len(line)
	if n >= 2 && line[n-2] == '\r' {
		return string(line[:n-2]), false, nil
	}
	if strict {
		return "", true, errBareLF
	}
	return string(line[:n-1]), true, nil
}

// next gives what has arrived, reading once if nothing has. The slice is good until the next call.
func (r *reader) next() ([]byte, error) {
	if r.r == r.w {
		if err := r.fill(); err != nil {
			return nil, err
		}
	}
	return r.buf[r.r:r.w], nil
}

// skip marks n octets of what next gave as read.
func (r *reader) skip(n int) { r.r += n }

// widen lends the reader a larger buffer for message octets and gives back a function that takes it away again.
func (r *reader) widen(large []byte) (narrow func()) {
	small := r.buf
	n := copy(large, r.buf[r.r:r.w])
	r.buf, r.r, r.w = large, 0, n
	return func() {
		rest := r.buf[r.r:r.w]
		if len(rest) > len(small) { // pipelined commands behind the message
			small = make([]byte, len(rest))
		}
		n := copy(small, rest)
		r.buf, r.r, r.w = small, 0, n
	}
}
