package mimeview

import (
	"bytes"
	"unicode/utf8"
)

// runStart is a place in a run of base64 where a content may begin.
type runStart struct {
	at      int64
	letters []byte // the first of them, without line ends
	full    bool   // its line is as long as encoders make them
}

const (
	// headLetters is how much of a content tells what it is.
	headLetters = 64
	// fullLine is how long the lines of encoders are at least: words, names and numbers are not.
	fullLine  = 60
	maxStarts = 64
)

// base64 takes a line of a run. A line as long as the one before it belongs with it: no content begins there.
func (r *runner) base64(line []byte, at int64) {
	line = bytes.TrimSpace(line)
	if r.letters == 0 {
		r.run = at
	}
	if len(line) != r.length {
		r.open = append(r.open, runStart{at: at, letters: make([]byte, 0, headLetters), full: len(line) >= fullLine})
	}
	r.letters += len(line)
	r.length = len(line)
	kept := r.open[:0]
	for _, s := range r.open {
		s.letters = append(s.letters, line[:min(len(line), headLetters-len(s.letters))]...)
		switch {
		case len(s.letters) < headLetters:
			kept = append(kept, s)
		case !s.any():
		case len(r.starts) == maxStarts:
			r.w.view.limit(LimitReadings)
		default:
			r.starts = append(r.starts, s)
		}
	}
	r.open = kept
}

func (s runStart) any() bool {
	return s.begins(0) || s.begins(1) || s.begins(2) || s.begins(3)
}

// begins says whether a content may begin at the letters, read from a shift on. No header asks for the decoding: in lines
// shorter than those of an encoder, octets that are neither a file's nor a text's are what any word or name gives when it is
// read as base64.
func (s runStart) begins(shift int) bool {
	if s.full {
		return true
	}
	if len(s.letters) < leastLetters {
		return false
	}
	head := decodeAll(base64, s.letters[shift:])
	for _, magic := range fileMagics {
		if bytes.HasPrefix(head, []byte(magic)) {
			return true
		}
	}
	return readable(head)
}

// isUTF16 says whether a text begins with a byte order mark, or its first letters have a zero before or behind them.
func isUTF16(head []byte) bool {
	switch mark := string(head[:2]); {
	case mark == "\xff\xfe" || mark == "\xfe\xff":
		return true
	case head[1] == 0 && head[3] == 0:
		return true
	}
	return head[0] == 0 && head[2] == 0
}

// readable says whether octets are text: UTF-8, or UTF-16 of Latin letters.
func readable(head []byte) bool {
	if len(head) >= 4 && isUTF16(head) {
		return true
	}
	for len(head) > utf8.UTFMax {
		r, n := utf8.DecodeRune(head)
		if r == utf8.RuneError || r == 0x7f || isBinary(r) {
			return false
		}
		head = head[n:]
	}
	return true
}

// fileMagics are what files that do harm begin with, or files that can hold others. It is a sieve, wide on purpose: whether
// the structure behind it is there is asked of what passes.
var fileMagics = []string{
	"MZ", "PK", "%PDF", "\xd0\xcf\x11\xe0", "Rar!", "7z\xbc\xaf", "\x1f\x8b", "\x1f\x9d", "BZh", "\xfd7zXZ", "\x28\xb5\x2f\xfd", "MSCF",
	"\x7fELF", "\xca\xfe\xba\xbe", "\xfe\xed\xfa", "\xce\xfa\xed\xfe", "\xcf\xfa\xed\xfe", "dex\n", "\x00asm", "L\x00\x00\x00\x01\x14\x02\x00",
	"ITSF", "?_\x03\x00", "\xe4\x52\x5c\x7b", "{\\rt", tnefSignature, "\x5d\x00\x00", "\x60\xea", "!<arch>", "xar!", "\xed\xab\xee\xdb", "MSWIM",
	"conectix", "vhdxfile", "KDMV", "QFI\xfb", "\x04\x22\x4d\x18", "LZIP", "SZDD", "KWAJ", "ZOO ", "IM:", "\x89PNG", "\xff\xd8\xff", "GIF8", "BM", "RIFF",
	"FWS", "CWS", "ZWS", "\x30\x82", "\x30\x80", "\xc7\x71", "\x71\xc7", "Cr24", "RE~^", "SIS",
}
