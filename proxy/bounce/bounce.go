// Package bounce writes the notice by which a sender of ours hears that mail of his was not delivered (RFC 3464).
package bounce

import (
	"bytes"
	"cmp"
	"fmt"
	"mime/quotedprintable"
	"slices"
	"strings"
	"time"

	"postern/internal/mail"
	"postern/internal/mail/encodedword"
)

// Failure is one recipient who has not got the message.
type Failure struct {
	Recipient mail.Recipient
	// Reply is the next hop's last word, the zero Reply if it never said one.
	Reply mail.Reply
	// Expired says that it was given up because no server took it in time.
	Expired bool
}

// Notice is what a notice is made of.
type Notice struct {
	// Hostname is ours, ID the notice's, Message that of the message in our records.
	Hostname, ID, Message string
	To                    mail.Address
	Params                mail.Params
	// Arrived is when the message came, Now when the notice is written.
	Arrived, Now time.Time
	Failures     []Failure
	// Header is the message's, with what we put on top of it.
	Header []byte
}

// Wanted says whether a recipient's failure is to be told: RFC 3461 section 5.2, where NOTIFY was not left out.
func Wanted(r mail.Recipient) bool {
	return len(r.Notify) == 0 || slices.Contains(r.Notify, "FAILURE")
}

// SendParams are those that a notice is sent with.
func (n Notice) SendParams() mail.Params { return mail.Params{UTF8: n.To.NeedsUTF8()} }

// Bytes writes the notice: multipart/report (RFC 6522) of a text, the delivery status and the header of the message.
// All of it is of 7 bits and short lines, so that any server takes it.
func (n Notice) Bytes() []byte {
	boundary := "=_" + n.ID
	var b bytes.Buffer
	// RFC 3834 section 3.1.7 and section 5: nothing is to answer it.
	fmt.Fprintf(&b, "From: Mail delivery <postmaster@%s>\r\nTo: <%s>\r\nSubject: Undelivered mail returned to its sender\r\nDate: %s\r\nMessage-ID: <%s@%s>\r\n",
		n.Hostname, n.To, n.Now.Format(time.RFC1123Z), n.ID, n.Hostname)
	fmt.Fprintf(&b, "Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"%s\"\r\n\r\n", boundary)

	n.part(&b, boundary, "text/plain; charset=utf-8", n.text())
	kind, headers := "message/delivery-status", "text/rfc822-headers"
	if n.international() {
		// RFC 6533 section 3: addresses that are not of ASCII
		kind, headers = "message/global-delivery-status", "message/global-headers"
	}
	n.part(&b, boundary, kind, n.status())
	n.part(&b, boundary, headers, n.header())
	fmt.Fprintf(&b, "--%s--\r\n", boundary)

	return b.Bytes()
}

// part writes one part, in quoted-printable where it is not plain already.
func (n Notice) part(b *bytes.Buffer, boundary, kind string, content []byte) {
	fmt.Fprintf(b, "--%s\r\nContent-Type: %s\r\n", boundary, kind)
	if plain(content) {
		fmt.Fprintf(b, "\r\n%s\r\n", content)
		return
	}

	b.WriteString("Content-Transfer-Encoding: quoted-printable\r\n\r\n")
	w := quotedprintable.NewWriter(b)
	_, _ = w.Write(content) // a buffer takes all
	_ = w.Close()
	b.WriteString("\r\n")
}

// plain says whether a text can go as it is: RFC 5322 section 2.1.1.
func plain(content []byte) bool {
	const limit = 998
	for line := range bytes.SplitSeq(content, []byte("\r\n")) {
		if len(line) > limit || bytes.ContainsFunc(line, func(r rune) bool { return r > '~' || r < ' ' && r != '\t' }) {
			return false
		}
	}
	return true
}

func (n Notice) international() bool {
	return n.To.NeedsUTF8() || slices.ContainsFunc(n.Failures, func(f Failure) bool { return f.Recipient.Address.NeedsUTF8() })
}

// text is for the reader.
func (n Notice) text() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "This is the mail server %s.\r\n\r\nYour message was not delivered to:\r\n", n.Hostname)
	for _, f := range n.Failures {
		fmt.Fprintf(&b, "\r\n  <%s>\r\n", f.Recipient.Address)
		switch {
		case f.Expired && f.Reply.Code == 0:
			b.WriteString("    No server took it in time.\r\n")
		case f.Expired:
			fmt.Fprintf(&b, "    No server took it in time. The last answer was:\r\n    %s\r\n", f.Reply)
		default:
			fmt.Fprintf(&b, "    The server there refused it:\r\n    %s\r\n", f.Reply)
		}
	}
	head := mail.ParseHeader(n.Header)
	subject := strings.Map(oneLine, encodedword.Decode(head.Get("Subject")))
	fmt.Fprintf(&b, "\r\nThe message\r\n\r\n  subject     %s\r\n  message-id  %s\r\n  sent        %s\r\n", subject, strings.Map(oneLine, head.Get("Message-ID")), n.Arrived.Format(time.RFC1123Z))
	fmt.Fprintf(&b, "\r\nIt will not be tried again. If you don't know what to do about it, give your\r\nadministrator this id: %s\r\n", n.Message)
	return b.Bytes()
}

// status is for programs: RFC 3464 section 2.
func (n Notice) status() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "Reporting-MTA: dns; %s\r\n", n.Hostname)
	if n.Params.EnvID != "" {
		fmt.Fprintf(&b, "Original-Envelope-Id: %s\r\n", strings.Map(oneLine, n.Params.EnvID))
	}
	fmt.Fprintf(&b, "Arrival-Date: %s\r\n", n.Arrived.Format(time.RFC1123Z))
	for _, f := range n.Failures {
		b.WriteString("\r\n")
		r, kind := f.Recipient, "rfc822"
		if r.Address.NeedsUTF8() {
			kind = "utf-8"
		}
		if r.ORcptType != "" {
			fmt.Fprintf(&b, "Original-Recipient: %s; %s\r\n", strings.Map(oneLine, r.ORcptType), strings.Map(oneLine, r.ORcptTo))
		}
		fmt.Fprintf(&b, "Final-Recipient: %s; %s\r\nAction: failed\r\nStatus: %s\r\n", kind, r.Address, f.code())
		if f.Reply.Code != 0 {
			fmt.Fprintf(&b, "Diagnostic-Code: smtp; %s\r\n", fold(f.Reply.String()))
		}
	}
	return b.Bytes()
}

// code is the status of RFC 3463: the hop's own where it gave one that fits.
func (f Failure) code() string {
	if f.Expired {
		return "5.4.7" // delivery time expired
	}
	if strings.HasPrefix(f.Reply.Enhanced, "5.") {
		return f.Reply.Enhanced
	}
	return "5.0.0"
}

// fold breaks a long value where it has a space: RFC 5322 section 2.2.3.
func fold(text string) string {
	const limit = 70
	var b strings.Builder
	line := 0
	for i, word := range strings.Fields(strings.Map(ascii, text)) {
		switch {
		case i == 0:
		case line+len(word) > limit:
			b.WriteString("\r\n\t")
			line = 0
		default:
			b.WriteByte(' ')
		}
		b.WriteString(word)
		line += len(word) + 1
	}
	return b.String()
}

// maxHeader bounds what is given back of the header, in octets.
const maxHeader = 64 << 10

// header is the message's, without what is for the inside only.
func (n Notice) header() []byte {
	own := n.Header[:min(len(n.Header), maxHeader)]
	if i := bytes.LastIndex(own, []byte("\r\n")); i >= 0 {
		own = own[:i+2]
	}
	return own
}

func oneLine(r rune) rune {
	if r < ' ' || r == 0x7f {
		return ' '
	}
	return r
}

func ascii(r rune) rune {
	if r > '~' {
		return '?'
	}
	return cmp.Or(oneLine(r), ' ')
}

// HeaderOf reads the header of a message, no more of it than a notice gives back.
func HeaderOf(m *mail.Message) ([]byte, error) { return m.Head(min(m.BodyOffset(), 2*maxHeader)) }
