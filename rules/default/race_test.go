//go:build race

package defaultrules

// raced says that the race detector is on, under which a test takes ten times as long: a part of the cases is enough there.
const raced = true
