package unpack

import (
	"bytes"
	"encoding/xml"
	"io"
	"regexp"
	"slices"
	"strings"

	"postern/internal/mimeview/unpack/filetype"
	"postern/internal/mimeview/unpack/zipdir"
)

// inspectPackage names what a ZIP file is by the files in it: Office documents, programs for Java and Android.
func inspectPackage(o *Object, entries []zipdir.Entry) {
	has := map[string]bool{}
	for i := range entries {
		for _, name := range entries[i].Names {
			name = strings.ToLower(strings.ReplaceAll(name, `\`, "/"))
			has[name] = true
			if kind, ok := packageFlag(name); ok {
				o.flag(kind, name)
			}
		}
	}

	for i := range packages {
		p := packages[i]
		if slices.ContainsFunc(p.files, func(all string) bool { return hasAll(has, all) }) {
			retype(o, "application/zip", p.Type)
			return
		}
	}
}

// packageFlag says what a file in a package means.
func packageFlag(name string) (Kind, bool) {
	ends := func(with ...string) bool {
		return slices.ContainsFunc(with, func(end string) bool { return strings.HasSuffix(name, end) })
	}

	switch {
	case ends("vbaproject.bin"):
		return Macro, true
	case strings.HasPrefix(name, "basic/"): // of OpenDocument; the libraries' lists of names are no code
		return Macro, ends(".xml") && !ends("-lc.xml", "-lb.xml")
	case strings.HasPrefix(name, "xl/macrosheets/") && ends(".xml", ".bin"):
		return ExcelMacro4, true
	case strings.Contains(name, "/embeddings/") && !ends("/"):
		return EmbeddedObject, true
	}

	return "", false
}

const ooxml = "application/vnd.openxmlformats-officedocument."

// packages are the formats within ZIP. A format has one of these files, or all of those that a space parts; the first that
// fits is it.
var packages = [...]struct {
	files []string
	Type
}{
	{[]string{"word/document.xml", "word/document2.xml"}, Type{Name: ooxml + "wordprocessingml.document", Ext: ".docx", Class: filetype.Office}},
	{[]string{"xl/workbook.xml", "xl/workbook.bin"}, Type{Name: ooxml + "spreadsheetml.sheet", Ext: ".xlsx", Class: filetype.Office}},
	{[]string{"ppt/presentation.xml"}, Type{Name: ooxml + "presentationml.presentation", Ext: ".pptx", Class: filetype.Office}},
	{[]string{"appxmanifest.xml", "appxmetadata/appxbundlemanifest.xml"}, Type{Name: "application/msix", Ext: ".msix", Class: filetype.Executable}},
	{[]string{"[content_types].xml"}, Type{Name: "application/vnd.openxmlformats-package", Class: filetype.Office}},
	{[]string{"mimetype content.xml"}, Type{Name: "application/vnd.oasis.opendocument", Ext: ".odt", Class: filetype.Office}},
	{[]string{"androidmanifest.xml"}, Type{Name: "application/vnd.android.package-archive", Ext: ".apk", Class: filetype.Executable}},
	{[]string{"meta-inf/manifest.mf"}, Type{Name: "application/java-archive", Ext: ".jar", Class: filetype.Executable}},
}

func hasAll(has map[string]bool, files string) bool {
	for name := range strings.FieldsSeq(files) {
		if !has[name] {
			return false
		}
	}

	return true
}

var (
	ddeField = regexp.MustCompile(`(?i)^\s*"?\s*DDE(?:AUTO)?\b`)
	ddeMarks = [][]byte{[]byte("<ddeLink"), []byte("dde-connection"), []byte("dde-link"), []byte("dde-source")}
)

// ribbon names the macro that runs when a document's own commands are shown. [MS-CUSTOMUI] 2.2.9
var ribbon = regexp.MustCompile(`<(?:\w+:)?customUI\b[^>]*\sonLoad\s*=\s*["']([^"']+)`)

// inspectXMLOffice reads the XML parts of Office documents. Entities are never expanded: the tokenizer leaves what it
// does not know as it stands, and knows but the five of XML itself.
func inspectXMLOffice(_ *walk, n *node, o *Object) func() {
	name := strings.ToLower(first(n.names))
	isXML := strings.HasSuffix(name, ".xml") || o.is("text/xml", "application/msword-xml")
	switch {
	case strings.HasSuffix(name, ".rels"):
		relationships(o, n.content)
	case isXML && hasFields(n.content):
		fields(o, n.content)
	}
	if isXML {
		flagXML(o, n.content)
	}
	return nil
}

func hasFields(b []byte) bool {
	return bytes.Contains(b, []byte("instrText")) || bytes.Contains(b, []byte("fldSimple"))
}

// flagXML says what an XML part does by itself.
func flagXML(o *Object, b []byte) {
	flagSlideXML(o, b)
	if m := ribbon.FindSubmatch(b); m != nil {
		o.flag(AutoExec, "onLoad "+string(m[1]))
	}
	for _, mark := range ddeMarks {
		if i := bytes.Index(b, mark); i >= 0 {
			o.flag(DDE, string(b[i:min(i+300, len(b))]))
		}
	}
	if bytes.Contains(b, []byte("<!ENTITY")) && !o.is("image/svg+xml") { // drawing programs declare some
		o.flag(Unscannable, "XML with entities of its own")
	}
	if bytes.Contains(b, []byte("<script:event-listener")) {
		o.flag(AutoExec, "event-listener")
	}
}

// tokens walks over XML until it ends or breaks; broken XML was read as far as a lenient reader would.
func tokens(b []byte, each func(xml.Token)) {
	d := xml.NewDecoder(bytes.NewReader(b))
	d.Strict = false
	d.CharsetReader = func(_ string, in io.Reader) (io.Reader, error) { return in, nil }
	for {
		t, err := d.RawToken()
		if err != nil {
			return
		}
		each(t)
	}
}

func attributes(e xml.StartElement) map[string]string {
	all := map[string]string{}
	for _, a := range e.Attr {
		all[a.Name.Local] = a.Value
	}
	return all
}

// relationships names what a part of the document takes from elsewhere. ECMA-376 part 2, 6.5.3
func relationships(o *Object, b []byte) {
	tokens(b, func(t xml.Token) {
		e, ok := t.(xml.StartElement)
		if !ok || e.Name.Local != "Relationship" {
			return
		}
		a := attributes(e)
		kind := a["Type"][strings.LastIndexByte(a["Type"], '/')+1:]
		switch kind { // whatever the part's own name is
		case "aFChunk":
			o.flag(EmbeddedObject, "aFChunk "+a["Target"])
		case "xlMacrosheet", "xlIntlMacrosheet":
			o.flag(ExcelMacro4, a["Target"])
		case "vbaProject":
			o.flag(Macro, a["Target"])
		}
		if strings.EqualFold(a["TargetMode"], "External") {
			flagExternal(o, kind, a["Target"])
		}
	})
}

// flagExternal says what a relationship takes from outside of the document.
func flagExternal(o *Object, kind, target string) {
	switch kind {
	case "attachedTemplate":
		if isRemote(target) {
			o.flag(RemoteTemplate, target)
		}
	case "oleObject", "frame", "subDocument", "externalLinkPath", "package", "control", "externalLink":
		if isRemote(target) {
			o.flag(RemoteObject, target)
		}
	default:
		o.flag(URI, target)
	}
}

// isRemote: another host, by URL or by UNC path. A template on the writer's own disk is no more than forgotten.
func isRemote(target string) bool {
	t := strings.ToLower(strings.ReplaceAll(strings.TrimSpace(target), `\`, "/"))
	if rest, ok := strings.CutPrefix(t, "file:"); ok {
		rest = strings.TrimLeft(rest, "/")
		host, _, _ := strings.Cut(rest, "/")
		return len(host) > 2 && !strings.Contains(host, ":") && !strings.HasPrefix(t, "file:///") || strings.HasPrefix(t, "file://///")
	}
	return strings.HasPrefix(t, "//") || strings.Contains(t, "://") || strings.HasPrefix(t, "mhtml:") || strings.HasPrefix(t, "ms-")
}

// fields joins the pieces of field instructions: a writer may split DDEAUTO over many runs. ECMA-376 part 1, 17.16
func fields(o *Object, b []byte) {
	var text strings.Builder
	inside := false
	flagDDE := func(instruction string) {
		if ddeField.MatchString(instruction) {
			o.flag(DDE, instruction)
		}
	}
	end := func() {
		flagDDE(strings.TrimSpace(text.String()))
		text.Reset()
	}
	tokens(b, func(t xml.Token) {
		switch e := t.(type) {
		case xml.StartElement:
			switch e.Name.Local {
			case "instrText":
				inside = true
			case "fldSimple":
				flagDDE(attributes(e)["instr"])
			case "fldChar":
				end()
			}
		case xml.EndElement:
			if e.Name.Local == "instrText" {
				inside = false
			}
		case xml.CharData:
			if inside && text.Len() < 64<<10 {
				text.Write(e)
			}
		}
	})
	end()
}
