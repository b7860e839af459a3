package proxy

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"postern/filters"
	"postern/internal/mail"
	"postern/internal/mimeview/defang"
	"postern/policy"
)

// strip removes the parts that policy wants removed from a copy and replaces each with a notice. The original is held,
// so that nothing is lost. It gives the header fields that the copy then needs.
func (x *Transaction) strip(b *batch) (fields []byte, err error) {
	parts := x.rewritten(b.verdict)
	body, size := x.tx.Message.BodyOffset(), x.tx.Message.Size()
	end := body
	for _, p := range parts {
		switch {
		case p.Header == 0 && p.Start == body && p.End >= body && p.End <= size: // the message is the attachment
			header, text := x.instead(p, b.heldID)
			b.copy.Omit = append(x.withoutContent(b.copy.Omit), mail.Span{From: p.Start, To: p.End, With: append(text, "\r\n"...)})
			return []byte(header), nil
		case p.Header < body || p.Start < p.Header || p.End < p.Start || p.End > size:
			return nil, errNoPart
		case p.Header < end: // inside a removed part, or overlapping it: then it is removed as well
			if p.End > end {
				b.copy.Omit[len(b.copy.Omit)-1].To, end = p.End, p.End
			}
			continue
		}
		header, text := x.instead(p, b.heldID)
		b.copy.Omit = append(b.copy.Omit, mail.Span{From: p.Header, To: p.End, With: append([]byte(header+"\r\n"), text...)})
		end = p.End
	}
	return nil, nil
}

// errNoPart is a fault of the filter: the message is not delivered rather than with the part in it.
var errNoPart = errors.New("a part to be taken out does not lie in the message")

// rewritten are the parts that a verdict changes, in the order of the message. A part both removed and made harmless is
// removed.
func (x *Transaction) rewritten(v policy.Verdict) []filters.PartSpan {
	var parts []filters.PartSpan
	for _, f := range x.tx.AllFindings() {
		l, ok := f.Value.(filters.Located)
		out := slices.Contains(v.Strip, f.Symbol)
		if !ok || !out && !slices.Contains(v.Defang, f.Symbol) {
			continue
		}
		for _, p := range l.Spans {
			if out {
				p.Harmless = nil
			}
			parts = append(parts, p)
		}
	}
	slices.SortStableFunc(parts, func(a, b filters.PartSpan) int {
		switch {
		case a.Header != b.Header:
			return cmp.Compare(a.Header, b.Header)
		case (a.Harmless == nil) == (b.Harmless == nil):
			return 0
		case a.Harmless == nil:
			return -1
		}
		return 1
	})
	return parts
}

// instead is the replacement of a part: its harmless form, or a notice. It has no final CRLF, as the CRLF before a
// delimiter belongs to the delimiter: RFC 2046 section 5.1.1.
func (x *Transaction) instead(p filters.PartSpan, heldID string) (header string, text []byte) {
	if p.Harmless != nil {
		harmless, err := p.Harmless()
		if err == nil {
			return defang.Header, defang.Body(harmless)
		}
		x.g.Log.Error("a part can't be made harmless and is taken out", "id", x.tx.ID, "error", err)
	}
	return noticeHeader, x.notice(p.Name, heldID)
}

// withoutContent leaves out the fields that describe the body: RFC 2045 section 3.
func (x *Transaction) withoutContent(omit []mail.Span) []mail.Span {
	for _, f := range x.tx.Message.Header().Fields {
		if len(f.Name) > 8 && strings.EqualFold(f.Name[:8], "Content-") {
			omit = slices.DeleteFunc(omit, func(s mail.Span) bool { return s.From == int64(f.Offset) }) // folded anew
			omit = append(omit, mail.Span{From: int64(f.Offset), To: int64(f.Offset + len(f.Raw))})
		}
	}
	slices.SortFunc(omit, func(a, b mail.Span) int { return int(a.From - b.From) })
	return slices.CompactFunc(omit, func(a, b mail.Span) bool { return a.From == b.From })
}

const noticeHeader = "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n"

// notice says what was removed here and how to get it.
func (x *Transaction) notice(name, heldID string) []byte {
	if name == "" {
		name = "without a name"
	}
	return fmt.Appendf(nil, "An attachment was taken out of this message by %s: %s\r\n\r\n"+
		"It is of a kind that is not let through here. The original is kept for a while: if you\r\n"+
		"need it, ask your postmaster for the message\r\n\r\n    %s", x.g.Hostname, filters.Printable(name), heldID)
}
