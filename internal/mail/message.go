package mail

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// MemoryLimit is how much of a message stays in memory, in octets; a larger one goes to a file.
const MemoryLimit = 256 << 10

// Message is a message's raw octets, lines ended by CRLF, dots unstuffed: what filters judge and what the next hop
// gets. It is read-only and may be read by several goroutines at once.
type Message struct {
	memory []byte
	file   *os.File
	base   int64 // where the message begins in file
	size   int64
	header *Header
	body   int64

	derived derived
}

// NewMessage makes a message of octets that are already at hand. The caller gives them away.
func NewMessage(raw []byte) *Message {
	m := &Message{memory: raw, size: int64(len(raw))}
	m.header = ParseHeader(raw)
	m.body = int64(m.header.Size)
	return m
}

// Header is the header section. Its fields stay valid for the message's life.
func (m *Message) Header() *Header { return m.header }

// Size is the length in octets.
func (m *Message) Size() int64 { return m.size }

// BodyOffset is where the body begins.
func (m *Message) BodyOffset() int64 { return m.body }

// ReadAt reads the raw octets.
func (m *Message) ReadAt(p []byte, off int64) (int, error) {
	if m.file != nil {
		if off >= m.size {
			return 0, io.EOF
		}
		if room := m.size - off; int64(len(p)) > room {
			n, err := m.file.ReadAt(p[:room], m.base+off)
			if err == nil {
				err = io.EOF
			}
			return n, err
		}
		return m.file.ReadAt(p, m.base+off)
	}
	if off >= int64(len(m.memory)) {
		return 0, io.EOF
	}
	n := copy(p, m.memory[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Open gives a fresh reader over all octets; OpenBody one over the body.
func (m *Message) Open() *io.SectionReader     { return io.NewSectionReader(m, 0, m.size) }
func (m *Message) OpenBody() *io.SectionReader { return io.NewSectionReader(m, m.body, m.size-m.body) }

// Memory gives all octets if they are in memory, else nil.
func (m *Message) Memory() []byte { return m.memory }

// Head gives up to n octets from the front. The slice must not be changed.
func (m *Message) Head(n int64) ([]byte, error) {
	n = min(n, m.size)
	if m.file == nil {
		return m.memory[:n], nil
	}
	head := make([]byte, n)
	if _, err := m.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read the spooled message: %w", err)
	}
	return head, nil
}

// Close frees the spool file, and what was derived from the message.
func (m *Message) Close() error {
	if m == nil {
		return nil
	}
	err := m.derived.close()
	if m.file != nil {
		err = errors.Join(err, m.file.Close())
	}
	return err
}

// Spool takes a message in. Its zero value keeps all in memory up to MemoryLimit and makes its file in Dir behind it.
type Spool struct {
	// Dir is where the file is made; "" is the system's folder for temporary files.
	Dir  string
	buf  []byte // all of it, or what is not yet in the file
	file *os.File
	size int64
}

// spoolBlock is how much is written to the file at a time: a message of nothing but line ends comes in pieces of two.
const spoolBlock = 32 << 10

// Write takes octets.
func (s *Spool) Write(p []byte) (int, error) {
	s.size += int64(len(p))
	if s.file == nil {
		if len(s.buf)+len(p) <= MemoryLimit {
			s.buf = append(s.buf, p...)
			return len(p), nil
		}
		if err := s.toFile(); err != nil {
			return 0, err
		}
	}
	if len(s.buf)+len(p) > spoolBlock {
		if err := s.flush(); err != nil {
			return 0, err
		}
	}
	if len(p) < spoolBlock {
		s.buf = append(s.buf, p...)
		return len(p), nil
	}
	n, err := s.file.Write(p)
	if err != nil {
		err = fmt.Errorf("spool the message: %w", err)
	}
	return n, err
}

func (s *Spool) flush() error {
	if _, err := s.file.Write(s.buf); err != nil {
		return fmt.Errorf("spool the message: %w", err)
	}
	s.buf = s.buf[:0]
	return nil
}

// toFile moves what is in memory to a file that has no name any more, so that a crash leaves nothing behind.
func (s *Spool) toFile() error {
	f, err := os.CreateTemp(s.Dir, "spool-*")
	if err != nil {
		return fmt.Errorf("spool the message: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		return errors.Join(fmt.Errorf("spool the message: %w", err), f.Close())
	}
	if _, err := f.Write(s.buf); err != nil {
		return errors.Join(fmt.Errorf("spool the message: %w", err), f.Close())
	}
	s.file, s.buf = f, make([]byte, 0, spoolBlock)
	return nil
}

// Size is the number of octets taken so far.
func (s *Spool) Size() int64 { return s.size }

// Finish makes the message. The spool is empty afterwards.
func (s *Spool) Finish() (*Message, error) {
	if s.file == nil {
		m := NewMessage(s.buf)
		*s = Spool{Dir: s.Dir}
		return m, nil
	}
	if err := s.flush(); err != nil {
		s.Discard()
		return nil, err
	}
	m := &Message{file: s.file, size: s.size}
	*s = Spool{Dir: s.Dir}
	if err := m.readHeader(); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// usualHeader is how much of a message is read to find its header, in octets, before all that a header may have is.
const usualHeader = 64 << 10

func (m *Message) readHeader() error {
	for _, limit := range []int64{usualHeader, MaxHeaderBytes + 4096} {
		head, err := m.Head(limit)
		if err != nil {
			return err
		}

		m.header = ParseHeader(head)
		m.body = int64(m.header.Size)
		if m.header.Size < len(head) || int64(len(head)) == m.size {
			return nil
		}
	}

	return nil
}

// Discard throws away what was taken.
func (s *Spool) Discard() {
	if s.file != nil {
		_ = s.file.Close() // it has no name: nothing to keep, nothing to say
	}
	*s = Spool{Dir: s.Dir}
}
