package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"syscall"
)

// notYet reports that a part of data_dir does not exist: nothing was ever stored in it.
type notYet struct{ path string }

func (n notYet) Error() string {
	return fmt.Sprintf("there is no %s: no gateway has run with this configuration yet", n.path)
}

// none is the outcome of a command that lists, when there is nothing to list yet.
func none(w world, err error) error {
	var missing notYet
	if errors.As(err, &missing) {
		fmt.Fprintln(w.stderr, "postern:", missing)
		return nil
	}
	return err
}

// enter makes sure that a part of data_dir can be used as the gateway uses it. Root takes the user and the group of
// data_dir's owner: what it left there as root, a gateway that is not root could not read.
func enter(dataDir, path string) error {
	info, err := os.Stat(dataDir)
	if errors.Is(err, fs.ErrNotExist) {
		return notYet{dataDir}
	}
	if err != nil {
		return fmt.Errorf("data_dir: %w", err)
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); ok && os.Geteuid() == 0 && owner.Uid != 0 {
		_, _ = user.Current() // it keeps its first answer, so that records name who did it; without one they say admin
		if err := become(int(owner.Uid), int(owner.Gid)); err != nil {
			return fmt.Errorf("data_dir: act as its owner: %w", err)
		}
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return notYet{path}
	}
	return nil
}

func become(uid, gid int) error {
	return errors.Join(syscall.Setgroups(nil), syscall.Setgid(gid), syscall.Setuid(uid))
}
