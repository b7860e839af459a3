package mail

import (
	"bytes"
	"strings"
)

// Limits of a header section, far above what honest mail has. Over them is a finding.
const (
	MaxHeaderBytes  = 1 << 20
	MaxHeaderFields = 1000
)

// Defect is a way in which a header section breaks RFC 5322 section 2.2. Readers disagree on each of them.
type Defect string

// The defects.
const (
	DefectFirstLineFolded  Defect = "first line starts with white space"
	DefectNoColon          Defect = "line without a colon"
	DefectSpaceBeforeColon Defect = "white space before the colon"
	DefectFieldName        Defect = "field name with characters that are not allowed"
	DefectFoldedName       Defect = "field name cut by folding"
	DefectControl          Defect = "control character in a field"
	DefectNoBlankLine      Defect = "no blank line behind the header"
	DefectEmptyFold        Defect = "folded line of white space only"
	DefectTooManyFields    Defect = "more than 1,000 fields"
	DefectTooLong          Defect = "header section of more than 1 MiB"
)

// Field is one header field with its raw octets.
type Field struct {
	// Name is as written, without the colon and white space around it.
	Name string
	// Raw is the whole field, its line ends included; Value begins at Raw[ValueAt:].
	Raw     []byte
	ValueAt int
	// Offset is where Raw begins in the message.
	Offset int
}

// Value is the field body, unfolded (RFC 5322 section 2.2.3) and trimmed.
func (f Field) Value() string {
	raw := f.Raw[f.ValueAt:]
	if bytes.IndexByte(raw, '\r') == len(raw)-2 && len(raw) >= 2 {
		return strings.Trim(string(raw[:len(raw)-2]), " \t")
	}
	unfolded := make([]byte, 0, len(raw))
	for _, c := range raw {
		if c != '\r' && c != '\n' {
			unfolded = append(unfolded, c)
		}
	}
	return strings.Trim(string(unfolded), " \t")
}

// Is compares the field's name without regard to case.
func (f Field) Is(name string) bool { return strings.EqualFold(f.Name, name) }

// Header is a header section as the one lexer of record reads it.
type Header struct {
	Fields  []Field
	Defects []Defect
	// Size is the length of the section with the blank line behind it: the offset of the body.
	Size int
}

// All gives the fields of this name, top to bottom.
func (h *Header) All(name string) []Field {
	var found []Field
	for _, f := range h.Fields {
		if f.Is(name) {
			found = append(found, f)
		}
	}
	return found
}

// Get gives the unfolded value of the first field of this name, "" if there is none.
func (h *Header) Get(name string) string {
	for _, f := range h.Fields {
		if f.Is(name) {
			return f.Value()
		}
	}
	return ""
}

// Count says how many fields of this name there are.
func (h *Header) Count(name string) int {
	n := 0
	for _, f := range h.Fields {
		if f.Is(name) {
			n++
		}
	}
	return n
}

// Has says whether the defect was seen.
func (h *Header) Has(d Defect) bool {
	for _, seen := range h.Defects {
		if seen == d {
			return true
		}
	}
	return false
}

func (h *Header) defect(d Defect) {
	if !h.Has(d) {
		h.Defects = append(h.Defects, d)
	}
}

// ParseHeader reads a header section from the front of raw, whose lines end in CRLF. It never fails: what is wrong
// stands in Defects, and a line that is no field neither ends the section nor hides the lines behind it.
//
// RFC 5322 section 2.1: the body follows the first empty line.
func ParseHeader(raw []byte) *Header {
	h := &Header{Fields: make([]Field, 0, 24)}
	at := 0
	for at < len(raw) {
		if bytes.HasPrefix(raw[at:], []byte("\r\n")) {
			h.Size = at + 2
			return h
		}
		end := fieldEnd(raw, at)
		if end > MaxHeaderBytes {
			h.defect(DefectTooLong)
		}
		if len(h.Fields) == MaxHeaderFields {
			h.defect(DefectTooManyFields)
		}
		if h.Has(DefectTooLong) || h.Has(DefectTooManyFields) {
			break
		}
		h.field(raw[at:end], at)
		at = end
	}
	if at < len(raw) { // over a limit: still find where the body begins
		if i := bytes.Index(raw[at:], []byte("\r\n\r\n")); i >= 0 {
			h.Size = at + i + 4
			return h
		}
	}
	h.defect(DefectNoBlankLine)
	h.Size = len(raw)
	return h
}

// fieldEnd finds the end of the field that begins at: the first line end that no white space follows.
func fieldEnd(raw []byte, at int) int {
	for at < len(raw) {
		i := bytes.IndexByte(raw[at:], '\n')
		if i < 0 {
			return len(raw)
		}
		at += i + 1
		if at >= len(raw) || raw[at] != ' ' && raw[at] != '\t' {
			return at
		}
	}
	return at
}

func (h *Header) field(raw []byte, offset int) {
	if raw[0] == ' ' || raw[0] == '\t' { // only the section's first line can begin so: all others are folds
		h.defect(DefectFirstLineFolded)
	}
	h.checkLines(raw)
	colon := bytes.IndexByte(raw, ':')
	if colon < 0 {
		h.defect(DefectNoColon)
		return
	}
	name := raw[:colon]
	if i := bytes.IndexByte(name, '\n'); i >= 0 {
		h.defect(DefectFoldedName)
	}
	trimmed := bytes.Trim(name, " \t\r\n")
	if len(trimmed) != len(name) {
		h.defect(DefectSpaceBeforeColon)
	}
	if len(trimmed) == 0 {
		h.defect(DefectFieldName)
	}
	for _, c := range trimmed {
		if c <= ' ' || c >= 0x7f {
			h.defect(DefectFieldName)
			break
		}
	}
	h.Fields = append(h.Fields, Field{Name: string(trimmed), Raw: raw, ValueAt: colon + 1, Offset: offset})
}

func (h *Header) checkLines(raw []byte) {
	blank := true
	for i, c := range raw {
		switch {
		case c == '\n':
			if blank && i > 1 {
				h.defect(DefectEmptyFold)
			}
			blank = true
		case c == '\r' || c == ' ' || c == '\t':
		case c < ' ' || c == 0x7f:
			h.defect(DefectControl)
			blank = false
		default:
			blank = false
		}
	}
}
