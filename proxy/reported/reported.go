// Package reported reads the mail in which users send what was judged wrongly: the messages that are attached to it.
package reported

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"postern/internal/mail"
	"postern/internal/mimeview"
)

// Bounds of one report.
const (
	// MaxMessages is how many attached messages are read.
	MaxMessages = 50
	// maxDepth is how many multiparts may lie within each other around them.
	maxDepth = 10
)

// ErrNone says that no message is attached.
var ErrNone = errors.New("no message is attached")

// ErrMany says that there are more than MaxMessages, of which none is used.
var ErrMany = fmt.Errorf("more than %d messages are attached", MaxMessages)

// ErrOutlook says that a message is attached in the form that only Outlook reads (.msg), which does not have its octets.
var ErrOutlook = errors.New("a message is attached in Outlook's own form")

// Messages gives the messages that are attached to a report, up to limit octets of each: parts of type message/rfc822 (RFC 2046
// section 5.2.1) and message/global (RFC 6532 section 3.7), and files whose name ends in .eml, which some programs call
// application/octet-stream. What is attached to these messages belongs to them.
func Messages(report *mail.Message, limit int64) (all []*mail.Message, err error) {
	view := mimeview.New(report, mimeview.Options{})
	defer func() { err = errors.Join(err, view.Close()) }()
	r := reader{report: report, view: view, limit: limit}
	r.part(view.Root(), 0)
	if err := errors.Join(r.err, view.Err()); err != nil {
		return nil, err
	}
	switch {
	case len(r.all) > MaxMessages:
		return nil, ErrMany
	case len(r.all) > 0:
		return r.all, nil
	case r.outlook:
		return nil, ErrOutlook
	}

	return nil, ErrNone
}

type reader struct {
	report  *mail.Message
	view    *mimeview.View
	limit   int64
	all     []*mail.Message
	outlook bool
	err     error
}

func (r *reader) part(p *mimeview.Part, depth int) {
	enough := depth > maxDepth || len(r.all) > MaxMessages
	if enough || p == nil || p.Reading != "" {
		return
	}
	name := strings.ToLower(p.Name)
	switch {
	case depth > 0 && (p.Type == "message/rfc822" || p.Type == "message/global"):
		r.message(p)
	case strings.HasPrefix(p.Type, "multipart/"):
		for _, inner := range p.Parts {
			r.part(inner, depth+1)
		}
	case strings.HasSuffix(name, ".eml"):
		r.message(p)
	case p.Type == "application/vnd.ms-outlook", strings.HasSuffix(name, ".msg"):
		r.outlook = true
	}
}

// message takes an attached message. RFC 2046 section 5.2.1: it is not encoded; some programs encode it all the same.
func (r *reader) message(p *mimeview.Part) {
	var octets []byte
	var err error
	switch strings.ToLower(p.Encoding) {
	case "", "7bit", "8bit", "binary":
		if p.Within != "" {
			return // of something that only looks like a part of this report
		}
		octets, err = io.ReadAll(io.NewSectionReader(r.report, p.Start, min(p.End-p.Start, r.limit)))
	default:
		octets, err = r.decoded(p)
	}
	if err != nil {
		r.err = errors.Join(r.err, err)
		return
	}
	if len(bytes.TrimSpace(octets)) > 0 {
		r.all = append(r.all, mail.NewMessage(withCRLF(octets)))
	}
}

// decoded gives the content of a part that is encoded.
func (r *reader) decoded(p *mimeview.Part) ([]byte, error) {
	for _, o := range r.view.Objects() {
		if o.Part != p || o.Reading != "" {
			continue
		}
		content, err := o.Open()
		if err != nil {
			return nil, err
		}
		octets, err := io.ReadAll(io.LimitReader(content, r.limit))

		return octets, errors.Join(err, content.Close())
	}

	return nil, nil
}

// withCRLF ends all lines in CRLF, as the message had them when it was judged: files come from systems with other lines.
func withCRLF(octets []byte) []byte {
	if bytes.Count(octets, []byte("\n")) == bytes.Count(octets, []byte("\r\n")) {
		return octets
	}
	plain := bytes.ReplaceAll(octets, []byte("\r\n"), []byte("\n"))

	return bytes.ReplaceAll(plain, []byte("\n"), []byte("\r\n"))
}
