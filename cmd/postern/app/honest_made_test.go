package app_test

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/asn1"
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"strconv"
	"strings"
	"unicode/utf16"
)

// made makes a small file of a kind with its real structure.
func (w *honestWriter) made(kind, text string) []byte {
	if text == "" {
		text = "The minutes of Monday"
	}
	noise := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(w.random.Uint32())
		}
		return b
	}
	switch kind {
	case "docx":
		return office("word/document.xml", "<w:document><w:body><w:p><w:r><w:t>"+text+"</w:t></w:r></w:p></w:body></w:document>")
	case "xlsx":
		return office("xl/workbook.xml", "<workbook/>", "xl/worksheets/sheet1.xml", "<worksheet><sheetData><row><c><v>"+text+"</v></c></row></sheetData></worksheet>")
	case "pptx":
		return office("ppt/presentation.xml", "<p:presentation/>", "ppt/slides/slide1.xml", "<p:sld>"+text+"</p:sld>", "ppt/media/image1.png", string(picture(40, false)))
	case "docm", "xlsm":
		main := map[string]string{"docm": "word/", "xlsm": "xl/"}[kind]
		project := compound("VBA/dir", "x", "VBA/Sheet1", "\x00\x01\x00\x00"+packed("Attribute VB_Name = \"Sheet1\"\r\nFunction Total(a, b)\r\n  Total = a + b\r\nEnd Function\r\n"))
		return office(main+"document.xml", "<x/>", main+"vbaProject.bin", string(project))
	case "odt":
		return zipOf("mimetype", "application/vnd.oasis.opendocument.text", "content.xml", "<office:document-content>"+text+"</office:document-content>", "META-INF/manifest.xml", "<manifest:manifest/>")
	case "sealed-office":
		return compound("EncryptionInfo", string(noise(300)), "EncryptedPackage", string(noise(6000)))
	case "doc":
		return compound("WordDocument", text, "1Table", "x", "\x05SummaryInformation", "x")
	case "msg":
		return compound("__properties_version1.0", "x", "__substg1.0_0037001F", wide(text), "__substg1.0_1000001F", wide("See you on Monday."),
			"__attach_version1.0_#00000000/__substg1.0_3707001F", wide("plan.docx"), "__attach_version1.0_#00000000/__substg1.0_37010102", string(w.made("docx", text)))
	case "pdf":
		return pdf("", text)
	case "sealed-pdf":
		return pdf(fmt.Sprintf("/Encrypt << /Filter /Standard /V 2 /R 3 /Length 128 /P -44 /O <%x> /U <%x> >> /ID [<%x> <%x>]", noise(32), noise(32), noise(16), noise(16)), text)
	case "sealed-zip":
		return sealedZip(text, noise(900))
	case "zip":
		return zipOf("minutes/monday.txt", text, "minutes/plan.docx", string(w.made("docx", text)), "minutes/photo.png", string(picture(60, false)))
	case "png":
		size, _ := strconv.Atoi(text)
		return picture(max(size, 16), false)
	case "jpeg":
		size, _ := strconv.Atoi(text)
		return picture(max(size, 16), true)
	case "gif":
		return []byte("GIF89a\x01\x00\x01\x00\x80\x00\x00\xff\xff\xff\x00\x00\x00!\xf9\x04\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;")
	case "svg":
		return []byte(`<?xml version="1.0" encoding="UTF-8"?><svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 10 10"><title>Logo</title><path d="M0 0h10v10z" fill="#363"/></svg>`)
	case "heic":
		return append([]byte("\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic\x00\x00\x00\x00mdat"), noise(4000)...)
	case "tiff":
		return append([]byte("II*\x00\x08\x00\x00\x00\x01\x00\x00\x01\x03\x00\x01\x00\x00\x00\xc0\x06\x00\x00\x00\x00\x00\x00"), noise(3000)...)
	case "wav":
		data := noise(8000)
		b := append([]byte("RIFF"), binary.LittleEndian.AppendUint32(nil, uint32(36+len(data)))...)
		b = append(b, "WAVEfmt \x10\x00\x00\x00\x07\x00\x01\x00\x40\x1f\x00\x00\x40\x1f\x00\x00\x01\x00\x08\x00data"...)
		return append(binary.LittleEndian.AppendUint32(b, uint32(len(data))), data...)
	case "tnef":
		return tnef("plan.docx", string(w.made("docx", text)))
	case "appledouble":
		return append([]byte("\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        \x00\x01\x00\x00\x00\x09\x00\x00\x00\x26\x00\x00\x00\x20"), make([]byte, 32)...)
	case "cms-signature", "cms-enveloped":
		return cms(kind == "cms-enveloped", noise(700))
	case "cms-opaque":
		return cmsOpaque("Content-Type: text/plain\r\n\r\n"+text+"\r\n", noise(256))
	case "pgp":
		return append([]byte{0xc1, 0xc0, 0x4c, 3}, noise(600)...)
	case "noise":
		n, _ := strconv.Atoi(text)
		return noise(n)
	case "uu":
		return uuencoded("plan.pdf", pdf("", "Plan"))
	}
	w.err = fmt.Errorf("no file %q", kind)
	return nil
}

func office(pairs ...string) []byte {
	return zipOf(append([]string{"[Content_Types].xml", `<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>`,
		"_rels/.rels", `<?xml version="1.0"?><Relationships/>`}, pairs...)...)
}

func zipOf(pairs ...string) []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i := 0; i+1 < len(pairs); i += 2 {
		f, _ := z.Create(pairs[i])
		_, _ = f.Write([]byte(pairs[i+1]))
	}
	_ = z.Close()
	return b.Bytes()
}

// sealedZip has one entry whose flag says encrypted.
func sealedZip(name string, octets []byte) []byte {
	if !strings.Contains(name, ".") {
		name = "report.pdf"
	}
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	f, _ := z.CreateRaw(&zip.FileHeader{Name: name, Flags: 1, Method: zip.Deflate, CRC32: 7, CompressedSize64: uint64(len(octets)), UncompressedSize64: 2000})
	_, _ = f.Write(octets)
	_ = z.Close()
	return b.Bytes()
}

func gzipOf(name string, text []byte) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Name = name
	_, _ = z.Write(text)
	_ = z.Close()
	return b.Bytes()
}

func picture(side int, photo bool) []byte {
	m := image.NewRGBA(image.Rect(0, 0, side, side))
	for x := range side {
		for y := range side {
			m.Set(x, y, color.RGBA{uint8(x * y), uint8(x*7 + y*y), uint8(x ^ y), 255})
		}
	}
	var b bytes.Buffer
	if photo {
		_ = jpeg.Encode(&b, m, nil)
	} else {
		_ = png.Encode(&b, m)
	}
	return b.Bytes()
}

func pdf(trailer, text string) []byte {
	var b strings.Builder
	b.WriteString("%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")
	page := "BT /F1 12 Tf 72 720 Td (" + text + ") Tj ET"
	var offsets []int
	for i, o := range []string{"<< /Type /Catalog /Pages 2 0 R >>", "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
		"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R >>", fmt.Sprintf("<< /Length %d >>\nstream\n%s\nendstream", len(page), page)} {
		offsets = append(offsets, b.Len())
		fmt.Fprintf(&b, "%d 0 obj\n%s\nendobj\n", i+1, o)
	}
	at := b.Len()
	fmt.Fprintf(&b, "xref\n0 %d\n0000000000 65535 f \n", len(offsets)+1)
	for _, o := range offsets {
		fmt.Fprintf(&b, "%010d 00000 n \n", o)
	}
	fmt.Fprintf(&b, "trailer\n<< /Size %d /Root 1 0 R %s >>\nstartxref\n%d\n%%%%EOF\n", len(offsets)+1, trailer, at)
	return []byte(b.String())
}

// tnef is a winmail.dat ([MS-OXTNEF]) with one file.
func tnef(name, content string) []byte {
	out := []byte("\x78\x9f\x3e\x22\x01\x00")
	attribute := func(level byte, id uint32, value string) {
		out = append(out, level)
		out = binary.LittleEndian.AppendUint32(out, id)
		out = binary.LittleEndian.AppendUint32(out, uint32(len(value)))
		out = append(out, value...)
		sum := 0
		for i := range len(value) {
			sum += int(value[i])
		}
		out = binary.LittleEndian.AppendUint16(out, uint16(sum))
	}
	attribute(1, 0x89006, "\x00\x00\x01\x00")
	attribute(1, 0x69007, "\xe4\x04\x00\x00\x00\x00\x00\x00")
	attribute(1, 0x78008, "IPM.Note\x00")
	attribute(1, 0x18004, "Papers\x00")
	attribute(2, 0x69002, strings.Repeat("\x00", 14))
	attribute(2, 0x18010, name+"\x00")
	attribute(2, 0x6800f, content)
	return out
}

func wide(text string) string {
	var b []byte
	for _, u := range utf16.Encode([]rune(text)) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return string(b)
}

// packed is a text as [MS-OVBA] section 2.4.1 has it, of literals alone.
func packed(text string) string {
	var chunk []byte
	for at := 0; at < len(text); at += 8 {
		chunk = append(append(chunk, 0), text[at:min(at+8, len(text))]...)
	}
	return "\x01" + string(binary.LittleEndian.AppendUint16(nil, 0xb000|uint16(len(chunk)-1))) + string(chunk)
}

// cms is a ContentInfo (RFC 5652 section 3) whose content is not examined.
func cms(enveloped bool, noise []byte) []byte {
	kind := asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}
	if enveloped {
		kind = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 3}
	}
	inner, _ := asn1.Marshal(struct {
		Version int
		Data    []byte
	}{1, noise})
	return contentInfo(kind, inner)
}

func contentInfo(kind asn1.ObjectIdentifier, inner []byte) []byte {
	b, _ := asn1.Marshal(struct {
		Kind    asn1.ObjectIdentifier
		Content asn1.RawValue
	}{kind, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: inner}})
	return b
}

// cmsOpaque is a SignedData (RFC 5652 section 5.1) around a text.
func cmsOpaque(text string, noise []byte) []byte {
	octets, _ := asn1.Marshal([]byte(text))
	content := contentInfo(asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}, octets)
	inner, _ := asn1.Marshal(struct {
		Version    int
		Algorithms []asn1.ObjectIdentifier `asn1:"set"`
		Content    asn1.RawValue
		Signers    [][]byte `asn1:"set"`
	}{1, nil, asn1.RawValue{FullBytes: content}, [][]byte{noise}})
	return contentInfo(asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}, inner)
}

func uuencoded(name string, octets []byte) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "begin 644 %s\r\n", name)
	char := func(v byte) byte {
		if v == 0 {
			return '`'
		}
		return v + ' '
	}
	for at := 0; at < len(octets); at += 45 {
		line := octets[at:min(at+45, len(octets))]
		b.WriteByte(char(byte(len(line))))
		for i := 0; i < len(line); i += 3 {
			var t [3]byte
			copy(t[:], line[i:])
			b.Write([]byte{char(t[0] >> 2), char(t[0]&3<<4 | t[1]>>4), char(t[1]&15<<2 | t[2]>>6), char(t[2] & 63)})
		}
		b.WriteString("\r\n")
	}
	b.WriteString("`\r\nend\r\n")
	return b.Bytes()
}
