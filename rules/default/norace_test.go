//go:build !race

package defaultrules

const raced = false
