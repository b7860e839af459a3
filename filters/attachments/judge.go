package attachments

import (
	"encoding/hex"
	"slices"
	"strings"

	"postern/internal/mimeview/contents"
	"postern/internal/mimeview/unpack"
	"postern/internal/mimeview/unpack/filetype"
)

// byFlag says which symbols the flags of unpack make.
var byFlag = map[unpack.Kind]string{
	unpack.EICAR: eicar, unpack.Macro: macro, unpack.AutoExec: macroAuto, unpack.ExcelMacro4: excel4, unpack.RemoteTemplate: remoteTemplate,
	unpack.RemoteObject: remoteObject, unpack.DDE: dde, unpack.PDFJavaScript: pdfScript, unpack.PDFLaunch: pdfLaunch, unpack.PDFEncrypted: pdfEncrypted,
	unpack.ScriptInHTML: htmlScript, unpack.HTMLSmuggling: htmlSmuggling, unpack.SVGScript: svgScript, unpack.Encrypted: encrypted, unpack.Unlocked: passwordInText,
	unpack.Unscannable: unscannable, unpack.LimitHit: limit, unpack.DoubleExtension: doubleExt, unpack.NameTypeMismatch: typeMismatch, unpack.BidiName: nameBidi,
	unpack.OverlappingEntries: archiveOdd, unpack.ManyEOCD: archiveOdd, unpack.PrefixedArchive: archiveOdd, unpack.NameMismatch: archiveOdd, unpack.HeadersDiffer: archiveOdd, unpack.HiddenEntry: archiveOdd,
	unpack.PathTraversal: archivePath, unpack.SymlinkEntry: archivePath, unpack.LyingSize: archivePath, unpack.LNKCommand: shortcut,
	unpack.ManyLinks: linksMany,
}

// one reports what is to be said of one item.
func (f filter) one(r *report, i *contents.Item) {
	if f.hashes[i.Hash] {
		r.add(hash, i, hex.EncodeToString(i.Hash[:]))
	}
	class := f.class(i)
	for _, c := range class {
		r.add(c.symbol, i, c.why)
	}

	for _, flag := range i.Flags {
		r.flag(i, flag, len(class) > 0)
	}
	for _, flag := range i.Flags {
		if flag.Kind == unpack.EmbeddedObject && packed(flag.Detail) {
			r.add(olePackage, i, flag.Detail)
		}
	}
}

// flag reports what was seen in an item; classed says that its kind alone was reported.
func (r *report) flag(i *contents.Item, flag unpack.Flag, classed bool) {
	symbol, detail := byFlag[flag.Kind], flag.Detail
	switch symbol {
	case "":
		return
	case htmlScript, htmlSmuggling, svgScript:
		if i.Body { // nobody's reader runs the script of a body: see HTML_ACTIVE
			return
		}
	case archiveOdd, archivePath:
		detail = strings.TrimSpace(strings.ToLower(strings.ReplaceAll(string(flag.Kind), "_", " ")) + " " + detail)
	}

	switch {
	case r.missing(i, flag):
	case symbol == unscannable && classed && !strings.HasPrefix(flag.Detail, "broken"):
		r.said[strings.Join(i.Path, "/")+": "+flag.Detail] = true // a program or a disk image that nothing here reads is reported as such
	default:
		r.add(symbol, i, detail)
	}
}

// packed tells a file that the object packager packed from an object of another Office program, which is told by its
// class ("Word.Document.8") or by the part of the document that holds it.
func packed(detail string) bool {
	low := strings.ToLower(detail)
	switch {
	case strings.HasPrefix(low, "package"), strings.HasPrefix(low, "afchunk"), low == "ole10native", low == "objdata":
		return true
	}
	ext := low[strings.LastIndexByte(low, '.')+1:]
	return len(ext) < len(low) && ext != "" && len(ext) <= 4 && ext[0] >= 'a' && !strings.Contains(low, "/")
}

// sent says whether the name is one that the sender chose for a file, not one of a document's inner parts.
func sent(i *contents.Item) bool {
	return i.Parent == nil || slices.ContainsFunc(i.Parent.Types, func(t unpack.Type) bool {
		return t.Class == filetype.Archive || t.Class == filetype.Disk || t.Class == filetype.Mail
	})
}

type reason struct{ symbol, why string }

// class says what kind of dangerous file it is, by content and by name.
func (f filter) class(i *contents.Item) (all []reason) {
	if why := f.program(i); why != "" {
		all = append(all, reason{executable, why})
	}
	if noFile(i) || scriptOfPDF(i) {
		return all
	}
	for _, k := range []struct {
		symbol string
		class  filetype.Class
		danger filetype.Danger
	}{
		{script, filetype.Script, filetype.Scripts},
		{shortcut, filetype.Shortcut, filetype.Opens},
		{diskImage, filetype.Disk, filetype.Mounts},
	} {
		if why := f.kind(i, k.class, k.danger); why != "" {
			all = append(all, reason{k.symbol, why})
		}
	}
	for _, e := range i.Opens {
		if filetype.DangerOf(e) == filetype.Caution && len(all) == 0 && sent(i) {
			all = append(all, reason{blockedName, e + ": blocked by " + filetype.BlockedBy(e)})
		}
	}
	return all
}

// noFile says whether nothing makes a file of it: it is the text of the message, or stands in that without a name.
func noFile(i *contents.Item) bool {
	return i.Body || len(i.Names) == 0 && i.Parent == nil && i.Object.Part == nil
}

// program says why it is one.
func (f filter) program(i *contents.Item) string {
	for _, t := range i.Types {
		if t.Class == filetype.Executable || f.types[t.Name] {
			return t.Name
		}
	}
	for _, t := range i.Declared {
		if f.types[strings.ToLower(t)] {
			return "declared " + t
		}
	}
	for _, e := range i.Opens {
		if f.extensions[e] && !(endsDomain(e) && readable(i)) {
			return "named " + e
		}
	}
	return ""
}

// endsDomain says whether an extension of programs is a top-level domain as well.
func endsDomain(extension string) bool { return extension == ".com" || extension == ".app" }

// readable: a text or document whose name ends like a domain is no program of DOS, which has no mark of its own, nor one of
// macOS, which is a folder.
func readable(i *contents.Item) bool {
	return !slices.ContainsFunc(i.Types, func(t unpack.Type) bool { return t.Class == filetype.Executable || t.Class == filetype.Other })
}

// kind says why it is a file of this class.
func (f filter) kind(i *contents.Item, class filetype.Class, danger filetype.Danger) string {
	for _, e := range i.Opens {
		if filetype.DangerOf(e) == danger {
			return "named " + e
		}
	}
	for _, t := range i.Types {
		// shell scripts, and texts that only look like a script, start nowhere by a click
		if t.Class != class || t.Name == "text/x-shellscript" {
			continue
		}
		if class != filetype.Script || slices.Contains(i.Opens, t.Ext) {
			return t.Name
		}
	}
	return ""
}

// scriptOfPDF: the script of a form is reported with its PDF.
func scriptOfPDF(i *contents.Item) bool {
	if i.Parent == nil || !i.Parent.Is("application/pdf") || !slices.Equal(i.Names, []string{"script.js"}) {
		return false
	}
	return !slices.ContainsFunc(i.Parent.Flags, func(f unpack.Flag) bool {
		return f.Kind == unpack.PDFEmbedded && strings.Contains(f.Detail, "script.js")
	})
}

// whole reports what the walk says beside its items.
func (r *report) whole(found *contents.Found) {
	if found.MoreLinks && r.by[linksMany] == nil {
		r.text(linksMany, "in all attachments together")
	}
	for _, u := range found.Unscannable {
		if !r.said[u] {
			r.text(unscannable, u)
		}
	}
	for _, l := range found.Limits {
		_, what, _ := strings.Cut(l[strings.LastIndex(l, ": ")+1:], " ")
		if !r.has(limit, ": "+what) { // the item at which it was hit says it better
			r.text(limit, l)
		}
	}
}
