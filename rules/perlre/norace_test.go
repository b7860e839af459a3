//go:build !race

package perlre_test

const raced = false
