package unpack

import (
	"bytes"
	"io"
	"slices"
	"strconv"
	"strings"

	"postern/internal/mimeview/links/qr"
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
	if !found.Encrypted {
		flagPages(o, found)
	}
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

// What makes a PDF one that is sent for its link: so few words, of so many letters on the average; a link in a code is
// looked for where there is no more than a page or two of text, within so much work in units of qr.Cost.
const (
	fewPDFWords   = 60
	lettersOfWord = 6
	codePDFWords  = 500
	codeCost      = 1 << 20
)

// flagPages says what pages show: hardly more than a link, or a link in a picture.
func flagPages(o *Object, found pdf.Found) {
	if len(found.URIs) == 0 && len(found.Pictures) == 0 {
		return
	}
	words := found.Glyphs(codePDFWords*lettersOfWord) / lettersOfWord
	if words >= codePDFWords {
		return
	}
	codes := codesOf(found.Pictures)
	for _, text := range codes {
		o.flag(QRCode, text)
	}
	if words < fewPDFWords && len(found.URIs)+len(codes) > 0 {
		o.flag(PDFLinkOnly, strconv.Itoa(words)+" words")
	}
}

// codesOf reads the QR codes in the pictures of a PDF.
func codesOf(all []pdf.Picture) (texts []string) {
	room := codeCost
	for _, p := range all {
		if p.Width > room/p.Height {
			continue
		}
		text, err := "", error(nil)
		if file, ok := p.JPEG(qr.MaxOctets); ok {
			cost := qr.Cost(file)
			if cost > room {
				continue
			}
			room -= cost
			text, err = qr.Read(file)
		} else if gray, ok := p.Gray(); ok {
			room -= len(gray)
			text, err = qr.ReadGray(gray, p.Width, p.Height)
		}
		if err == nil && text != "" {
			texts = append(texts, text)
		}
	}

	return texts
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
