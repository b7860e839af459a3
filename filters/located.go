package filters

import "postern/internal/mimeview"

// Located is the value of a finding on a part of the message that can be taken out of a copy, or made harmless: policy's
// actions "strip" and "defang".
// A finding on something that no reader finds in the same place has none.
type Located struct{ Spans []PartSpan }

// PartSpan is a part in the raw octets of the message: where its header begins, its body, and where it ends, in front of
// the line end that belongs to the delimiter behind it. For the message itself Header is 0.
type PartSpan struct {
	Header, Start, End int64
	// Harmless makes the part's text, in UTF-8, without what acts by itself; it is nil where that can't be done.
	Harmless func() ([]byte, error)
	// Name is the file name that the part shows, as it came.
	Name string
}

// SpanOf says where a part stands in the raw octets of a message of this size. It does so only in the reading that the
// RFCs ask for, and not within something encoded.
func SpanOf(p *mimeview.Part, size int64) (PartSpan, bool) {
	s := PartSpan{Header: p.Header, Start: p.Start, End: p.End, Name: p.Name}
	if s.End == size && s.Header > 0 { // of a multipart that is not closed: the message ends as it did
		s.End = max(s.Start, s.End-2)
	}
	return s, p.Reading == "" && p.Within == ""
}
