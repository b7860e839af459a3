package proxy

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"postern/filters"
	"postern/internal/mail"
)

// strip takes the parts out of a copy that policy wants out, and puts a notice in the place of each. The original is
// held beside the copy, so that nothing is lost. It gives header fields that the copy then needs.
func (x *Exchange) strip(b *batch) (fields []byte, err error) {
	var parts []filters.PartSpan
	for _, f := range x.tx.AllFindings() {
		if l, ok := f.Value.(filters.Located); ok && slices.Contains(b.verdict.Strip, f.Symbol) {
			parts = append(parts, l.Spans...)
		}
	}
	slices.SortFunc(parts, func(a, b filters.PartSpan) int { return int(a.Header - b.Header) })
	body, size := x.tx.Message.BodyOffset(), x.tx.Message.Size()
	end := body
	for _, p := range parts {
		switch {
		case p.Header == 0 && p.Start == body && p.End >= body && p.End <= size: // the message is the attachment
			b.copy.Omit = append(x.withoutContent(b.copy.Omit), mail.Span{From: p.Start, To: p.End, With: x.notice(p.Name, b.heldID)})
			return []byte(noticeHeader), nil
		case p.Header < body || p.Start < p.Header || p.End < p.Start || p.End > size:
			return nil, errNoPart
		case p.Header < end: // inside a part that is gone already
			continue
		}
		with := append([]byte(noticeHeader+"\r\n"), x.notice(p.Name, b.heldID)...)
		b.copy.Omit = append(b.copy.Omit, mail.Span{From: p.Header, To: p.End, With: with})
		end = p.End
	}
	return nil, nil
}

// errNoPart is a fault of the filter's: better not deliver than deliver what was to be taken out.
var errNoPart = errors.New("a part to be taken out does not lie in the message")

// withoutContent leaves out the fields that say what the body is: RFC 2045 section 3.
func (x *Exchange) withoutContent(omit []mail.Span) []mail.Span {
	for _, f := range x.tx.Message.Header().Fields {
		if len(f.Name) > 8 && strings.EqualFold(f.Name[:8], "Content-") {
			omit = append(omit, mail.Span{From: int64(f.Offset), To: int64(f.Offset + len(f.Raw))})
		}
	}
	slices.SortFunc(omit, func(a, b mail.Span) int { return int(a.From - b.From) })
	return slices.CompactFunc(omit, func(a, b mail.Span) bool { return a.From == b.From })
}

const noticeHeader = "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n"

// notice says what stood here and how to get it.
func (x *Exchange) notice(name, heldID string) []byte {
	if name == "" {
		name = "without a name"
	}
	return fmt.Appendf(nil, "An attachment was taken out of this message by %s: %s\r\n\r\n"+
		"It is of a kind that is not let through here. The original is kept for a while: if you\r\n"+
		"need it, ask your postmaster for the message\r\n\r\n    %s\r\n", x.g.Hostname, filters.Printable(name), heldID)
}
