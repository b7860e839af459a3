package line

import (
	"bytes"
	"time"
)

// Ends says how a line may end, and what it must not hold.
type Ends uint8

const (
	// Strict lines are ended by CRLF and hold no CR, LF or NUL: RFC 9051 section 2.2, RFC 1939 section 3.
	Strict Ends = iota
	// CRLF lines are ended by CRLF (RFC 5321 section 2.3.8); what else they hold is for the door to look at.
	CRLF
	// Lenient lines are ended by CRLF or by a bare LF.
	Lenient
)

// Rules are those of one line.
type Rules struct {
	// Limit is how many octets it may have, its end not counted. Extend may allow more for one that begins so; nil for no.
	Limit  int
	Extend func(prefix []byte) int
	Ends   Ends
	// Skip is how many octets of a line over the limit are read and thrown away to find its end; 0 for none: the connection
	// ends then.
	Skip int
	// Time is how long it may take from its first octet to its last, 0 for as long as the reader waits.
	Time time.Duration
}

// Line reads a line and gives it without its end. The slice is good until the next call.
func (r *Reader) Line(rules Rules) ([]byte, error) {
	r.bare = false
	defer func() { r.lineCap = time.Time{} }()

	var long []byte
	seen, limit := 0, rules.Limit
	for {
		if i := bytes.IndexByte(r.buf[r.r+seen:r.w], '\n'); i >= 0 {
			line := r.buf[r.r : r.r+seen+i+1]
			r.r += len(line)
			if long != nil {
				line = append(long, line...)
			}
			return r.ending(line, &rules)
		}

		seen = r.w - r.r
		n := len(long) + seen
		if n > limit && rules.Extend != nil && long == nil {
			limit = max(limit, rules.Extend(r.buf[r.r:r.w]))
		}
		if n > limit+1 { // the CR may be there
			r.remember(append(long, r.buf[r.r:r.w]...))
			return nil, r.skip(len(long), &rules)
		}
		if seen >= bulkSize/2 {
			long = append(long, r.buf[r.r:r.w]...)
			r.r, seen = r.w, 0
		}

		r.begun(n, &rules)
		if err := r.Fill(); err != nil {
			return nil, err
		}
	}
}

// begun bounds the time of a line of which some octets are there.
func (r *Reader) begun(octets int, rules *Rules) {
	if octets > 0 && rules.Time > 0 && r.lineCap.IsZero() {
		r.lineCap = r.Now().Add(rules.Time)
	}
}

// skip throws away what is left of a line over its limit.
func (r *Reader) skip(read int, rules *Rules) error {
	if rules.Skip == 0 {
		return ErrLimit
	}
	for {
		if i := bytes.IndexByte(r.buf[r.r:r.w], '\n'); i >= 0 {
			r.r += i + 1
			return ErrLimit
		}
		read += r.w - r.r
		r.r = r.w
		if read > rules.Skip {
			return ErrEndless
		}
		r.begun(read, rules)
		if err := r.Fill(); err != nil {
			return err
		}
	}
}

// ending takes the end off a line.
func (r *Reader) ending(whole []byte, rules *Rules) ([]byte, error) {
	line, crlf := bytes.CutSuffix(whole, []byte("\r\n"))
	if !crlf {
		line = whole[:len(whole)-1]
	}
	if len(line) > rules.Limit && (rules.Extend == nil || len(line) > rules.Extend(line)) {
		r.remember(line)
		return nil, ErrLimit
	}

	switch {
	case !crlf && rules.Ends != Lenient:
		return nil, ErrBare
	case rules.Ends == Strict && (bytes.IndexByte(line, '\r') >= 0 || bytes.IndexByte(line, 0) >= 0):
		return nil, ErrBare
	}
	r.bare = !crlf

	return line, nil
}

// Bare says whether the last line was ended by a bare LF.
func (r *Reader) Bare() bool { return r.bare }

// remember keeps the first octets of a line over its limit.
func (r *Reader) remember(line []byte) { r.front = string(line[:min(len(line), 8)]) }

// Front gives the first octets of the last line over its limit: enough to know a command by.
func (r *Reader) Front() string { return r.front }
