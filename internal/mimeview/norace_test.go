//go:build !race

package mimeview

// scale is the length in octets of the smallest message that time is measured with.
const scale = 256 << 10

// generated is how many random headers are tried.
const generated = 100_000
