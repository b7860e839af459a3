package mail

import (
	"io"
)

// Span is a range of octets in a message, From included, To not, and what stands in its place in a copy.
type Span struct {
	From, To int64
	With     []byte
}

// Copy is what one group of recipients gets: our own fields on top, the judged octets below, without those whole header
// fields that nobody but us may set, and without the parts that policy takes out.
type Copy struct {
	// Top holds whole header fields, each ended by CRLF.
	Top     []byte
	Message *Message
	// Omit are whole header fields and parts of Message, in order and without overlap.
	Omit []Span
}

// Size is the length in octets.
func (c Copy) Size() int64 {
	n := int64(len(c.Top)) + c.Message.Size()
	for _, s := range c.Omit {
		n -= s.To - s.From - int64(len(s.With))
	}
	return n
}

// Open gives a fresh reader over the copy.
func (c Copy) Open() io.Reader {
	return io.MultiReader(newBytesReader(c.Top), c.from(0))
}

// OpenBody gives a fresh reader over the copy's body.
func (c Copy) OpenBody() io.Reader { return c.from(c.Message.BodyOffset()) }

// from reads the copy of the message from an offset on.
func (c Copy) from(at int64) io.Reader {
	var readers []io.Reader
	for _, s := range c.Omit {
		if s.From < at {
			continue
		}
		readers = append(readers, io.NewSectionReader(c.Message, at, s.From-at), newBytesReader(s.With))
		at = s.To
	}
	return io.MultiReader(append(readers, io.NewSectionReader(c.Message, at, c.Message.Size()-at))...)
}

// WriteTo writes the copy in as few pieces as it has.
func (c Copy) WriteTo(w io.Writer) (int64, error) {
	if c.Message.memory == nil {
		return io.Copy(w, c.Open())
	}
	n, err := w.Write(c.Top)
	total := int64(n)
	at := int64(0)
	for _, s := range append(c.Omit[:len(c.Omit):len(c.Omit)], Span{From: c.Message.size, To: c.Message.size}) {
		if err != nil {
			return total, err
		}
		n, err = w.Write(c.Message.memory[at:s.From])
		total += int64(n)
		if err == nil && len(s.With) > 0 {
			n, err = w.Write(s.With)
			total += int64(n)
		}
		at = s.To
	}
	return total, err
}

func newBytesReader(b []byte) io.Reader {
	return io.NewSectionReader(&Message{memory: b}, 0, int64(len(b)))
}
