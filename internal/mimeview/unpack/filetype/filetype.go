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

// isTextControl holds for the control characters that texts have, ESC and DOS's end of file among them.
func isTextControl(c byte) bool {
	switch c {
	case '\t', '\n', '\r', '\f', 0x1b, 0x1a:
		return true
	}
	return false
}

// further finds the formats whose readers don't insist on the first octet.
func further(b []byte, first []Type) []Type {
	var found []Type

	// ISO 32000 Annex C, note 13: readers accept the header within the first 1,024 octets
	if bytes.Contains(head(b, 1024), []byte("%PDF-")) {
		found = append(found, typePDF)
	}
	if bytes.Contains(tail(b, tailBytes), []byte("PK\x05\x06")) {
		found = append(found, typeZIP)
	}
	if len(first) > 0 {
		switch first[0].Class {
		case Executable, Image, PDF:
			found = append(found, carried(b)...)
		}
	}

	found = withDisks(found, b)
	if len(b) >= 512 && isTar(b) && hasAt(b, 257, "ustar") {
		found = append(found, typeTar)
	}
	if hasAt(b, 510, "\x55\xaa") && isBootSector(b) {
		found = append(found, Type{"application/x-raw-disk-image", ".img", Disk})
	}

	return found
}

// carried finds the archives in self-extracting programs, and in pictures with a tail.
func carried(b []byte) (found []Type) {
	b = head(b, 4<<20)
	if bytes.Contains(b, []byte("Rar!\x1a\x07")) {
		found = append(found, typeRAR)
	}
	if bytes.Contains(b, []byte("7z\xbc\xaf\x27\x1c")) {
		found = append(found, type7z)
	}
	if i := bytes.Index(b, []byte("MSCF\x00\x00\x00\x00")); i > 0 && isCAB(b[i:]) {
		found = append(found, typeCAB)
	}

	return found
}

// placed is a signature that stands at a certain place, counted from the end if it is negative.
type placed struct {
	at   int
	text string
	Type
}

// disks are the images that have their signature behind the first blocks (ECMA-119 section 8, ECMA-167 part 2; one may be
// both), or in the last block.
var disks = [...]placed{
	{0x8001, "CD001", Type{"application/x-iso9660-image", ".iso", Disk}},
	{0x8801, "CD001", Type{"application/x-iso9660-image", ".iso", Disk}},
	{0x8001, "BEA01", Type{"application/x-udf-image", ".iso", Disk}},
	{0x8001, "NSR02", Type{"application/x-udf-image", ".iso", Disk}},
	{-512, "conectix", Type{"application/x-vhd", ".vhd", Disk}},
	{-512, "koly\x00\x00\x00\x04", Type{"application/x-apple-diskimage", ".dmg", Disk}},
}

func hasAt(b []byte, at int, text string) bool {
	return at >= 0 && len(b)-at >= len(text) && string(b[at:at+len(text)]) == text
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

// withDisks adds the types of disk images, whose marks stand far from the front or at the end.
func withDisks(found []Type, b []byte) []Type {
	for _, m := range disks {
		at := m.at
		if at < 0 {
			at += len(b)
		}
		if hasAt(b, at, m.text) && !slices.Contains(found, m.Type) {
			found = append(found, m.Type)
		}
	}
	return found
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
		if c < 0x20 && !isTextControl(c) {
			return false
		}
	}
	return true
}
