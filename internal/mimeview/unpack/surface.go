package unpack

import (
	"bytes"
	"slices"
	"strings"

	"postern/internal/mimeview/unpack/filetype"
)

// What a person sees of an object: its name, and what the name promises.

// runs says whether a file of this extension starts something when it is opened on some desktop.
func runs(ext string) bool { return filetype.DangerOf(ext) > filetype.Caution || ext == ".one" }

// Extensions that people take for a document or a picture.
var documents = []string{
	".pdf", ".doc", ".docx", ".xls", ".xlsx", ".ppt", ".pptx", ".rtf", ".odt", ".ods", ".odp", ".txt", ".csv", ".jpg", ".jpeg", ".png", ".gif", ".bmp",
	".tif", ".tiff", ".webp", ".mp3", ".mp4", ".avi", ".mov", ".wav", ".htm", ".html", ".eml", ".msg", ".zip", ".rar", ".7z",
}

func inspectName(_ *walk, _ *node, o *Object) func() {
	for _, name := range o.Names {
		if strings.ContainsFunc(name, turns) {
			o.flag(BidiName, name)
		}
		if escapes(name) {
			o.flag(PathTraversal, name)
		}
		for _, reading := range readings(name) {
			if hidesProgram(extensionsOf(reading)) {
				o.flag(DoubleExtension, name)
			}
		}
	}
	return nil
}

// hidesProgram says whether the last two extensions are of a program that poses as a document, or of one that is packed.
func hidesProgram(ext []string) bool {
	if len(ext) < 2 || ext[0] == ext[1] {
		return false
	}
	if slices.Contains([]string{".xz", ".gz", ".bz2", ".zst", ".z", ".lzma"}, ext[0]) && runs(ext[1]) {
		return true
	}
	return runs(ext[0]) && slices.Contains(documents, ext[1])
}

// turns: characters that change the direction, or hide between letters. The joiners of Persian, Indic scripts and
// emoji (U+200C, U+200D), variation selectors and the marks U+200E and U+200F stand in honest names.
func turns(r rune) bool {
	return r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || r == 0x200b || r == 0x2060 || r == 0xfeff || r == 0x180e
}

// flagMismatch runs last, when all types are known.
func flagMismatch(o *Object) {
	for _, ext := range Extensions(o.Names) {
		promised := promise(ext)
		if promised == "" {
			continue
		}
		kept := o.isClass(promised)
		for _, t := range o.Types {
			if isWorse(t.Class, promised, kept) {
				o.flag(NameTypeMismatch, ext+" is "+t.Name)
			}
		}
	}
}

// isWorse says whether a content of this class is more dangerous than what the name promises. kept says that the content
// is what was promised as well.
func isWorse(class, promised filetype.Class, kept bool) bool {
	switch class {
	case filetype.Executable, filetype.Disk, filetype.Shortcut:
		return true
	case filetype.Archive:
		return !kept
	case filetype.HTML, filetype.Script:
		return !kept && promised != filetype.Office && promised != filetype.Text
	}
	return false
}

func promise(ext string) filetype.Class {
	switch ext {
	case ".pdf":
		return filetype.PDF
	case ".jpg", ".jpeg", ".png", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".svg":
		return filetype.Image
	case ".doc", ".docx", ".docm", ".xls", ".xlsx", ".xlsm", ".ppt", ".pptx", ".rtf", ".odt", ".ods", ".odp":
		return filetype.Office
	case ".txt", ".csv", ".log", ".ics", ".vcf":
		return filetype.Text
	}
	return ""
}

// The test file of the European Institute for Computer Antivirus Research, in two halves: this source is not it.
const eicar = `X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD-` + `ANTIVIRUS-TEST-FILE!$H+H*`

// EICAR's definition of 2003: the file begins with the 68 characters, white space may follow, nothing else. In the
// middle of a text it is no test file. We allow 128 octets of white space; the definition 60.
func inspectEICAR(_ *walk, n *node, o *Object) func() {
	rest, ok := bytes.CutPrefix(n.content, []byte(eicar))
	if ok && len(rest) <= 128 && len(bytes.Trim(rest, " \t\r\n\x1a")) == 0 {
		o.flag(EICAR, "")
	}
	return nil
}
