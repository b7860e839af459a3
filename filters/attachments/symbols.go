package attachments

import "postern/filters"

// The symbols, in the order in which they are reported.
const (
	eicar          = "EICAR"
	hash           = "ATTACHMENT_HASH"
	executable     = "ATTACHMENT_EXECUTABLE"
	script         = "ATTACHMENT_SCRIPT"
	shortcut       = "ATTACHMENT_SHORTCUT"
	diskImage      = "ATTACHMENT_DISK_IMAGE"
	blockedName    = "ATTACHMENT_BLOCKED_NAME"
	linksMany      = "ATTACHMENT_LINKS_MANY"
	macro          = "ATTACHMENT_MACRO"
	macroAuto      = "ATTACHMENT_MACRO_AUTO"
	excel4         = "ATTACHMENT_EXCEL4"
	remoteTemplate = "ATTACHMENT_REMOTE_TEMPLATE"
	remoteObject   = "ATTACHMENT_REMOTE_OBJECT"
	dde            = "ATTACHMENT_DDE"
	olePackage     = "ATTACHMENT_OLE_PACKAGE"
	pdfScript      = "ATTACHMENT_PDF_SCRIPT"
	pdfLaunch      = "ATTACHMENT_PDF_LAUNCH"
	pdfEncrypted   = "ATTACHMENT_PDF_ENCRYPTED"
	htmlScript     = "ATTACHMENT_HTML_SCRIPT"
	htmlSmuggling  = "HTML_SMUGGLING"
	svgScript      = "ATTACHMENT_SVG_SCRIPT"
	encrypted      = "ATTACHMENT_ENCRYPTED"
	passwordInText = "ATTACHMENT_PASSWORD_IN_TEXT"
	unscannable    = "ATTACHMENT_UNSCANNABLE"
	limit          = "ATTACHMENT_LIMIT"
	doubleExt      = "ATTACHMENT_DOUBLE_EXTENSION"
	typeMismatch   = "ATTACHMENT_TYPE_MISMATCH"
	nameBidi       = "ATTACHMENT_NAME_BIDI"
	archiveOdd     = "ATTACHMENT_ARCHIVE_ODD"
	archivePath    = "ATTACHMENT_ARCHIVE_PATH"
)

const (
	replyKind = "Attachments of this kind are not accepted here, not in archives either: send a link, or ask the recipient for another way"
	replyEvil = "The mail carries a known malicious file"
)

// symbols have scores that alone hold nothing: an admin who takes the action of one away, or has the part taken out
// (strip), gets what he asked for.
func symbols() []filters.Symbol {
	return []filters.Symbol{
		{Name: eicar, Score: 10, Action: filters.ActionReject, Reply: "The mail carries the EICAR test virus", Help: "The test file that every virus scanner reports"},
		{Name: hash, Score: 10, Action: filters.ActionReject, Reply: replyEvil, Help: "A file stands in hash_block"},
		{Name: executable, Score: 3, Action: filters.ActionReject, Reply: replyKind, Help: "A program, by its content, its name (block_extensions) or its type (block_types)"},
		{Name: script, Score: 3, Action: filters.ActionQuarantine, Help: "A script that a desktop runs when it is opened: .js, .vbs, .ps1, .bat, .hta and the like"},
		{Name: shortcut, Score: 3, Action: filters.ActionQuarantine, Help: "A file that only opens something else: .lnk, .url, .search-ms, .library-ms and the like"},
		{Name: diskImage, Score: 3, Action: filters.ActionQuarantine, Help: "A disk image: what is inside loses the mark that it came from outside"},
		{Name: blockedName, Score: 1, Help: "A name that Outlook, Gmail or Apple Mail does not let its user open, but that is sent in earnest: .py, .mdb, .crt and the like"},
		{Name: linksMany, Help: "An attachment with more links than are looked at"},
		{Name: macro, Score: 3, Help: "A document with macros"},
		{Name: macroAuto, Score: 2, Help: "A document with a macro that runs when it is opened; see ATTACHMENT_ACTIVE_STRANGER"},
		{Name: excel4, Score: 4, Action: filters.ActionQuarantine, Help: "A sheet with Excel 4 macros"},
		{Name: remoteTemplate, Score: 5, Action: filters.ActionQuarantine, Help: "A document that loads its template from elsewhere"},
		{Name: remoteObject, Score: 2, Help: "A document that loads an object or frame from elsewhere"},
		{Name: dde, Score: 4, Help: "A field or cell that may start a program (DDE)"},
		{Name: olePackage, Score: 2, Help: "A document with a file packed into it"},
		{Name: pdfScript, Score: 1, Help: "A PDF with JavaScript, as forms have it"},
		{Name: pdfLaunch, Score: 5, Action: filters.ActionQuarantine, Help: "A PDF that starts a program"},
		{Name: pdfEncrypted, Score: 0.5, Help: "A PDF that is encrypted: what is in it can't be read here"},
		{Name: htmlScript, Score: 2, Help: "An HTML page with script, as an attachment"},
		{Name: htmlSmuggling, Score: 5, Action: filters.ActionQuarantine, Help: "An HTML page that builds a file in the reader's browser"},
		{Name: svgScript, Score: 3, Help: "An SVG picture with script or foreign content"},
		{Name: encrypted, Score: 2, Help: "An archive or document that needs a password"},
		{Name: passwordInText, Score: 4, Help: "An archive that a password from the mail's own text opened"},
		{Name: unscannable, Score: 2, Form: true, Action: filters.ActionQuarantine, Help: "Something could not be read, or not to its end"},
		{Name: limit, Score: 2, Form: true, Action: filters.ActionQuarantine, Help: "The attachments hold more than is looked at"},
		{Name: doubleExt, Score: 4, Help: "A name such as invoice.pdf.exe"},
		{Name: typeMismatch, Score: 4, Help: "A name that promises a document or picture, a content that runs or unpacks"},
		{Name: nameBidi, Score: 4, Help: "A name with characters that can't be seen or turn the direction"},
		{Name: archiveOdd, Score: 3, Form: true, Action: filters.ActionQuarantine, Help: "An archive in which programs would find different files"},
		{Name: archivePath, Score: 2, Form: true, Help: "An archive whose files lie about their size, lead out of their folder or point elsewhere"},
	}
}
