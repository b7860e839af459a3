//go:build race

package mimeview

// scale is the length in octets of the smallest message that time is measured with: less where the race detector makes
// everything slow.
const scale = 32 << 10

// generated is how many random headers are tried.
const generated = 20_000
