package mail

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// maxStoredMeta bounds the first line of a stored file, in octets.
const maxStoredMeta = 32 << 20

// WriteStored puts a message and what must be known of it into one file, dir/id, so that the file is there whole or not
// at all: written under another name, fsynced, renamed, the folder fsynced. The first line of the file is meta as JSON,
// the octets of content follow. An existing file of that id is replaced.
func WriteStored(dir, id string, meta any, content io.WriterTo) (err error) {
	if !ValidID(id) {
		return fmt.Errorf("store %q: not an id", id)
	}
	line, err := json.Marshal(meta)
	if err != nil {
		return fmt.Errorf("store %s: %w", id, err)
	}
	if len(line) >= maxStoredMeta { // it could never be read again
		return fmt.Errorf("store %s: %d octets of meta", id, len(line))
	}
	f, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return fmt.Errorf("store %s: %w", id, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("store %s: %w", id, err), f.Close(), os.Remove(f.Name()))
		}
	}()
	if err = writeSynced(f, line, content); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), filepath.Join(dir, id)); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return nil // the octets are on disk: fsync said so
	}
	return SyncDir(dir)
}

// writeSynced writes the line of meta and the content, and waits until both are on disk.
func writeSynced(f *os.File, line []byte, content io.WriterTo) error {
	w := bufio.NewWriterSize(f, 64<<10)
	if _, err := w.Write(append(line, '\n')); err != nil {
		return err
	}
	if _, err := content.WriteTo(w); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Sync()
}

// OpenStored reads the meta of a stored file and opens its message, which the caller closes.
func OpenStored(path string, meta any) (*Message, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open the stored message: %w", err)
	}
	m, err := readStored(f, meta)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open the stored message %s: %w", filepath.Base(path), err), f.Close())
	}
	return m, nil
}

func readStored(f *os.File, meta any) (*Message, error) {
	line, err := bufio.NewReaderSize(io.LimitReader(f, maxStoredMeta), 8<<10).ReadBytes('\n')
	if err != nil {
		return nil, fmt.Errorf("first line: %w", err)
	}
	if err := json.Unmarshal(line, meta); err != nil {
		return nil, fmt.Errorf("first line: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	m := &Message{file: f, base: int64(len(line)), size: info.Size() - int64(len(line))}
	if err := m.readHeader(); err != nil {
		return nil, err
	}
	return m, nil
}

// SyncDir makes renames and removals in a folder durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	if err := d.Sync(); err != nil {
		return errors.Join(fmt.Errorf("sync folder: %w", err), d.Close())
	}
	return d.Close()
}
