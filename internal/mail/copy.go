package mail

import (
	"io"
)

// Span is a range of octets in a message, From included, To not.
type Span struct{ From, To int64 }

// Copy is what one group of recipients gets: our own fields on top, the judged octets below, left out only those whole
// header fields that nobody but us may set. Nothing is ever changed in place.
type Copy struct {
	// Top holds whole header fields, each ended by CRLF.
	Top     []byte
	Message *Message
	// Omit are whole header fields of Message, in order and without overlap.
	Omit []Span
}

// Size is the length in octets.
func (c Copy) Size() int64 {
	n := int64(len(c.Top)) + c.Message.Size()
	for _, s := range c.Omit {
		n -= s.To - s.From
	}
	return n
}

// Open gives a fresh reader over the copy.
func (c Copy) Open() io.Reader {
	readers := []io.Reader{newBytesReader(c.Top)}
	at := int64(0)
	for _, s := range c.Omit {
		readers = append(readers, io.NewSectionReader(c.Message, at, s.From-at))
		at = s.To
	}
	readers = append(readers, io.NewSectionReader(c.Message, at, c.Message.Size()-at))
	return io.MultiReader(readers...)
}

// WriteTo writes the copy in as few pieces as it has.
func (c Copy) WriteTo(w io.Writer) (int64, error) {
	if c.Message.memory == nil {
		return io.Copy(w, c.Open())
	}
	n, err := w.Write(c.Top)
	total := int64(n)
	at := int64(0)
	for _, s := range append(c.Omit[:len(c.Omit):len(c.Omit)], Span{c.Message.size, c.Message.size}) {
		if err != nil {
			return total, err
		}
		n, err = w.Write(c.Message.memory[at:s.From])
		total += int64(n)
		at = s.To
	}
	return total, err
}

func newBytesReader(b []byte) io.Reader {
	return io.NewSectionReader(&Message{memory: b}, 0, int64(len(b)))
}
