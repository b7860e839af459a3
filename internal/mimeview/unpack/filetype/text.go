package filetype

import (
	"bytes"
	"slices"
	"strings"
)

// scriptExt: what a desktop runs when such a file is opened. Content can't tell these from text, the name can.
var scriptExt = map[string]Type{
	".js": {"text/javascript", ".js", Script}, ".jse": {"application/x-jscript-encoded", ".jse", Script}, ".mjs": {"text/javascript", ".mjs", Script},
	".vbs": {"text/vbscript", ".vbs", Script}, ".vbe": {"application/x-vbscript-encoded", ".vbe", Script}, ".vb": {"text/vbscript", ".vb", Script},
	".wsf": {"application/x-wsf", ".wsf", Script}, ".wsh": {"application/x-wsh", ".wsh", Script}, ".wsc": {"text/scriptlet", ".wsc", Script},
	".sct": {"text/scriptlet", ".sct", Script}, ".ps1": {"application/x-powershell", ".ps1", Script}, ".psm1": {"application/x-powershell", ".psm1", Script},
	".ps1xml": {"application/x-powershell", ".ps1xml", Script}, ".psc1": {"application/x-powershell", ".psc1", Script},
	".bat": {"application/x-bat", ".bat", Script}, ".cmd": {"application/x-bat", ".cmd", Script}, ".hta": {"application/hta", ".hta", Script},
	".reg": {"text/x-registry", ".reg", Script}, ".inf": {"text/x-inf", ".inf", Script}, ".msc": {"application/x-msc", ".msc", Script},
	".scf": {"application/x-scf", ".scf", Shortcut}, ".url": {"application/internet-shortcut", ".url", Shortcut},
	".website": {"application/internet-shortcut", ".website", Shortcut}, ".desktop": {"application/x-desktop", ".desktop", Shortcut},
	".library-ms": {"application/windows-library+xml", ".library-ms", Shortcut}, ".search-ms": {"application/windows-search-connector+xml", ".search-ms", Shortcut},
	".searchconnector-ms": {"application/windows-search-connector+xml", ".searchConnector-ms", Shortcut}, ".settingcontent-ms": {"application/x-settingcontent", ".SettingContent-ms", Shortcut},
	".appref-ms": {"application/x-appref", ".appref-ms", Shortcut}, ".rdp": {"application/x-rdp", ".rdp", Shortcut}, ".jnlp": {"application/x-java-jnlp-file", ".jnlp", Shortcut},
	".iqy": {"text/x-iqy", ".iqy", Shortcut}, ".slk": {"application/x-sylk", ".slk", Office}, ".theme": {"application/x-theme", ".theme", Shortcut},
}

// Text formats by how they begin, in lower case, after blanks and a byte order mark.
var beginnings = []sign{
	{"<?xml", Type{"text/xml", ".xml", Text}},
	{"<!doctype html", Type{"text/html", ".html", HTML}},
	{"<html", Type{"text/html", ".html", HTML}},
	{"<svg", Type{"image/svg+xml", ".svg", Image}},
	{"<!doctype svg", Type{"image/svg+xml", ".svg", Image}},
	{"begin:vcalendar", Type{"text/calendar", ".ics", Text}},
	{"begin:vcard", Type{"text/vcard", ".vcf", Text}},
	{"[internetshortcut]", scriptExt[".url"]},
	{"[{000214a0", scriptExt[".url"]},
	{"[desktop entry]", scriptExt[".desktop"]},
	{"windows registry editor", scriptExt[".reg"]},
	{"regedit4", scriptExt[".reg"]},
	{"@echo off", scriptExt[".bat"]},
	{"#@~^", scriptExt[".vbe"]},
	{"#!", Type{"text/x-shellscript", ".sh", Script}},
	{"%!ps", Type{"application/postscript", ".ps", Other}},
	{"<job", scriptExt[".wsf"]},
	{"<scriptlet", scriptExt[".sct"]},
	{"<component", scriptExt[".sct"]},
	{"web\r\n1\r\n", scriptExt[".iqy"]},
	{"id;p", scriptExt[".slk"]},
}

type sign struct {
	text string
	Type
}

// Text formats by a tag in their first 4 KiB, in lower case, without its bracket.
var tags = []sign{
	{"hta:application", scriptExt[".hta"]},
	{"svg", Type{"image/svg+xml", ".svg", Image}},
	{"html", Type{"text/html", ".html", HTML}},
	{"script", Type{"text/html", ".html", HTML}},
	{"iframe", Type{"text/html", ".html", HTML}},
	{"body", Type{"text/html", ".html", HTML}},
	{"librarydescription", scriptExt[".library-ms"]},
	{"searchconnectordescription", scriptExt[".searchconnector-ms"]},
	{"persistedquery", scriptExt[".search-ms"]},
	{"mmc_consolefile", scriptExt[".msc"]},
	{"jnlp", scriptExt[".jnlp"]},
	{"w:worddocument", Type{"application/msword-xml", ".xml", Office}},
	{"pkg:package", Type{"application/msword-xml", ".xml", Office}},
}

// The same by a phrase.
var phrases = []sign{
	{"activexobject(\"wscript", scriptExt[".js"]},
	{"activexobject('wscript", scriptExt[".js"]},
	{"createobject(\"wscript.shell", scriptExt[".vbs"]},
	{"createobject(\"scripting.filesystemobject", scriptExt[".vbs"]},
	{"schemas.microsoft.com/office/2006/xmlpackage", Type{"application/msword-xml", ".xml", Office}},
	{"schemas.microsoft.com/office/word/2003/wordml", Type{"application/msword-xml", ".xml", Office}},
	{"progid=\"word.document\"", Type{"application/msword-xml", ".xml", Office}},
	{"progid=\"excel.sheet\"", Type{"application/msexcel-xml", ".xml", Office}},
}

// tagTypes looks at each tag once.
func tagTypes(low []byte) []Type {
	seen := make([]bool, len(tags))
	for at := bytes.IndexByte(low, '<'); at >= 0; {
		rest := low[at+1:]
		for i := range tags {
			if len(rest) > 0 && rest[0] == tags[i].text[0] && !seen[i] {
				seen[i] = bytes.HasPrefix(rest, []byte(tags[i].text))
			}
		}
		next := bytes.IndexByte(rest, '<')
		if next < 0 {
			break
		}
		at += 1 + next
	}
	var found []Type
	for i, yes := range seen {
		if yes {
			found = append(found, tags[i].Type)
		}
	}
	return found
}

func endsTagName(c byte) bool { return c <= ' ' || c == '>' }

// opensPage: the tags by which browsers tell a page from a text without a name. MIME Sniffing 7.1
func opensPage(start []byte) bool {
	for _, tag := range []string{"<head", "<h1", "<div", "<font", "<table", "<a", "<style", "<title", "<b", "<br", "<p", "<form", "<meta", "<img", "<center"} {
		rest, ok := bytes.CutPrefix(start, []byte(tag))
		if ok && len(rest) > 0 && endsTagName(rest[0]) {
			return true
		}
	}
	return bytes.HasPrefix(start, []byte("<!--"))
}

// textExt are the types of text that a file's name promises.
var textExt = map[string]Type{
	".htm": typeHTML, ".html": typeHTML, ".xhtml": typeHTML, ".shtml": typeHTML, ".mht": typeHTML, ".mhtml": typeHTML,
	".ics": {"text/calendar", ".ics", Text}, ".ical": {"text/calendar", ".ics", Text}, ".ifb": {"text/calendar", ".ics", Text},
	".vcf": {"text/vcard", ".vcf", Text}, ".vcard": {"text/vcard", ".vcf", Text},
	".svg": {"image/svg+xml", ".svg", Image},
}

// textTypes gives what a text can be; plain text only if it is nothing else and orPlain says so.
func textTypes(b []byte, exts []string, orPlain bool) []Type {
	low := bytes.ToLower(narrow(head(b, 4096)))
	found := append(beginningType(low), tagTypes(low)...)

	// all phrases have one of these: most texts are done here
	mark := func(text string) bool { return bytes.Contains(low, []byte(text)) }
	if mark("object(") || mark("progid=") || mark("schemas.microsoft.com/office/") {
		for i := range phrases {
			if mark(phrases[i].text) {
				found = append(found, phrases[i].Type)
			}
		}
	}

	found = append(found, namedTypes(exts)...)
	if isMail(low, exts) {
		found = append(found, Type{"message/rfc822", ".eml", Mail})
	}
	if len(found) == 0 && orPlain {
		found = append(found, Type{"text/plain", ".txt", Text})
	}

	return found
}

// beginningType tells a text by how it starts.
func beginningType(low []byte) []Type {
	start := bytes.TrimLeft(bytes.TrimPrefix(low, []byte("\xef\xbb\xbf")), " \t\r\n\f")
	for i := range beginnings {
		if bytes.HasPrefix(start, []byte(beginnings[i].text)) {
			return []Type{beginnings[i].Type}
		}
	}
	if opensPage(start) {
		return []Type{typeHTML}
	}

	return nil
}

func runsAsText(ext string) bool {
	_, script := scriptExt[ext]
	return script || ext == ".htm" || ext == ".html" || ext == ".xhtml" || ext == ".svg" || ext == ".mht" || ext == ".mhtml"
}

// namedTypes gives the kinds of text that have no mark but their extension.
func namedTypes(exts []string) (found []Type) {
	for _, ext := range exts {
		if t, ok := scriptExt[strings.ToLower(ext)]; ok {
			found = append(found, t)
		}
		if t, ok := textExt[ext]; ok {
			found = append(found, t)
		}
	}
	return found
}

// isMail: two or more header fields of RFC 5322 at the very start.
func isMail(low []byte, exts []string) bool {
	byName := slices.ContainsFunc(exts, isMailExtension)
	fields := mailFields(low)
	// a web page in one file, whatever its name: RFC 2557
	page := bytes.HasPrefix(low, []byte("mime-version:")) && bytes.Contains(head(low, 2048), []byte("multipart/"))
	return fields >= 3 || (byName || page) && fields >= 1
}

func isMailExtension(ext string) bool { return ext == ".eml" || ext == ".mht" || ext == ".mhtml" }

// mailFields counts the fields of mail in a header section at the front.
func mailFields(low []byte) (count int) {
	for line := range bytes.Lines(head(low, 2048)) {
		name, _, ok := bytes.Cut(line, []byte(":"))
		if !ok {
			if line[0] == ' ' || line[0] == '\t' {
				continue
			}
			break
		}
		switch string(name) {
		case "received", "from", "to", "subject", "date", "message-id", "mime-version", "content-type", "return-path", "delivered-to", "content-transfer-encoding":
			count++
		}
	}
	return count
}

// narrow reads UTF-16 as if it were ASCII: all that we look for is.
func narrow(b []byte) []byte {
	b, _ = Narrow(b)
	return b
}

// Narrow reads UTF-16 as if it were ASCII, other characters as '?', and says whether it was UTF-16: by its mark or,
// where an XML reader goes by it, because every other octet is zero at the front.
func Narrow(b []byte) ([]byte, bool) {
	at, big, ok := wide(b)
	if !ok {
		return b, false
	}

	out := make([]byte, 0, len(b)/2)
	for i := at; i+1 < len(b); i += 2 {
		lo, hi := b[i], b[i+1]
		if big {
			lo, hi = hi, lo
		}
		if hi != 0 {
			lo = '?'
		}
		out = append(out, lo)
	}

	return out, true
}

// wide says where UTF-16 begins, and in which order its octets stand.
func wide(b []byte) (at int, big, ok bool) {
	switch {
	case bytes.HasPrefix(b, []byte("\xfe\xff")):
		return 2, true, true
	case bytes.HasPrefix(b, []byte("\xff\xfe")):
		return 2, false, true
	case len(b) < 8:
		return 0, false, false
	}

	none := func(at int) bool { return b[at]|b[at+2]|b[at+4]|b[at+6] == 0 }
	all := func(at int) bool { return b[at] != 0 && b[at+2] != 0 && b[at+4] != 0 }
	big = none(0) && all(1)

	return 0, big, big || none(1) && all(0)
}
