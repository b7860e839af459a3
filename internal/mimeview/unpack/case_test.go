package unpack

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// walked is all that one Walk said.
type walked struct {
	Result
	objects []*Object
}

func walkWith(o Options, content []byte, names ...string) walked {
	var all walked
	all.Result = Walk(context.Background(), names, bytes.NewReader(content), int64(len(content)), o, func(o *Object) { all.objects = append(all.objects, o) })
	return all
}

// facts lists all flags as "path KIND", each once, in order.
func (w walked) facts() []string {
	var all []string
	for _, o := range w.objects {
		for _, f := range o.Flags {
			all = append(all, strings.Join(o.Path, "/")+" "+string(f.Kind))
		}
	}
	return slices.Compact(all)
}

func (w walked) has(k Kind) bool {
	return slices.ContainsFunc(w.objects, func(o *Object) bool { return o.Has(k) })
}

// says whether a flag of this kind has this text in its detail.
func (w walked) says(k Kind, text string) bool {
	return slices.ContainsFunc(w.objects, func(o *Object) bool {
		return slices.ContainsFunc(o.Flags, func(f Flag) bool { return f.Kind == k && strings.Contains(f.Detail, text) })
	})
}

func (w walked) paths() []string {
	var all []string
	for _, o := range w.objects {
		all = append(all, strings.Join(o.Path, "/"))
	}
	return all
}

// Makers of files. An odd argument is a name, the next its content.

func zipOf(t testing.TB, pairs ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i := 0; i < len(pairs); i += 2 {
		w, err := z.Create(pairs[i])
		must(t, err)
		_, err = w.Write([]byte(pairs[i+1]))
		must(t, err)
	}
	must(t, z.Close())
	return b.Bytes()
}

func tarOf(t testing.TB, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		content := h.PAXRecords["content"]
		h.PAXRecords, h.Size, h.Mode = nil, int64(len(content)), 0o644
		must(t, w.WriteHeader(&h))
		_, err := w.Write([]byte(content))
		must(t, err)
	}
	must(t, w.Close())
	return b.Bytes()
}

func tarFile(name, content string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeReg, PAXRecords: map[string]string{"content": content}}
}

func gzipOf(t testing.TB, name string, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Name = name
	_, err := w.Write(content)
	must(t, err)
	must(t, w.Close())
	return b.Bytes()
}

func xzOf(t testing.TB, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := xz.NewWriter(&b)
	must(t, err)
	_, err = w.Write(content)
	must(t, err)
	must(t, w.Close())
	return b.Bytes()
}

func zstdOf(t testing.TB, content []byte) []byte {
	t.Helper()
	e, err := zstd.NewWriter(nil)
	must(t, err)
	return e.EncodeAll(content, nil)
}

func flateOf(t testing.TB, content string) string {
	t.Helper()
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	_, err := w.Write([]byte(content))
	must(t, err)
	must(t, w.Close())
	return b.String()
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// program is the least that looks like a Windows program. It does not run.
func program() string {
	b := make([]byte, 256)
	copy(b, "MZ\x90")
	binary.LittleEndian.PutUint32(b[0x3c:], 0x80)
	copy(b[0x80:], "PE\x00\x00")
	return string(b)
}

func pdfOf(objects ...string) []byte {
	var b strings.Builder
	b.WriteString("%PDF-1.7\n")
	for i, o := range objects {
		fmt.Fprintf(&b, "%d 0 obj\n%s\nendobj\n", i+1, o)
	}
	b.WriteString("trailer << /Root 1 0 R >>\n%%EOF\n")
	return []byte(b.String())
}

func pdfStream(dict, content string) string {
	return fmt.Sprintf("<< %s /Length %d >>\nstream\n%s\nendstream", dict, len(content), content)
}

// packagerStream is an Ole10Native stream.
func packagerStream(name, content string) []byte {
	var b bytes.Buffer
	b.WriteString("\x02\x00" + name + "\x00C:\\" + name + "\x00")
	b.Write([]byte{0, 0, 3, 0})
	path := "C:\\tmp\\" + name + "\x00"
	b.Write(binary.LittleEndian.AppendUint32(nil, uint32(len(path))))
	b.WriteString(path)
	b.Write(binary.LittleEndian.AppendUint32(nil, uint32(len(content))))
	b.WriteString(content)
	return append(binary.LittleEndian.AppendUint32(nil, uint32(b.Len())), b.Bytes()...)
}

// ole1Object is an embedded object as RTF has it.
func ole1Object(class, content string) []byte {
	var b []byte
	b = binary.LittleEndian.AppendUint32(b, 0x501)
	b = binary.LittleEndian.AppendUint32(b, 2)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(class)+1))
	b = append(b, class+"\x00"...)
	b = append(b, make([]byte, 8)...)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(content)))
	return append(b, content...)
}

// compoundOf writes a compound file ([MS-CFB], version 3) with the given streams; "dir/name" makes a storage. Every
// stream is filled up to 4,096 octets, so that no mini stream is needed; the declared size stays true to the filling.
func compoundOf(pairs ...string) []byte {
	type directory struct {
		name         string
		kind         byte
		child, right int
		start, size  int
	}
	dirs := []directory{{"Root Entry", 5, -1, -1, -2, 0}}
	storages := map[string]int{"": 0}
	link := func(parent, child int) {
		if dirs[parent].child < 0 {
			dirs[parent].child = child
			return
		}
		at := dirs[parent].child
		for dirs[at].right >= 0 {
			at = dirs[at].right
		}
		dirs[at].right = child
	}
	var body []byte
	var fat []uint32
	chain := func(content []byte) int {
		start := len(fat)
		for at := 0; at < len(content); at += 512 {
			fat = append(fat, uint32(len(fat)+1))
			body = append(body, content[at:min(at+512, len(content))]...)
		}
		body = append(body, make([]byte, (512-len(body)%512)%512)...)
		fat[len(fat)-1] = 0xfffffffe
		return start
	}
	for i := 0; i < len(pairs); i += 2 {
		parent, name := 0, pairs[i]
		for {
			dir, rest, ok := strings.Cut(name, "/")
			if !ok {
				break
			}
			at, known := storages[fmt.Sprint(parent, dir)]
			if !known {
				at = len(dirs)
				dirs = append(dirs, directory{dir, 1, -1, -1, 0, 0})
				storages[fmt.Sprint(parent, dir)] = at
				link(parent, at)
			}
			parent, name = at, rest
		}
		content := []byte(pairs[i+1])
		if len(content) < 4096 {
			content = append(content, make([]byte, 4096-len(content))...)
		}
		link(parent, len(dirs))
		dirs = append(dirs, directory{name, 2, -1, -1, chain(content), len(content)})
	}
	var table []byte
	for _, d := range dirs {
		e := make([]byte, 128)
		units := utf16.Encode([]rune(d.name))
		for i, u := range units {
			binary.LittleEndian.PutUint16(e[2*i:], u)
		}
		binary.LittleEndian.PutUint16(e[64:], uint16(2*len(units)+2))
		e[66], e[67] = d.kind, 1
		for i, v := range []int{-1, d.right, d.child} {
			binary.LittleEndian.PutUint32(e[68+4*i:], uint32(int32(v)))
		}
		binary.LittleEndian.PutUint32(e[116:], uint32(int32(d.start)))
		binary.LittleEndian.PutUint32(e[120:], uint32(d.size))
		table = append(table, e...)
	}
	directoryAt := chain(table)
	var fats []byte
	first := len(fat)
	count := (len(fat) + 128) / 127
	for range count {
		fat = append(fat, 0xfffffffd)
	}
	for _, v := range fat {
		fats = binary.LittleEndian.AppendUint32(fats, v)
	}
	fats = append(fats, bytes.Repeat([]byte{0xff}, (512-len(fats)%512)%512)...)
	h := make([]byte, 512)
	copy(h, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")
	for at, v := range map[int]uint16{24: 0x3e, 26: 3, 28: 0xfffe, 30: 9, 32: 6} {
		binary.LittleEndian.PutUint16(h[at:], v)
	}
	for at, v := range map[int]uint32{44: uint32(len(fats) / 512), 48: uint32(directoryAt), 56: 4096, 60: 0xfffffffe, 68: 0xfffffffe} {
		binary.LittleEndian.PutUint32(h[at:], v)
	}
	for i := range 109 {
		v := uint32(0xffffffff)
		if i < len(fats)/512 {
			v = uint32(first + i)
		}
		binary.LittleEndian.PutUint32(h[76+4*i:], v)
	}
	return slices.Concat(h, body, fats)
}

// ovba packs text as [MS-OVBA] does, with literals only: 4,096 octets a chunk, the last one shorter.
func ovba(text string) string {
	out := []byte{1}
	for len(text) > 0 {
		piece := text[:min(3600, len(text))]
		text = text[len(piece):]
		var chunk []byte
		for len(piece) > 0 {
			n := min(8, len(piece))
			chunk = append(append(chunk, 0), piece[:n]...)
			piece = piece[n:]
		}
		out = binary.LittleEndian.AppendUint16(out, uint16(len(chunk)-1)|0xb000)
		out = append(out, chunk...)
	}
	return string(out)
}
