//go:build !race

package unpack

import "time"

// The length in octets of texts that time is measured with, and how long a bomb may take on a busy machine.
const (
	textSize = 1 << 20
	bombTime = 25 * time.Second
)
