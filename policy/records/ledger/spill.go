package ledger

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// spill keeps records in files while they can't be written and memory is full. A file is a segment; segments are numbered
// in the order of time and leave as a whole once their last record is written. Nothing is fsynced: a crash of the machine
// costs records here, of the program it doesn't.
type spill struct {
	dir      string
	room     int64 // octets, all segments together
	size     int64
	lowest   int // numbers of segments so far
	highest  int
	left     int       // records of an earlier run, at the start
	segments []segment // the oldest first; the last one is being written if open is set
	open     *os.File
	buffer   *bufio.Writer
}

type segment struct {
	number int
	size   int64
}

const (
	spillSuffix  = ".spill"
	spillFirst   = 1 << 30 // numbers below are for what comes before all others
	segmentSize  = 8 << 20
	maxSegments  = 1 << 14
	frameHeader  = 9
	maxSpillRead = 2*segmentSize + 6*maxRecord
)

// openSpill finds what an earlier run left, and counts it.
func openSpill(dir string, room int64) (*spill, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("ledger spill: %w", err)
	}
	s := &spill{dir: dir, room: room, lowest: spillFirst, highest: spillFirst}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("ledger spill: %w", err)
	}
	for _, e := range entries {
		name, ours := strings.CutSuffix(e.Name(), spillSuffix)
		number, err := strconv.Atoi(name)
		info, gone := e.Info()
		if !ours || err != nil || gone != nil {
			continue
		}
		s.segments = append(s.segments, segment{number, info.Size()})
		s.size += info.Size()
		s.lowest, s.highest = min(s.lowest, number), max(s.highest, number)
		s.left += countFrames(filepath.Join(dir, e.Name()))
	}
	slices.SortFunc(s.segments, func(a, b segment) int { return a.number - b.number })
	return s, nil
}

func (s *spill) path(number int) string {
	return filepath.Join(s.dir, fmt.Sprintf("%010d%s", number, spillSuffix))
}

func (s *spill) empty() bool { return s == nil || len(s.segments) == 0 }

var errSpillFull = errors.New("the file for records that wait is full")

// add appends a record.
func (s *spill) add(e entry) error {
	frame := int64(frameHeader + len(e.record))
	if s.size+frame > s.room || len(s.segments) > maxSegments {
		return errSpillFull
	}
	if s.open == nil || s.segments[len(s.segments)-1].size >= segmentSize {
		s.highest++ // not the number of one that was taken and may not be written yet
		if err := s.begin(s.highest, len(s.segments)); err != nil {
			return err
		}
	}
	if err := errors.Join(writeFrame(s.buffer, e), s.buffer.Flush()); err != nil {
		return fmt.Errorf("ledger spill: %w", errors.Join(err, s.rest())) // behind half a frame nothing could be read
	}
	s.segments[len(s.segments)-1].size += frame
	s.size += frame
	return nil
}

func (s *spill) begin(number, at int) error {
	if err := s.rest(); err != nil {
		return err
	}
	f, err := os.OpenFile(s.path(number), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("ledger spill: %w", err)
	}
	s.open, s.buffer = f, bufio.NewWriterSize(f, 64<<10)
	s.segments = slices.Insert(s.segments, at, segment{number: number})
	return nil
}

// rest closes the segment that is being written; the next record begins another.
func (s *spill) rest() error {
	if s == nil || s.open == nil {
		return nil
	}
	err := errors.Join(s.buffer.Flush(), s.open.Close())
	s.open, s.buffer = nil, nil
	if err != nil {
		return fmt.Errorf("ledger spill: %w", err)
	}
	return nil
}

// before puts records into a segment of their own that comes before all others: what was in memory when the program ends.
// The second number is how many found room.
func (s *spill) before(entries []entry) (int, error) {
	s.lowest-- // not the first that is left: what was taken of one may not be written yet
	if err := s.begin(s.lowest, 0); err != nil {
		return 0, err
	}
	for i, e := range entries {
		frame := int64(frameHeader + len(e.record))
		if s.size+frame > s.room {
			return i, errors.Join(errSpillFull, s.rest())
		}
		if err := writeFrame(s.buffer, e); err != nil {
			return i, errors.Join(err, s.rest())
		}
		s.size += frame
	}
	return len(entries), s.rest()
}

// take gives the records of the oldest segment, in order. The last of them carries the segment's name. What is damaged at
// its end, by a crash, is left out, and the error says so.
func (s *spill) take() ([]entry, error) {
	if s.open != nil && len(s.segments) == 1 {
		if err := s.rest(); err != nil {
			return nil, err
		}
	}
	first := s.segments[0]
	s.segments = s.segments[1:]
	s.size -= first.size
	path := s.path(first.number)
	entries, err := readSegment(path)
	if len(entries) == 0 {
		return nil, errors.Join(err, os.Remove(path))
	}
	entries[len(entries)-1].segment = path
	return entries, err
}

func readSegment(path string) ([]entry, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxSpillRead {
		return nil, fmt.Errorf("ledger spill: %s has %d octets", filepath.Base(path), info.Size())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var entries []entry
	var errs []error
	for len(text) > 0 {
		in, record, rest, ok := readFrame(text)
		if !ok {
			return entries, errors.Join(append(errs, fmt.Errorf("ledger spill: %s: %d octets at its end are damaged", filepath.Base(path), len(text)))...)
		}
		text = rest
		e, err := stored(in, record)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		entries = append(entries, e)
	}
	return entries, errors.Join(errs...)
}

// A frame is a letter for the table, the record's length and its CRC-32, big-endian, and the record.
func writeFrame(w *bufio.Writer, e entry) error {
	var head [frameHeader]byte
	head[0] = e.table[0]
	binary.BigEndian.PutUint32(head[1:], uint32(len(e.record)))
	binary.BigEndian.PutUint32(head[5:], crc32.ChecksumIEEE(e.record))
	if _, err := w.Write(head[:]); err != nil {
		return err
	}
	_, err := w.Write(e.record)
	return err
}

// countFrames counts the records of a segment by their headers alone.
func countFrames(path string) (n int) {
	f, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer func() { _ = f.Close() }() // reading only
	r := bufio.NewReaderSize(f, 64<<10)
	for {
		var head [frameHeader]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return n
		}
		size := binary.BigEndian.Uint32(head[1:])
		if size > maxSpillRead {
			return n
		}
		if _, err := r.Discard(int(size)); err != nil {
			return n
		}
		n++
	}
}

func readFrame(text []byte) (in table, record, rest []byte, ok bool) {
	if len(text) < frameHeader {
		return "", nil, nil, false
	}
	switch text[0] {
	case messages[0]:
		in = messages
	case connections[0]:
		in = connections
	case fates[0]:
		in = fates
	default:
		return "", nil, nil, false
	}
	size, sum := binary.BigEndian.Uint32(text[1:]), binary.BigEndian.Uint32(text[5:])
	text = text[frameHeader:]
	if uint64(size) > uint64(len(text)) || crc32.ChecksumIEEE(text[:size]) != sum {
		return "", nil, nil, false
	}
	return in, text[:size], text[size:], true
}
