package unpack

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode/utf16"

	"github.com/richardlehane/mscfb"

	"postern/internal/mimeview/unpack/filetype"
	"postern/internal/mimeview/unpack/vba"
)

// oleStream is one stream of a compound file. [MS-CFB]
type oleStream struct {
	dir, name string
	content   []byte
}

const maxStreams = 4096

// readOLE reads all streams. Chains of sectors may run in circles and sizes may lie: in all no more is read than twice
// what the file has.
func (w *walk) readOLE(b []byte) (streams []oleStream, class string, err error) {
	doc, err := mscfb.New(w.source(b))
	if err != nil {
		return nil, "", err
	}
	room := 2 * int64(len(b))
	unread := 0
	for {
		f, err := doc.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return streams, doc.ID(), err
		}
		if len(streams) == maxStreams {
			return streams, doc.ID(), errors.New("ole: too many streams")
		}
		s := oleStream{dir: strings.Join(f.Path, "/"), name: f.Name}
		if s.content, err = readStream(f, min(int64(len(b)), room)); err != nil {
			unread++
			continue
		}
		room -= int64(len(s.content))
		streams = append(streams, s)
		if room <= 0 {
			return streams, doc.ID(), errors.New("ole: streams share sectors")
		}
	}
	if unread > 0 {
		return streams, doc.ID(), fmt.Errorf("ole: %d streams can't be read", unread)
	}
	return streams, doc.ID(), nil
}

// readStream reads a stream, as far as it can be read; what fails before its first octet is an error.
func readStream(f *mscfb.File, limit int64) ([]byte, error) {
	if f.Size <= 0 || f.FileInfo().IsDir() {
		return nil, nil
	}
	content, err := io.ReadAll(io.LimitReader(f, min(f.Size, limit)))
	if len(content) > 0 {
		err = nil
	}
	return content, err
}

func inspectOLE(w *walk, n *node, o *Object) func() {
	if !o.is("application/x-ole-storage") {
		return nil
	}
	streams, class, err := w.readOLE(n.content)
	if err != nil {
		o.flag(Unscannable, brief(err))
		w.unscannable(n.path, brief(err))
	}
	retypeOLE(o, streams, class)
	ole := &oleFile{w: w, n: n, o: o}
	for _, s := range streams {
		ole.look(s)
	}
	ole.unseal()
	modules := vba.Modules(ole.code)
	flagMacros(o, ole.code, modules)
	return func() {
		for _, m := range modules {
			if len(m.Source) > 0 {
				w.part(n, []string{m.Name + ".bas"}, m.Source)
			}
		}
		for _, c := range ole.inside {
			if w.stopped() {
				return
			}
			w.part(n, c.names, c.content, c.flags...)
		}
		ole.attachments(streams)
	}
}

// oleFile collects what the streams of one compound file say.
type oleFile struct {
	w      *walk
	n      *node
	o      *Object
	code   []vba.Stream
	inside []olePart
	// of an encrypted package
	info, sealed []byte
}

type olePart struct {
	names   []string
	content []byte
	flags   []Flag
}

// flagMacros says that there are macros, and which of them run by themselves.
func flagMacros(o *Object, code []vba.Stream, modules []vba.Module) {
	if len(modules) > 0 {
		o.flag(Macro, "")
	}
	for _, m := range modules {
		for _, name := range vba.AutoExec(m.Source) {
			o.flag(AutoExec, name)
		}
	}
	for _, why := range vba.Stomped(code, modules) {
		o.flag(AutoExec, why)
	}
}

func retypeOLE(o *Object, streams []oleStream, class string) {
	kind := Type{}
	for _, s := range streams {
		// a document inside the document does not make it one of that type
		dual := s.dir == "PP97_DUALSTORAGE" && s.name == "PowerPoint Document"
		if s.dir == "" || dual || s.name == "PP40" {
			if t, ok := oleTypes[s.name]; ok {
				kind = t
			}
		}
	}

	// [MS-CFB] names the class of the root; these are Windows Installer's packages, patches and transforms
	installer := func(part string) bool { return strings.Contains(strings.ToUpper(class), part) }
	if kind.Name == "" && slices.ContainsFunc([]string{"000C1084", "000C1086", "000C1082"}, installer) {
		kind = Type{Name: "application/x-msi", Ext: ".msi", Class: filetype.Executable}
	}
	if kind.Name != "" {
		retype(o, "application/x-ole-storage", kind)
	}
}

// oleTypes says what a file is by the name of its main stream.
var oleTypes = map[string]Type{
	"WordDocument":            {Name: "application/msword", Ext: ".doc", Class: filetype.Office},
	"Workbook":                {Name: "application/vnd.ms-excel", Ext: ".xls", Class: filetype.Office},
	"Book":                    {Name: "application/vnd.ms-excel", Ext: ".xls", Class: filetype.Office},
	"PowerPoint Document":     {Name: "application/vnd.ms-powerpoint", Ext: ".ppt", Class: filetype.Office},
	"PP40":                    {Name: "application/vnd.ms-powerpoint", Ext: ".ppt", Class: filetype.Office},
	"VisioDocument":           {Name: "application/vnd.visio", Ext: ".vsd", Class: filetype.Office},
	"__properties_version1.0": {Name: "application/vnd.ms-outlook", Ext: ".msg", Class: filetype.Mail},
	"EncryptedPackage":        {Name: "application/encrypted-ooxml", Ext: ".docx", Class: filetype.Office},
}

// retype names a type more exactly.
func retype(o *Object, from string, to Type) {
	i := slices.IndexFunc(o.Types, func(t Type) bool { return t.Name == from })
	if i < 0 {
		o.Types = append(o.Types, to)
		return
	}
	o.Types[i] = to
}

var docDDE = regexp.MustCompile("\x13[ \x00]*(?:D\x00?D\x00?E\x00?(?:A\x00?U\x00?T\x00?O\x00?)?) [^\x14\x15]{0,400}")

func (ole *oleFile) look(s oleStream) {
	o, lower := ole.o, strings.ToLower(s.name)
	inside := olePart{names: []string{s.name}, content: s.content}

	switch {
	case lower == "_vba_project" || strings.EqualFold(path.Base(s.dir), "VBA"):
		o.flag(Macro, "")
		ole.code = append(ole.code, vba.Stream{Name: s.name, Content: s.content})
		return
	case ole.document(s):
		return
	}

	switch lower {
	case "encryptedpackage":
		ole.sealed = s.content
	case "encryptioninfo":
		ole.info = s.content
	case "encryptedsummary", "encryption":
		ole.locked("Office")
	case "ole10native": // the library drops the control character in front
		ole.native(s)
	case "equation native":
		o.flag(EmbeddedObject, "Equation.3")
	case "package", "contents":
		o.flag(EmbeddedObject, path.Base(s.dir))
		ole.inside = append(ole.inside, inside)
	default:
		ole.other(lower, inside)
	}
}

// other keeps a stream that has no part in the format, if it may be a file.
func (ole *oleFile) other(lower string, inside olePart) {
	isMailPart := strings.HasPrefix(lower, "__substg1.0_") // read by attachments
	if !isMailPart && worthALook(inside.content) {
		ole.inside = append(ole.inside, inside)
	}
}

// document looks at the main stream of a document, if it is one.
func (ole *oleFile) document(s oleStream) bool {
	switch s.name {
	case "WordDocument":
		ole.word(s.content)
	case "Workbook", "Book":
		ole.workbook(s.content, 0)
	case "PowerPoint Document":
		flagSlides(ole.o, s.content)
	default:
		return false
	}

	return true
}

// worthALook holds for a stream of an unknown name that is a file by itself.
func worthALook(content []byte) bool {
	t := filetype.Detect(content, nil)[0]
	switch t.Class {
	case filetype.Executable, filetype.Archive, filetype.PDF:
		return true
	}

	return t.Name == "application/x-ole-storage"
}

// word looks at the main stream of a Word document.
func (ole *oleFile) word(content []byte) {
	// [MS-DOC] 2.5.2: fEncrypted is bit 8 of the flags at octet 10
	if len(content) > 12 && content[11]&1 != 0 {
		ole.locked("Word")
	}
	for _, m := range docDDE.FindAll(content, 20) {
		ole.o.flag(DDE, strings.ReplaceAll(string(m[1:]), "\x00", ""))
	}
}

func (ole *oleFile) locked(how string) {
	ole.o.flag(Encrypted, how)
	ole.w.encrypted(ole.n.path)
}

// native reads the stream that Windows' object packager writes: a file with its name.
func (ole *oleFile) native(s oleStream) {
	names, content, ok := packagedFile(s.content)
	if !ok {
		names, content = []string{"Ole10Native"}, s.content
	}
	ole.o.flag(EmbeddedObject, first(names))
	ole.inside = append(ole.inside, olePart{names: names, content: content})
}

// packagedFile: size, two octets, label, file name, eight octets that hold the length of the path before it, content.
func packagedFile(b []byte) (names []string, content []byte, ok bool) {
	if len(b) < 6 {
		return nil, nil, false
	}
	b = b[6:]
	text := func() string {
		t, rest, _ := bytes.Cut(b[:min(len(b), 2048)], []byte{0})
		b = b[len(b[:min(len(b), 2048)])-len(rest):]
		return string(t)
	}
	label, file := text(), text()
	if len(b) < 8 {
		return nil, nil, false
	}
	pathLen := int64(le32(b[4:]))
	if b = b[8:]; pathLen+4 > int64(len(b)) {
		return nil, nil, false
	}
	b = b[pathLen:]
	size := int64(le32(b))
	b = b[4:]
	file = file[strings.LastIndexByte(file, '\\')+1:] // where it lay on the writer's disk
	names = slices.Compact([]string{label, file})
	return names, b[:min(size, int64(len(b)))], true
}

// workbook reads the records of the globals of an Excel 97 workbook. [MS-XLS] 2.4
func (ole *oleFile) workbook(b []byte, depth int) {
	all := b
	for len(b) >= 4 {
		id, size := int(b[0])|int(b[1])<<8, int(b[2])|int(b[3])<<8
		if size > len(b)-4 {
			return
		}
		rec := b[4 : 4+size]
		b = b[4+size:]
		switch {
		case id == 0x2f: // FilePass: all that follows is encrypted
			ole.workbookLocked(all, rec, depth)
			return
		case id == 0x85 && size > 8 && rec[5] == 1: // BoundSheet8 of type "Excel 4.0 macro sheet"
			ole.o.flag(ExcelMacro4, fmt.Sprintf("%s (%s)", printable(rec[8:]), map[bool]string{true: "visible", false: "hidden"}[rec[4]&3 == 0]))
		case id == 0x1ae && size > 5 && bytes.IndexByte(rec[4:], 3) > 0: // SupBook of a DDE link: program, 0x03, topic
			ole.o.flag(DDE, printable(bytes.ReplaceAll(rec[5:], []byte{3}, []byte{'|'})))
		case id == 0x0a: // EOF of the globals; the sheets follow
			return
		}
	}
}

func printable(b []byte) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, string(b[:min(len(b), 300)]))
}

// attachmentNames gives the long and the short file name of the attachment in one folder of a stored message.
func attachmentNames(streams []oleStream, dir string) (names []string) {
	for _, s := range streams {
		if s.dir != dir {
			continue
		}
		switch strings.ToUpper(s.name) {
		case "__SUBSTG1.0_3707001F", "__SUBSTG1.0_3704001F":
			names = append(names, utf16Text(s.content))
		case "__SUBSTG1.0_3707001E", "__SUBSTG1.0_3704001E":
			names = append(names, string(s.content))
		}
	}
	return slices.Compact(names)
}

// attachments visits what a stored Outlook message holds. [MS-OXMSG] 2.1.3: one stream per property; its name ends
// with the property's number and type.
func (ole *oleFile) attachments(streams []oleStream) {
	for i := range streams {
		s := &streams[i]
		property, ok := strings.CutPrefix(strings.ToUpper(s.name), "__SUBSTG1.0_")
		if !ok || ole.w.stopped() {
			continue
		}
		switch property {
		case "37010102": // PidTagAttachDataBinary
			ole.w.part(ole.n, attachmentNames(streams, s.dir), s.content)
		case "1000001F":
			ole.w.part(ole.n, []string{"body.txt"}, []byte(utf16Text(s.content)))
		case "1000001E":
			ole.w.part(ole.n, []string{"body.txt"}, s.content)
		case "10090102":
			body := bodyPart(mapiValue{id: 0x1009, content: s.content})
			ole.w.part(ole.n, body.names, body.content, body.flags...)
		case "10130102":
			ole.w.part(ole.n, []string{"body.html"}, s.content)
		}
	}
}

func utf16Text(b []byte) string {
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = uint16(b[2*i]) | uint16(b[2*i+1])<<8
	}
	return strings.TrimRight(string(utf16.Decode(units)), "\x00")
}
