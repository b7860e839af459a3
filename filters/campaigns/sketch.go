package campaigns

import (
	"encoding/binary"
	"encoding/hex"
	"iter"
	"strings"
	"unicode"
	"unicode/utf8"

	"postern/internal/mail/ascii"
	"postern/internal/mimeview"
)

// A sketch stands for the words of a text, so that two texts can be compared by it: MinHash (Broder 1997) over the sets of
// three words that follow each other. The share of equal places of two sketches is about the share of threes that the
// texts have in common.
const (
	bands      = 4
	rows       = 5
	places     = bands * rows
	checkExtra = 12 // places that only serve to compare
	width      = places + checkExtra
)

// Bounds: texts with fewer words are alike by chance, of longer ones the front counts.
const (
	minWords = 25
	maxWords = 600
	maxText  = 64 << 10
)

// sketch is the lowest hash of each place.
type sketch [width]uint32

// sketchOf gives the sketch of all shown text of a message; not ok if there is too little.
func sketchOf(v *mimeview.View) (s sketch, ok bool) {
	words := wordsOf(v)
	if len(words) < minWords {
		return s, false
	}
	var by [width]uint64
	for i := range s {
		s[i], by[i] = ^uint32(0), mix(uint64(i+1))|1
	}
	for i := 0; i+2 < len(words); i++ {
		s.add(mix(mix(words[i])+3*words[i+1]+5*words[i+2]), &by)
	}

	return s, true
}

// add takes one element of the set. Each place has a hash function of its own: a product by an odd number.
func (s *sketch) add(x uint64, by *[width]uint64) {
	for i := range s {
		s[i] = min(s[i], uint32(x*by[i]>>32))
	}
}

// mix spreads a hash over all bits (the finalizer of SplitMix64).
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb

	return x ^ x>>31
}

// band is the name of a band: sketches that share it are compared.
func (s *sketch) band(i int) string {
	h := uint64(i + 1)
	for _, n := range s[i*rows : (i+1)*rows] {
		h = mix(h*31 + uint64(n))
	}

	return hex.EncodeToString(binary.BigEndian.AppendUint64(nil, h))
}

// id is the name of the campaign that begins with a text.
func (s *sketch) id() string {
	h := uint64(7)
	for _, n := range s {
		h = mix(h*31 + uint64(n))
	}

	return hex.EncodeToString(binary.BigEndian.AppendUint64(nil, h))
}

// bytes are the low bits of all places: enough to compare.
func (s *sketch) bytes() []byte {
	b := make([]byte, width)
	for i, n := range s {
		b[i] = byte(n)
	}

	return b
}

// alikeShare is the share of equal places of texts of one campaign.
const alikeShare = 0.7

// alike says whether the text of a sketch's bytes is of the same campaign.
func (s *sketch) alike(other []byte) bool {
	if len(other) != width {
		return false
	}
	same := 0
	for i, n := range s {
		if byte(n) == other[i] {
			same++
		}
	}

	return float64(same) >= alikeShare*width
}

// wordsOf are hashes of the words that a reader is shown, in their order, without those that differ from copy to copy:
// numbers, addresses, links.
func wordsOf(v *mimeview.View) []uint64 {
	words := make([]uint64, 0, maxWords)
	for _, p := range v.Shown() {
		text := p.Text[:min(len(p.Text), maxText)]
		for field := range fields(text) {
			if len(words) >= maxWords {
				return words
			}
			if !varies(field) {
				words = appendWords(words, field)
			}
		}
	}

	return words
}

// fields is strings.FieldsSeq, faster for ASCII.
func fields(text string) iter.Seq[string] {
	if !ascii.Is(text) {
		return strings.FieldsSeq(text)
	}

	return func(yield func(string) bool) {
		for i := 0; i < len(text); i++ {
			start := i
			for i < len(text) && !isSpace(text[i]) {
				i++
			}
			if i > start && !yield(text[start:i]) {
				return
			}
		}
	}
}

func isSpace(c byte) bool { return c == ' ' || '\t' <= c && c <= '\r' }

func varies(field string) bool {
	for i := range len(field) {
		switch c := field[i]; {
		case '0' <= c && c <= '9', c == '@', c == '/' && i > 0 && field[i-1] == '/':
			return true
		}
	}

	return false
}

// appendWords takes the words of a field without white space. A script without spaces gives a word for each character.
func appendWords(words []uint64, field string) []uint64 {
	const offset, prime = 14695981039346656037, 1099511628211 // FNV-1a
	h, n := uint64(offset), 0
	end := func() {
		if n > 0 {
			words = append(words, h)
		}
		h, n = offset, 0
	}
	for i := 0; i < len(field); {
		r, size := rune(field[i]), 1
		if r >= utf8.RuneSelf {
			r, size = utf8.DecodeRuneInString(field[i:])
		}
		i += size
		switch {
		case 'A' <= r && r <= 'Z':
			r += 'a' - 'A'
		case 'a' <= r && r <= 'z':
		case r < utf8.RuneSelf, !unicode.IsLetter(r) && !unicode.IsMark(r):
			end()
			continue
		case unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai):
			end()
			h = (h ^ uint64(r)) * prime
			n = 1
			end()
			continue
		default:
			r = unicode.ToLower(r)
		}
		h = (h ^ uint64(r)) * prime
		n++
	}
	end()

	return words
}
