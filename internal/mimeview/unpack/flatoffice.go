package unpack

import (
	"bytes"
	"compress/zlib"
	"encoding/xml"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"postern/internal/mimeview/unpack/filetype"
)

// Office documents that are one text: their binary parts stand in it in base64, or in Word's own wrapping.

// inspectFlatOffice opens the binary parts of Flat OPC (ECMA-376 part 2, as Word writes it in one file: pkg:binaryData) and
// of Word 2003 XML (w:binData).
func inspectFlatOffice(w *walk, n *node, o *Object) func() {
	flat := bytes.Contains(n.content, []byte("binaryData"))
	binary := flat || bytes.Contains(n.content, []byte("binData"))
	if !binary || !o.is("text/xml", "application/msword-xml") {
		return nil
	}
	if flat {
		relationships(o, n.content)
	}
	return func() {
		binaryParts(n.content, func(name string, content []byte) {
			w.part(n, []string{strings.TrimPrefix(name, "/")}, content)
		})
	}
}

// binaryParts gives each part that is written in base64.
func binaryParts(b []byte, each func(name string, content []byte)) {
	name, inside := "", false
	var text bytes.Buffer
	tokens(b, func(t xml.Token) {
		switch e := t.(type) {
		case xml.StartElement:
			if e.Name.Local == "part" || e.Name.Local == "binData" {
				name = attributes(e)["name"]
			}
			inside = inside || holdsBase64(e.Name)
		case xml.CharData:
			if inside {
				text.Write(e)
			}
		case xml.EndElement:
			if inside && holdsBase64(e.Name) {
				inside = false
				each(name, lenientBase64(text.Bytes()))
				text.Reset()
			}
		}
	})
}

func holdsBase64(element xml.Name) bool {
	return element.Local == "binData" || element.Local == "binaryData"
}

// inspectActiveMime opens the wrapping that Word and Excel give to macros in MHT and XML files: "ActiveMime", some numbers
// and a stream of zlib at an offset that one of these gives, commonly 0x32.
func inspectActiveMime(w *walk, n *node, o *Object) func() {
	if !o.is("application/x-mso") {
		return nil
	}
	front := n.content[:min(len(n.content), 1024)]
	for at := 10; at+2 < len(front); at++ {
		if front[at] != 0x78 || (uint(front[at])<<8|uint(front[at+1]))%31 != 0 {
			continue
		}
		r, err := zlib.NewReader(w.source(n.content[at:]))
		if err != nil {
			continue
		}
		if one := make([]byte, 8); readFull(r, one) < len(one) {
			continue
		}
		at := at
		return func() {
			r, err := zlib.NewReader(w.source(n.content[at:]))
			if err == nil {
				_ = w.child(n, entry{names: []string{"editdata.mso"}, r: r, packed: int64(len(n.content))}) // noted by child
			}
		}
	}
	o.flag(Unscannable, "ActiveMime without its stream")
	w.unscannable(n.path, "ActiveMime without its stream")
	return nil
}

// Sheets that are text.

var (
	// sheetDDE: a cell whose formula is program|topic!item. What stands in front of it in the formula does not matter.
	sheetDDE = regexp.MustCompile(`(?im)(?:(?:^|[,;\t"])\s*[=+@-][^,;\t\r\n|]{0,100}?\b[a-z][a-z0-9_.]{1,30}|;E[^;\r\n|]{1,100})\|['"]?[^\r\n|!]{0,400}!`)
	// sylkMacro: a name that Excel runs on opening, an Excel 4 macro sheet (O;E), or a formula that leaves the sheet
	sylkMacro = regexp.MustCompile(`(?im)^(?:O;(?:[A-Z];)*E\b.*|NN;.*\bN?auto_?(?:open|close|activate|deactivate).*|C;.*;E.*\b(?:EXEC|CALL|REGISTER|RUN|FOPEN|FWRITE|FORMULA\.FILL|SEND\.KEYS)\(.*)`)
)

// findDDE gives a DDE link, as in =cmd|' /C calc'!A0. Most lines have no "|" or "!" and need no expression.
func findDDE(line []byte) []byte {
	if bytes.IndexByte(line, '|') < 0 || bytes.IndexByte(line, '!') < 0 {
		return nil
	}
	return sheetDDE.Find(line)
}

// inspectSheetText looks at SYLK and at lists with separators, which Excel opens and computes.
func inspectSheetText(w *walk, n *node, o *Object) func() {
	sylk := o.is("application/x-sylk")
	table := slices.ContainsFunc(LastExtensions(n.names), func(e string) bool {
		return slices.Contains([]string{".csv", ".tsv", ".tab", ".dif", ".slk"}, e)
	})
	if !sylk && !table {
		return nil
	}
	text, _ := filetype.Narrow(n.content)
	count, found := 0, 0
	for line := range bytes.Lines(text) {
		if count++; count%4096 == 0 && w.late() || found == maxFields { // late is noted as a limit
			break
		}
		line = line[:min(len(line), 4096)]
		if m := sheetMacro(line, sylk); m != nil {
			o.flag(ExcelMacro4, string(bytes.TrimSpace(m[:min(len(m), 300)])))
			found++
		}
		if m := findDDE(line); m != nil {
			o.flag(DDE, string(bytes.TrimSpace(m)))
			found++
		}
	}
	return nil
}

// maxFields is how many formulas are told of one sheet.
const maxFields = 20

// sheetMacro gives the record of a macro. ";;" is an escaped separator.
func sheetMacro(line []byte, sylk bool) []byte {
	if !sylk || len(line) < 3 || bytes.IndexByte([]byte("CNOcno"), line[0]) < 0 {
		return nil
	}
	return sylkMacro.Find(bytes.ReplaceAll(line, []byte(";;"), nil))
}

// action is what a slide does when it is clicked or passed: [MS-OE376] 2.1.1253 and, in the binary format, the
// InteractiveInfoAtom of [MS-PPT] 2.8.3.
var action = regexp.MustCompile(`ppaction://(?:program|macro)[^"'<>]*`)

func flagSlideXML(o *Object, b []byte) {
	if !bytes.Contains(b, []byte("ppaction://")) {
		return
	}
	for _, m := range action.FindAll(b, 5) {
		o.flag(DDE, string(m))
	}
}

func flagSlides(o *Object, b []byte) {
	const head = "\x00\x00\xf3\x0f\x10\x00\x00\x00"
	for {
		i := bytes.Index(b, []byte(head))
		if i < 0 || i+24 > len(b) {
			return
		}
		if what := b[i+16]; what == 1 || what == 2 {
			o.flag(DDE, fmt.Sprintf("a slide that starts a %s", []string{"macro", "program"}[what-1]))
		}
		b = b[i+len(head):]
	}
}

// equation says whether a class is that of the old equation editor, which runs what it is given.
func equation(class string) bool { return strings.Contains(strings.ToLower(class), "equation.") }
