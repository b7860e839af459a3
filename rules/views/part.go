package views

import (
	"strings"
)

// Part is a part of a message.
type Part struct {
	// Type is the media type as rules know it: text of any kind but HTML, calendars and cards is text/plain.
	Type string
	// Charset is the declared one; Declared says whether there is one.
	Charset  string
	Declared bool
	// Name is the file name.
	Name  string
	Parts []*Part

	fields   []Field
	raw      string // the body, encoded
	leaf     bool
	decoded  *string
	rendered *rendering
	page     *Page
}

// Field is a field of a header: Raw is what stands behind the colon.
type Field struct {
	Name, Raw string
	decoded   *string
}

// addField reads one field with its continuation lines.
func (p *Part) addField(text string, flags map[string]bool) {
	name, value, ok := strings.Cut(text, ":")
	if !ok {
		return
	}
	name = strings.TrimRight(name, " \t")
	if len(name) > maxFieldName || len(value) > maxFieldValue {
		flags["truncated_header"] = true
		name, value = name[:min(len(name), maxFieldName)], value[:min(len(value), maxFieldValue)]
	}
	p.fields = append(p.fields, Field{Name: name, Raw: value})
}

// dropFields takes out the fields whose names begin with a text.
func (p *Part) dropFields(prefix string) {
	kept := p.fields[:0]
	for _, f := range p.fields {
		if len(f.Name) < len(prefix) || !strings.EqualFold(f.Name[:len(prefix)], prefix) {
			kept = append(kept, f)
		}
	}
	p.fields = kept
}

// value is the field's value: unfolded, trimmed, decoded, in UTF-8.
func (f *Field) value() string {
	if f.decoded == nil {
		text := trimSpace(unfold(f.Raw))
		text = decodeField(text, f.Name)
		f.decoded = &text
	}
	return *f.decoded
}

// unfold makes a line end with the white space behind it one space.
func unfold(text string) string {
	if !strings.Contains(text, "\n") {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == '\n' {
			if n := blanks(text[i+1:]); n > 0 {
				i += n
				b.WriteByte(' ')
				continue
			}
		}
		b.WriteByte(text[i])
	}
	return b.String()
}

func trimSpace(text string) string {
	for text != "" && isSpace(text[0]) {
		text = text[1:]
	}
	for text != "" && isSpace(text[len(text)-1]) {
		text = text[:len(text)-1]
	}
	return text
}

// last is the decoded value of the last field of a name, "" for none.
func (p *Part) last(name string) string {
	for i := len(p.fields) - 1; i >= 0; i-- {
		if strings.EqualFold(p.fields[i].Name, name) {
			return p.fields[i].value()
		}
	}
	return ""
}

// Last is the decoded value of the last field of a name.
func (p *Part) Last(name string) (string, bool) {
	for i := len(p.fields) - 1; i >= 0; i-- {
		if strings.EqualFold(p.fields[i].Name, name) {
			return p.fields[i].value(), true
		}
	}
	return "", false
}

// Values are the decoded values of all fields of a name, each with a line end.
func (p *Part) Values(name string) []string {
	var all []string
	for i := range p.fields {
		if strings.EqualFold(p.fields[i].Name, name) {
			all = append(all, p.fields[i].value()+"\n")
		}
	}
	return all
}

// RawValues are the values of all fields of a name as they came.
func (p *Part) RawValues(name string) []string {
	var all []string
	for _, f := range p.fields {
		if strings.EqualFold(f.Name, name) {
			all = append(all, f.Raw)
		}
	}
	return all
}

// All are all fields as "Name: value".
func (p *Part) All(raw bool) []string {
	var all []string
	size := 0
	for i := range p.fields {
		f := &p.fields[i]
		line := f.Name + ": "
		if raw {
			line += foldSpace(f.Raw)
		} else {
			line += f.value() + "\n"
		}
		if size += len(line); size > maxAllFields {
			break
		}
		all = append(all, line)
	}
	return all
}

// foldSpace makes a line end with the white space behind it one space.
func foldSpace(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == '\n' && i+1 < len(text) && isSpace(text[i+1]) {
			for i+1 < len(text) && isSpace(text[i+1]) {
				i++
			}
			b.WriteByte(' ')
			continue
		}
		b.WriteByte(text[i])
	}
	return b.String()
}

// Leaf says whether it holds no parts.
func (p *Part) Leaf() bool { return len(p.Parts) == 0 && p.leaf }

// Lines are the lines of the body as it is encoded.
func (p *Part) Lines() []string { return splitLines(p.raw) }

// Encoding is the transfer encoding in lower case.
func (p *Part) Encoding() string { return strings.ToLower(p.last("content-transfer-encoding")) }

// Decode is the body with its transfer encoding taken away.
func (p *Part) Decode() string {
	if p.decoded != nil {
		return *p.decoded
	}
	text := p.raw
	switch p.Encoding() {
	case "quoted-printable":
		text = strings.ReplaceAll(decodeQuoted(text), "\r\n", "\n")
	case "base64":
		text = decodeBase64(text)
		if strings.HasPrefix(p.Type, "text/") || strings.HasPrefix(p.Type, "message/") {
			text = strings.ReplaceAll(text, "\r\n", "\n")
		}
	}
	p.decoded = &text
	return text
}

// Effective is the type that counts: a file name of HTML makes it that.
func (p *Part) Effective() string {
	name := strings.ToLower(p.Name)
	for _, ending := range []string{".html", ".htm", ".shtml", ".shtm"} {
		if strings.HasSuffix(name, ending) {
			return "text/html"
		}
	}
	return p.Type
}

// Find gives the parts, the leaves only or all, whose type satisfies a condition (nil for any), in the order of the message.
func (p *Part) Find(leaves bool, is func(string) bool) []*Part {
	var found []*Part
	p.visit(func(x *Part) {
		if x.Type == "" || leaves && !x.Leaf() {
			return
		}
		if is == nil || is(x.Type) {
			found = append(found, x)
		}
	})
	return found
}

func (p *Part) visit(f func(*Part)) {
	f(p)
	for _, c := range p.Parts {
		c.visit(f)
	}
}

// DeclaredType is the type and the charset that the field says, whatever the part was taken for.
func (p *Part) DeclaredType() (media, charset string) {
	ct := parseContentType(p.last("content-type"))
	return ct.media, ct.charset
}

// HasCharset says whether the field names a charset.
func (p *Part) HasCharset() bool {
	return parseContentType(p.last("content-type")).declared
}
