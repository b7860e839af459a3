package modern

import (
	"bytes"
	"compress/zlib"
	"fmt"
	"strings"
)

// pdf is a page with lines (text, parted by "//"), a link over all of it (url), a QR code (qr).
func (c *composer) pdf(k keys) []byte {
	var page strings.Builder
	page.WriteString("BT /F1 11 Tf 56 780 Td 15 TL\n")
	latin, _ := encoded("windows-1252", k["text"])
	for line := range strings.SplitSeq(string(latin), "//") {
		fmt.Fprintf(&page, "(%s) Tj T*\n", strings.NewReplacer(`\`, `\\`, "(", `\(`, ")", `\)`).Replace(strings.TrimSpace(line)))
	}
	page.WriteString("ET\n")
	resources, extra := "/Font << /F1 5 0 R >>", ""
	objects := []string{"<< /Type /Catalog /Pages 2 0 R >>", "<< /Type /Pages /Kids [3 0 R] /Count 1 >>", "", "",
		"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
		"<< /Producer (" + pick(k["producer"], "Skia/PDF m118") + ") >>"}
	if k["qr"] != "" {
		page.WriteString("q 160 0 0 160 200 420 cm /Im1 Do Q\n")
		objects = append(objects, c.pdfImage(k["qr"]))
		resources += fmt.Sprintf(" /XObject << /Im1 %d 0 R >>", len(objects))
	}
	if k["url"] != "" {
		objects = append(objects, "<< /Type /Annot /Subtype /Link /Rect [56 400 540 800] /Border [0 0 0] /A << /S /URI /URI ("+k["url"]+") >> >>")
		extra = fmt.Sprintf(" /Annots [%d 0 R]", len(objects))
	}
	objects[2] = "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Resources << " + resources + " >> /Contents 4 0 R" + extra + " >>"
	objects[3] = stream("", []byte(page.String()))
	return written(objects)
}

func pick(value, fallback string) string {
	if value != "" {
		return value
	}
	return fallback
}

func (c *composer) pdfImage(url string) string {
	m := c.qrImage(url, 6)
	size := m.Bounds()
	var gray bytes.Buffer
	for y := range size.Dy() {
		for x := range size.Dx() {
			r, _, _, _ := m.At(x, y).RGBA()
			gray.WriteByte(byte(r >> 8))
		}
	}
	return stream(fmt.Sprintf("/Type /XObject /Subtype /Image /Width %d /Height %d /ColorSpace /DeviceGray /BitsPerComponent 8 ", size.Dx(), size.Dy()), gray.Bytes())
}

func stream(entries string, octets []byte) string {
	var b bytes.Buffer
	z := zlib.NewWriter(&b)
	_, _ = z.Write(octets)
	_ = z.Close()
	return fmt.Sprintf("<< %s/Length %d /Filter /FlateDecode >>\nstream\n%s\nendstream", entries, b.Len(), b.String())
}

func written(objects []string) []byte {
	var b bytes.Buffer
	b.WriteString("%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
	var offsets []int
	for i, o := range objects {
		offsets = append(offsets, b.Len())
		fmt.Fprintf(&b, "%d 0 obj\n%s\nendobj\n", i+1, o)
	}
	at := b.Len()
	fmt.Fprintf(&b, "xref\n0 %d\n0000000000 65535 f \n", len(offsets)+1)
	for _, o := range offsets {
		fmt.Fprintf(&b, "%010d 00000 n \n", o)
	}
	fmt.Fprintf(&b, "trailer\n<< /Size %d /Root 1 0 R /Info 6 0 R >>\nstartxref\n%d\n%%%%EOF\n", len(offsets)+1, at)
	return b.Bytes()
}
