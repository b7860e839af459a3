package recode

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"postern/internal/mail"
	"postern/internal/mimeview"
)

// Why a message can't be written in 7 bits. All of them are ErrUnfit.
var (
	ErrUnfit  = errors.New("it can't be written in 7 bits")
	ErrSigned = fmt.Errorf("%w: its signature would not survive", ErrUnfit)
	ErrHeader = fmt.Errorf("%w: a header holds 8-bit text", ErrUnfit)
	ErrForm   = fmt.Errorf("%w: its parts can't be told apart for sure", ErrUnfit)
	ErrSize   = fmt.Errorf("%w: it is too large", ErrUnfit)
)

// maxSize is the largest message that is written anew, in octets: it is all in memory.
const maxSize = 64 << 20

// SevenBit writes a copy for a server that takes no 8-bit text: each leaf that holds such text, or lines too long for SMTP,
// is coded, and the labels of the parts around it say so. A copy without 8-bit text is given back as it is.
//
// RFC 6152 section 3 asks for it: a message that was taken with BODY=8BITMIME goes to a server without the extension
// in 7 bits, or not at all.
func SevenBit(c mail.Copy) (mail.Copy, error) {
	plain, err := isPlain(c.Open())
	switch {
	case err != nil || plain:
		return c, err
	case c.Size() > maxSize:
		return c, ErrSize
	}
	var raw bytes.Buffer
	if _, err := c.WriteTo(&raw); err != nil {
		return c, err
	}

	if bareBreaks(raw.Bytes()) { // coded, they would become line ends
		return c, ErrForm
	}
	m := mail.NewMessage(raw.Bytes())
	if slices.ContainsFunc([]string{"DKIM-Signature", "ARC-Message-Signature", "ARC-Seal"}, func(name string) bool { return m.Header().Count(name) > 0 }) {
		return c, ErrSigned
	}
	view := mimeview.Of(m)
	root := view.Root()
	if root == nil || slices.ContainsFunc(view.Limits(), hidesParts) || slices.ContainsFunc(view.Ambiguities(), unclear) {
		return c, ErrForm
	}
	w := writer{raw: raw.Bytes()}
	if err := w.message(root, 0); err != nil {
		return c, err
	}
	slices.SortStableFunc(w.spans, func(a, b mail.Span) int { return int(a.From - b.From) })

	var out bytes.Buffer
	if _, err := (mail.Copy{Message: m, Omit: w.spans}).WriteTo(&out); err != nil {
		return c, err
	}
	if !sevenBit(out.Bytes()) || HasLong(out.Bytes()) { // what stands between parts, say
		return c, ErrForm
	}
	return mail.Copy{Message: mail.NewMessage(out.Bytes())}, nil
}

// hidesParts says whether a limit that was reached may keep parts from being found. How much text is looked through for words
// and links has no part in that.
func hidesParts(limit string) bool {
	return limit != mimeview.LimitText && limit != mimeview.LimitURLs
}

// unclear says whether two readers may find the parts of a message in different places, or not call them the same. What is odd
// within a leaf stays as odd as it was: its octets are the same once it is decoded.
func unclear(a mimeview.Ambiguity) bool {
	switch a.Kind {
	case mimeview.EncodedNoHeader, mimeview.Base64Length, mimeview.Base64Trailer, mimeview.Base64Junk, mimeview.Base64Appended,
		mimeview.QuotedIllegal, mimeview.QuotedBlank, mimeview.VersionMissing, mimeview.PGPBroken, mimeview.TNEFBroken, mimeview.DelimiterInLeaf:
		return false
	}
	return !a.Idle
}

// isPlain says whether there is no octet above 127.
func isPlain(in io.Reader) (bool, error) {
	block := make([]byte, 64<<10)
	for {
		n, err := in.Read(block)
		if !sevenBit(block[:n]) {
			return false, nil
		}
		if errors.Is(err, io.EOF) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
	}
}

func sevenBit(text []byte) bool {
	return !slices.ContainsFunc(text, func(c byte) bool { return c >= 0x80 })
}

// writer gathers what has to change.
type writer struct {
	raw   []byte
	spans []mail.Span
}

// message writes a message, the whole one or one that is attached. Its header is one of its own: with MIME fields it needs
// the version (RFC 2045 section 4).
func (w *writer) message(p *mimeview.Part, from int64) error {
	before := len(w.spans)
	missing, err := w.part(p, from)
	if err != nil || len(w.spans) == before {
		return err
	}
	head := mail.ParseHeader(w.raw[from:p.Start])
	if head.Count("MIME-Version") == 0 {
		missing = "MIME-Version: 1.0\r\n" + missing
	}
	if missing != "" {
		w.insert(from, head, missing)
	}
	return nil
}

// insert puts fields behind the last one of a header.
func (w *writer) insert(from int64, head *mail.Header, fields string) {
	for _, f := range slices.Backward(head.Fields) {
		from += int64(f.Offset + len(f.Raw))
		break
	}
	w.spans = append(w.spans, mail.Span{From: from, To: from, With: []byte(fields)})
}

// part writes one part, whose header begins at from, and gives the fields that its header lacks then.
func (w *writer) part(p *mimeview.Part, from int64) (missing string, err error) {
	if from < 0 || p.Start < from || p.End < p.Start || p.End > int64(len(w.raw)) {
		return "", ErrForm
	}
	head, text := w.raw[from:p.Start], w.raw[p.Start:p.End]
	if !sevenBit(head) {
		return "", ErrHeader
	}
	if sevenBit(text) && (!HasLong(text) || isSigned(p)) {
		return "", nil
	}
	switch strings.ToLower(p.Encoding) {
	case "", "7bit", "8bit", "binary":
	default: // it is not what its label says
		return "", ErrForm
	}

	switch {
	case isSigned(p):
		return "", ErrSigned
	case strings.HasPrefix(p.Type, "multipart/"):
		return "", w.inside(p, from, head, false)
	case p.Type == "message/rfc822":
		return "", w.inside(p, from, head, true)
	case strings.HasPrefix(p.Type, "message/"): // RFC 2046 section 5.2: none of them may be coded
		return "", ErrForm
	}

	return w.leaf(p, from, head, text), nil
}

// leaf codes a part that has no others in it.
func (w *writer) leaf(p *mimeview.Part, from int64, head, text []byte) (missing string) {
	spans, missing := Leaf(p, from, head, text)
	if last := &spans[len(spans)-1]; p.End == int64(len(w.raw)) && !bytes.HasSuffix(last.With, []byte("\r\n")) {
		last.With = append(last.With, closing(last.With)...)
	}
	w.spans = append(w.spans, spans...)

	return missing
}

// closing ends the last line of a message without adding to what it holds.
func closing(coded []byte) string {
	if bytes.HasSuffix(coded, []byte("=")) || !bytes.ContainsAny(coded, "=") {
		return "\r\n"
	}
	return "=\r\n"
}

// isSigned says whether a part is signed as it is written, to the octet: RFC 1847 section 2.1.
func isSigned(p *mimeview.Part) bool {
	return p.Type == "multipart/signed" || p.Type == "multipart/encrypted"
}

// inside writes the parts of a composite one. RFC 2045 section 6.4: it is never coded itself, and its label tells what is in
// it.
func (w *writer) inside(p *mimeview.Part, from int64, head []byte, attached bool) error {
	for _, f := range mail.ParseHeader(head).All(encodingField) {
		switch value := strings.TrimSpace(string(f.Raw[f.ValueAt:])); strings.ToLower(value) {
		case "7bit":
		case "8bit", "binary":
			at := from + int64(f.Offset)
			w.spans = append(w.spans, mail.Span{From: at, To: at + int64(len(f.Raw)), With: []byte(encodingField + ": 7bit\r\n")})
		default:
			return ErrForm
		}
	}
	found, gap := 0, p.Start
	for _, inner := range p.Parts {
		if inner.Reading != "" || inner.Within != "" {
			continue
		}
		found++
		w.between(gap, inner.Header)
		gap = inner.End
		if attached {
			if inner.Header != p.Start || found > 1 {
				return ErrForm
			}
			if err := w.message(inner, inner.Header); err != nil {
				return err
			}
			continue
		}
		missing, err := w.part(inner, inner.Header)
		if err != nil {
			return err
		}
		if missing != "" {
			w.insert(inner.Header, mail.ParseHeader(w.raw[inner.Header:inner.Start]), missing)
		}
	}
	w.between(gap, p.End)
	if found == 0 {
		return ErrForm
	}
	return nil
}

// between takes the 8-bit text out of what stands between parts. RFC 2046 section 5.1.1: nobody is to read it; it says in the
// sender's language that this is a message in MIME format.
func (w *writer) between(from, to int64) {
	if from >= to || sevenBit(w.raw[from:to]) {
		return
	}
	plain := bytes.Clone(w.raw[from:to])
	for i, c := range plain {
		if c >= 0x80 {
			plain[i] = '?'
		}
	}
	w.spans = append(w.spans, mail.Span{From: from, To: to, With: plain})
}

// bareBreaks says whether a CR or LF stands alone.
func bareBreaks(text []byte) bool {
	whole := bytes.Count(text, []byte("\r\n"))
	return bytes.Count(text, []byte("\r")) != whole || bytes.Count(text, []byte("\n")) != whole
}
