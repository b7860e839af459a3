package line

import (
	"net"
	"time"
)

// maxWrite is how long one write may take, unless the writer says otherwise.
const maxWrite = 2 * time.Minute

// large is from how many octets on a piece is not copied into the buffer.
const large = 8 << 10

// Writer buffers what is said to one side of a connection, up to 32 KiB. At rest it holds no large buffer. It is used by
// one goroutine at a time.
type Writer struct {
	// Timeout is how long one write may take (default 2 min).
	Timeout time.Duration

	conn    net.Conn
	buffers *Buffers
	buf     []byte
	octets  int64
	err     error
}

// NewWriter makes a writer. Without buffers, which may be nil, it has a small one of its own, for replies that may have to
// wait.
func NewWriter(c net.Conn, b *Buffers) *Writer {
	return &Writer{Timeout: maxWrite, conn: c, buffers: b}
}

// Attach goes on with another connection, as TLS over the one before.
func (w *Writer) Attach(c net.Conn) { w.conn = c }

// Say writes a line, its end included. An error shows at the next Flush.
func (w *Writer) Say(line string) { w.Put([]byte(line)) }

// Put writes octets. An error shows at the next Flush.
func (w *Writer) Put(p []byte) {
	if len(w.buf)+len(p) > bulkSize {
		w.send()
	}
	if len(p) >= large && len(w.buf) == 0 {
		w.Direct(p)
		return
	}
	if w.err != nil {
		return
	}
	if w.buf == nil && w.buffers != nil {
		w.buf = w.buffers.Take()[:0]
	}
	w.buf = append(w.buf, p...)
}

// Buffered says how many octets wait.
func (w *Writer) Buffered() int { return len(w.buf) }

// Flush sends what waits, and gives the buffer back.
func (w *Writer) Flush() error {
	w.send()
	switch {
	case w.buf != nil && w.buffers != nil:
		w.buffers.Give(w.buf)
		w.buf = nil
	case cap(w.buf) > 4<<10:
		w.buf = nil
	}
	return w.err
}

func (w *Writer) send() {
	w.Direct(w.buf)
	w.buf = w.buf[:0]
}

// Direct sends octets past the buffer, in which nothing must wait.
func (w *Writer) Direct(p []byte) {
	if w.err != nil || len(p) == 0 {
		return
	}
	if w.err = w.conn.SetWriteDeadline(time.Now().Add(w.Timeout)); w.err != nil {
		return
	}
	n, err := w.conn.Write(p)
	w.octets += int64(n)
	w.err = err
}

// Octets is how many were sent, Err why nothing can be sent any more.
func (w *Writer) Octets() int64 { return w.octets }

// Err is the first error of a write.
func (w *Writer) Err() error { return w.err }
