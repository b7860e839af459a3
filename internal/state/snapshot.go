package state

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"sync"
)

// A snapshot is a line that names the form, blocks of cells, an empty block, and a block with the number of cells. A
// block is its length and the CRC-32C of its payload, 4 octets each, and the payload. Numbers are big-endian.
const (
	snapshotForm  = "postern state 1\n"
	blockAim      = 64 << 10
	maxBlock      = blockAim + 256<<10 // a block ends with the cell that reaches its aim, a set at most
	snapshotTable = crc32.Castagnoli
)

// snapshotFile is the file that a memory is written to and read from.
type snapshotFile struct {
	path   string
	memory *memory
	mu     sync.Mutex // one writer
	last   uint64     // writes in the memory at the last snapshot
}

// open reads the file if there is one. A torn or foreign file is kept aside under a name of its own.
func (f *snapshotFile) open() error {
	if err := os.MkdirAll(filepath.Dir(f.path), 0o700); err != nil {
		return err
	}
	file, err := os.Open(f.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer file.Close()
	m := f.memory
	n, err := readSnapshot(file, m)
	if err == nil {
		m.log.Info("state: read the snapshot", "file", f.path, "keys", n)
		f.last = m.writes()
		return nil
	}
	for i := range m.shards { // half of what was known is not what was known
		s := &m.shards[i]
		s.kinds, s.weight = map[string]*kind{}, 0
	}
	aside := f.path + ".unreadable"
	m.log.Error("state: the snapshot can't be read, beginning anew", "file", f.path, "kept as", aside, "error", err)
	return os.Rename(f.path, aside)
}

func (m *memory) writes() uint64 {
	var n uint64
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		n += s.writes
		s.mu.Unlock()
	}
	return n
}

func (f *snapshotFile) writeIfChanged() {
	if f.memory.writes() == f.last {
		return
	}
	if err := f.write(); err != nil {
		f.memory.log.Error("state: can't write the snapshot, a restart would forget", "file", f.path, "error", err)
	}
}

// write writes to another name and renames, so that the file is always a whole one, whenever the power fails.
func (f *snapshotFile) write() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	writes := f.memory.writes()
	fresh := f.path + ".new"
	file, err := os.OpenFile(fresh, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	err = writeSnapshot(file, f.memory)
	if err == nil {
		err = file.Sync()
	}
	if closed := file.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(fresh, f.path)
	}
	if err == nil {
		err = syncFolder(filepath.Dir(f.path))
	}
	if err == nil {
		f.last = writes
	}
	return err
}

func syncFolder(name string) error {
	dir, err := os.Open(name)
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// writeSnapshot holds up one shard at a time, for as long as it takes to copy it.
func writeSnapshot(w io.Writer, m *memory) error {
	out := bufio.NewWriterSize(w, 256<<10)
	if _, err := out.WriteString(snapshotForm); err != nil {
		return err
	}
	total := uint64(0)
	var b blocks
	for i := range m.shards {
		b = blocks{octets: b.octets[:0], ends: b.ends[:0]}
		m.shards[i].copyTo(&b, m.now())
		total += b.cells
		start := 0
		for _, end := range b.ends {
			if err := writeBlock(out, b.octets[start:end]); err != nil {
				return err
			}
			start = end
		}
	}
	var last [8]byte
	binary.BigEndian.PutUint64(last[:], total)
	for _, octets := range [][]byte{{}, last[:]} { // the empty block, and the count in a block of its own
		if err := writeBlock(out, octets); err != nil {
			return err
		}
	}
	return out.Flush()
}

func writeBlock(w io.Writer, octets []byte) error {
	var head [8]byte
	binary.BigEndian.PutUint32(head[:4], uint32(len(octets)))
	binary.BigEndian.PutUint32(head[4:], crc32.Checksum(octets, crc32.MakeTable(snapshotTable)))
	if _, err := w.Write(head[:]); err != nil {
		return err
	}
	_, err := w.Write(octets)
	return err
}

func readBlock(r io.Reader, into []byte) ([]byte, error) {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, fmt.Errorf("a block is missing: %w", err)
	}
	n := binary.BigEndian.Uint32(head[:4])
	if n > maxBlock {
		return nil, fmt.Errorf("a block of %d octets", n)
	}
	into = into[:n]
	if _, err := io.ReadFull(r, into); err != nil {
		return nil, fmt.Errorf("a block ends early: %w", err)
	}
	if crc32.Checksum(into, crc32.MakeTable(snapshotTable)) != binary.BigEndian.Uint32(head[4:]) {
		return nil, errors.New("a block with a wrong checksum")
	}
	return into, nil
}

// readSnapshot fills a memory that nobody else uses yet and returns how many cells it read.
func readSnapshot(r io.Reader, m *memory) (uint64, error) {
	in := bufio.NewReaderSize(r, 256<<10)
	form := make([]byte, len(snapshotForm))
	if _, err := io.ReadFull(in, form); err != nil || string(form) != snapshotForm {
		return 0, errors.New("not a snapshot of this form")
	}
	room := make([]byte, maxBlock)
	total, now := uint64(0), m.now()
	for {
		octets, err := readBlock(in, room)
		if err != nil {
			return 0, err
		}
		if len(octets) == 0 {
			break
		}
		n, err := m.readCells(octets, now)
		if err != nil {
			return 0, err
		}
		total += n
	}
	last, err := readBlock(in, room)
	if err != nil {
		return 0, err
	}
	if len(last) != 8 || binary.BigEndian.Uint64(last) != total {
		return 0, errors.New("cells are missing")
	}
	if _, err := in.ReadByte(); err != io.EOF {
		return 0, errors.New("there is more after the end")
	}
	return total, nil
}
