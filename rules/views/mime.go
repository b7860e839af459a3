package views

import (
	"strings"
)

// contentType is what a Content-Type says.
type contentType struct {
	media             string
	boundary, charset string
	bounded, declared bool
	name              string
	missing           bool
}

// parseContentType reads the decoded value of a Content-Type as rules expect it: loosely.
func parseContentType(value string) (ct contentType) {
	if value == "" || value == "0" {
		ct.missing = true
		value = "text/plain; charset=us-ascii"
	}
	ct.boundary, ct.bounded = boundaryOf(value)
	ct.charset, ct.declared = param(value, "charset")
	ct.name = paramName(value)
	media, _, _ := strings.Cut(value, ";")
	media = mediaType(strings.TrimLeft(media, " \t\n\r\f\v"))
	media = strings.ToLower(media)
	if media == "" {
		ct.missing = true
	}
	if media == "" || plainText(media) {
		media = "text/plain"
	}
	ct.media = strings.Map(func(r rune) rune {
		if r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),:;<=>?@[\]`, r) {
			return -1
		}
		return r
	}, media)
	return ct
}

// paramName is the file name that parameters give.
func paramName(value string) string {
	for _, key := range []string{"name", "filename"} {
		if name, _ := param(value, key); name != "" {
			return name
		}
	}
	return continuedName(value)
}

// mediaType is a type, a slash and a subtype; or all there is if there is no slash.
func mediaType(text string) string {
	i := strings.IndexByte(text, '/')
	if i <= 0 {
		return text
	}
	for j := i + 1; j < len(text); j++ {
		if text[j] == '/' || isSpace(text[j]) {
			return text[:j]
		}
	}
	return text
}

// plainText says whether a type of text is taken for text/plain.
func plainText(media string) bool {
	if !strings.HasPrefix(media, "text") || len(media) > 4 && isWordByte(media[4]) {
		return false
	}
	return media != "text/x-vcard" && media != "text/calendar" && media != "text/html"
}

func isWordByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_'
}

// findParam gives the offset behind "name =" and its white space, -1 if it is not there. From is where to look.
func findParam(value, name string, from int) int {
	lower := strings.ToLower(value)
	for from < len(lower) {
		i := strings.Index(lower[from:], name)
		if i < 0 {
			return -1
		}
		i += from
		from = i + 1
		if i > 0 && isWordByte(lower[i-1]) {
			continue
		}
		if j := skipSpace(value, i+len(name)); stands(value, j, '=') {
			return skipSpace(value, j+1)
		}
	}
	return -1
}

// boundaryOf is the boundary, quoted or not.
func boundaryOf(value string) (string, bool) {
	for from := 0; ; {
		i := findParam(value, "boundary", from)
		if i < 0 || i >= len(value) {
			return "", false
		}
		from = i
		if boundary := boundaryValue(value[i:]); boundary != "" {
			return boundary, true
		}
	}
}

// boundaryValue is the boundary at the front of a text, "" for none: what stands in quotes, or a word that no quote ends.
func boundaryValue(text string) string {
	if quoted, ok := strings.CutPrefix(text, `"`); ok {
		quoted, _, _ = strings.Cut(quoted, `"`)
		return quoted
	}
	n := 0
	for n < len(text) && !isSpace(text[n]) && text[n] != '"' && text[n] != ';' {
		n++
	}
	if stands(text, n, '"') {
		return ""
	}
	return text[:n]
}

// param is the value of a parameter: up to a semicolon or the end, without quotes around it.
func param(value, name string) (string, bool) {
	i := findParam(value, name, 0)
	if i < 0 {
		return "", false
	}
	return paramValue(value[i:]), true
}

func paramValue(rest string) string {
	if rest != "" && isQuote(rest[0]) {
		rest = rest[1:]
	}
	for j := 0; j < len(rest); j++ {
		if rest[j] == ';' {
			return rest[:j]
		}
		if isQuote(rest[j]) && (j+1 == len(rest) || rest[j+1] == ';') {
			return rest[:j]
		}
	}
	return rest
}

// continuedName joins the pieces of RFC 2231 section 3.
func continuedName(value string) string {
	var b strings.Builder
	for i := range 100 {
		key := "name*" + string(rune('0'+i%10))
		if i >= 10 {
			key = "name*" + string(rune('0'+i/10)) + string(rune('0'+i%10))
		}
		piece, ok := param(value, key)
		if !ok {
			piece, ok = param(value, "file"+key)
		}
		if !ok {
			break
		}
		b.WriteString(piece)
	}
	return b.String()
}

// parsePart reads the body of a part.
func (m *Message) parsePart(p pending) {
	if strings.HasPrefix(p.part.Type, "multipart/") && p.bounded && p.depth > 0 {
		m.parseMultipart(p)
		return
	}
	part := p.part
	ct := parseContentType(part.last("content-type"))
	if !ct.missing {
		part.Type = ct.media
		if strings.HasPrefix(ct.media, "multipart/") && !p.bounded {
			part.Type = "text/plain"
		}
	}
	part.Charset, part.Declared = ct.charset, ct.declared
	if part.Name = dispositionName(part.last("content-disposition")); part.Name == "" {
		part.Name = ct.name
	}
	part.raw = strings.Join(p.lines, "")
	part.leaf = true
	if p.depth > 0 {
		m.parseAttached(part, p.depth-1)
	}
}

// parseAttached reads the message that is attached, if the part holds one.
func (m *Message) parseAttached(part *Part, depth int) {
	if part.Type != "message/rfc822" && part.Type != "message/global" {
		return
	}
	if text := part.Decode(); text != "" {
		part.Parts = []*Part{m.parse(text, depth, map[string]bool{})}
		part.leaf, part.raw, part.decoded = false, "", nil
	}
}

// dispositionName is the file name of a Content-Disposition.
func dispositionName(value string) string {
	lower := strings.ToLower(value)
	for from := 0; ; {
		i := strings.Index(lower[from:], "name=")
		if i < 0 {
			return ""
		}
		from += i + len("name=")
		rest := strings.TrimLeft(value[from:], " \t\n\r\f\v")
		rest = strings.TrimPrefix(rest, `"`)
		if end := strings.IndexAny(rest, `";`); end >= 0 {
			rest = rest[:end]
		}
		if rest != "" {
			return rest
		}
	}
}

// delimiter says whether a line delimits parts, and whether it is the last one.
func delimiter(line, boundary string) (is, last bool) {
	if !strings.HasPrefix(line, "--") || !strings.HasPrefix(line[2:], boundary) {
		return false, false
	}
	rest := line[2+len(boundary):]
	if blank(rest) {
		return true, false
	}
	after, ok := strings.CutPrefix(rest, "--")
	return ok && blank(after), ok
}

// parseMultipart parts the lines of a multipart.
func (m *Message) parseMultipart(p pending) {
	lines := p.lines
	for i, l := range lines {
		if is, last := delimiter(l, p.boundary); is && !last {
			m.boundaries[p.boundary] = 1
			if i+1 < len(lines) && !isFieldLine(lines[i+1], false) {
				m.flags["missing_mime_headers"] = true
			}
			lines = lines[i+1:]
			break
		}
	}
	s := &splitter{m: m, parent: p, part: &Part{}}
	for i, l := range lines {
		if s.line(l, lines[i+1:]) {
			s.epilogue(lines[i+1:])
			return
		}
	}
}

// splitter parts the body of a multipart.
type splitter struct {
	m      *Message
	parent pending
	part   *Part
	field  []string
	body   []string
	inBody bool
	nested bool // a part within has the same boundary
	any    bool
	count  int
}

// line takes the next line and says whether the multipart ends there.
func (s *splitter) line(l string, rest []string) bool {
	is, last := delimiter(l, s.parent.boundary)
	if is && s.nested {
		is = false
		s.nested = !last
	}
	if is || len(rest) == 0 {
		return s.close(l, is, last, rest)
	}
	if !s.inBody && s.header(l) {
		return false
	}
	s.add(l)
	return false
}

// close ends a part, at a delimiter or at the end of the lines.
func (s *splitter) close(l string, is, last bool, rest []string) bool {
	if is {
		s.dropLineEnd()
	} else {
		s.add(l)
	}
	s.enqueue()
	if is && last {
		s.m.boundaries[s.parent.boundary]--
		return true
	}
	if is && len(rest) > 0 && !isFieldLine(rest[0], false) {
		s.m.flags["missing_mime_headers"] = true
	}
	if s.count++; s.count == maxParts {
		s.m.flags["mimepart_limit_exceeded"] = true
		return true
	}
	s.part, s.field, s.body, s.inBody = &Part{}, nil, nil, false
	return false
}

// dropLineEnd takes the last line end off the body: it belongs to the delimiter (RFC 2046 section 5.1.1).
func (s *splitter) dropLineEnd() {
	if len(s.body) == 0 {
		return
	}
	end := &s.body[len(s.body)-1]
	*end = strings.TrimSuffix(*end, "\n")
	if *end == "" {
		s.body = s.body[:len(s.body)-1]
	}
}

// enqueue adds the part to its multipart, its body to be read later.
func (s *splitter) enqueue() {
	ct := parseContentType(s.part.last("content-type"))
	s.part.Type = ct.media
	if ct.missing && s.parent.part.Type == "multipart/digest" {
		s.part.Type = "message/rfc822"
	}
	if !ct.bounded || ct.boundary == "0" {
		ct.boundary = s.parent.boundary
	}
	s.m.queue = append(s.m.queue, pending{s.part, ct.boundary, true, s.body, s.parent.depth - 1})
	s.parent.part.Parts = append(s.parent.part.Parts, s.part)
}

// header takes a line of a part's header; it says false for a line of the body.
func (s *splitter) header(l string) bool {
	if isFieldLine(l, true) {
		s.endField()
		s.field = []string{l}
		return true
	}
	if (l[0] == ' ' || l[0] == '\t') && s.field != nil {
		s.field = append(s.field, l)
		return true
	}
	s.endField()
	s.inBody = true
	if l == "\n" || l == "\r\n" || l == "\r" {
		return true
	}
	s.m.flags["missing_mime_head_body_separator"] = true
	return false
}

func (s *splitter) endField() {
	if s.field == nil {
		return
	}
	name, value, _ := strings.Cut(strings.Join(s.field, ""), ":")
	s.field = nil
	for value != "" && isSpace(value[0]) {
		value = value[1:]
	}
	s.part.fields = append(s.part.fields, Field{Name: name, Raw: value})
	if strings.EqualFold(name, "content-type") {
		if ct := parseContentType(s.part.last("content-type")); ct.bounded && ct.boundary == s.parent.boundary {
			s.nested = true
		}
	}
}

// add takes a line of a body; long lines are cut.
func (s *splitter) add(l string) {
	for len(l) > maxLine {
		s.body = append(s.body, l[:maxLine]+"\n")
		l = l[maxLine:]
	}
	s.body = append(s.body, l)
}

// epilogue notes text behind the last delimiter.
func (s *splitter) epilogue(lines []string) {
	for _, l := range lines {
		for i := range len(l) {
			if l[i] != '.' && !isSpace(l[i]) {
				s.m.flags["mime_epilogue_exists"] = true
				return
			}
		}
	}
}
