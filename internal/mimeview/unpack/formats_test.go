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

// Each format is opened, or named as one that is not.
func TestFormats(t *testing.T) {
	files := fixtures(t)
	files["stored.rar"] = rarOf("eicar.com", eicar, "note.txt", "hello")
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
		"e.arj":          {"", "application/x-arj", false, false, true, 1},
		"e.Z":            {"", "application/x-compress", true, false, false, 2},
		"eicar.com.bz2":  {"", "application/x-bzip2", true, false, false, 2},
		"eicar.com.lzma": {"", "application/x-lzma", true, false, false, 2},
		"pkware.zip":     {"", "application/zip", false, true, false, 3},
		"pkware.zip ":    {"secret", "application/zip", true, false, false, 3},
		"aes.zip":        {"wrong", "application/zip", false, true, false, 3},
		"aes.zip ":       {"wrong secret", "application/zip", true, false, false, 3},
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
