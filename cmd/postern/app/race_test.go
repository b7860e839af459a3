//go:build race

package app_test

// racing says that the race detector makes all ten times as slow.
const racing = true
