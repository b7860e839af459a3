package mimeview

import (
	"errors"
	"fmt"
	"io"
	"os"

	"postern/internal/mail"
)

// source is a string of octets that parts are found in: the message, or a content that had to be decoded first. It is
// in memory up to mail.MemoryLimit, else in a file.
type source struct {
	memory []byte
	at     io.ReaderAt
	size   int64
	file   *os.File
	// name says what it is, "" for the message; depth how many decodings lie before it.
	name  string
	depth int

	window   []byte // octets of a file at windowAt
	windowAt int64
	err      error
	// delimiters are the lines that begin with "--", in order, once they were asked for.
	delimiters []delimiter
	indexed    bool
	// covered are the regions whose encoding is known and without fault: nothing else can be hidden in them.
	covered []region
	headers []region // of messages, where no reader doubts that they are
	quoted  []region // the same for quoted-printable, in which base64 could be hidden still
}

type region struct{ start, end int64 }

const windowSize = 64 << 10

func messageSource(m *mail.Message) *source {
	return &source{memory: m.Memory(), at: m, size: m.Size()}
}

// fill reads the window anew.
func (s *source) fill(off int64, want int) {
	if cap(s.window) < want {
		s.window = make([]byte, want)
	}
	got, err := s.at.ReadAt(s.window[:want], off)
	if err != nil && !errors.Is(err, io.EOF) && s.err == nil {
		s.err = fmt.Errorf("read the spooled message: %w", err)
	}
	s.window, s.windowAt = s.window[:got], off
}

// slice gives up to n octets from off. They are valid until the next call.
func (s *source) slice(off int64, n int) []byte {
	if off >= s.size || n <= 0 {
		return nil
	}
	n = int(min(int64(n), s.size-off))
	if s.file == nil && s.memory != nil {
		return s.memory[off : off+int64(n)]
	}
	if off < s.windowAt || off+int64(n) > s.windowAt+int64(len(s.window)) {
		s.fill(off, int(min(int64(max(n, windowSize)), s.size-off)))
	}
	from := off - s.windowAt
	return s.window[from:min(from+int64(n), int64(len(s.window)))]
}

// spool takes decoded octets in, and becomes a source.
type spool struct {
	memory []byte
	file   *os.File
	size   int64
	dir    string
}

func (p *spool) write(octets []byte) error {
	p.size += int64(len(octets))
	if p.file == nil {
		if len(p.memory)+len(octets) <= mail.MemoryLimit {
			p.memory = append(p.memory, octets...)
			return nil
		}
		f, err := nameless(p.dir)
		if err != nil {
			return err
		}
		p.file = f
		if _, err := f.Write(p.memory); err != nil {
			return fmt.Errorf("spool a decoded part: %w", err)
		}
		p.memory = nil
	}
	if _, err := p.file.Write(octets); err != nil {
		return fmt.Errorf("spool a decoded part: %w", err)
	}
	return nil
}

func (p *spool) source(name string, depth int) *source {
	s := &source{memory: p.memory, size: p.size, file: p.file, name: name, depth: depth}
	if p.file != nil {
		s.at = p.file
	}
	return s
}

// nameless makes a temporary file that nobody else can open and that a crash does not leave behind.
func nameless(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, "part-*")
	if err != nil {
		return nil, fmt.Errorf("spool a decoded part: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(fmt.Errorf("spool a decoded part: %w", err), f.Close())
	}
	return f, nil
}
