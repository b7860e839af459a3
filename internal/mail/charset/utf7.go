package charset

import (
	"encoding/base64"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// FromUTF7 reads UTF-7 (RFC 2152). What is no such thing stays as it is.
func FromUTF7(raw []byte) string {
	var b strings.Builder
	b.Grow(len(raw))

	for i := 0; i < len(raw); i++ {
		if c := raw[i]; c != '+' {
			writeOctet(&b, c)
			continue
		}

		end := i + 1
		for end < len(raw) && InBase64(raw[end]) {
			end++
		}

		if end == i+1 {
			b.WriteByte('+') // "+-" is the sign itself
		} else {
			shifted(&b, raw[i:end])
		}

		i = end - 1
		if end < len(raw) && raw[end] == '-' {
			i = end
		}
	}

	return b.String()
}

func writeOctet(b *strings.Builder, c byte) {
	if c < utf8.RuneSelf {
		b.WriteByte(c)
	} else {
		b.WriteRune(rune(c))
	}
}

// shifted writes one run of "+" and base64.
func shifted(b *strings.Builder, run []byte) {
	coded := run[1:]
	if len(coded)%4 == 1 {
		coded = coded[:len(coded)-1]
	}

	octets, err := base64.RawStdEncoding.DecodeString(string(coded))
	if err != nil {
		b.Write(run)
		return
	}

	units := make([]uint16, 0, len(octets)/2)
	for j := 0; j+1 < len(octets); j += 2 {
		units = append(units, uint16(octets[j])<<8|uint16(octets[j+1]))
	}

	for _, r := range utf16.Decode(units) {
		b.WriteRune(r)
	}
}

// InBase64 says whether an octet is of the alphabet of RFC 4648 section 4, padding left out.
func InBase64(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '+' || c == '/'
}
