package unpack

import (
	"bytes"
	"compress/zlib"
	"crypto/md5"
	"crypto/rc4"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"
)

// activeMime wraps a file as Word does in pages.
func activeMime(t testing.TB, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	b.WriteString("ActiveMime\x00\x00\x01\xf0\x04\x00\x00\x00\xff\xff\xff\xff\x00\x00\x07\xf0")
	b.Write(make([]byte, 0x32-b.Len()))
	z := zlib.NewWriter(&b)
	_, err := z.Write(content)
	must(t, err)
	must(t, z.Close())
	return b.Bytes()
}

// sealedWorkbook encrypts the records behind the FilePass by RC4 with 40 bits. OFFCRYPTO 2.3.6
func sealedWorkbook(password string) string {
	record := func(id uint16, body string) []byte {
		return append(binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(nil, id), uint16(len(body))), body...)
	}
	first := md5.Sum(wide(password)[2:])
	salt := []byte("0123456789abcdef")
	second := md5.Sum(bytes.Repeat(append(bytes.Clone(first[:5]), salt...), 16))
	key := md5.Sum(append(bytes.Clone(second[:5]), 0, 0, 0, 0))
	crypt := func(skip int, b []byte) []byte {
		c, _ := rc4.NewCipher(key[:])
		out := make([]byte, skip+len(b))
		c.XORKeyStream(out, append(make([]byte, skip), b...))
		return out[skip:]
	}
	verifier := md5.Sum([]byte("anything"))
	hash := md5.Sum(verifier[:])
	pass := "\x01\x00\x01\x00\x01\x00" + string(salt) + string(crypt(0, append(bytes.Clone(verifier[:]), hash[:]...)))
	out := append(record(0x809, strings.Repeat("\x00", 16)), record(0x2f, pass)...)
	sheet := record(0x85, "\x00\x00\x00\x00\x02\x01\x06\x00Macro1")
	body := crypt(len(out)+4, sheet[4:])
	copy(body, sheet[4:8])
	out = append(append(out, sheet[:4]...), body...)
	return string(append(out, record(0x0a, "")...))
}

func TestOffice(t *testing.T) {
	project := string(compoundOf("VBA/dir", "x", "VBA/M", ovba(macroSource)))
	mime := "MIME-Version: 1.0\nContent-Type: multipart/related; boundary=x\n\n--x\nContent-Type: application/x-mso\n\nx\n--x--\n"
	opc := `<?xml version="1.0"?><?mso-application progid="Word.Document"?><pkg:package xmlns:pkg="http://schemas.microsoft.com/office/2006/xmlPackage"><pkg:part pkg:name="/word/vbaProject.bin"><pkg:binaryData>` +
		base64.StdEncoding.EncodeToString([]byte(project)) + `</pkg:binaryData></pkg:part></pkg:package>`
	renamed := strings.ReplaceAll(strings.ReplaceAll(opc, "pkg:", "q:"), `<?mso-application progid="Word.Document"?>`, "")
	word2003 := `<?xml version="1.0"?><w:wordDocument xmlns:w="http://schemas.microsoft.com/office/word/2003/wordml"><w:docSuppData><w:binData w:name="editdata.mso">` +
		base64.StdEncoding.EncodeToString(activeMime(t, []byte(project))) + `</w:binData></w:docSuppData></w:wordDocument>`
	slide := "\x00\x00\xf3\x0f\x10\x00\x00\x00" + strings.Repeat("\x00", 8) + "\x02" + strings.Repeat("\x00", 7)
	equation := fmt.Sprintf("%x", ole1Object("eQuatiOn.3", strings.Repeat("\x01", 100)))
	binary := string(ole1Object("Package", string(packagerStream("a.js", "WScript.Echo")[2:])))
	for name, c := range map[string]struct {
		content []byte
		kind    Kind
		detail  string
	}{
		"a.xlsb, Excel 4":             {zipOf(t, "xl/workbook.bin", "x", "xl/macrosheets/sheet1.bin", "x"), ExcelMacro4, "sheet1"},
		"a.xlsx, Excel 4, renamed":    {zipOf(t, "xl/workbook.xml", "x", "xl/_rels/workbook.xml.rels", `<Relationships><Relationship Type="http://schemas.microsoft.com/office/2006/relationships/xlMacrosheet" Target="x/y.bin"/></Relationships>`), ExcelMacro4, "x/y.bin"},
		"a.xls, built-in password":    {compoundOf("Workbook", sealedWorkbook("VelvetSweatshop")), ExcelMacro4, "Macro1"},
		"a.xls, password of the mail": {compoundOf("Workbook", sealedWorkbook("Tulip7")), Unlocked, "Excel"},
		"a.xls, another password":     {compoundOf("Workbook", sealedWorkbook("nobody knows")), Encrypted, "Excel"},
		"a.xml, Flat OPC":             {[]byte(opc), AutoExec, "Document_Open"},
		"a.doc, Flat OPC, renamed":    {[]byte(renamed), AutoExec, "Document_Open"},
		"a.xml, Word 2003":            {[]byte(word2003), AutoExec, "Document_Open"},
		"a.mso":                       {activeMime(t, []byte(project)), AutoExec, "Document_Open"},
		"a.rtf, octets in an object":  {[]byte(`{\rtf1{\object{\*\objdata ` + fmt.Sprintf("%x", binary[:20]) + `\bin` + fmt.Sprint(len(binary)-20) + ` ` + binary[20:] + `}}}`), EmbeddedObject, "Package"},
		"a.rtf, equation":             {[]byte(`{\rtf1{\object\objupdate{\*\objclass eQuAtion.3}{\*\objdata 00}}}`), AutoExec, "eQuAtion.3"},
		"a.rtf, equation, hidden":     {[]byte(`{\rtf1{\object{\*\objdata ` + equation + `}}}`), AutoExec, "Equation.3"},
		"a.pptx, program":             {zipOf(t, "ppt/presentation.xml", "x", "ppt/slides/slide1.xml", `<p:sld><a:hlinkMouseOver r:id="rId2" action="ppaction://program"/></p:sld>`), DDE, "ppaction://program"},
		"a.ppt, program":              {compoundOf("PowerPoint Document", slide), DDE, "program"},
		"a.slk, Excel 4":              {[]byte("ID;P\nO;E\nNN;NAuto_open;ER101C1\nC;X1;Y101;EEXEC(\"CALC.EXE\")\nE\n"), ExcelMacro4, "Auto_open"},
		"a.slk, DDE":                  {[]byte("ID;P\nC;Y1;X1;K0;Ecmd|'/c calc'!A0\nE\n"), DDE, ""},
		"a.csv, DDE":                  {[]byte("name,value\nx,=cmd|' /C calc'!A0\n"), DDE, "cmd|"},
		"b.csv, DDE behind a sum":     {[]byte("\"+1+cmd|' /C calc'!A0\"\n"), DDE, "cmd|"},
		"a.docm, continued line":      {compoundOf("Macros/VBA/dir", "x", "Macros/VBA/M", ovba("Attribute VB_Name = \"M\"\r\nSub _\r\n AutoOpen()\r\nEnd Sub\r\n")), AutoExec, "AutoOpen"},
		"a.xlsm, sheet":               {compoundOf("Macros/VBA/dir", "x", "Macros/VBA/M", ovba("Attribute VB_Name = \"M\"\r\nSub Workbook_SheetActivate(ByVal s)\r\nEnd Sub\r\n")), AutoExec, "Workbook_SheetActivate"},
		"b.docm, ActiveX":             {compoundOf("Macros/VBA/dir", "x", "Macros/VBA/M", ovba("Attribute VB_Name = \"M\"\r\nSub InkPicture1_Painted(ByVal s)\r\nEnd Sub\r\n")), AutoExec, "InkPicture1_Painted"},
		"a.docm, ribbon":              {zipOf(t, "word/document.xml", "x", "customUI/customUI.xml", `<customUI xmlns="x" onLoad="Begin">`), AutoExec, "Begin"},
		"a.docm, stomped":             {compoundOf("Macros/VBA/dir", "x", "Macros/VBA/_VBA_PROJECT", "x\x00Document_Open\x00", "Macros/VBA/M", strings.Repeat("\x01\xb6", 3000)+ovba("Attribute VB_Name = \"M\"\r\n")), AutoExec, "compiled code without its source: M"},
		"b.docm, stomped":             {compoundOf("Macros/VBA/dir", "x", "Macros/VBA/_VBA_PROJECT", "x\x00Document_Open\x00", "Macros/VBA/M", ovba("Attribute VB_Name = \"M\"\r\n")), AutoExec, "only in compiled code: Document_Open"},
	} {
		file, _, _ := strings.Cut(name, ",")
		got := walkWith(Options{Passwords: []string{"no", "Tulip7"}}, c.content, file)
		if !got.says(c.kind, c.detail) {
			t.Errorf("%s: want %s %q, have %q %q %+v", name, c.kind, c.detail, got.facts(), got.paths(), got.Result)
		}
	}
	if got := walkWith(Options{}, []byte(mime), "a.doc"); !got.objects[0].is("message/rfc822") {
		t.Errorf("a page in one file: %v", got.objects[0].Types)
	}
}

// Honest sheets and documents: a table with signs and bars, a book that is protected, a macro that waits.
func TestHonestOffice(t *testing.T) {
	for name, content := range map[string][]byte{
		"a.csv":  []byte("name,change,note\nx,-5,a|b\ny,+3,\"1|2|3\"\n@home,=SUM(A1:A2),see! the note\n"),
		"b.csv":  []byte("-|x|y!\nlevel - a|b|c! d\n"),
		"a.slk":  []byte("ID;PWXL;N;E\nP;PGeneral\nB;Y2;X2\nC;Y1;X1;K\"Total\"\nC;Y2;X1;K5;ESUM(R[-1]C)\nE\n"),
		"a.xls":  compoundOf("Workbook", strings.Replace(sealedWorkbook("VelvetSweatshop"), "x", "x", 1)),
		"a.pptx": zipOf(t, "[Content_Types].xml", "x", "ppt/presentation.xml", "x", "ppt/slides/slide1.xml", `<a:hlinkClick action="ppaction://hlinksldjump"/>`),
	} {
		got := walkWith(Options{}, content, name)
		for _, k := range []Kind{DDE, AutoExec, Encrypted, Unscannable, LimitHit, Unlocked} {
			if got.has(k) {
				t.Errorf("%s: %q %+v", name, got.facts(), got.Result)
			}
		}
	}
}

// Documents with a password: the one that Excel knows, one that the mail names, none.
func TestSealedPackages(t *testing.T) {
	files := fixtures(t)
	for name, c := range map[string]struct {
		passwords string
		opened    bool
		unlocked  bool
	}{
		"agile.xlsx":     {"", true, false},
		"standard.xlsx":  {"no Tulip7", true, true},
		"standard.xlsx ": {"wrong", false, false},
	} {
		got := walkWith(Options{Passwords: strings.Fields(c.passwords)}, files[strings.TrimSpace(name)], strings.TrimSpace(name))
		if got.has(ExcelMacro4) != c.opened || got.has(Unlocked) != c.unlocked || (got.Result.Encrypted == nil) != c.opened {
			t.Errorf("%s: %q %q %+v", name, got.facts(), got.paths(), got.Result)
		}
	}
}

// Many sealed documents cost no more than a few.
func TestSealedPackagesAreBounded(t *testing.T) {
	var pairs []string
	for i := range 60 {
		pairs = append(pairs, fmt.Sprintf("%d.xlsx", i), string(fixtures(t)["standard.xlsx"])+fmt.Sprint(i))
	}
	start := time.Now()
	walkWith(Options{Passwords: []string{"a", "b", "c", "d", "e", "f"}}, zipOf(t, pairs...), "a.zip")
	if took := time.Since(start); took > 25*time.Second {
		t.Errorf("took %v", took)
	}
}
