package main

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	_ "modernc.org/sqlite" // the driver of the databases

	"postern/internal/config"
)

// backupCommand writes all that is needed to restore a gateway elsewhere into one file, while it runs.
type backupCommand struct {
	where
	output
	File  string `arg:"" help:"File to write: a tar archive, compressed by gzip. It holds keys and held mail: keep it where nobody else reads."`
	Force bool   `help:"Overwrite an existing file."`
}

// Names in an archive: the configuration, what it names, and what is in data_dir.
const (
	inConfig = "config/"
	inRules  = "rules/"
	inData   = "data/"
)

// Run writes the archive under another name first: an interrupted backup must not look complete.
func (c *backupCommand) Run(w world) (err error) {
	cfg, err := c.read()
	if err != nil {
		return err
	}
	if _, err := os.Stat(c.File); err == nil && !c.Force {
		return usageError{fmt.Errorf("%s is there already: name another file, or say --force", c.File)}
	}
	if err := enter(cfg.DataDir, cfg.DataDir); err != nil {
		return err
	}

	f, err := os.OpenFile(c.File+".part", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()

	packed := gzip.NewWriter(f)
	b := &backup{ctx: w.ctx, out: tar.NewWriter(packed), bar: newProgress(w, "backup")}
	b.total = octetsBelow(cfg.DataDir)
	err = b.all(cfg)
	b.bar.done()
	err = errors.Join(err, b.out.Close(), packed.Close(), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(f.Name(), c.File); err != nil {
		return err
	}

	err = c.tell(w, unpacked{c.File, b.files, b.octets}, fmt.Sprintf("%s: %d files, %d octets\n", c.File, b.files, b.octets))
	if err == nil && cfg.SharedDatabase() {
		fmt.Fprintln(w.stderr, "postern: what lies in PostgreSQL is not in it; back that up with pg_dump")
	}

	return err
}

// unpacked is what a backup holds, as JSON.
type unpacked struct {
	File   string `json:"file"`
	Files  int    `json:"files"`
	Octets int64  `json:"octets"`
}

type backup struct {
	ctx    context.Context
	out    *tar.Writer
	bar    *progress
	files  int
	octets int64
	total  int64 // octets as they were when it began, for the bar
}

func (b *backup) all(cfg *config.Config) error {
	if file := cfg.File(); file != "" {
		if err := b.file(file, inConfig+filepath.Base(file)); err != nil {
			return err
		}
	}
	if file := cfg.PolicyFile(); file != "" {
		if err := b.file(file, inConfig+filepath.Base(file)); err != nil {
			return err
		}
	}
	if dir := cfg.Rules.Dir; dir != "" {
		if err := b.tree(dir, inRules); err != nil {
			return err
		}
	}

	return b.tree(cfg.DataDir, inData)
}

// octetsBelow sums the sizes of the readable files in a folder.
func octetsBelow(dir string) (octets int64) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error { // it is for a bar only
		if err != nil || !d.Type().IsRegular() {
			return nil
		}
		if info, err := d.Info(); err == nil {
			octets += info.Size()
		}
		return nil
	})
	return octets
}

func (b *backup) share() float64 {
	if b.total == 0 {
		return endless
	}
	return min(1, float64(b.octets)/float64(b.total))
}

// passing names the parts of data_dir that matter to the running process only.
func passing(name string) bool {
	top, _, _ := strings.Cut(name, string(filepath.Separator))
	return top == "spool" || strings.HasSuffix(name, ".lock") || strings.HasSuffix(name, ".sock") || strings.HasSuffix(name, "-wal") || strings.HasSuffix(name, "-shm")
}

func (b *backup) tree(dir, under string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist): // delivered or expired meanwhile
			return nil
		case err != nil:
			return err
		case b.ctx.Err() != nil:
			return b.ctx.Err()
		}
		name, err := filepath.Rel(dir, path)
		if err != nil || d.IsDir() || !d.Type().IsRegular() || under == inData && passing(name) {
			return err
		}
		if under == inData && strings.HasSuffix(name, ".db") {
			return b.database(path, under+filepath.ToSlash(name))
		}
		return b.file(path, under+filepath.ToSlash(name))
	})
}

// database copies a consistent snapshot of a SQLite database, even while it is written to.
func (b *backup) database(path, name string) (err error) {
	dir, err := os.MkdirTemp(filepath.Dir(path), ".backup-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	db, err := sql.Open("sqlite", "file:"+path+"?mode=ro&_pragma=busy_timeout(10000)")
	if err != nil {
		return err
	}
	snapshot := filepath.Join(dir, "snapshot")
	_, err = db.ExecContext(b.ctx, "VACUUM INTO ?", snapshot)
	if err = errors.Join(err, db.Close()); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}

	return b.file(snapshot, name)
}

func (b *backup) file(path, name string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()

	info, err := f.Stat()
	if err != nil {
		return err
	}
	header := &tar.Header{Name: name, Mode: 0o600, Size: info.Size(), ModTime: info.ModTime(), Typeflag: tar.TypeReg}
	if err := b.out.WriteHeader(header); err != nil {
		return err
	}
	// a file that grows meanwhile counts as it was when it was begun
	n, err := io.CopyN(b.out, f, info.Size())
	b.files, b.octets = b.files+1, b.octets+n
	b.bar.show(b.share(), b.files)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}

	return nil
}
