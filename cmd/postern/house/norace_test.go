//go:build !race

package house_test

const racing = false
