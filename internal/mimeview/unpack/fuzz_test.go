package unpack

import (
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"postern/internal/mimeview/unpack/officecrypt"
	"postern/internal/mimeview/unpack/pdf"
	"postern/internal/mimeview/unpack/sevenzipcheck"
	"postern/internal/mimeview/unpack/vba"
	"postern/internal/mimeview/unpack/zipdir"
)

// small limits keep a fuzzing run quick; what holds for them holds for all.
func small() Options {
	return Options{Limits: Limits{Entries: 100, Total: 4 << 20, Entry: 1 << 20, Time: 5 * time.Second}, Passwords: []string{"secret"}}
}

func seeds(f *testing.F) map[string][]byte {
	all := fixtures(f)
	all["stored.rar"] = rarOf("eicar.com", eicar)
	all["a.zip"] = zipOf(f, "a.txt", "text", "b.zip", string(zipOf(f, "c.exe", program())))
	all["a.tar.gz"] = gzipOf(f, "a.tar", tarOf(f, tarFile("a", "b")))
	all["a.xz"] = xzOf(f, []byte("text"))
	all["a.zst"] = zstdOf(f, []byte("text"))
	all["a.doc"] = macroDocument()
	all["a.pdf"] = pdfOf("<< /OpenAction << /S /JavaScript /JS (app.alert\\(1\\)) >> >>", pdfStream("/Filter /FlateDecode", flateOf(f, "text")))
	all["a.rtf"] = []byte(`{\rtf1{\*\template http://a.example/x}{\object{\*\objdata 0105000002000000}}{\field{\*\fldinst HYPERLINK "http://b.example"}}}`)
	all["a.html"] = []byte(`<html><script>atob("TVqQ")</script><a download="x" href="data:text/html;base64,PGI+">x</a>`)
	all["b.html"] = []byte(`<html><svg/onload=x()><iframe srcdoc="&lt;b&gt;"><script>var a="` + strings.Repeat("4d", 60) + `",b=[` + numbered(program()) + `];document.write(unescape("x"))</script>`)
	all["a.svg"] = wide(`<!DOCTYPE svg [<!ENTITY x "&#60;script>">]><svg><s:script/></svg>`)
	all["a.ics"] = []byte("BEGIN:VCALENDAR\r\nATTACH;ENCODING=BASE64;FILENAME=\"a;b\":TVqQ\r\n AAAA\r\n")
	all["a.vcf"] = []byte("BEGIN:VCARD\nPHOTO:data:image/png;base64,iVBO\nSOUND;BASE64:\n AAAA\n\n")
	all["a.slk"] = []byte("ID;P\nO;E\nNN;NAuto_open;ER1C1\nC;X1;Y1;EEXEC(\"x\")\n")
	all["a.csv"] = []byte("a,=cmd|'/c x'!A0\n")
	all["a.mso"] = activeMime(f, macroDocument())
	all["a.xls"] = compoundOf("Workbook", sealedWorkbook("VelvetSweatshop"))
	all["flat.xml"] = []byte(`<pkg:package xmlns:pkg="http://schemas.microsoft.com/office/2006/xmlPackage"><pkg:part pkg:name="/a"><pkg:binaryData>TVqQ</pkg:binaryData></pkg:part></pkg:package>`)
	all["a.cab"], all["a.lzh"], all["b.lzh"], all["a.ace"], all["a.cpio"] = cabOf("a.exe"), lzhOf(0, "a"), lzhOf(2, "a"), aceOf("a"), oldCpio("a", "b")
	all["a.ex_"], all["winmail.dat"] = szddOf("text"), tnefOf("a.docx", "x")
	all["a.url"] = []byte("[InternetShortcut]\r\nURL=file://host/share/x.exe\r\n")
	all["a.lnk"] = shortcut("powershell.exe", "-enc AAAA")
	all["document.xml.rels"] = []byte(`<Relationships><Relationship Type="x/attachedTemplate" TargetMode="External" Target="http://a.example/x"/></Relationships>`)
	return all
}

func FuzzWalk(f *testing.F) {
	for name, content := range seeds(f) {
		f.Add(name, content)
	}
	debug.SetMemoryLimit(1 << 30)
	f.Fuzz(func(t *testing.T, name string, content []byte) {
		start := time.Now()
		got := walkWith(small(), content, name)
		if took := time.Since(start); took > 20*time.Second {
			t.Errorf("took %v", took)
		}
		if got.Objects > 100 || got.Decoded > 8<<20 {
			t.Errorf("limits do not hold: %+v", got.Result)
		}
		for _, why := range got.Unscannable {
			if strings.Contains(why, ": broken: ") {
				t.Errorf("a panic was caught: %s", why)
			}
		}
	})
}

func FuzzZip(f *testing.F) {
	for _, content := range seeds(f) {
		f.Add(content)
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		if dir := zipdir.Read(content, 100); len(dir.Entries) > 100 {
			t.Errorf("%d entries", len(dir.Entries))
		}
		_, _ = sevenzipcheck.Check(content, sevenzipcheck.Limits{Files: 100, Dictionary: 1 << 20}) // must return, no more
		walkWith(small(), content, "a.zip")
	})
}

func FuzzVBA(f *testing.F) {
	f.Add([]byte(ovba("Attribute VB_Name = \"A\"\r\nSub AutoOpen()\r\nEnd Sub\r\n")), macroDocument())
	f.Fuzz(func(t *testing.T, packed, document []byte) {
		plain, _ := vba.Decompress(packed, 1<<20)
		if len(plain) > 1<<20+4096 {
			t.Errorf("%d octets", len(plain))
		}
		vba.AutoExec(plain)
		vba.Modules([]vba.Stream{{Name: "dir", Content: packed}, {Name: "A", Content: document}})
		walkWith(small(), document, "a.doc")
	})
}

func FuzzPDF(f *testing.F) {
	for _, content := range seeds(f) {
		f.Add(content)
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		pdf.Scan(content, pdf.Limits{Streams: 100, Objects: 1 << 20})
		walkWith(small(), append([]byte("%PDF-1.7\n"), content...), "a.pdf")
	})
}

// Whatever the streams say, opening what is sealed ends, and gives no more than there is.
func FuzzSealed(f *testing.F) {
	f.Add([]byte(sealedWorkbook("VelvetSweatshop"))[20:], []byte("\x04\x00\x04\x00\x40\x00\x00\x00<encryption><keyData saltValue=\"AAAA\"/></encryption>"))
	f.Fuzz(func(t *testing.T, pass, info []byte) {
		if plain, err := officecrypt.OpenWorkbook(pass, pass, "x"); err == nil && len(plain) > len(pass) {
			t.Errorf("%d octets of %d", len(plain), len(pass))
		}
		if plain, err := officecrypt.NewPackage(info, append(make([]byte, 8), pass...), func() bool { return true }).Open("x"); err == nil && len(plain) > len(pass) {
			t.Errorf("%d octets of %d", len(plain), len(pass))
		}
	})
}

func FuzzNames(f *testing.F) {
	for _, name := range []string{"a.pdf.exe", "a.exe. ", "a.exe:.txt", "a\u202egpj.exe", "a%00.exe", `..\..\x`, "CON.txt", "! ", strings.Repeat("_", 200) + ". "} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		Extensions([]string{name})
	})
}
