package unpack

import (
	"path"
	"slices"
	"strings"

	"postern/internal/mail/ascii"
	"postern/internal/mimeview/unpack/filetype"
)

const maxName = 4096 // octets of a name that are looked at, from its end: that is where extensions are

// Extensions gives the union of the extensions that any system would see in any of the names: lower case, with their
// dot, sorted, each once. Considered are blanks and dots at the end (Windows drops them), alternate data streams
// (a.exe:b.txt), characters that can't be seen or turn the direction, names cut at NUL or %00, percent encoding,
// both kinds of slash, and with a.pdf.exe both extensions.
func Extensions(names []string) []string {
	var found []string
	for _, name := range names {
		for _, reading := range readings(name) {
			found = append(found, extensionsOf(reading)...)
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// LastExtensions is as Extensions, but for the last one of each reading only: that by which a system chooses what opens
// the file.
func LastExtensions(names []string) []string {
	var found []string
	for _, name := range names {
		for _, reading := range readings(name) {
			if all := extensionsOf(reading); len(all) > 0 {
				found = append(found, all[0])
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// readings gives the forms that a name takes on the systems it may land on.
func readings(name string) []string {
	if len(name) > maxName {
		name = name[len(name)-maxName:]
	}
	all := []string{name}
	more := func(changed string) {
		if changed != "" && !slices.Contains(all, changed) {
			all = append(all, changed)
		}
	}
	more(percentDecoded(name))
	for _, n := range all[:len(all):len(all)] {
		before, _, _ := strings.Cut(n, "\x00")
		more(before)
		more(strings.Map(visible, n))
	}
	for _, n := range all[:len(all):len(all)] {
		// Windows: what follows the colon names a stream of the file, what stands before it names the file
		for _, piece := range strings.Split(n, ":") {
			more(piece)
		}
	}
	return all
}

// isSentence says whether what stands between two dots is too long for an extension, or has characters that none has.
func isSentence(text string, last bool) bool {
	limit := 10
	if last {
		limit = 16
	}
	tooLong := len(text) > limit && filetype.DangerOf("."+text) == filetype.Harmless

	return tooLong || strings.ContainsAny(text, ": \x00")
}

func extensionsOf(name string) []string {
	name = strings.ReplaceAll(name, `\`, "/")
	name = strings.TrimRight(name, "/")
	name = path.Base(name)
	name = strings.ToLower(strings.TrimRight(name, ". \t\r\n\"'\u00a0"))
	name = strings.ReplaceAll(name, "\uff0e", ".") // full-width dot
	var found []string
	parts := strings.Split(name, ".")
	for i := len(parts) - 1; i > 0 && len(found) < 2; i-- {
		ext := strings.TrimSpace(parts[i])
		if ext == "" {
			continue
		}
		last := i == len(parts)-1
		if isSentence(ext, last) {
			break
		}
		found = append(found, "."+strings.ToValidUTF8(ext, "?"))
	}
	return found
}

// visible drops what a person doesn't see: controls, zero-width and direction characters, soft hyphens, tags.
func visible(r rune) rune {
	if invisible(r) || r < ' ' || r == 0x7f {
		return -1
	}
	return r
}

func invisible(r rune) bool {
	switch {
	case r == 0xad, r == 0x34f, r == 0x61c, r == 0x180e, r == 0x115f, r == 0x1160, r == 0xfeff, r == 0x2800,
		r >= 0x200b && r <= 0x200f, r >= 0x202a && r <= 0x202e, r >= 0x2060 && r <= 0x206f,
		r >= 0xfe00 && r <= 0xfe0f, r >= 0xe0000 && r <= 0xe0fff:
		return true
	}
	return false
}

func percentDecoded(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	hex := func(c byte) int { return strings.IndexByte("0123456789abcdef", c|0x20) }
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if high, low := hex(s[i+1]), hex(s[i+2]); high >= 0 && low >= 0 {
				b.WriteByte(byte(high<<4 | low))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// namesDrive says whether a path begins with a drive of DOS, as in "c:".
func namesDrive(path string) bool { return len(path) > 1 && path[1] == ':' && ascii.IsLetter(path[0]) }

// escapes says whether an entry of this name would land outside of the folder that it is unpacked to.
func escapes(name string) bool {
	for _, n := range readings(name) {
		n = strings.ReplaceAll(n, `\`, "/")
		if strings.HasPrefix(n, "/") || namesDrive(n) {
			return true
		}
		if slices.Contains(strings.Split(n, "/"), "..") {
			return true
		}
	}
	return false
}
