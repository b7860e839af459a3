package unpack

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"unicode/utf16"
)

const macroSource = "Attribute VB_Name = \"ThisDocument\"\r\nPrivate Sub Document_Open()\r\n  MsgBox 1\r\nEnd Sub\r\n"

// macroDocument is a Word 97 document with one module: some p-code in front, then the packed source.
func macroDocument() []byte {
	return compoundOf("WordDocument", "x", "Macros/VBA/dir", "x", "Macros/VBA/_VBA_PROJECT", "x", "Macros/VBA/ThisDocument", "p-code\x00"+ovba(macroSource))
}

// shortcut is a Windows shell link with a relative path and arguments, in Unicode.
func shortcut(target, arguments string) []byte {
	b := make([]byte, 76)
	copy(b, "L\x00\x00\x00\x01\x14\x02\x00\x00\x00\x00\x00\xc0\x00\x00\x00\x00\x00\x00\x46")
	binary.LittleEndian.PutUint32(b[20:], 8|0x20|0x80)
	for _, s := range []string{target, arguments} {
		b = binary.LittleEndian.AppendUint16(b, uint16(len(s)))
		for _, u := range utf16.Encode([]rune(s)) {
			b = binary.LittleEndian.AppendUint16(b, u)
		}
	}
	return b
}

func workbookStream(sheetType byte) string {
	record := func(id uint16, body string) string {
		return string(binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(nil, id), uint16(len(body)))) + body
	}
	return record(0x809, strings.Repeat("\x00", 16)) + record(0x85, "\x00\x00\x00\x00\x02"+string(rune(sheetType))+"\x06\x00Macro1") + record(0x0a, "")
}

func relsOf(kind, mode, target string) string {
	return fmt.Sprintf(`<?xml version="1.0"?><Relationships xmlns="x"><Relationship Id="r" Type="http://schemas.example/relationships/%s" Target="%s" TargetMode="%s"/></Relationships>`, kind, target, mode)
}

// Documents: what they do is named, wherever it is written.
func TestDocuments(t *testing.T) {
	docx := func(pairs ...string) []byte {
		return zipOf(t, append([]string{"[Content_Types].xml", "<Types/>", "word/document.xml", "<w:document/>"}, pairs...)...)
	}
	for name, c := range map[string]struct {
		content []byte
		kind    Kind
		detail  string // contained in it
	}{
		"a.doc, macro":             {macroDocument(), Macro, ""},
		"a.doc, runs by itself":    {macroDocument(), AutoExec, "Document_Open"},
		"a.docx, macro":            {docx("word/vbaProject.bin", string(compoundOf("VBA/dir", "x", "VBA/M", ovba(macroSource)))), AutoExec, "Document_Open"},
		"a.docx, template":         {docx("word/_rels/settings.xml.rels", relsOf("attachedTemplate", "External", "https://a.example/t.dotm")), RemoteTemplate, "https://a.example/t.dotm"},
		"a.docx, template by UNC":  {docx("word/_rels/settings.xml.rels", relsOf("attachedTemplate", "External", `\\a.example\t.dotm`)), RemoteTemplate, "a.example"},
		"a.docx, object elsewhere": {docx("word/_rels/document.xml.rels", relsOf("oleObject", "External", "mhtml:http://a.example/x!x-usc:y")), RemoteObject, "a.example"},
		"a.docx, link":             {docx("word/_rels/document.xml.rels", relsOf("hyperlink", "External", "https://a.example/")), URI, "https://a.example/"},
		"a.docx, HTML inside":      {docx("word/_rels/document.xml.rels", relsOf("aFChunk", "Internal", "/x.html")), EmbeddedObject, "x.html"},
		"a.docx, object":           {docx("word/embeddings/oleObject1.bin", string(compoundOf("\x01Ole10Native", string(packagerStream("a.exe", program()))))), EmbeddedObject, "a.exe"},
		"a.docx, DDE in one":       {docx("word/footer1.xml", `<w:p><w:fldSimple w:instr=" DDEAUTO c:\\windows\\cmd.exe /k"/></w:p>`), DDE, "cmd.exe"},
		"a.docx, DDE in pieces":    {docx("word/header1.xml", `<w:r><w:instrText>DDE</w:instrText></w:r><w:r><w:instrText>AUTO cmd</w:instrText></w:r>`), DDE, "DDEAUTO cmd"},
		"a.xlsx, DDE":              {zipOf(t, "xl/workbook.xml", "<x/>", "xl/externalLinks/externalLink1.xml", `<externalLink><ddeLink ddeService="cmd"/></externalLink>`), DDE, "cmd"},
		"a.xlsm, Excel 4":          {zipOf(t, "xl/workbook.xml", "<x/>", "xl/macrosheets/sheet1.xml", "<x/>"), ExcelMacro4, "sheet1"},
		"a.xls, Excel 4":           {compoundOf("Workbook", workbookStream(1)), ExcelMacro4, "Macro1 (hidden)"},
		"a.odt, macro":             {zipOf(t, "mimetype", "application/vnd.oasis.opendocument.text", "content.xml", "<x/>", "Basic/Standard/Module1.xml", "<x/>"), Macro, "module1"},
		"a.docx, encrypted":        {compoundOf("EncryptionInfo", "x", "EncryptedPackage", "x"), Encrypted, "Office"},
		"a.rtf, template":          {[]byte(`{\rtf1{\*\template http://a.example/x.dotm}}`), RemoteTemplate, "a.example"},
		"a.rtf, obfuscated object": {[]byte(`{\rtf1{\object{\*\objdata 01{\*\foo 99}05\par 0000 0` + "\r\n" + `2000000 07000000 5061636b616765 {\rtlch}00}}}`), EmbeddedObject, ""},
		"a.rtf, DDE":               {[]byte(`{\rtf1{\field{\*\fldinst {DDE}{AUTO cmd.exe}}}}`), DDE, "cmd.exe"},
		"a.pdf, script":            {pdfOf("<< /S /JavaScript /JS (app.alert\\(1\\)) >>"), PDFJavaScript, "app.alert(1)"},
		"a.pdf, escaped name":      {pdfOf("<< /S /J#61vaScript /#4aS <6170702e> >>"), PDFJavaScript, "app."},
		"a.pdf, in object stream":  {pdfOf(pdfStream("/Type /ObjStm /Filter /FlateDecode", flateOf(t, "1 0 << /S /JavaScript /JS (x) >>"))), PDFJavaScript, "x"},
		"a.pdf, starts a program":  {pdfOf("<< /OpenAction << /S /Launch /Win << /F (cmd.exe) /P (/c x) >> >> >>"), PDFLaunch, ""},
		"a.pdf, on opening":        {pdfOf("<< /OpenAction 2 0 R >>", "<< /S /JavaScript /JS (x) >>"), PDFOpenAction, "JavaScript"},
		"a.pdf, link":              {pdfOf("<< /A << /S /URI /URI (https://a.example/x) >> >>"), URI, "https://a.example/x"},
		"a.pdf, file":              {pdfOf("<< /Type /Filespec /F (a.exe) /EF << /F 2 0 R >> >>", pdfStream("/Type /EmbeddedFile", program())), NameTypeMismatch, ""},
		"a.pdf, encrypted":         {append(pdfOf("<< >>"), "trailer << /Encrypt 5 0 R >>"...), PDFEncrypted, ""},
		"a.html, smuggling":        {[]byte(`<html><script>var b=new Blob([atob(x)]);a.href=URL.createObjectURL(b);a.download="x.zip"</script>`), HTMLSmuggling, "createobjecturl"},
		"a.html, script":           {[]byte(`<html><script>x()</script>`), ScriptInHTML, ""},
		"a.html, data":             {[]byte(`<html><a href="data:application/zip;base64,UEsDBA==">`), DataURI, "application/zip"},
		"a.svg, script":            {[]byte(`<svg xmlns="http://www.w3.org/2000/svg"><script>x()</script></svg>`), SVGScript, ""},
		"a.svg, handler":           {[]byte(`<?xml version="1.0"?><svg onload="x()"/>`), SVGScript, ""},
		"a.html, UTF-16":           {wide("<html><script>x()</script>"), ScriptInHTML, ""},
		"a.html, handler":          {[]byte(`<html><img src=x oNerror =alert(1)>`), ScriptInHTML, "onerror"},
		"a.html, handler, slashes": {[]byte(`<html><svg/onload=x()>`), ScriptInHTML, "onload"},
		"a.html, srcdoc":           {[]byte(`<html><iframe srcdoc="&lt;script&gt;x()&lt;/script&gt;">`), ScriptInHTML, "srcdoc"},
		"a.html, entity":           {[]byte(`<html><a href="&#106;ava&#9;script:x()">`), ScriptInHTML, ""},
		"a.html, NULs":             {[]byte("<html><scr\x00ipt>x()</script>"), ScriptInHTML, ""},
		"a.html, ISO-2022-JP":      {[]byte("<html><meta charset=iso-2022-jp><scr\x1b(Bipt>x()</script>"), ScriptInHTML, ""},
		"a.html, password":         {[]byte(`<form method=post action="https://a.example/x"><input type="password">`), ScriptInHTML, "password"},
		"a.html, goes elsewhere":   {[]byte(`<html><meta http-equiv=refresh content="0; url=https://a.example/">`), ScriptInHTML, "elsewhere"},
		"a.html, by name":          {[]byte(`<html><script>var b=new window["Bl"+"ob"]([window["at" + "ob"](x)]);a["down"+"load"]="x"; URL["createObjectURL"](b)</script>`), HTMLSmuggling, ""},
		"a.html, escapes":          {[]byte(`<html><script>self["\x61\x74\x6f\x62"](x);navigator["\u006dsSaveBlob"](b)</script>`), HTMLSmuggling, ""},
		"a.html, writes itself":    {[]byte(`<html><script>document.write(unescape("` + strings.Repeat("%3c%62", 300) + `"))</script>`), HTMLSmuggling, "unescape("},
		"a.html, numbers":          {[]byte(`<html><script>var a=[` + numbered(program()) + `];</script>`), HTMLSmuggling, "numbers"},
		"a.html, hexadecimal":      {[]byte(fmt.Sprintf(`<html><script>var a="%x"</script>`, program())), HTMLSmuggling, "hexadecimal"},
		"a.svg, name space":        {[]byte(`<svg xmlns="http://www.w3.org/2000/svg" xmlns:s="http://www.w3.org/2000/svg"><s:script>x()</s:script></svg>`), SVGScript, ""},
		"a.svg, UTF-16":            {wide(`<svg xmlns="x"><script>x()</script></svg>`), SVGScript, ""},
		"a.svg, UTF-16, no mark":   {wide(`<svg xmlns="x"><script>x()</script></svg>`)[2:], SVGScript, ""},
		"a.svg, entity":            {[]byte(`<!DOCTYPE svg [<!ENTITY x "&#60;script>x()&#60;/script>">]><svg>&x;</svg>`), SVGScript, ""},
		"a.svg, animated":          {[]byte(`<svg><a><animate attributeName="href" values="javascript:x()"/></a></svg>`), SVGScript, ""},
		"a.svg, foreign":           {[]byte(`<svg><foreignObject><iframe src="https://a.example/"></foreignObject></svg>`), SVGScript, ""},
		"a.lnk":                    {shortcut("powershell.exe", "-enc AAAA"), LNKCommand, "powershell.exe -enc AAAA"},
		"a.url":                    {[]byte("[InternetShortcut]\r\nURL=https://a.example/x\r\n"), URI, "https://a.example/x"},
		"a.url, a share":           {[]byte("[InternetShortcut]\r\nURL=file://a.example/x.exe\r\n"), RemoteObject, "a.example"},
		"a.library-ms":             {[]byte(`<?xml version="1.0"?><libraryDescription><url>https://a.example/dav</url></libraryDescription>`), URI, "https://a.example/dav"},
		"a.ics, link on two lines": {[]byte("BEGIN:VCALENDAR\r\nDESCRIPTION:https://a.exa\r\n mple/x\r\n"), URI, "https://a.example/x"},
		"a.vcf":                    {[]byte("BEGIN:VCARD\r\nURL:https://a.example/x\r\n"), URI, "https://a.example/x"},
		"a.msg, attachment":        {compoundOf("__properties_version1.0", "x", "__attach_version1.0_#00000000/__substg1.0_37010102", program(), "__attach_version1.0_#00000000/__substg1.0_3707001E", "a.pdf"), NameTypeMismatch, ".pdf"},
	} {
		file, _, _ := strings.Cut(name, ",")
		got := walkWith(Options{}, c.content, file)
		if name == "a.pdf, file" { // the file itself, by its name
			if p := strings.Join(got.paths(), " "); p != "a.pdf a.pdf/a.exe" {
				t.Errorf("%s: %q", name, p)
			}
			continue
		}
		if !got.says(c.kind, c.detail) {
			t.Errorf("%s: want %s %q, have %q %q %+v", name, c.kind, c.detail, got.facts(), got.paths(), got.Result)
		}
	}
}

// wide is a text in UTF-16 with its mark.
func wide(text string) []byte {
	out := []byte{0xff, 0xfe}
	for _, u := range utf16.Encode([]rune(text)) {
		out = binary.LittleEndian.AppendUint16(out, u)
	}
	return out
}

func numbered(content string) string {
	var all []string
	for i := range len(content) {
		all = append(all, fmt.Sprint(content[i]))
	}
	return strings.Join(all, ",")
}

// What honest documents have is no alarm.
func TestHonestDocuments(t *testing.T) {
	for name, content := range map[string][]byte{
		"a.pdf":  pdfOf("<< /Type /Catalog /OpenAction [3 0 R /Fit] /Names << /Dests 4 0 R >> >>", pdfStream("/Filter /FlateDecode", flateOf(t, "BT (Hello) Tj ET"))),
		"a.docx": zipOf(t, "[Content_Types].xml", "<Types/>", "word/document.xml", `<w:p><w:instrText>PAGE</w:instrText></w:p>`, "word/_rels/settings.xml.rels", relsOf("attachedTemplate", "External", `file:///C:\Templates\Letter.dot`)),
		"a.html": []byte(`<html><body>Hello <img src="data:image/png;base64,iVBORw0KGgo="></body></html>`),
		"b.html": []byte(`<html><script type="application/ld+json">{"a": 1}</script><script type="text/template"><b></script><p one="x">on = 1</p></html>`),
		"a.rtf":  []byte(`{\rtf1\ansi Hello {\*\generator Word}\par}`),
		"a.svg":  []byte(`<svg xmlns="x"><path d="M0 0"/></svg>`),
		"b.svg":  []byte(`<svg xmlns="x"><switch><foreignObject><div>text</div></foreignObject><text>text</text></switch></svg>`), // as drawing programs write text
		"a.zip":  zipOf(t, "Grüße.txt", "Hallo", "bilder/", "", "bilder/b.zip", string(zipOf(t, "x.txt", "x"))),
		"a.txt":  []byte("Please look at the attached invoice.\r\n"),
	} {
		if got := walkWith(Options{}, content, name); len(got.facts()) != 0 || got.Unscannable != nil || got.Limits != nil {
			t.Errorf("%s: %q %+v", name, got.facts(), got.Result)
		}
	}
}
