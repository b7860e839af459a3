package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// maxOffline is the largest message read from a file, in octets.
const maxOffline = 256 << 20

// source is one message with the name it is spoken of.
type source struct {
	name string
	raw  []byte // lines ended by CRLF
}

// eachMessage reads messages from files, folders (of single messages, or Maildir), mbox files and, as "-", standard
// input, in order.
func eachMessage(in io.Reader, paths []string, each func(source) error) error {
	for _, path := range paths {
		if path == "-" {
			if err := readMessages("-", in, each); err != nil {
				return err
			}
			continue
		}
		info, err := os.Stat(path) // a link, or a pipe, that is named is followed
		if err != nil {
			return fmt.Errorf("read messages: %w", err)
		}
		if !info.IsDir() {
			if err := readFile(path, each); err != nil {
				return fmt.Errorf("read messages: %w", err)
			}
			continue
		}
		err = filepath.WalkDir(path, func(name string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if entry.IsDir() && entry.Name() == "tmp" && name != path { // Maildir: not delivered yet
				return fs.SkipDir
			}
			if !entry.Type().IsRegular() || isMaildir(filepath.Dir(name)) { // what lies beside cur and new are a server's notes
				return nil
			}
			return readFile(name, each)
		})
		if err != nil {
			return fmt.Errorf("read messages: %w", err)
		}
	}
	return nil
}

func isMaildir(dir string) bool {
	for _, part := range []string{"cur", "new"} {
		if info, err := os.Stat(filepath.Join(dir, part)); err != nil || !info.IsDir() {
			return false
		}
	}
	return true
}

func readFile(name string, each func(source) error) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(readMessages(name, f, each), f.Close())
}

// readMessages reads one message, or each of an mbox (RFC 4155), which begins with a "From " line.
func readMessages(name string, r io.Reader, each func(source) error) error {
	in := bufio.NewReaderSize(r, 64<<10)
	front, err := in.Peek(5)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: %w", name, err)
	}
	if string(front) != "From " {
		raw, err := io.ReadAll(io.LimitReader(in, maxOffline+1))
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if len(raw) > maxOffline {
			return fmt.Errorf("%s: larger than %d MiB", name, maxOffline>>20)
		}
		return each(source{name, withCRLF(raw)})
	}
	return readMbox(name, in, each)
}

// readMbox cuts at "From " lines that follow an empty line.
func readMbox(name string, in *bufio.Reader, each func(source) error) error {
	var message []byte
	count, blank, first := 0, true, true
	give := func() error {
		if first {
			return nil
		}
		count++
		label := name
		if count > 1 {
			label = fmt.Sprintf("%s#%d", name, count)
		}
		return each(source{label, withCRLF(message)})
	}
	for {
		line, err := in.ReadBytes('\n')
		if blank && bytes.HasPrefix(line, []byte("From ")) {
			if err := give(); err != nil {
				return err
			}
			message, first = nil, false
		} else {
			if bytes.HasPrefix(line, []byte(">From ")) {
				line = line[1:]
			}
			message = append(message, line...)
		}
		if len(message) > maxOffline {
			return fmt.Errorf("%s: a message larger than %d MiB", name, maxOffline>>20)
		}
		blank = len(bytes.TrimRight(line, "\r\n")) == 0
		if errors.Is(err, io.EOF) {
			return give()
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
}

// withCRLF ends every line by CRLF, as it would be on the wire.
func withCRLF(raw []byte) []byte {
	if !bytes.Contains(raw, []byte("\r\n")) {
		return bytes.ReplaceAll(raw, []byte("\n"), []byte("\r\n"))
	}
	return bytes.ReplaceAll(bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
}
