package unpack

import (
	"strings"
	"testing"
)

// Files that need no password of their reader are read as if they were not encrypted, by every method there is.
func TestSealedPDF(t *testing.T) {
	for name, content := range fixtures(t) {
		if !strings.HasSuffix(name, ".pdf") {
			continue
		}
		needs := name == "epw.pdf"
		got := walkWith(Options{Passwords: []string{"no", "secret"}}, content, name)
		if !got.says(PDFJavaScript, `app.alert("hello")`) || got.has(PDFEncrypted) || got.has(Unlocked) != needs || len(got.objects) != 2 ||
			string(got.objects[1].content) != "WScript.Echo" || got.Unscannable != nil {
			t.Errorf("%s: %q %q %+v", name, got.facts(), got.paths(), got.Result)
		}
		if got = walkWith(Options{}, content, name); needs != got.has(PDFEncrypted) {
			t.Errorf("%s without a password: %q %+v", name, got.facts(), got.Result)
		}
	}
}

// A dictionary may point to what it means, and a word about encryption hides nothing.
func TestIndirectPDF(t *testing.T) {
	for name, c := range map[string]struct {
		content []byte
		kind    Kind
		detail  string
	}{
		"script in a string":  {pdfOf("<< /S /JavaScript /JS 2 0 R >>", "(app.alert)"), PDFJavaScript, "app.alert"},
		"the action's name":   {pdfOf("<< /S 2 0 R /F 3 0 R >>", "/Launch", "(cmd.exe)"), PDFLaunch, "cmd.exe"},
		"in an object stream": {pdfOf("<< /S /JavaScript /JS 7 0 R >>", pdfStream("/Type /ObjStm /N 1 /First 4", "7 0 (app.alert)")), PDFJavaScript, "app.alert"},
		"the filter's name":   {pdfOf(pdfStream("/Type /EmbeddedFile /Filter 2 0 R", flateOf(t, eicar)), "/FlateDecode"), EICAR, ""},
		"a link":              {pdfOf("<< /S /URI /URI 2 0 R >>", "(https://a.example/x)"), URI, "https://a.example/x"},
		"no encryption":       {pdfOf("<< /Encrypt 9 0 R >>", pdfStream("/Type /EmbeddedFile", program())), NameTypeMismatch, ""},
	} {
		got := walkWith(Options{}, c.content, "a.pdf")
		if name == "no encryption" {
			if len(got.objects) != 2 {
				t.Errorf("%s: %q", name, got.paths())
			}
			continue
		}
		if !got.says(c.kind, c.detail) {
			t.Errorf("%s: want %s %q, have %q %+v", name, c.kind, c.detail, got.facts(), got.Result)
		}
	}
}
