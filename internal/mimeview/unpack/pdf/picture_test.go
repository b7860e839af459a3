package pdf

import (
	"bytes"
	"compress/zlib"
	"fmt"
	"testing"
)

// picture is a file with one picture of two by two pixels, and a line of text.
func picture(filters, samples string) []byte {
	return fmt.Appendf(nil, "%%PDF-1.4\n1 0 obj\n<</Type/XObject/Subtype/Image/Width 2/Height 2/BitsPerComponent 8/ColorSpace/DeviceRGB%s/Length %d>>\nstream\n%s\nendstream\nendobj\n"+
		"2 0 obj\n<</Length 23>>\nstream\nBT (Bread) Tj [(and)] TJ ET\nendstream\nendobj\n", filters, len(samples), samples)
}

func packed(samples string) string {
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	_, _ = w.Write([]byte(samples))
	_ = w.Close()
	return b.String()
}

func TestPictures(t *testing.T) {
	rgb := "\x00\x00\x00\xff\xff\xff\xff\xff\xff\x00\x00\x00"
	for name, file := range map[string][]byte{
		"plain": picture("", rgb), "deflated": picture("/Filter/FlateDecode", packed(rgb)),
		"rows with a filter": picture("/Filter/FlateDecode", packed("\x01\x00\x00\x00\xff\xff\xff"+"\x02\xff\xff\xff\x01\x01\x01")),
	} {
		found := Scan(file, Limits{Streams: 10, Objects: 1 << 20})
		if len(found.Pictures) != 1 {
			t.Fatalf("%s: %d pictures", name, len(found.Pictures))
		}
		if gray, ok := found.Pictures[0].Gray(); !ok || string(gray) != "\x00\xff\xff\x00" {
			t.Errorf("%s: %v, %x", name, ok, gray)
		}
		if n := found.Glyphs(100); n != len("Breadand") {
			t.Errorf("%s: %d glyphs", name, n)
		}
	}
}

// Whatever comes in, nothing panics.
func FuzzPictures(f *testing.F) {
	f.Add(picture("", "\x00\x00\x00\xff\xff\xff\xff\xff\xff\x00\x00\x00"))
	f.Add(picture("/Filter/FlateDecode", packed("\x04\x00\x00\x00\xff\xff\xff\x03\xff\xff\xff\x01\x01\x01")))
	f.Add(picture("/Filter[/ASCIIHexDecode/DCTDecode]", "ffd8ff>"))
	f.Fuzz(func(t *testing.T, b []byte) {
		found := Scan(b, Limits{Streams: 100, Objects: 1 << 20})
		found.Glyphs(1000)
		for _, p := range found.Pictures {
			if p.Width > 1000 || p.Height > 1000 {
				continue
			}
			p.Gray()
			p.JPEG(1 << 20)
		}
	})
}
