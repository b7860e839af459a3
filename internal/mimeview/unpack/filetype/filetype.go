// Package filetype says what a file is by its content: every type that some program would take it for, because a file
// may be a PDF for one reader and a ZIP for the next. Names only decide where content can't: plain text that the
// desktop would run as a script.
package filetype

import (
	"bytes"
	"slices"
	"strings"

	"github.com/gabriel-vasile/mimetype"
)

// Class is what a policy usually asks for.
type Class string

// The classes. Stable: policies name them.
const (
	Archive    Class = "archive"
	Executable Class = "executable"
	Script     Class = "script"
	Office     Class = "office"
	PDF        Class = "pdf"
	HTML       Class = "html"
	Image      Class = "image"
	Text       Class = "text"
	Disk       Class = "disk"     // disk images: what is inside has no mark of the web
	Shortcut   Class = "shortcut" // files that open or run something else
	Mail       Class = "mail"
	Other      Class = "other"
)

// Type is one type of a content.
type Type struct {
	Name  string // media type: "application/zip"
	Ext   string // usual extension with its dot, "" if there is none
	Class Class
}

// Detect gives every type that content can be, the most likely first, at least one. names are all candidate file names,
// lower case extensions with their dot in exts. It looks at the first 64 KiB, at fixed places (ISO 9660, tar) and at the
// last 64 KiB, where ZIP and VHD are found by their readers.
func Detect(content []byte, exts []string) []Type {
	if len(content) == 0 {
		return []Type{{"application/x-empty", "", Other}}
	}
	var found []Type
	for i := range magics {
		// nothing of its own tells this one from two octets by chance, and nothing but gzip(1) opens it, by its name
		if magics[i].Name == typeOldLZH && !slices.Contains(exts, ".z") {
			continue
		}
		if magics[i].matches(content) {
			found = append(found, magics[i].Type)
			break // the first octets belong to one format only; what hides further in is asked below
		}
	}
	found = append(found, further(content, found)...)
	// a text with a NUL or two in it is still run by the program that its name stands for
	if isText(content) || len(found) == 0 && slices.ContainsFunc(exts, runsAsText) {
		found = append(found, textTypes(content, exts, len(found) == 0)...)
	}
	if len(found) == 0 {
		found = append(found, unknown(content))
	}
	return compact(found)
}

// compact drops what was found twice; order stays.
func compact(all []Type) []Type {
	kept := all[:0]
	for _, t := range all {
		if !slices.ContainsFunc(kept, func(k Type) bool { return k.Name == t.Name }) {
			kept = append(kept, t)
		}
	}
	return kept
}

const tailBytes = 64<<10 + 22 // the longest ZIP comment and its record: APPNOTE 4.3.16

func head(b []byte, n int) []byte { return b[:min(n, len(b))] }
func tail(b []byte, n int) []byte { return b[max(0, len(b)-n):] }

// further finds the formats whose readers don't insist on the first octet.
func further(b []byte, first []Type) []Type {
	var found []Type
	add := func(t Type) { found = append(found, t) }
	is := func(c Class) bool { return len(first) > 0 && first[0].Class == c }
	// ISO 32000 Annex C, note 13: readers accept the header within the first 1,024 octets
	if bytes.Contains(head(b, 1024), []byte("%PDF-")) {
		add(typePDF)
	}
	if bytes.Contains(tail(b, tailBytes), []byte("PK\x05\x06")) {
		add(typeZIP)
	}
	if is(Executable) || is(Image) || is(PDF) { // self-extracting archives and pictures with a tail
		if bytes.Contains(head(b, 4<<20), []byte("Rar!\x1a\x07")) {
			add(typeRAR)
		}
		if bytes.Contains(head(b, 4<<20), []byte("7z\xbc\xaf\x27\x1c")) {
			add(type7z)
		}
		if i := bytes.Index(head(b, 4<<20), []byte("MSCF\x00\x00\x00\x00")); i > 0 && isCAB(b[i:]) {
			add(typeCAB)
		}
	}
	if len(b) > 0x8806 && (string(b[0x8001:0x8006]) == "CD001" || string(b[0x8801:0x8806]) == "CD001") {
		add(Type{"application/x-iso9660-image", ".iso", Disk})
	}
	if len(b) > 0x8006 && (string(b[0x8001:0x8006]) == "BEA01" || string(b[0x8001:0x8006]) == "NSR02") {
		add(Type{"application/x-udf-image", ".iso", Disk})
	}
	if len(b) >= 512 && string(b[len(b)-512:len(b)-504]) == "conectix" {
		add(Type{"application/x-vhd", ".vhd", Disk})
	}
	if len(b) >= 512 && string(b[len(b)-512:len(b)-504]) == "koly\x00\x00\x00\x04" {
		add(Type{"application/x-apple-diskimage", ".dmg", Disk})
	}
	if len(b) >= 262 && string(b[257:262]) == "ustar" && len(b) >= 512 && isTar(b) {
		add(typeTar)
	}
	if len(b) >= 512 && b[510] == 0x55 && b[511] == 0xaa && isBootSector(b) {
		add(Type{"application/x-raw-disk-image", ".img", Disk})
	}
	return found
}

// unknown asks the library of many formats about binary content that has none of our signatures.
func unknown(b []byte) Type {
	m := mimetype.Detect(head(b, 3072))
	name, _, _ := strings.Cut(m.String(), ";")
	ext := m.Extension()
	// what has a signature of our own and does not meet it is not that: the library goes by the first octets alone
	ours := func(m magic) bool { return m.also != nil && (m.Name == name || m.Ext != "" && m.Ext == ext) }
	if slices.ContainsFunc(magics, ours) {
		return Type{"application/octet-stream", "", Other}
	}
	class := Other
	switch top, _, _ := strings.Cut(name, "/"); top {
	case "image":
		class = Image
	case "text":
		class = Text
	}
	return Type{name, ext, class}
}

// isText: nothing that text does not hold in the first 4 KiB. UTF-16 with a byte order mark is text as well.
func isText(b []byte) bool {
	if bytes.HasPrefix(b, []byte("\xff\xfe")) || bytes.HasPrefix(b, []byte("\xfe\xff")) {
		return true
	}
	if wide, ok := Narrow(head(b, 8192)); ok { // without a mark
		b = wide
	}
	for _, c := range head(b, 4096) {
		if c < 0x20 && c != '\t' && c != '\n' && c != '\r' && c != '\f' && c != 0x1b && c != 0x1a {
			return false
		}
	}
	return true
}
