package main

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// restoreCommand unpacks what backup wrote, for a gateway that does not run.
type restoreCommand struct {
	output
	File  string `arg:"" help:"A file written by postern backup."`
	To    string `required:"" placeholder:"DIR" help:"Folder to unpack into: it gets config/, rules/ and data/. Point data_dir, policy and rules of the configuration there, or move the three where they were."`
	Force bool   `help:"Unpack into a non-empty folder and overwrite files."`
}

// Run unpacks. Names that lead out of the folder are an error: an archive may come from anywhere.
func (c *restoreCommand) Run(w world) error {
	f, err := os.Open(c.File)
	if err != nil {
		return usageError{err}
	}
	defer f.Close()
	packed, err := gzip.NewReader(f)
	if err != nil {
		return usageError{fmt.Errorf("%s is no backup: %w", c.File, err)}
	}

	if there, err := os.ReadDir(c.To); err == nil && len(there) > 0 && !c.Force {
		return usageError{fmt.Errorf("%s is not empty: name another folder, or say --force", c.To)}
	}

	bar, size := newProgress(w, "restore"), int64(0)
	if info, err := f.Stat(); err == nil {
		size = info.Size()
	}
	defer bar.done()
	files, octets := 0, int64(0)
	for in := tar.NewReader(packed); ; files++ {
		header, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("%s is damaged: %w", c.File, err)
		}
		if err := c.unpack(header, in); err != nil {
			return err
		}
		octets += header.Size
		share := float64(endless)
		if at, err := f.Seek(0, io.SeekCurrent); err == nil && size > 0 {
			share = float64(at) / float64(size)
		}
		bar.show(share, files)
	}
	bar.done()

	return c.tell(w, unpacked{c.To, files, octets}, fmt.Sprintf("%d files in %s\n", files, c.To))
}

func (c *restoreCommand) unpack(header *tar.Header, in io.Reader) error {
	top, _, _ := strings.Cut(header.Name, "/")
	if header.Typeflag != tar.TypeReg || !filepath.IsLocal(header.Name) || top+"/" != inConfig && top+"/" != inRules && top+"/" != inData {
		return fmt.Errorf("%s: %q is nothing that a backup holds", c.File, header.Name)
	}

	path := filepath.Join(c.To, filepath.FromSlash(header.Name))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.CopyN(f, in, header.Size)

	return errors.Join(err, f.Close())
}
