package unpack

import (
	"bytes"
	"strings"
)

// inspectText opens calendars and contacts: people follow their links as they do those of mail, and their readers offer the
// files inside as attachments. RFC 5545, RFC 6350, vCard 2.1
func inspectText(w *walk, n *node, o *Object) func() {
	if !o.is("text/calendar", "text/vcard") {
		return nil
	}
	// RFC 5545 3.1, RFC 6350 3.2: a long line goes on behind a line end and a blank
	content := browserText(n.content)
	for _, end := range []string{"\r\n ", "\n ", "\r\n\t", "\n\t"} {
		content = bytes.ReplaceAll(content, []byte(end), nil)
	}
	flagURLs(o, content)
	if !bytes.Contains(bytes.ToLower(content), []byte("encoding=")) && !bytes.Contains(content, []byte("base64")) && !bytes.Contains(content, []byte("BASE64")) {
		return nil
	}
	files := cardFiles(content)
	if len(files) > maxDecoys {
		files = files[:maxDecoys]
		o.flag(LimitHit, "entries")
		w.limit("entries")
	}
	return func() {
		for _, f := range files {
			if w.stopped() {
				return
			}
			w.part(n, f.names, f.content)
		}
	}
}

// dataOf reads a value that is a data: URI. RFC 6350 6.2.4
func dataOf(value []byte) (kind, data []byte, ok bool) {
	uri := bytes.TrimSpace(value)
	if len(uri) <= 5 || !bytes.EqualFold(uri[:5], []byte("data:")) {
		return nil, nil, false
	}
	kind, data, _ = bytes.Cut(uri[5:], []byte(","))

	return kind, data, true
}

// cardFiles gives the values in base64, of any property: ATTACH, PHOTO, LOGO, SOUND, KEY, and those that a program made up.
func cardFiles(content []byte) (files []olePart) {
	lines := bytes.Split(content, []byte("\n"))
	for i := 0; i < len(lines) && len(files) <= maxDecoys; i++ {
		head, value, ok := property(bytes.TrimRight(lines[i], "\r"))
		if !ok {
			continue
		}
		names, coded := cardParameters(head)
		if kind, data, isURI := dataOf(value); isURI {
			coded, value = bytes.HasSuffix(bytes.ToLower(kind), []byte(";base64")), data
		}
		if !coded {
			continue
		}

		// vCard 2.1: goes on until an empty line
		text := bytes.Clone(value)
		for i+1 < len(lines) && bytes.IndexAny(lines[i+1], ":;") < 0 && len(bytes.TrimSpace(lines[i+1])) > 0 {
			i++
			text = append(text, lines[i]...)
		}
		if len(names) == 0 {
			kind, _, _ := bytes.Cut(head, []byte(";"))
			names = []string{strings.ToLower(string(kind[bytes.LastIndexByte(kind, '.')+1:]))}
		}
		files = append(files, olePart{names: names, content: lenientBase64(text)})
	}

	return files
}

// cardParameters says which names a value has, and whether it is in base64.
func cardParameters(head []byte) (names []string, coded bool) {
	for _, p := range parameters(head) {
		key, v, _ := bytes.Cut(p, []byte("="))
		value := string(bytes.Trim(v, "\" "))
		switch strings.ToLower(strings.TrimSpace(string(key))) {
		case "encoding":
			coded = strings.EqualFold(value, "base64") || strings.EqualFold(value, "b")
		case "base64": // vCard 2.1 may leave out ENCODING
			coded = true
		case "filename", "x-filename", "x-apple-filename", "x-label", "label", "x-ms-filename":
			names = append(names, value)
		}
	}

	return names, coded
}

// parameters divides the head of a property at semicolons outside of quotes.
func parameters(head []byte) (all [][]byte) {
	quoted, from := false, 0
	for i, c := range head {
		switch {
		case c == '"':
			quoted = !quoted
		case c == ';' && !quoted:
			all, from = append(all, head[from:i]), i+1
		}
	}
	return append(all, head[from:])
}

// property divides a line at its first colon outside of quotes.
func property(line []byte) (head, value []byte, ok bool) {
	quoted := false
	for i, c := range line {
		switch {
		case c == '"':
			quoted = !quoted
		case c == ':' && !quoted:
			return line[:i], line[i+1:], true
		case i > 4096:
			return nil, nil, false
		}
	}
	return nil, nil, false
}
