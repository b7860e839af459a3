package unpack

import (
	"bytes"
	"encoding/base64"
	"regexp"
	"strings"

	"postern/internal/mimeview/unpack/filetype"
)

var (
	dataURI    = regexp.MustCompile(`(?i)\bdata:([a-z]+/[a-z0-9.+-]+)((?:;[a-z0-9=_.-]+){0,5}),`)
	webURL     = regexp.MustCompile(`(?i)\b(?:https?|ftp|search-ms|ms-[a-z-]+):(?://)?[^\s"'<>\\)\]}]{4,}`)
	svgHandler = regexp.MustCompile(`(?i)<script\b|\son[a-z]{3,20}\s*=|javascript:|<foreignobject\b`)
	base64Run  = regexp.MustCompile(`["'` + "`" + `]([A-Za-z0-9+/\r\n]{100,}={0,2})["'` + "`" + `]`)
)

// makers build a file out of script, givers hand it to the person.
var (
	makers = []string{"new blob(", "atob(", "uint8array", "fromcharcode(", "new file("}
	givers = []string{"createobjecturl(", "mssaveoropenblob(", "mssaveblob(", ".download", "download=", "navigator.share("}
)

// maxDecoys is how many data: URIs and base64 texts of one page are decoded.
const maxDecoys = 50

// inspectHTML looks at pages and SVG pictures that come as attachments: a browser runs them with the reader's rights.
func inspectHTML(w *walk, n *node, o *Object) func() {
	svg := o.is("image/svg+xml")
	if !svg && !o.isClass(filetype.HTML) && !o.is("application/hta") {
		return nil
	}
	text := bytes.ToLower(n.content)
	if svg && svgHandler.Match(n.content) {
		o.flag(SVGScript, "")
	}
	scripted := bytes.Contains(text, []byte("<script")) || bytes.Contains(text, []byte("javascript:"))
	if scripted && !svg {
		o.flag(ScriptInHTML, "")
	}
	made, given := firstOf(text, makers), firstOf(text, givers)
	if scripted && made != "" && given != "" {
		o.flag(HTMLSmuggling, made+" "+given)
	}
	flagURLs(o, n.content)
	inside := htmlData(o, n.content)
	if scripted {
		inside = append(inside, scriptData(o, n.content)...)
	}
	return func() {
		for _, e := range inside {
			if w.stopped() {
				return
			}
			_ = w.child(n, e) // noted by child
		}
	}
}

func firstOf(text []byte, words []string) string {
	for _, w := range words {
		if bytes.Contains(text, []byte(w)) {
			return w
		}
	}
	return ""
}

const maxURLs = 100

func flagURLs(o *Object, b []byte) {
	for _, u := range webURL.FindAll(b[:min(len(b), 4<<20)], maxURLs) {
		o.flag(URI, string(u))
	}
}

// htmlData gives what stands in data: URIs, but for pictures, fonts and other plain resources of a page. RFC 2397
func htmlData(o *Object, b []byte) []entry {
	var found []entry
	read := 0 // what belongs to one URI can't begin another
	for _, m := range dataURI.FindAllSubmatchIndex(b, 1000) {
		if m[0] < read {
			continue
		}
		media := strings.ToLower(string(b[m[2]:m[3]]))
		top, _, _ := strings.Cut(media, "/")
		if (top == "image" && media != "image/svg+xml") || top == "font" || top == "audio" || top == "video" || strings.Contains(media, "font") || len(found) == maxDecoys {
			continue
		}
		body := b[m[1]:]
		if end := bytes.IndexAny(body, "\"'<>) `"); end >= 0 {
			body = body[:end]
		}
		read = m[1] + len(body)
		content := []byte(percentDecoded(string(body)))
		if strings.Contains(strings.ToLower(string(b[m[4]:m[5]])), "base64") {
			content = lenientBase64(content)
		}
		if media != "text/css" && media != "text/plain" {
			o.flag(DataURI, media)
		}
		found = append(found, entry{names: []string{"data"}, r: bytes.NewReader(content), packed: int64(len(body) + 1)})
	}
	return found
}

// scriptData decodes long base64 texts of scripts and gives those that turn out to be files.
func scriptData(o *Object, b []byte) []entry {
	var found []entry
	for _, m := range base64Run.FindAllSubmatch(b, maxDecoys) {
		content := lenientBase64(m[1])
		t := filetype.Detect(content, nil)[0]
		switch t.Class {
		case filetype.Text, filetype.Other, filetype.Image:
			if !bytes.HasPrefix(content, []byte(eicar)) {
				continue
			}
		}
		o.flag(HTMLSmuggling, "base64 "+t.Name)
		found = append(found, entry{names: []string{"script-data"}, r: bytes.NewReader(content), packed: int64(len(m[1]))})
	}
	return found
}

// lenientBase64 drops what is no digit and decodes the rest, as browsers' and mail readers' decoders do.
func lenientBase64(b []byte) []byte {
	kept := make([]byte, 0, len(b))
	for _, c := range b {
		if c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '+' || c == '/' {
			kept = append(kept, c)
		}
	}
	out := make([]byte, base64.RawStdEncoding.DecodedLen(len(kept)))
	got, _ := base64.RawStdEncoding.Decode(out, kept) // a last lone digit is dropped
	return out[:got]
}
