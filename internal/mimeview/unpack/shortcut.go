package unpack

import (
	"bytes"
	"strings"

	"postern/internal/mimeview/unpack/filetype"
)

// inspectShortcut reads files whose only purpose is to open something else.
func inspectShortcut(_ *walk, n *node, o *Object) func() {
	if o.is("application/x-ms-shortcut") {
		o.flag(LNKCommand, lnkCommand(n.content))
		return nil
	}
	if !o.isClass(filetype.Shortcut) {
		return nil
	}
	text := flat(n.content)
	for line := range strings.Lines(text) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if !ok {
			continue
		}
		switch strings.ToLower(strings.TrimSpace(key)) {
		case "url", "baseurl", "iconfile", "workingdirectory":
			if isRemote(value) && !strings.HasPrefix(strings.ToLower(strings.TrimSpace(value)), "http") {
				o.flag(RemoteObject, value)
			}
			if strings.EqualFold(strings.TrimSpace(key), "url") {
				o.flag(URI, value)
			}
		case "exec", "command":
			o.flag(LNKCommand, value)
		}
	}
	flagURLs(o, []byte(text))
	return nil
}

// flat reads UTF-16 with a byte order mark as UTF-8.
func flat(b []byte) string {
	if bytes.HasPrefix(b, []byte("\xff\xfe")) {
		return utf16Text(b[2:])
	}
	return string(b)
}

// linkStrings reads the strings and gives two of them, the relative path and the arguments. [MS-SHLLINK] 2.4
func linkStrings(b []byte, flags uint32) (words []string, rest []byte) {
	const relativePath, arguments = 8, 0x20
	for bit := uint32(4); bit <= 0x40; bit <<= 1 { // name, relative path, working folder, arguments, icon
		if flags&bit == 0 || len(b) < 2 {
			continue
		}
		var text string
		text, b = stringData(b, flags&0x80 != 0)
		if bit == relativePath || bit == arguments {
			words = append(words, text)
		}
	}
	return words, b
}

// lnkCommand gives target and arguments of a shell link. [MS-SHLLINK] 2.1, 2.3, 2.4, 2.5.4
func lnkCommand(b []byte) string {
	if len(b) < 76 {
		return "broken"
	}
	flags := le32(b[20:])
	rest := b[76:]
	if flags&1 != 0 && len(rest) >= 2 {
		rest = skip(rest, int64(le16(rest))+2)
	}

	var words []string
	if flags&2 != 0 && len(rest) >= 28 {
		size := int64(le32(rest))
		if target, ok := localBasePath(rest, size); ok {
			words = append(words, target)
		}
		rest = skip(rest, size)
	}
	strs, rest := linkStrings(rest, flags)
	words = append(words, strs...)
	if target, ok := environmentTarget(rest); ok {
		words = append(words, target)
	}

	return strings.Join(words, " ")
}

// environmentTarget reads an EnvironmentVariableDataBlock. [MS-SHLLINK] 2.5.4
func environmentTarget(b []byte) (string, bool) {
	i := bytes.Index(b, []byte("\x01\x00\x00\xa0"))
	if i < 0 || i+4+260+520 > len(b) {
		return "", false
	}
	return strings.TrimRight(utf16Text(b[i+4+260:i+4+260+520]), "\x00"), true
}

func skip(b []byte, n int64) []byte { return b[min(max(n, 0), int64(len(b))):] }

// localBasePath finds the target in a LinkInfo of so many octets.
func localBasePath(b []byte, size int64) (string, bool) {
	info := b[:min(size, int64(len(b)))]
	at := int64(le32(b[16:]))
	if at <= 0 || at >= int64(len(info)) {
		return "", false
	}
	target, _, _ := bytes.Cut(info[at:], []byte{0})

	return string(target), true
}

// stringData cuts a text off that has the number of its characters in front.
func stringData(b []byte, wide bool) (text string, rest []byte) {
	size := int64(le16(b))
	if wide {
		size *= 2
	}
	b = b[2:]
	raw := b[:min(size, int64(len(b)))]
	if wide {
		return utf16Text(raw), skip(b, size)
	}

	return string(raw), skip(b, size)
}

func le16(b []byte) uint16 { return uint16(b[0]) | uint16(b[1])<<8 }
