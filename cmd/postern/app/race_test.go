//go:build race

package app_test

// racing is set under the race detector, which is ten times slower.
const racing = true
