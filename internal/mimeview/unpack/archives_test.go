package unpack

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"postern/internal/mimeview/unpack/filetype"
)

// Archives that readers understand differently: everything that any of them would show is reported.
func TestArchives(t *testing.T) {
	good, bad := zipOf(t, "ok.txt", "ok"), zipOf(t, "bad.exe", program())
	var renamed rawZip
	renamed.entry("ok.txt", 0, 256, 256, renamed.local("bad.exe", 0, []byte(program()), 256, 0))
	var hidden rawZip
	hidden.local("bad.exe", 0, []byte(program()), 256, 0)
	hidden.entry("ok.txt", 0, 2, 2, hidden.local("ok.txt", 0, []byte("ok"), 2, 0))
	var lying rawZip
	lying.entry("a.txt", 0, 1, 1, lying.local("a.txt", 0, []byte("longer"), 6, 0))
	var twice rawZip
	at := twice.local("a", 0, []byte("x"), 1, 0)
	twice.entry("a", 0, 1, 1, at)
	twice.entry("b", 0, 1, 1, at)
	comment := slices.Clone(good)
	binary.LittleEndian.PutUint16(comment[len(comment)-2:], uint16(len(bad)))
	brokenLocator := slices.Insert(slices.Clone(good), len(good)-22, append([]byte("PK\x06\x07\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff"), 1, 0, 0, 0)...)
	truncated := gzipOf(t, "", []byte(strings.Repeat("some text that is long enough", 100)))
	badSum := gzipOf(t, "", []byte(eicar))
	badSum[len(badSum)-6] ^= 0xff
	member := append(gzipOf(t, "", []byte(eicar[:30])), gzipOf(t, "", []byte(eicar[30:]))...)
	// the archive with some bits in the first local header and in the directory turned over
	twisted := func(at int, local, central byte) []byte {
		b := slices.Clone(bad)
		b[at] ^= local
		b[bytes.Index(b, []byte("PK\x01\x02"))+at+2] ^= central
		return b
	}
	link := func(kind byte, name, target string) []byte {
		return tarOf(t, tar.Header{Name: name, Linkname: target, Typeflag: kind})
	}
	for name, c := range map[string]struct {
		content []byte
		facts   string   // kinds that must be there
		paths   []string // and objects
	}{
		"local name differs":        {renamed.end(), "NAME_MISMATCH", []string{"a/ok.txt"}},
		"in no directory":           {hidden.end(), "HIDDEN_ENTRY", []string{"a/ok.txt", "a/bad.exe"}},
		"sizes differ":              {lying.end(), "LYING_SIZE", nil},
		"one content, two entries":  {twice.end(), "OVERLAPPING_ENTRIES", []string{"a/a", "a/b"}},
		"said to be encrypted":      {twisted(6, 1, 1), "HEADERS_DIFFER", []string{"a/bad.exe"}},
		"encrypted, local header":   {twisted(6, 1, 0), "HEADERS_DIFFER", []string{"a/bad.exe"}},
		"encrypted, directory":      {twisted(6, 0, 1), "HEADERS_DIFFER", []string{"a/bad.exe"}},
		"two methods":               {twisted(8, 0, 8), "HEADERS_DIFFER", nil},
		"overlapping":               {overlapped(t, 3), "OVERLAPPING_ENTRIES LIMIT_HIT", nil},
		"two archives in a row":     {append(slices.Clone(good), bad...), "MANY_EOCD", []string{"a/bad.exe", "a/ok.txt"}},
		"an archive in the comment": {append(comment, bad...), "MANY_EOCD", []string{"a/bad.exe", "a/ok.txt"}},
		"behind a program":          {append([]byte(program()), bad...), "PREFIXED_ARCHIVE", []string{"a/bad.exe"}},
		"junk behind":               {append(slices.Clone(bad), strings.Repeat("junk", 100)...), "", []string{"a/bad.exe"}},
		"broken ZIP64 locator":      {brokenLocator, "UNSCANNABLE", []string{"a/ok.txt"}},
		"path":                      {zipOf(t, "../../etc/cron.d/x", "x"), "PATH_TRAVERSAL", nil},
		"drive":                     {zipOf(t, `C:\Windows\x.dll`, "x"), "PATH_TRAVERSAL", nil},
		"tar, link":                 {link(tar.TypeSymlink, "a", "/etc/passwd"), "SYMLINK_ENTRY", nil},
		"tar, hard link":            {link(tar.TypeLink, "a", "../x"), "SYMLINK_ENTRY", nil},
		"tar, device":               {link(tar.TypeChar, "a", ""), "SYMLINK_ENTRY", nil},
		"tar, absolute":             {tarOf(t, tarFile("/etc/x", "x")), "PATH_TRAVERSAL", nil},
		"gzip, path as name":        {gzipOf(t, "../../x.exe", []byte("x")), "PATH_TRAVERSAL", nil},
		"gzip, cut short":           {truncated[:len(truncated)-20], "UNSCANNABLE", nil},
		"gzip, wrong sum":           {badSum, "EICAR", nil},
		"gzip, over two members":    {member, "EICAR", nil},
		"double extension":          {zipOf(t, "invoice.pdf.exe", program()), "DOUBLE_EXTENSION", nil},
		"double, far apart":         {zipOf(t, "invoice.pdf"+strings.Repeat(" ", 200)+".exe", program()), "DOUBLE_EXTENSION", nil},
		"right to left":             {zipOf(t, "a\u202egpj.exe", program()), "BIDI_NAME", nil},
		"code page 437":             {zipOf(t, "Gr\x81n.exe", program()), "", []string{"a/Grün.exe"}},
		"name of 60,000 octets":     {zipOf(t, strings.Repeat("a", 60_000)+".pdf.exe", "x"), "DOUBLE_EXTENSION", nil},
		"document that is not":      {zipOf(t, "a.pdf", program()), "NAME_TYPE_MISMATCH", nil},
		"archive with image name":   {zipOf(t, "a.jpg", string(bad)), "NAME_TYPE_MISMATCH", []string{"a/a.jpg/bad.exe"}},
	} {
		got := walkWith(Options{}, c.content, "a")
		for _, k := range strings.Fields(c.facts) {
			if !got.has(Kind(k)) {
				t.Errorf("%s: no %s: %q %+v", name, k, got.facts(), got.Result)
			}
		}
		for _, p := range c.paths {
			if !slices.Contains(got.paths(), p) {
				t.Errorf("%s: no %s: %q %+v", name, p, got.paths(), got.Result)
			}
		}
	}
	if got := walkWith(Options{}, renamed.end(), "a"); !slices.Equal(got.objects[1].Names, []string{"ok.txt", "bad.exe"}) {
		t.Errorf("names %q", got.objects[1].Names)
	}
}

// dosProgram is the header of DOS and a page of nothing.
func dosProgram() []byte {
	b := make([]byte, 512)
	copy(b, "MZ\x00\x00\x01\x00\x00\x00\x02\x00")
	return b
}

// linked is what a linker writes in front of a Windows program.
func linked() string {
	b := make([]byte, 256)
	copy(b, "MZ\x90\x00\x03\x00\x00\x00\x04\x00\x00\x00\xff\xff\x00\x00\xb8\x00\x00\x00\x00\x00\x00\x00\x40")
	b[0x3c] = 0x80
	return string(b)
}

// What carries other files is not the archive that one of these is.
func TestCarriers(t *testing.T) {
	docx := string(zipOf(t, "[Content_Types].xml", "<Types/>", "word/document.xml", "<w:document/>"))
	two := docx + string(zipOf(t, "a.txt", "a"))
	for name, content := range map[string][]byte{
		"winmail.dat": tnefOf("report.docx", docx),
		"a.msg":       compoundOf("__properties_version1.0", "x", "__attach_version1.0_#00000000/__substg1.0_37010102", two, "__attach_version1.0_#00000000/__substg1.0_3707001E", "a.bin"),
		"a.tar":       tarOf(t, tarFile("a.docx", docx), tarFile("b.xlsx", two[len(docx):])),
		"a.doc":       compoundOf("WordDocument", "x", "ObjectPool/_1/Package", docx),
		"a.pdf":       pdfOf(pdfStream("/Type /EmbeddedFile", docx), pdfStream("/Type /EmbeddedFile", two[len(docx):])),
	} {
		got := walkWith(Options{}, content, name)
		for _, k := range []Kind{PrefixedArchive, ManyEOCD, HiddenEntry, LyingSize, OverlappingEntries, Unscannable} {
			if name == "a.msg" && k == ManyEOCD { // its attachment is two archives, one behind the other
				continue
			}
			if got.has(k) || got.Unscannable != nil {
				t.Errorf("%s: %s: %q %+v", name, k, got.facts(), got.Result)
			}
		}
	}
	// by its name it is opened as an archive
	if got := walkWith(Options{}, pdfOf(pdfStream("", docx)), "a.zip"); !got.has(PrefixedArchive) {
		t.Errorf("%q", got.facts())
	}
}

// tnefOf is a winmail.dat with one file.
func tnefOf(name, content string) []byte {
	out := []byte("\x78\x9f\x3e\x22\x01\x00")
	attribute := func(id uint32, value string) {
		out = append(out, 2)
		out = binary.LittleEndian.AppendUint32(out, id)
		out = binary.LittleEndian.AppendUint32(out, uint32(len(value)))
		out = append(out, value...)
		sum := 0
		for i := range len(value) {
			sum += int(value[i])
		}
		out = binary.LittleEndian.AppendUint16(out, uint16(sum))
	}
	attribute(tnefRendering, strings.Repeat("\x00", 14))
	attribute(tnefTitle, name+"\x00")
	attribute(tnefContent, content)
	return out
}

// A limit that is reached is said, and a marker many times in front of an archive hides none.
func TestLimitsAreSaid(t *testing.T) {
	rtf := `{\rtf1` + strings.Repeat(`{\object{\*\objdata 01050000}}`, maxObjects+1) + "}"
	pictures := strings.Repeat("<a href=\"data:application/zip;base64,UEsDBA==\">", maxDecoys+1)
	links := strings.Repeat("https://a.example/x ", maxURLs+1)
	for name, c := range map[string]struct {
		content []byte
		kind    Kind
	}{
		"a.rtf":  {[]byte(rtf), LimitHit},
		"a.html": {[]byte("<html>" + pictures), LimitHit},
		"b.html": {[]byte("<html>" + links), ManyLinks},
		"a.gif":  {slices.Concat([]byte("GIF89a"), bytes.Repeat([]byte("Rar!\x1a\x07junk"), 100), rarOf("eicar.com", eicar)), EICAR},
	} {
		if got := walkWith(Options{}, c.content, name); !got.has(c.kind) {
			t.Errorf("%s: no %s: %q", name, c.kind, got.facts())
		}
	}
}

// The extensions of the longest names, too.
func TestLongExtensions(t *testing.T) {
	for name, want := range map[string]string{
		"a.SettingContent-ms": ".settingcontent-ms", "a.searchConnector-ms": ".searchconnector-ms", "a.pdf.settingcontent-ms": ".settingcontent-ms",
		"a.settingcontent-ms .": ".settingcontent-ms", "We met. Then all of us went home": "",
	} {
		if got := strings.Join(LastExtensions([]string{name}), " "); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// Random octets are nothing that holds mail: signatures and keys are full of them.
func TestRandomOctetsAreNoType(t *testing.T) {
	source := rand.New(rand.NewPCG(1, 2))
	octets, hits := make([]byte, 256), map[string]int{}
	for n := range 100_000 {
		for i := range octets {
			octets[i] = byte(source.Uint32())
		}
		magics := []string{"", "MZ", "\x1f\x9d", "\x1f\x8b", "\x1f\xa0", "\x60\xea", "\xc7\x71"}
		if n%10 != 0 { // each tenth with what a structure has to rule out
			magics = magics[:1]
		}
		for _, magic := range magics {
			copy(octets, magic)
			for _, typ := range filetype.Detect(octets, nil) {
				switch typ.Class {
				case filetype.Other, filetype.Image, filetype.Text:
				default:
					if magic == "" {
						t.Fatalf("%x is %s", octets[:16], typ.Name)
					}
					hits[magic]++
				}
			}
		}
	}
	// the structure has to rule out all but a few of those that begin like it
	for magic, n := range hits {
		if n > 10 {
			t.Errorf("%x: %d of 10,000", magic, n)
		}
	}
}

// The label says nothing: types come from the content, and a file of two types has both.
func TestTypes(t *testing.T) {
	iso := make([]byte, 0x8806+2048)
	copy(iso[0x8001:], "CD001")
	vhd := append(make([]byte, 1024), append([]byte("conectix"), make([]byte, 504)...)...)
	for name, c := range map[string]struct {
		content string
		want    string // extensions of the types, in order
	}{
		"a.txt program":       {program(), ".exe"},
		"a.png":               {string(zipOf(t, "a", "b")), ".zip"},
		"a.svg":               {"<html><script>x()</script>", ".html .svg"},
		"a.pdf":               {"%PDF-1.4\n", ".pdf"},
		"pdf and zip":         {"%PDF-1.4\n" + string(zipOf(t, "a", "b")), ".pdf .zip"},
		"gif and jar":         {"GIF89a;" + string(zipOf(t, "META-INF/MANIFEST.MF", "x", "A.class", "x")), ".gif .jar"},
		"html and zip":        {"<html>" + string(zipOf(t, "a", "b")), ".zip"},
		"iso":                 {string(iso), ".iso"},
		"vhd":                 {string(vhd), ".vhd"},
		"vhdx":                {"vhdxfile\x00", ".vhdx"},
		"one":                 {"\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d\xae\xb1\x53\x78\xd0\x29\x96\xd3", ".one"},
		"lnk":                 {string(shortcut("a", "b")), ".lnk"},
		"chm":                 {"ITSF\x03\x00", ".chm"},
		"elf":                 {"\x7fELF\x02", ".elf"},
		"mach-o":              {"\xcf\xfa\xed\xfe\x07", ""},
		"class":               {"\xca\xfe\xba\xbe\x00\x00\x00\x34", ".class"},
		"a.js":                {"var a = 1;", ".js"},
		"a.js.txt":            {"var a = 1;", ".js"},
		"a.hta":               {"<html><hta:application></html>", ".html .hta"},
		"a.wsf":               {"<job><script>", ".wsf .html"},
		"a.ps1":               {"Write-Host 1", ".ps1"},
		"bat":                 {"@echo off\r\n", ".bat"},
		"utf-16 bat":          {"\xff\xfe@\x00e\x00c\x00h\x00o\x00 \x00o\x00f\x00f\x00", ".bat"},
		"vbs":                 {`Set s = CreateObject("WScript.Shell")`, ".vbs"},
		"shell":               {"#!/bin/sh\n", ".sh"},
		"eml":                 {"From: a@a.example\r\nTo: b@b.example\r\nSubject: x\r\n\r\n", ".eml"},
		"ics":                 {"BEGIN:VCALENDAR\r\n", ".ics"},
		"vcf":                 {"BEGIN:VCARD\r\n", ".vcf"},
		"a.library-ms":        {"<libraryDescription>", ".library-ms"},
		"a.search-ms":         {"<persistedQuery>", ".search-ms"},
		"plain":               {"MZ is how the letter began.", ".txt"},
		"apk":                 {string(zipOf(t, "AndroidManifest.xml", "x")), ".apk"},
		"a.docx":              {string(zipOf(t, "[Content_Types].xml", "x", "word/document.xml", "x")), ".docx"},
		"rar":                 {string(rarOf("a", "b")), ".rar"},
		"program and rar":     {program() + string(rarOf("a", "b")), ".exe .rar"},
		"xls":                 {string(compoundOf("Workbook", "x")), ".xls"},
		"rtf":                 {`{\rtf1}`, ".rtf"},
		"png":                 {"\x89PNG\r\n\x1a\n", ".png"},
		"two octets of MZ":    {"MZ\x9e\x3d" + strings.Repeat("\xf1\x07\x92", 30), ""},
		"a short MZ":          {"MZ\x90\x00", ""},
		"a DOS program":       {string(dosProgram()), ".exe"},
		"a cut program":       {linked()[:100], ".exe"},
		"two octets of .Z":    {"\x1f\x9d\x90" + strings.Repeat("\xf1\xb7\x92", 30), ""},
		"two octets of gzip":  {"\x1f\x8b\x08\x00" + strings.Repeat("\xff\xff\x92", 30), ""},
		"two octets of cpio":  {"\xc7\x71\x08\x00" + strings.Repeat("\xff\xff\x92", 30), ""},
		"two octets of ARJ":   {"\x60\xea\x22\x00" + strings.Repeat("\x01\x02\x00", 30), ""},
		"MSCF in a text":      {"MSCF is a name", ".txt"},
		"digits of cpio":      {"070701 and so on, " + strings.Repeat("a line of text", 20), ".txt"},
		"ustar without a sum": {strings.Repeat("x", 257) + "ustar" + strings.Repeat("\x01", 300), ""},
		"a boot signature":    {"\xeb\x01" + strings.Repeat("\x01", 508) + "\x55\xaa", ""},
		"not a thing known":   {"\x01\x02\x03\x04", ""},
	} {
		file, _, _ := strings.Cut(name, " ")
		got := walkWith(Options{}, []byte(c.content), file)
		var ext []string
		for _, typ := range got.objects[0].Types {
			ext = append(ext, typ.Ext)
		}
		if strings.Join(ext, " ") != c.want {
			t.Errorf("%s: %q, want %q", name, strings.Join(ext, " "), c.want)
		}
	}
}

func TestExtensions(t *testing.T) {
	for name, want := range map[string]string{
		"a.exe":                       ".exe",
		"a.EXE":                       ".exe",
		"a.exe.":                      ".exe",
		"a.exe ":                      ".exe",
		"a.exe. . ":                   ".exe",
		"a.exe:.txt":                  ".exe .txt",
		"a.exe::$DATA":                ".exe",
		"a.pdf.exe":                   ".exe .pdf",
		"a\u202egpj.exe":              ".exe",
		"a.e\u200bxe":                 ".exe .e\u200bxe",
		"a.exe%00.txt":                ".exe .exe\x00 .txt",
		"a.exe\x00.txt":               ".exe .txt",
		"a%2eexe":                     ".exe",
		"exe%2e":                      "",
		`..\..\x.bat`:                 ".bat",
		"../../x.bat":                 ".bat",
		"x.d/readme":                  "",
		"a\uff0eexe":                  ".exe",
		"readme":                      "",
		"":                            "",
		".":                           "",
		"Version 1.2 of it. And more": "",
		"a.tar.gz":                    ".gz .tar",
	} {
		got := Extensions([]string{name})
		// what a cut leaves behind is of no interest here
		got = slices.DeleteFunc(got, func(e string) bool { return strings.ContainsAny(e, "\x00%") })
		wanted := slices.DeleteFunc(strings.Split(want, " "), func(e string) bool { return e == "" || strings.Contains(e, "\x00") })
		slices.Sort(wanted)
		if !slices.Equal(got, wanted) {
			t.Errorf("%q: %q, want %q", name, got, wanted)
		}
	}
	if got := Extensions([]string{"a.pdf", "a.exe"}); !slices.Equal(got, []string{".exe", ".pdf"}) {
		t.Errorf("%q", got)
	}
}
