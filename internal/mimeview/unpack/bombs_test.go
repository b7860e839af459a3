package unpack

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"os/exec"
	"postern/internal/testing/cputime"
	"postern/internal/testing/heap"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// unhurried is how the tests here read: which limit is met first must not depend on the machine.
func unhurried() Options { return Options{Limits: Limits{Time: time.Hour}} }

// zeros packs n octets of zeros, a multiple of 4 MiB: one packed piece, again and again.
func zeros(t testing.TB, n int64) []byte {
	t.Helper()
	const piece = 4 << 20
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, 9)
	must(t, err)
	_, err = io.CopyN(w, nothing{}, piece)
	must(t, err)
	must(t, w.Flush())
	return append(bytes.Repeat(b.Bytes(), int(n/piece)), 1, 0, 0, 0xff, 0xff)
}

type nothing struct{}

func (nothing) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// rawZip writes headers as they are told, true or not.
type rawZip struct {
	b, central []byte
	count      int
}

func (z *rawZip) local(name string, method uint16, packed []byte, size uint32, flags uint16) (at int) {
	at = len(z.b)
	z.b = append(z.b, "PK\x03\x04"...)
	for _, v := range []uint16{20, flags, method, 0, 0} {
		z.b = binary.LittleEndian.AppendUint16(z.b, v)
	}
	for _, v := range []uint32{0, uint32(len(packed)), size} {
		z.b = binary.LittleEndian.AppendUint32(z.b, v)
	}
	z.b = binary.LittleEndian.AppendUint16(z.b, uint16(len(name)))
	z.b = binary.LittleEndian.AppendUint16(z.b, 0)
	z.b = append(append(z.b, name...), packed...)
	return at
}

func (z *rawZip) entry(name string, method uint16, packed, size uint32, at int) {
	c := z.central
	c = append(c, "PK\x01\x02"...)
	for _, v := range []uint16{20, 20, 0, method, 0, 0} {
		c = binary.LittleEndian.AppendUint16(c, v)
	}
	for _, v := range []uint32{crc32.ChecksumIEEE(nil), packed, size} {
		c = binary.LittleEndian.AppendUint32(c, v)
	}
	for _, v := range []uint16{uint16(len(name)), 0, 0, 0, 0} {
		c = binary.LittleEndian.AppendUint16(c, v)
	}
	c = binary.LittleEndian.AppendUint32(c, 0)
	c = binary.LittleEndian.AppendUint32(c, uint32(at))
	z.central = append(c, name...)
	z.count++
}

func (z *rawZip) end() []byte {
	return z.endWith(uint32(z.count), uint32(len(z.central)), uint32(len(z.b)))
}

func (z *rawZip) endWith(count, size, offset uint32) []byte {
	out := append(slices.Concat(z.b, z.central), "PK\x05\x06\x00\x00\x00\x00"...)
	out = binary.LittleEndian.AppendUint16(out, uint16(count))
	out = binary.LittleEndian.AppendUint16(out, uint16(count))
	out = binary.LittleEndian.AppendUint32(out, size)
	out = binary.LittleEndian.AppendUint32(out, offset)
	return append(out, 0, 0)
}

// overlapped is a bomb after Fifield: every entry quotes the header behind it in a stored block of deflate, and goes on
// with that one's content. So all entries end in one kernel.
func overlapped(t testing.TB, entries int) []byte {
	kernel := zeros(t, 20<<20)
	const header, quote = 30 + 4, 5
	var z rawZip
	for i := range entries {
		left := len(kernel) + (entries-1-i)*(header+quote)
		at := z.local(fmt.Sprintf("%04d", i), 8, nil, 20<<20, 0)
		binary.LittleEndian.PutUint32(z.b[at+18:], uint32(left))
		z.entry(fmt.Sprintf("%04d", i), 8, uint32(left), 20<<20, at)
		if i < entries-1 {
			z.b = append(z.b, 0, header, 0, 0xff-header, 0xff)
		}
	}
	z.b = append(z.b, kernel...)
	return z.end()
}

func nested(t testing.TB, levels, wide int, leaf []byte) []byte {
	content := leaf
	for range levels {
		var pairs []string
		for i := range wide {
			pairs = append(pairs, fmt.Sprintf("lib %d.zip", i), string(content))
		}
		content = zipOf(t, pairs...)
	}
	return content
}

func zipWith(t testing.TB, method uint16, packed []byte, size uint32) []byte {
	t.Helper()
	var z rawZip
	at := z.local("a", method, packed, size, 0)
	z.entry("a", method, uint32(len(packed)), size, at)
	return z.end()
}

// quine contains a copy of itself in a stored entry, as deep as bytes allow: each level's inner zip is the outer one's
// own tail, found again by its end record.
func quine(t testing.TB) []byte {
	var z rawZip
	at := z.local("r.zip", 0, nil, 0, 0)
	z.entry("r.zip", 0, 1<<20, 1<<20, at)
	return z.end()
}

// TestBombs: a bomb costs bounded time and memory, and says which limit ended it. Measured on two shared cores: each
// below 2 s and 400 MiB with the default limits. The tests ask for an order of magnitude in time.
func TestBombs(t *testing.T) {
	const gib = 1 << 30
	giga := zeros(t, gib)
	gz := append([]byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03"), giga...)
	member := gzipOf(t, "", bytes.Repeat([]byte{0}, 1<<20))
	var xzBomb, zstdBomb bytes.Buffer
	x, err := xz.NewWriter(&xzBomb)
	must(t, err)
	_, err = io.CopyN(x, nothing{}, 8<<20)
	must(t, err)
	must(t, x.Close())
	s, err := zstd.NewWriter(&zstdBomb)
	must(t, err)
	_, err = io.CopyN(s, nothing{}, 128<<20)
	must(t, err)
	must(t, s.Close())
	var claimed rawZip
	at := claimed.local("a", 0, []byte("x"), 1, 0)
	claimed.entry("a", 0, 1, 1, at)
	var many rawZip
	for range 300_000 {
		many.entry("a", 0, 1, 1, 0)
	}
	xmlBomb := `<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]><l>&b;</l>`
	deepObjects := pdfStream("/Type /ObjStm /Filter /FlateDecode", flateOf(t, pdfStream("/Type /ObjStm", strings.Repeat("<< /A ", 100_000))))
	for name, c := range map[string]struct {
		content []byte
		limit   string // in Result.Limits, or the beginning of what Unscannable says behind "!", or "" for nothing
	}{
		"1 GiB of 1 MiB, gzip":           {gz, "entry"},
		"1 GiB of 1 MiB, zip":            {zipWith(t, 8, giga, 1<<30-1), "entry"},
		"10 MiB of zeros, zip":           {zipOf(t, "a", string(make([]byte, 10<<20))), "ratio"},
		"lying size, zip":                {zipWith(t, 8, giga, 1), "entry"},
		"5 levels of 16":                 {nested(t, 5, 16, make([]byte, 1<<20)), "total"},
		"5 levels of 16, small leaves":   {nested(t, 5, 16, []byte("leaf")), "entries"},
		"12 levels":                      {nested(t, 12, 1, []byte("x")), "depth"},
		"overlapping entries":            {overlapped(t, 500), "total"},
		"claims 65,535 entries, 1 GB":    {claimed.endWith(65535, 1<<30, 0), "!"},
		"300,000 entries":                {many.end(), "entries"},
		"gzip, 2,000 members":            {bytes.Repeat(member, 2000), "total"},
		"xz":                             {xzBomb.Bytes(), "ratio"},
		"zstd":                           {zstdBomb.Bytes(), "ratio"},
		"zip that contains itself":       {quine(t), ""},
		"end records only":               {bytes.Repeat([]byte("PK\x05\x06"), 1<<20), "!"},
		"local headers only":             {bytes.Repeat([]byte("PK\x03\x04"+strings.Repeat("\x00", 22)+"\x01\x00\x00\x00a"), 1<<18), "entries"},
		"PDF, open dictionaries":         {pdfOf(strings.Repeat("<<", 4<<20)), ""},
		"PDF, object streams in another": {pdfOf(deepObjects), ""},
		"PDF, xref loop":                 {append(pdfOf("<< /Root 1 0 R >>"), "xref\n0 0\ntrailer << /Prev 9 >>\nstartxref\n9\n%%EOF"...), ""},
		"PDF, packed bomb":               {pdfOf(pdfStream("/Type /ObjStm /Filter /FlateDecode", "\x78\x9c"+string(giga))), "total"},
		"PDF, bomb in five filters":      {pdfOf(pdfStream("/Type /EmbeddedFile /Filter [/Fl /Fl /Fl /Fl /Fl]", flateOf(t, flateOf(t, string(giga))))), ""},
		"RTF, groups":                    {[]byte(`{\rtf1` + strings.Repeat("{", 4<<20)), ""},
		"XML entities":                   {zipOf(t, "[Content_Types].xml", xmlBomb, "word/document.xml", xmlBomb), ""},
	} {
		var got walked
		var grown uint64
		took := cputime.Of(func() { grown = heap.Peak(func() { got = walkWith(unhurried(), c.content, "bomb") }) })
		t.Logf("%-32s %8d octets: %6d ms, %4d MiB, %v, %d objects, %d MiB decoded", name, len(c.content), took.Milliseconds(), grown>>20, got.Limits, got.Objects, got.Decoded>>20)
		if took > bombTime || grown > 700<<20 {
			t.Errorf("%s took %v and %d MiB", name, took, grown>>20)
		}
		switch {
		case c.limit == "!" && len(got.Unscannable) == 0:
			t.Errorf("%s: nothing unscannable: %+v", name, got.Result)
		case c.limit != "" && c.limit != "!" && !slices.Contains(got.Limits, c.limit):
			t.Errorf("%s: limits %q, want %s; %q", name, got.Limits, c.limit, got.Unscannable)
		}
	}
}

// A header that asks for a dictionary of gigabytes is refused before anybody makes one.
func TestDictionariesAreCapped(t *testing.T) {
	xzFile := xzOf(t, []byte(strings.Repeat("text ", 1000)))
	// the block header: size, flags, filter 0x21, size 1, dictionary
	i := bytes.Index(xzFile, []byte{0x21, 0x01})
	xzFile[i+2] = 40
	size := (int(xzFile[12]) + 1) * 4
	binary.LittleEndian.PutUint32(xzFile[12+size-4:], crc32.ChecksumIEEE(xzFile[12:12+size-4]))
	lz := append([]byte{0x5d}, "\x00\x00\x00\x80\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00\x00"...)
	zst := []byte("\x28\xb5\x2f\xfd\x00\xa8\x01\x00\x00aaaaaaaaaaa") // window descriptor: 2 GiB
	seven := slices.Clone(fixtures(t)["plain.7z"])
	for name, content := range map[string][]byte{"xz": xzFile, "lzma": lz, "zstd": zst, "7z": sevenWith(seven)} {
		var got walked
		grown := heap.Peak(func() { got = walkWith(unhurried(), content, "a."+name) })
		if len(got.Unscannable) == 0 || grown > 100<<20 {
			t.Errorf("%s: %d MiB, %+v", name, grown>>20, got.Result)
		}
	}
}

// sevenWith replaces the header by one that claims four billion files.
func sevenWith(b []byte) []byte {
	header := []byte("\x01\x05\xf0\xff\xff\xff\xff")
	b = append(b[:32:32], header...)
	binary.LittleEndian.PutUint64(b[12:], 0)
	binary.LittleEndian.PutUint64(b[20:], uint64(len(header)))
	binary.LittleEndian.PutUint32(b[28:], crc32.ChecksumIEEE(header))
	binary.LittleEndian.PutUint32(b[8:], crc32.ChecksumIEEE(b[12:32]))
	return b
}

// A bzip2 bomb needs the tool that writes it.
func TestBzip2Bomb(t *testing.T) {
	tool, err := exec.LookPath("bzip2")
	if err != nil {
		t.Skip("bzip2 is not installed")
	}
	cmd := exec.Command(tool, "-9")
	cmd.Stdin = io.LimitReader(nothing{}, 30<<20)
	packed, err := cmd.Output()
	must(t, err)
	if got := walkWith(unhurried(), packed, "a.bz2"); !slices.Contains(got.Limits, "ratio") {
		t.Errorf("%+v", got.Result)
	}
}

// Time is linear: the work of one attachment doubles at most with its size, within slack for a shared machine.
func TestTimeIsLinear(t *testing.T) {
	if os.Getenv("CI") == "" && testing.Short() {
		t.Skip("measures time")
	}
	for name, make := range map[string]func(n int) []byte{
		"html":        func(n int) []byte { return []byte(strings.Repeat(`<script>atob("data:a/b,`, n)) },
		"rtf":         func(n int) []byte { return []byte(`{\rtf1` + strings.Repeat(`{\*\objdata 41{\*\x 4}`, n)) },
		"pdf":         func(n int) []byte { return pdfOf(strings.Repeat("<< /A (x) stream endstream ", n)) },
		"pdf streams": func(n int) []byte { return pdfOf(strings.Repeat("1 0 obj << /Length 5 >> stream ", n)) },
		"urls":        func(n int) []byte { return []byte("BEGIN:VCALENDAR" + strings.Repeat("http://", 3*n)) },
		"zip":         func(n int) []byte { return []byte(strings.Repeat("PK\x03\x04PK\x05\x06PK\x01\x02", n)) },
		"gzip": func(n int) []byte {
			return []byte(strings.Repeat("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x03\x00        ", n))
		},
		"names": func(n int) []byte { return zipOf(t, strings.Repeat("%25../", n/100)+"x", "x") },
	} {
		took := func(n int) time.Duration {
			best := time.Hour
			for range 3 {
				best = min(best, cputime.Of(func() { walkWith(unhurried(), make(n), "a") }))
			}
			return best
		}
		small, large := took(10_000), took(80_000)
		t.Logf("%-12s %v, 8 times as much: %v", name, small, large)
		if large > 8*10*max(small, time.Millisecond) {
			t.Errorf("%s: %v, and %v for 8 times as much", name, small, large)
		}
	}
}

// Texts that were made to be read again and again cost their length.
func TestTextsInTexts(t *testing.T) {
	for name, piece := range map[string]string{
		"a.html": "<a/b=", "b.html": `<a b="`, "c.html": "<a b='\"", "d.html": "[1,1,1(", "e.html": `"AAAA'`, "f.html": "data:a/b,", "g.html": "<svg x=<!ENTITY ",
		"a.csv": "=a|", "b.csv": "=a|b!", "a.slk": "ID;P\nC;E|!", "a.pdf": "/ID[(", "b.pdf": "/Encrypt 1 0 R 1 0 obj(", "c.pdf": "/Encrypt<<", "a.rtf": `{\objdata \bin1 `,
		"a.ics": "BEGIN:VCALENDAR\nATTACH;ENCODING=BASE64:A\n", "a.xml": "<binData>A", "a.mso": "ActiveMime\x78\x9c",
	} {
		head := map[string]string{".pdf": "%PDF-1.7\n", ".rtf": "{\\rtf1", ".html": "<html><script>"}[name[1:]]
		took := cputime.Of(func() { walkWith(unhurried(), []byte(head+strings.Repeat(piece, textSize/len(piece))), name) })
		if took > 10*time.Second {
			t.Errorf("%s took %v", name, took)
		} else {
			t.Logf("%s took %v", name, took)
		}
	}
}
