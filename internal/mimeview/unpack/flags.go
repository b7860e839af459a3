package unpack

// Flag is one fact about an object.
type Flag struct {
	Kind   Kind
	Detail string // what was seen, in the attacker's own words where there are any, at most 2 KiB
}

// Kind is what kind of fact a Flag is. The texts are stable: policies and reports name them.
type Kind string

// The kinds of flags.
const (
	Encrypted   Kind = "ENCRYPTED"   // no password opened it; detail: the method
	Unscannable Kind = "UNSCANNABLE" // could not be read, or not to its end; detail: why
	LimitHit    Kind = "LIMIT_HIT"   // a limit ended the reading; detail: which
	Unlocked    Kind = "UNLOCKED"    // was encrypted, a password from the mail opened it

	EICAR Kind = "EICAR" // the test file: its 68 characters, then nothing but at most 128 octets of white space

	DoubleExtension  Kind = "DOUBLE_EXTENSION"   // invoice.pdf.exe
	NameTypeMismatch Kind = "NAME_TYPE_MISMATCH" // the name promises a document or picture, the content runs or unpacks
	BidiName         Kind = "BIDI_NAME"          // direction overrides or invisible characters in a name
	NameMismatch     Kind = "NAME_MISMATCH"      // a zip entry has different names in its local header and its directory
	HeadersDiffer    Kind = "HEADERS_DIFFER"     // its two headers do on the method or on encryption, or it is not encrypted as they say
	PathTraversal    Kind = "PATH_TRAVERSAL"     // an entry wants to land outside of its folder
	SymlinkEntry     Kind = "SYMLINK_ENTRY"      // an entry is a link or a device; detail: its target

	OverlappingEntries Kind = "OVERLAPPING_ENTRIES" // two zip entries share packed octets
	ManyEOCD           Kind = "MANY_EOCD"           // more than one end of central directory: readers differ in which they take
	PrefixedArchive    Kind = "PREFIXED_ARCHIVE"    // an archive begins behind something else: self-extracting or polyglot
	LyingSize          Kind = "LYING_SIZE"          // more or fewer octets than declared
	HiddenEntry        Kind = "HIDDEN_ENTRY"        // in a local header, in no directory

	Macro          Kind = "MACRO"           // VBA code
	AutoExec       Kind = "AUTO_EXEC"       // VBA that runs by itself; detail: the procedure
	ExcelMacro4    Kind = "EXCEL_MACRO4"    // an Excel 4 macro sheet; detail: its name
	RemoteTemplate Kind = "REMOTE_TEMPLATE" // a template loaded from elsewhere; detail: its URL
	RemoteObject   Kind = "REMOTE_OBJECT"   // an object, frame or sub-document loaded from elsewhere; detail: its URL
	DDE            Kind = "DDE"             // a field or cell that starts a program; detail: the field
	EmbeddedObject Kind = "EMBEDDED_OBJECT" // an OLE object or package; detail: its class or file name

	PDFJavaScript Kind = "PDF_JAVASCRIPT"  // detail: the beginning of the script
	PDFLaunch     Kind = "PDF_LAUNCH"      // starts a program; detail: which
	PDFEmbedded   Kind = "PDF_EMBEDDED"    // a file inside
	PDFOpenAction Kind = "PDF_OPEN_ACTION" // something happens when it is opened or a page is shown
	PDFEncrypted  Kind = "PDF_ENCRYPTED"   // its strings and streams can't be read here

	ManyLinks     Kind = "MANY_LINKS"     // more links than are named
	URI           Kind = "URI"            // a link; detail: the URL
	QRCode        Kind = "QR_CODE"        // a link in a QR code of a picture; detail: the URL
	PDFLinkOnly   Kind = "PDF_LINK_ONLY"  // a PDF with a link and few words; detail: how many
	ScriptInHTML  Kind = "SCRIPT_IN_HTML" // an HTML attachment with script
	PasswordForm  Kind = "PASSWORD_FORM"  // HTML with a form that asks for a password
	HTMLSmuggling Kind = "HTML_SMUGGLING" // HTML that builds a file in the browser; detail: how
	SVGScript     Kind = "SVG_SCRIPT"
	DataURI       Kind = "DATA_URI"    // a data: URL of a type that runs or unpacks; detail: its type
	LNKCommand    Kind = "LNK_COMMAND" // a Windows shortcut; detail: target and arguments
)

// OfForm says that the flag is about the form of an archive in which readers may find different files, not about a file.
func (k Kind) OfForm() bool {
	switch k {
	case OverlappingEntries, ManyEOCD, PrefixedArchive, NameMismatch, HeadersDiffer, HiddenEntry, LyingSize:
		return true
	}
	return false
}
