//go:build race

package unpack

import "time"

// What the race detector makes slow gets less to do, and more time.
const (
	textSize = 128 << 10
	bombTime = 90 * time.Second
)
