package modern

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"path"
	"strings"
)

// files are the parts of "attach" or "inline": "KIND ; name=NAME ; key=value".
func (c *composer) files(key string) (all []part, err error) {
	for line := range strings.SplitSeq(c.keys[key], "\n") {
		if strings.TrimSpace(line) == "" {
			continue
		}
		kind, rest, _ := strings.Cut(c.fill(line), " ; ")
		k := pairs(rest, " ; ")
		octets, err := c.made(kind, k)
		if err != nil {
			return nil, err
		}
		all = append(all, c.attached(key, k, octets))
	}
	return all, nil
}

func (c *composer) attached(key string, k keys, octets []byte) part {
	types := map[string]string{".pdf": "application/pdf", ".png": "image/png", ".jpg": "image/jpeg", ".htm": "text/html", ".html": "text/html", ".shtml": "text/html",
		".svg": "image/svg+xml", ".zip": "application/zip", ".gz": "application/gzip", ".ics": "text/calendar; charset=utf-8; method=REQUEST", ".eml": "message/rfc822",
		".wav": "audio/wav", ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document", ".vcf": "text/vcard",
		".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", ".csv": "text/csv"}
	kind := types[path.Ext(k["name"])]
	if k["type"] != "" {
		kind = k["type"]
	}
	if kind == "" {
		kind = "application/octet-stream"
	}
	name := c.words(k["name"], 30)
	p := part{fields: fmt.Sprintf("Content-Type: %s; name=\"%s\"\r\n", kind, name)}
	if key == "inline" {
		p.fields += fmt.Sprintf("Content-Transfer-Encoding: base64\r\nContent-ID: <%s>\r\nContent-Disposition: inline; filename=\"%s\"\r\n", k["cid"], name)
	} else {
		p.fields += fmt.Sprintf("Content-Disposition: attachment; filename=\"%s\"\r\n", name)
		if kind == "message/rfc822" { // RFC 2046 section 5.2.1: no encoding but 7bit, 8bit and binary
			p.body = octets
			return p
		}
		p.fields += "Content-Transfer-Encoding: base64\r\n"
	}
	p.body = base64Lines(octets)
	return p
}

func (c *composer) made(kind string, k keys) ([]byte, error) {
	switch kind {
	case "pdf":
		return c.pdf(k), nil
	case "logo", "screen", "photo", "flyer":
		return c.picture(kind), nil
	case "qr":
		return c.qrPNG(k["url"]), nil
	case "page":
		text, err := c.fileWith(k, "pages/"+k["page"])
		return []byte(crlf(text)), err
	case "docx":
		return zipped("[Content_Types].xml", `<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>`, "_rels/.rels", "<Relationships/>",
			"word/document.xml", "<w:document><w:body><w:p><w:r><w:t>"+k["text"]+"</w:t></w:r></w:p></w:body></w:document>"), nil
	case "xlsx":
		return zipped("[Content_Types].xml", `<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>`, "_rels/.rels", "<Relationships/>",
			"xl/workbook.xml", "<workbook/>", "xl/worksheets/sheet1.xml", "<worksheet><sheetData><row><c><v>"+k["text"]+"</v></c></row></sheetData></worksheet>"), nil
	case "sealed":
		return c.sealedZip(k["entry"])
	case "zip":
		text, err := c.fileWith(k, "pages/"+k["page"])
		return zipped(k["entry"], text), err
	case "gz":
		text, err := c.fileWith(k, "pages/"+k["page"])
		return gzipped(text), err
	case "wav":
		return c.wav(), nil
	}
	return nil, unknown("kind of file", kind)
}

// file is a page of testdata with the message's values in it.
func (c *composer) file(name string) (string, error) {
	text, err := testdata.ReadFile("testdata/" + name)
	return c.fill(string(text)), err
}

func (c *composer) fileWith(k keys, name string) (string, error) {
	own := c.keys
	defer func() { c.keys = own }()
	c.keys = k.over(own)
	return c.file(name)
}

func (c *composer) noise(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(c.random.Uint32())
	}
	return b
}

func zipped(pairs ...string) []byte {
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
func (c *composer) sealedZip(entry string) ([]byte, error) {
	octets := c.noise(1800)
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	f, err := z.CreateRaw(&zip.FileHeader{Name: entry, Flags: 1, Method: zip.Deflate, CRC32: c.random.Uint32(), CompressedSize64: uint64(len(octets)), UncompressedSize64: 5200})
	if err != nil {
		return nil, err
	}
	_, _ = f.Write(octets)
	err = z.Close()
	return b.Bytes(), err
}

func gzipped(text string) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(text))
	_ = z.Close()
	return b.Bytes()
}

func (c *composer) wav() []byte {
	data := c.noise(6000)
	b := append([]byte("RIFF"), binary.LittleEndian.AppendUint32(nil, uint32(36+len(data)))...)
	b = append(b, "WAVEfmt \x10\x00\x00\x00\x07\x00\x01\x00\x40\x1f\x00\x00\x40\x1f\x00\x00\x01\x00\x08\x00data"...)
	return append(binary.LittleEndian.AppendUint32(b, uint32(len(data))), data...)
}
