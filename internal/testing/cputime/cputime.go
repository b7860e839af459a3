//go:build unix

// Package cputime measures work by the processor time that it takes, for tests that want it to grow no faster than its input:
// other programs on the machine make it no longer, as they do with time on the clock.
package cputime

import (
	"syscall"
	"time"
)

// Of runs a function and gives the processor time that the whole process took meanwhile, the collector's work included: no
// other test must run beside it.
func Of(f func()) time.Duration {
	before := used()
	f()

	return used() - before
}

func used() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic("getrusage: " + err.Error())
	}

	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
