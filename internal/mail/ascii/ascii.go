// Package ascii holds the classes of octets that the grammars of mail are written in: RFC 5234 appendix B.1.
package ascii

// IsDigit is DIGIT.
func IsDigit(c byte) bool { return c >= '0' && c <= '9' }

// IsLetter is ALPHA.
func IsLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// IsAlnum is ALPHA or DIGIT.
func IsAlnum(c byte) bool { return IsLetter(c) || IsDigit(c) }

// IsBlank is WSP: a space or a tab.
func IsBlank(c byte) bool { return c == ' ' || c == '\t' }

// IsEOL is CR or LF.
func IsEOL(c byte) bool { return c == '\r' || c == '\n' }

// IsSpace is a blank or a line end: what RFC 5322 calls folding white space is made of these.
func IsSpace(c byte) bool { return IsBlank(c) || IsEOL(c) }

// IsControl is CTL: a control character, or DEL.
func IsControl(c byte) bool { return c < ' ' || c == 0x7f }

// AllDigits says whether a text has nothing but digits; it holds for an empty one.
func AllDigits[T string | []byte](text T) bool {
	for i := range len(text) {
		if !IsDigit(text[i]) {
			return false
		}
	}
	return true
}

// HexValue is the value of a hexadecimal digit of either case, -1 for any other octet.
func HexValue(c byte) int {
	switch lower := c | 0x20; {
	case IsDigit(c):
		return int(c - '0')
	case lower >= 'a' && lower <= 'f':
		return int(lower-'a') + 10
	}
	return -1
}

// Lower lowers the letters of ASCII and leaves all other octets as they are, so that offsets hold.
func Lower(text string) string {
	for i := range len(text) {
		if text[i] >= 'A' && text[i] <= 'Z' {
			b := []byte(text)
			for ; i < len(b); i++ {
				b[i] = LowerOctet(b[i])
			}
			return string(b)
		}
	}
	return text
}

// LowerOctet lowers one letter.
func LowerOctet(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c | 0x20
	}
	return c
}

// Is says whether a text has octets of ASCII only.
func Is[T string | []byte](text T) bool {
	for i := range len(text) {
		if text[i] >= 0x80 {
			return false
		}
	}
	return true
}
