//go:build !unix

package queue

import (
	"os"
	"path/filepath"
)

// lockDir can't lock on this system: the admin must make sure that only one process uses a folder.
func lockDir(dir string) (*os.File, error) {
	return os.OpenFile(filepath.Join(dir, ".lock"), os.O_CREATE|os.O_RDWR, 0o600)
}
