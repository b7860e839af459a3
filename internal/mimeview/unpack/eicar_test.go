package unpack

import (
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"
)

// The test file has to be found wherever a person can get at it, and only there.
func TestEICAR(t *testing.T) {
	inside := zipOf(t, "eicar.com", eicar)
	deflated := flateOf(t, eicar)
	for name, c := range map[string]struct {
		content []byte
		want    bool
	}{
		"plain":                  {[]byte(eicar), true},
		"with a line end":        {[]byte(eicar + "\r\n"), true},
		"60 blanks":              {[]byte(eicar + strings.Repeat(" ", 60)), true},
		"128 blanks":             {[]byte(eicar + strings.Repeat("\t ", 64)), true},
		"129 blanks":             {[]byte(eicar + strings.Repeat(" ", 129)), false},
		"text behind it":         {[]byte(eicar + " is the test file"), false},
		"in the middle of text":  {[]byte("The test file is " + eicar), false},
		"zip":                    {inside, true},
		"zip in zip":             {zipOf(t, "a.zip", string(inside)), true},
		"tar.gz":                 {gzipOf(t, "", tarOf(t, tarFile("e.com", eicar))), true},
		"xz":                     {xzOf(t, []byte(eicar)), true},
		"zstd":                   {zstdOf(t, []byte(eicar)), true},
		"docx, embedded object":  {zipOf(t, "[Content_Types].xml", "<Types/>", "word/document.xml", "<w/>", "word/embeddings/oleObject1.bin", string(compoundOf("\x01Ole10Native", string(packagerStream("e.com", eicar))))), true},
		"pdf, packed stream":     {pdfOf("<< /Type /Catalog >>", pdfStream("/Filter /FlateDecode", deflated)), true},
		"pdf, embedded file":     {pdfOf(pdfStream("/Type /EmbeddedFile /Filter [/ASCIIHexDecode /FlateDecode]", hex.EncodeToString([]byte(deflated))+">")), true},
		"rtf, object":            {[]byte(`{\rtf1 {\object\objemb{\*\objdata ` + hex.EncodeToString(ole1Object("Package", string(packagerStream("e.com", eicar)[4:]))) + `}}}`), true},
		"html, data URI":         {[]byte(`<html><a href="data:application/octet-stream;base64,` + base64.StdEncoding.EncodeToString([]byte(eicar)) + `">x</a>`), true},
		"html, text in a script": {[]byte(`<html><script>var f="` + base64.StdEncoding.EncodeToString([]byte(eicar+strings.Repeat(" ", 20))) + `"</script>`), true},
	} {
		if got := walkWith(Options{}, c.content, "x"); got.has(EICAR) != c.want {
			t.Errorf("%s: EICAR %v, want %v; %q %+v", name, !c.want, c.want, got.facts(), got.Result)
		}
	}
}
