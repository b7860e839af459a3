package unpack

import (
	"slices"

	"postern/internal/mimeview/unpack/filetype"
)

// A carrier holds other files octet by octet: what looks like an archive near its end is one of these, and no reader
// that opens the carrier takes the whole for that archive. Only what is itself opened as an archive is, by its name.

// opensAsArchive are the extensions whose programs look for the directory of a zip, or the marker of a rar or 7z,
// wherever it stands.
var opensAsArchive = []string{
	".zip", ".zipx", ".rar", ".7z", ".exe", ".jar", ".war", ".ear", ".apk", ".aab", ".xpi", ".crx", ".vsix", ".nupkg", ".whl", ".epub", ".kmz", ".cbz", ".cbr",
	".docx", ".docm", ".dotx", ".dotm", ".xlsx", ".xlsm", ".xlsb", ".xltx", ".xltm", ".xlam", ".pptx", ".pptm", ".potx", ".potm", ".ppsx", ".ppsm", ".ppam",
	".odt", ".ods", ".odp", ".odg", ".ott", ".ots", ".otp", ".vsdx", ".vsdm", ".appx", ".appxbundle", ".msix", ".msixbundle", ".thmx", ".oxt",
}

// carrier says whether the object only carries archives: it has the type of a format that holds files, which is read
// here on its own terms, and no name by which it would be opened as an archive.
func (o *Object) carrier() bool {
	for _, ext := range LastExtensions(o.Names) {
		if slices.Contains(opensAsArchive, ext) {
			return false
		}
	}
	return slices.ContainsFunc(o.Types, func(t Type) bool { return carries(t) })
}

func carries(t Type) bool {
	switch t.Name {
	case "application/vnd.ms-tnef", "application/x-ole-storage", "application/x-tar", "application/x-cpio", "application/x-iso9660-image", "application/pdf":
		return true
	}
	return t.Class == filetype.Mail
}

// readWhole: the carrier's own inspector visits every file in it, so that its archives need no second look.
func (o *Object) readWhole() bool {
	return o.is("application/vnd.ms-tnef", "application/x-tar", "application/x-cpio", "message/rfc822")
}
