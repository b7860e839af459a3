package unpack

import (
	"bytes"
	"io"
	"slices"
	"strings"

	"postern/internal/mimeview/unpack/filetype"
	"postern/internal/mimeview/unpack/pdf"
)

func inspectPDF(w *walk, n *node, o *Object) func() {
	if !o.is("application/pdf") {
		return nil
	}

	start := max(bytes.Index(n.content, []byte("%PDF-")), 0)
	found := pdf.Scan(n.content[start:], pdf.Limits{Streams: 10_000, Objects: min(w.o.Total-w.result.Decoded, 64<<20), Stop: w.late, Passwords: w.o.Passwords})
	if found.Limit != "" {
		o.flag(LimitHit, found.Limit)
		w.limit(found.Limit)
	}
	flagPDF(o, found)
	if found.Password != "" {
		o.flag(Unlocked, "PDF")
	}
	if found.Encrypted {
		o.flag(PDFEncrypted, "")
		w.encrypted(n.path)
	}

	return func() { w.pdfStreams(n, found) }
}

// doesSomething leaves out what most files do when they open, as going to a page or a zoom.
func doesSomething(action string) bool {
	return action != "EmbeddedFiles" && action != "GoToR" && action != "URI"
}

// flagPDF says what a document does by itself.
func flagPDF(o *Object, found pdf.Found) {
	does := func(action string) bool { return slices.Contains(found.Actions, action) }
	few := func(all []string) string { return strings.Join(all[:min(len(all), 10)], ", ") }

	for _, s := range found.Scripts {
		o.flag(PDFJavaScript, s[:min(len(s), 200)])
	}
	if does("Launch") {
		for _, l := range found.Launches {
			o.flag(PDFLaunch, l)
		}
	}
	for _, u := range found.URIs {
		o.flag(URI, u)
	}

	if does("JavaScript") && !o.Has(PDFJavaScript) {
		o.flag(PDFJavaScript, "")
	}
	if does("Launch") && !o.Has(PDFLaunch) {
		o.flag(PDFLaunch, "")
	}
	if does("EmbeddedFiles") {
		o.flag(PDFEmbedded, few(found.Files))
	}
	if found.Opens && slices.ContainsFunc(found.Actions, doesSomething) {
		o.flag(PDFOpenAction, few(found.Actions))
	}
}

func streamName(script bool) string {
	if script {
		return "script.js"
	}
	return "stream"
}

// pdfStreams visits the files inside, the scripts, and whatever else turns out to be more than a page's text.
func (w *walk) pdfStreams(n *node, found pdf.Found) {
	files := 0
	for _, s := range found.Streams {
		if w.stopped() {
			return
		}
		script := slices.Contains(found.Script, s.Object)
		// without the key most can't be decoded; what can be is no less than without encryption
		wanted := !found.Encrypted && (s.Embedded || script)
		if !wanted && !telling(s) {
			continue
		}
		name := streamName(script)
		if s.Embedded && files < len(found.Files) {
			name = found.Files[files]
			files++
		}
		names := []string{name}
		r, err := s.Decode()
		if err != nil {
			w.closed(n, names, Flag{Unscannable, brief(err)})
			continue
		}
		_ = w.child(n, entry{names: names, r: r, packed: int64(len(s.Content)) + 1}) // noted by child
	}
}

// telling looks at a stream's beginning.
func telling(s pdf.Stream) bool {
	r, err := s.Decode()
	if err != nil {
		return false
	}
	head := make([]byte, 512)
	got, _ := io.ReadFull(r, head) // a short or broken stream is judged by what there is
	head = head[:got]
	if bytes.HasPrefix(head, []byte(eicar)) {
		return true
	}
	switch filetype.Detect(head, nil)[0].Class {
	case filetype.Archive, filetype.Executable, filetype.Office, filetype.PDF, filetype.HTML, filetype.Script, filetype.Shortcut, filetype.Disk:
		return true
	}
	return false
}
