package filters

import "strings"

// HasWord says whether a word stands in a list of words that are parted by spaces and line ends.
func HasWord(list, word string) bool {
	if word == "" {
		return false
	}
	for rest := list; ; {
		i := strings.Index(rest, word)
		if i < 0 {
			return false
		}
		end := i + len(word)
		if front := i == 0 || isGap(rest[i-1]); front && (end == len(rest) || isGap(rest[end])) {
			return true
		}
		rest = rest[end:]
	}
}

func isGap(c byte) bool { return c == ' ' || c == '\n' || c == '\t' }
