package imapd

import (
	"net"
	"sync"

	"postern/proxy/line"
)

// outlet writes to one side of a session. It knows where a response begins and ends, so that lines of our own never come
// within one. At rest it holds no buffer. It is safe for several goroutines, of which one writes responses.
type outlet struct {
	buffers *line.Buffers

	mu     sync.Mutex
	conn   *line.Writer // what goes to it is sent at once
	buf    []byte
	mark   int    // where the response under way begins in buf, -1 if a part of it was sent
	inside bool   // a response is under way
	held   bool   // it must not be sent yet, if that can be
	torn   bool   // nothing can be said any more
	muted  bool   // what is left of the response is thrown away
	after  []byte // lines of ours that wait for its end
}

func newOutlet(c net.Conn, b *line.Buffers) *outlet {
	return &outlet{conn: line.NewWriter(c, nil), buffers: b}
}

// attach goes on with another connection, as TLS over the one before.
func (o *outlet) attach(c net.Conn) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.conn.Attach(c)
}

// begin says that a response begins.
func (o *outlet) begin() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.inside, o.mark = true, len(o.buf)
}

// end says that the response is complete.
func (o *outlet) end() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.inside, o.held, o.muted, o.mark = false, false, false, 0
	if len(o.after) > 0 {
		o.write(o.after)
		o.after = nil
	}
	return o.conn.Err()
}

// hold keeps what was written of the response, so that drop and cut are possible and lines of ours can come before it.
func (o *outlet) hold(on bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.held = on
}

// drop throws the response away. It says whether none of it was sent.
func (o *outlet) drop() bool {
	o.mu.Lock()
	if o.mark >= 0 {
		o.buf = o.buf[:o.mark]
	}
	whole := o.mark >= 0
	o.mu.Unlock()
	_ = o.end() // the next write tells
	return whole
}

// abandon throws away what there is of the response and what is still to come of it. It says whether none of it was sent.
func (o *outlet) abandon() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.mark < 0 {
		return false
	}
	o.buf = o.buf[:o.mark]
	o.muted = true
	return true
}

// cut takes the last n octets of the response back.
func (o *outlet) cut(n int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.mark < 0 || len(o.buf)-o.mark < n {
		return false
	}
	o.buf = o.buf[:len(o.buf)-n]
	return true
}

// cutSpace takes a space at the end of the response back, if there is one.
func (o *outlet) cutSpace() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if n := len(o.buf); o.mark >= 0 && n > o.mark && o.buf[n-1] == ' ' {
		o.buf = o.buf[:n-1]
		return true
	}
	return false
}

// send writes octets of the response, or of a command.
func (o *outlet) send(p []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.muted {
		o.write(p)
	}
	return o.conn.Err()
}

// say writes a line of our own: now, or behind the response that is under way. At a held one it comes before it.
func (o *outlet) say(line string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.torn:
	case !o.inside:
		o.write([]byte(line))
	case o.held && o.mark >= 0:
		kept := string(o.buf[o.mark:])
		o.buf = o.buf[:o.mark]
		o.held, o.inside = false, false
		o.write([]byte(line))
		o.mark = len(o.buf)
		o.held, o.inside = true, true
		o.write([]byte(kept))
	default:
		o.after = append(o.after, line...)
	}
	return o.conn.Err()
}

// flush sends what is buffered, except a held response.
func (o *outlet) flush() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.flushAll()
	return o.conn.Err()
}

func (o *outlet) flushAll() {
	n := len(o.buf)
	if o.inside && o.held && o.mark >= 0 {
		n = o.mark
	}
	o.conn.Direct(o.buf[:n])
	rest := copy(o.buf, o.buf[n:])
	o.buf = o.buf[:rest]
	if o.inside {
		if o.mark >= n {
			o.mark -= n
		} else {
			o.mark = -1
		}
	}
	if rest == 0 && o.buf != nil {
		o.buffers.Give(o.buf)
		o.buf = nil
	}
}

func (o *outlet) write(p []byte) {
	const large = 8 << 10
	if len(o.buf)+len(p) > 32<<10 && len(o.buf) > 0 {
		o.held = false // more than can be held
		o.flushAll()
	}
	if len(p) >= large && len(o.buf) == 0 && !o.held {
		o.conn.Direct(p)
		if o.inside {
			o.mark = -1
		}
		return
	}
	if o.buf == nil {
		o.buf = o.buffers.Take()[:0]
	}
	o.buf = append(o.buf, p...)
}

func (o *outlet) sent() int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.conn.Octets()
}

// failed says whether nothing can be written any more.
func (o *outlet) failed() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.conn.Err() != nil
}

// cease says that the response under way will never be complete. If a part of it was sent, nothing can be said any more.
func (o *outlet) cease() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.inside && o.mark >= 0 {
		o.buf = o.buf[:o.mark]
	}
	o.torn = o.inside && o.mark < 0
	o.inside, o.held, o.muted = false, false, false
}
