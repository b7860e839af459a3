package unpack

import (
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"os"
	"slices"
	"strings"
	"testing"
)

// fixtures are the files of testdata/archives.txt and documents.txt.
func fixtures(t testing.TB) map[string][]byte {
	t.Helper()
	text, err := os.ReadFile("testdata/archives.txt")
	must(t, err)
	more, err := os.ReadFile("testdata/documents.txt")
	must(t, err)
	text = append(text, more...)
	all := map[string][]byte{}
	for line := range strings.Lines(string(text)) {
		if name, packed, ok := strings.Cut(strings.TrimSpace(line), " "); ok && name != "#" {
			all[name], err = base64.StdEncoding.DecodeString(packed)
			must(t, err)
		}
	}
	return all
}

// rarOf writes RAR 5 with stored files.
func rarOf(pairs ...string) []byte {
	out := []byte("Rar!\x1a\x07\x01\x00")
	block := func(body []byte) {
		body = append([]byte{byte(len(body))}, body...) // all our headers are short
		out = binary.LittleEndian.AppendUint32(out, crc32.ChecksumIEEE(body))
		out = append(out, body...)
	}
	block([]byte{1, 0, 0})
	for i := 0; i < len(pairs); i += 2 {
		name, content := pairs[i], pairs[i+1]
		size := []byte{byte(len(content)&0x7f | 0x80), byte(len(content) >> 7)}
		h := slices.Concat([]byte{2, 2}, size, []byte{0}, size, []byte{0x20, 0, 1, byte(len(name))}, []byte(name))
		block(h)
		out = append(out, content...)
	}
	block([]byte{5, 0, 0})
	return out
}

// oldCpio is an entry with a binary header.
func oldCpio(name, content string) (out []byte) {
	for _, v := range []int{0o70707, 0, 0, 0o100644, 0, 0, 1, 0, 0, 0, len(name) + 1, len(content) >> 16, len(content) & 0xffff} {
		out = binary.LittleEndian.AppendUint16(out, uint16(v))
	}
	out = append(out, name+"\x00"...)
	out = append(out, make([]byte, len(out)%2)...)
	out = append(out, content...)
	return append(out, make([]byte, len(out)%2)...)
}

// cabOf is the list of a cabinet without its content.
func cabOf(names ...string) []byte {
	b := make([]byte, 36)
	copy(b, "MSCF")
	b[16], b[24], b[25], b[28] = 36, 3, 1, byte(len(names))
	for _, n := range names {
		b = append(append(b, make([]byte, 16)...), n+"\x00"...)
	}
	binary.LittleEndian.PutUint32(b[8:], uint32(len(b)))
	return b
}

// lzhOf is a file of level 0, or of level 2 with its name in an extension.
func lzhOf(level byte, name string) []byte {
	b := append([]byte("\x00\x00-lh0-\x01\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x20"), level)
	if level == 0 {
		b = append(append(append(b, byte(len(name))), name...), 0, 0)
		b[0] = byte(len(b) - 2)
	} else {
		b = append(b, 0, 0, 'U', byte(3+len(name)), 0, 1)
		b = append(append(b, name...), 0, 0)
		b[0] = byte(len(b))
	}
	return append(b, 'x', 0)
}

func aceOf(name string) []byte {
	block := func(kind byte, flags uint16, body []byte) []byte {
		out := binary.LittleEndian.AppendUint16([]byte{0, 0}, uint16(3+len(body)))
		return append(binary.LittleEndian.AppendUint16(append(out, kind), flags), body...)
	}
	file := binary.LittleEndian.AppendUint32(nil, 1)
	file = append(file, make([]byte, 22)...)
	file = append(binary.LittleEndian.AppendUint16(file, uint16(len(name))), name...)
	return append(append(block(0, 0, []byte("**ACE**\x14\x14\x02\x00")), block(1, 1, file)...), 'x')
}

// szddOf packs with literals only.
func szddOf(content string) []byte {
	b := append([]byte("SZDD\x88\xf0\x27\x33Am"), byte(len(content)), 0, 0, 0)
	for len(content) > 0 {
		n := min(8, len(content))
		b = append(append(b, 0xff), content[:n]...)
		content = content[n:]
	}
	return b
}

// Each format is opened, or named as one that is not.
func TestFormats(t *testing.T) {
	files := fixtures(t)
	files["stored.rar"] = rarOf("eicar.com", eicar, "note.txt", "hello")
	files["old.cpio"] = append(oldCpio("eicar.com", eicar), oldCpio("TRAILER!!!", "")...)
	files["a.cab"], files["a.lzh"], files["b.lzh"], files["a.ace"] = cabOf("a.exe", "b.txt"), lzhOf(0, "a.exe"), lzhOf(2, "a.exe"), aceOf("a.exe")
	files["eicar.co_"] = szddOf(eicar)
	files["sfx.exe"] = append([]byte(program()), files["stored.rar"]...)
	for name, c := range map[string]struct {
		passwords   string
		typ         string
		eicar       bool
		encrypted   bool
		unscannable bool
		objects     int
	}{
		"plain.7z":       {"", "application/x-7z-compressed", true, false, false, 3},
		"locked.7z":      {"", "application/x-7z-compressed", false, true, false, 3},
		"locked.7z ":     {"wrong secret", "application/x-7z-compressed", true, false, false, 3},
		"sealed.7z":      {"wrong", "application/x-7z-compressed", false, true, false, 1},
		"sealed.7z ":     {"wrong secret", "application/x-7z-compressed", true, false, false, 2},
		"ppmd.7z":        {"", "application/x-7z-compressed", false, false, false, 2},
		"bcj2.7z":        {"", "application/x-7z-compressed", false, false, false, 2},
		"small.iso.gz":   {"", "application/gzip", true, false, false, 4},
		"e.cpio":         {"", "application/x-cpio", true, false, false, 3},
		"odc.cpio":       {"", "application/x-cpio", true, false, false, 3},
		"e.arj":          {"", "application/x-arj", false, false, true, 2},
		"e.Z":            {"", "application/x-compress", true, false, false, 2},
		"eicar.com.bz2":  {"", "application/x-bzip2", true, false, false, 2},
		"eicar.com.lzma": {"", "application/x-lzma", true, false, false, 2},
		"pkware.zip":     {"", "application/zip", false, true, false, 3},
		"pkware.zip ":    {"secret", "application/zip", true, false, false, 3},
		"aes.zip":        {"wrong", "application/zip", false, true, false, 3},
		"aes.zip ":       {"wrong secret", "application/zip", true, false, false, 3},
		"old.cpio":       {"", "application/x-cpio", true, false, false, 2},
		"a.cab":          {"", "application/vnd.ms-cab-compressed", false, false, true, 3},
		"a.lzh":          {"", "application/x-lzh-compressed", false, false, true, 2},
		"b.lzh":          {"", "application/x-lzh-compressed", false, false, true, 2},
		"a.ace":          {"", "application/x-ace-compressed", false, false, true, 2},
		"eicar.co_":      {"", "application/x-ms-compress-szdd", true, false, false, 2},
		"stored.rar":     {"", "application/vnd.rar", true, false, false, 3},
		"sfx.exe":        {"", "application/vnd.microsoft.portable-executable", true, false, false, 3},
	} {
		name = strings.TrimSpace(name)
		got := walkWith(Options{Passwords: strings.Fields(c.passwords)}, files[name], name)
		if got.objects[0].Types[0].Name != c.typ || got.has(EICAR) != c.eicar || (len(got.Encrypted) > 0) != c.encrypted ||
			(len(got.Unscannable) > 0) != c.unscannable || got.Objects != c.objects || got.Limits != nil {
			t.Errorf("%s, passwords %q: %+v\n%q %q", name, c.passwords, got.Result, got.paths(), got.facts())
		}
	}
}
