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

// hasSignature says whether a signature covers the body, which is changed here.
func hasSignature(h *mail.Header) bool {
	return slices.ContainsFunc([]string{"DKIM-Signature", "ARC-Message-Signature", "ARC-Seal"}, func(name string) bool { return h.Count(name) > 0 })
}

// spans gives what has to be changed in a message, in order.
func spans(m *mail.Message, raw []byte) ([]mail.Span, error) {
	view := mimeview.Of(m)
	root := view.Root()
	if root == nil || slices.ContainsFunc(view.Limits(), hidesParts) || slices.ContainsFunc(view.Ambiguities(), unclear) {
		return nil, ErrForm
	}
	w := writer{raw: raw}
	if err := w.message(root, 0); err != nil {
		return nil, err
	}
	slices.SortStableFunc(w.spans, func(a, b mail.Span) int { return int(a.From - b.From) })

	return w.spans, nil
}

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

	m := mail.NewMessage(raw.Bytes())
	switch {
	case bareBreaks(raw.Bytes()): // coded, they would become line ends
		return c, ErrForm
	case hasSignature(m.Header()):
		return c, ErrSigned
	}
	changes, err := spans(m, raw.Bytes())
	if err != nil {
		return c, err
	}

	var out bytes.Buffer
	if _, err := (mail.Copy{Message: m, Omit: changes}).WriteTo(&out); err != nil {
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

// isIdentity says whether an encoding leaves the octets as they are: RFC 2045 section 6.2.
func isIdentity(encoding string) bool {
	switch strings.ToLower(encoding) {
	case "", "7bit", "8bit", "binary":
		return true
	}
	return false
}

// part writes one part, whose header begins at from, and gives the fields that its header lacks then.
func (w *writer) part(p *mimeview.Part, from int64) (missing string, err error) {
	ordered := 0 <= from && from <= p.Start && p.Start <= p.End
	if !ordered || p.End > int64(len(w.raw)) {
		return "", ErrForm
	}
	head, text := w.raw[from:p.Start], w.raw[p.Start:p.End]
	switch {
	case !sevenBit(head):
		return "", ErrHeader
	case sevenBit(text) && (!HasLong(text) || isSigned(p)):
		return "", nil
	}
	return w.coded(p, from, head, text)
}

// coded writes a part that can't stay as it is.
func (w *writer) coded(p *mimeview.Part, from int64, head, text []byte) (missing string, err error) {
	switch {
	case !isIdentity(p.Encoding): // it is not what its label says
		return "", ErrForm
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

// relabel has the encoding of a composite part say 7bit.
func (w *writer) relabel(head []byte, from int64) error {
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
	return nil
}

// one writes what is in a composite part: an attached message, or a part with the fields that it lacks then.
func (w *writer) one(inner *mimeview.Part, attached bool) error {
	if attached {
		return w.message(inner, inner.Header)
	}
	missing, err := w.part(inner, inner.Header)
	if err == nil && missing != "" {
		w.insert(inner.Header, mail.ParseHeader(w.raw[inner.Header:inner.Start]), missing)
	}
	return err
}

// inside writes the parts of a composite one. RFC 2045 section 6.4: it is never coded itself, and its label tells what is in
// it.
func (w *writer) inside(p *mimeview.Part, from int64, head []byte, attached bool) error {
	if err := w.relabel(head, from); err != nil {
		return err
	}
	found, gap := 0, p.Start
	for _, inner := range p.Parts {
		if inner.Reading != "" || inner.Within != "" {
			continue
		}
		found++
		w.between(gap, inner.Header)
		gap = inner.End
		if attached && (inner.Header != p.Start || found > 1) {
			return ErrForm
		}
		if err := w.one(inner, attached); err != nil {
			return err
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
