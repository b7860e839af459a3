package unpack

import (
	"encoding/base64"
	"slices"
	"strings"
	"testing"
)

// Files within calendars and contacts are opened as any attachment is.
func TestCards(t *testing.T) {
	coded := base64.StdEncoding.EncodeToString([]byte(program()))
	folded := coded[:60] + "\r\n " + coded[60:120] + "\r\n " + coded[120:]
	for name, c := range map[string]struct{ content, path string }{
		"a.ics":                  {"BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nATTACH;FMTTYPE=application/octet-stream;ENCODING=BASE64;VALUE=BINARY;X-FILENAME=\"a;b.exe\":" + folded + "\r\nEND:VEVENT\r\n", "a.ics/a;b.exe"},
		"b.ics":                  {"BEGIN:VCALENDAR\nATTACH;VALUE=BINARY;ENCODING=BASE64;FILENAME=a.exe:" + coded + "\n", "b.ics/a.exe"},
		"c.ics, a data URI":      {"BEGIN:VCALENDAR\nATTACH:data:application/octet-stream;base64," + coded + "\n", "c.ics/attach"},
		"a.vcf, 3.0":             {"BEGIN:VCARD\r\nVERSION:3.0\r\nPHOTO;ENCODING=b;TYPE=JPEG:" + folded + "\r\n", "a.vcf/photo"},
		"a.vcf, 2.1":             {"BEGIN:VCARD\r\nVERSION:2.1\r\nSOUND;WAVE;BASE64:\r\n " + folded + "\r\n\r\nEND:VCARD\r\n", "a.vcf/sound"},
		"a.vcf, 2.1, not folded": {"BEGIN:VCARD\nLOGO;ENCODING=BASE64:" + coded[:60] + "\n" + coded[60:] + "\n\nEND:VCARD\n", "a.vcf/logo"},
		"a.vcf, 4.0":             {"BEGIN:VCARD\r\nVERSION:4.0\r\nitem1.KEY:data:image/png;base64," + folded + "\r\n", "a.vcf/key"},
	} {
		file, _, _ := strings.Cut(name, ",")
		got := walkWith(Options{}, []byte(c.content), file)
		at := slices.IndexFunc(got.objects, func(o *Object) bool { return o.Hash == walkWith(Options{}, []byte(program()), "x").objects[0].Hash })
		if at < 0 {
			t.Errorf("%s: %q", name, got.paths())
		} else if path := strings.Join(got.objects[at].Path, "/"); path != c.path {
			t.Errorf("%s: %q", name, path)
		}
	}
	honest := "BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Bob\r\nNOTE:a:b\r\nPHOTO;ENCODING=b;TYPE=PNG:iVBORw0KGgoAAAANSUhEUg==\r\nEND:VCARD\r\n"
	if got := walkWith(Options{}, []byte(honest), "a.vcf"); len(got.facts()) > 0 || len(got.objects) != 2 {
		t.Errorf("%q %q", got.facts(), got.paths())
	}
}
