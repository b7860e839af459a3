package proxy

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"postern/internal/mail"
	"postern/internal/mimeview"
	"postern/internal/mimeview/recode"
)

// Our own users' mail goes out signed, so it must be complete: what a server behind us would add or break, such as a Date or
// a line that is too long, would make the signature false.

// foldAt is how long the lines of a field become that has to be folded.
const foldAt = 78

// base is the copy that all others are made from: without the fields that only the gateway may set, and complete if it
// is our own users' mail.
func (x *Transaction) base(tagged bool) mail.Copy {
	c := mail.Copy{Message: x.tx.Message, Omit: x.omit(tagged)}
	if !x.tx.Session.Outbound() {
		return c
	}
	c.Top = x.missing()
	for _, f := range x.tx.Message.Header().Fields {
		from := int64(f.Offset)
		if slices.ContainsFunc(c.Omit, func(s mail.Span) bool { return s.From == from }) {
			continue
		}
		if folded, ok := refold(f.Raw); ok {
			c.Omit = append(c.Omit, mail.Span{From: from, To: from + int64(len(f.Raw)), With: folded})
		}
	}
	sortSpans(c.Omit)
	return c
}

// missing are the fields that a submission server adds: RFC 6409 section 8.1 and section 8.2.
func (x *Transaction) missing() []byte {
	var b []byte
	h := x.tx.Message.Header()
	if h.Count("Date") == 0 {
		b = fmt.Appendf(b, "Date: %s\r\n", x.started.Format(time.RFC1123Z))
	}
	if h.Count("Message-ID") == 0 {
		b = fmt.Appendf(b, "Message-ID: <%s@%s>\r\n", x.tx.ID, x.g.Hostname)
	}
	return b
}

// refold folds the overlong lines of a field at white space: RFC 5322 section 2.2.3. Unfolded, the field is unchanged.
// It reports whether any line was folded.
func refold(raw []byte) ([]byte, bool) {
	if !recode.HasLong(raw) {
		return nil, false
	}
	var b []byte
	for line := range bytes.SplitAfterSeq(raw, []byte("\r\n")) {
		if len(bytes.TrimSuffix(line, []byte("\r\n"))) <= recode.MaxLine {
			b = append(b, line...)
			continue
		}
		b = append(b, foldLine(line)...)
	}
	return b, true
}

func foldLine(line []byte) []byte {
	var b []byte
	for {
		at := foldPlace(line)
		if at < 0 {
			return append(b, line...)
		}
		b = append(append(b, line[:at]...), "\r\n"...)
		line = line[at:]
	}
}

// foldPlace is where a line is broken: before white space that has something visible on both sides, so that no line consists
// of white space. -1 is nowhere, or not needed.
func foldPlace(line []byte) int {
	if len(line) <= foldAt {
		return -1
	}
	space := func(c byte) bool { return c == ' ' || c == '\t' }
	last, visible := -1, false
	for i, c := range line {
		if !space(c) {
			visible = true
			continue
		}
		if !visible || space(line[i-1]) || len(bytes.TrimSpace(line[i:])) == 0 {
			continue
		}
		if i > foldAt && last > 0 {
			return last
		}
		last = i
		if i > foldAt {
			return i
		}
	}
	return last
}

// longest gives the longest line of a copy in octets, with that of its header apart.
func longest(c mail.Copy) (header, body int, err error) {
	in := bufio.NewReaderSize(c.Open(), 64<<10)
	n, inBody := 0, false
	note := func() {
		if inBody {
			body = max(body, n)
		} else {
			header = max(header, n)
		}
	}
	for {
		piece, err := in.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			n += len(piece)
			continue
		case errors.Is(err, io.EOF):
			n += len(piece)
			note()
			return header, body, nil
		case err != nil:
			return header, body, err
		}
		n += len(bytes.TrimRight(piece, "\r\n"))
		note()
		inBody = inBody || n == 0
		n = 0
	}
}

// wrap re-encodes the parts of a copy that other servers would have to change, where their content allows it: parts
// with overlong lines, and 8-bit text if the next server may not accept it. RFC 6376 section 5.3: before it is signed.
func (x *Transaction) wrap(c mail.Copy) (mail.Copy, error) {
	if !x.tx.Session.Outbound() || x.g.Signer == nil {
		return c, nil
	}
	if !x.eightBit() {
		plain, err := recode.SevenBit(c)
		switch {
		case errors.Is(err, recode.ErrUnfit): // the relay decides what becomes of it
		case err != nil || plain.Message != c.Message:
			return plain, err
		}
	}

	_, body, err := longest(c)
	if err != nil || body <= recode.MaxLine {
		return c, err
	}

	return x.wrapLines(c)
}

// wrapLines re-encodes the parts with overlong lines.
func (x *Transaction) wrapLines(c mail.Copy) (mail.Copy, error) {
	view := mimeview.Of(x.tx.Message)
	root := view.Root()
	if root == nil || len(view.Limits()) > 0 || sealed(root) {
		return c, nil
	}

	for _, p := range longParts(root, x.tx.Message) {
		if slices.ContainsFunc(c.Omit, func(s mail.Span) bool { return s.From < p.End && s.To > p.Start }) {
			continue // its content has changed
		}
		if err := x.recode(&c, p, p == root); err != nil {
			return c, err
		}
	}
	sortSpans(c.Omit)

	return c, nil
}

// eightBit says whether all hops that this message goes to are known to take 8-bit text.
func (x *Transaction) eightBit() bool {
	for i := range x.outcomes {
		if l := x.outcomes[i].leg; l != nil && !x.g.Relay.TakesEightBit(l.route) {
			return false
		}
	}
	return true
}

// longParts are the leaf parts with overlong lines whose content may be re-encoded.
func longParts(p *mimeview.Part, m *mail.Message) (all []*mimeview.Part) {
	if p.Reading != "" || p.Within != "" {
		return nil
	}
	for _, inner := range p.Parts {
		all = append(all, longParts(inner, m)...)
	}
	switch strings.ToLower(p.Encoding) {
	case "", "7bit", "8bit":
	default:
		return all // base64 and quoted-printable with long lines are broken already, other encodings are unknown
	}
	// RFC 2045 section 6.4: a composite type is never coded
	if len(p.Parts) > 0 || strings.HasPrefix(p.Type, "multipart/") || strings.HasPrefix(p.Type, "message/") || p.End-p.Start > maxAnnotated*20 {
		return all
	}
	text := make([]byte, p.End-p.Start)
	if n, err := m.ReadAt(text, p.Start); n < len(text) && err != nil {
		return all
	}
	if recode.HasLong(text) {
		all = append(all, p)
	}
	return all
}

// recode writes a part in another transfer encoding. Its meaning is the same, to the octet.
func (x *Transaction) recode(c *mail.Copy, p *mimeview.Part, root bool) error {
	m := x.tx.Message
	from := p.Header
	if root {
		from = 0
	}
	head, text := make([]byte, p.Start-from), make([]byte, p.End-p.Start)
	for at, piece := range map[int64][]byte{from: head, p.Start: text} {
		if _, err := m.ReadAt(piece, at); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
	}

	spans, missing := recode.Leaf(p, from, head, text)
	c.Omit = append(c.Omit, spans...)
	switch {
	case missing == "":
	case root:
		c.Top = append(c.Top, missing...)
		c.Top = append(c.Top, x.versioned()...)
	default:
		c.Omit = append(c.Omit, mail.Span{From: p.Header, To: p.Header, With: []byte(missing)})
	}
	return nil
}

// versioned is the field that a message with MIME fields must have: RFC 2045 section 4. It is "" where it is there.
func (x *Transaction) versioned() string {
	if x.tx.Message.Header().Count("MIME-Version") > 0 {
		return ""
	}
	return "MIME-Version: 1.0\r\n"
}

// unfit refuses our own users' mail that no server may relay unchanged and that can't be re-encoded: its signature
// would not survive the next server.
func (x *Transaction) unfit(ctx context.Context) (mail.Reply, bool, error) {
	if !x.tx.Session.Outbound() || x.g.Signer == nil || !x.outside(x.tx.Recipients) {
		return mail.Reply{}, false, nil
	}
	c, err := x.wrap(x.base(false))
	if err != nil {
		return mail.Reply{}, false, err
	}
	header, body, err := longest(c)
	switch {
	case err != nil:
		return mail.Reply{}, false, err
	case header <= recode.MaxLine && body <= recode.MaxLine:
		return mail.Reply{}, false, nil
	}
	field, err := x.sign(ctx, c)
	switch {
	case err != nil || len(field) == 0: // nothing is signed that could break
		return mail.Reply{}, false, err
	case header > recode.MaxLine:
		return replyTooLong(header, "header"), true, nil
	}
	return replyTooLong(body, "text"), true, nil
}

func sortSpans(spans []mail.Span) {
	slices.SortStableFunc(spans, func(a, b mail.Span) int { return int(a.From - b.From) })
}
