//go:build !linux

package access

import (
	"errors"
	"syscall"
)

func transparent(string, string, syscall.RawConn) error {
	return errors.New("connections from a client's own address need Linux")
}
