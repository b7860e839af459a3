package replay

import "strings"

// Diff gives the lines of two texts that differ, with "-" before those of the first and "+" before those of the second, in
// their order. It is meant for files of some thousand lines: what is equal at both ends is skipped, the rest is compared
// by the longest common subsequence.
func Diff(from, to string) []string {
	a, b := withoutEnds(from, to)

	const limit = 4000
	align := len(a) <= limit && len(b) <= limit // else there is nothing worth it
	var common [][]int32
	if align {
		common = commonLines(a, b)
	}

	var out []string
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch left := i < len(a); {
		case align && left && j < len(b) && a[i] == b[j]:
			i, j = i+1, j+1
		case left && (!align || j == len(b) || common[i+1][j] >= common[i][j+1]):
			out = append(out, "-"+a[i])
			i++
		default:
			out = append(out, "+"+b[j])
			j++
		}
	}

	return out
}

// withoutEnds gives the lines of two texts without those that are equal at the front and at the end.
func withoutEnds(from, to string) (a, b []string) {
	a, b = strings.Split(strings.TrimSuffix(from, "\n"), "\n"), strings.Split(strings.TrimSuffix(to, "\n"), "\n")
	for len(a) > 0 && len(b) > 0 && a[0] == b[0] {
		a, b = a[1:], b[1:]
	}
	for len(a) > 0 && len(b) > 0 && a[len(a)-1] == b[len(b)-1] {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}

	return a, b
}

// commonLines gives at [i][j] the length of the longest common subsequence of a[i:] and b[j:].
func commonLines(a, b []string) [][]int32 {
	common := make([][]int32, len(a)+1)
	for i := range common {
		common[i] = make([]int32, len(b)+1)
	}

	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}

	return common
}
