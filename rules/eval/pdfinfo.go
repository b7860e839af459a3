package eval

import (
	"crypto/md5" //nolint:gosec // rules name files by it
	"encoding/hex"
	"regexp"
	"strconv"
	"strings"

	"postern/rules/views"
)

// What attached PDF files say in the clear. Nothing is unpacked here: such rules were written for what stands in the file's
// own octets. What is inside is the business of the filter attachments.
func pdfFunctions() map[string]Func {
	return map[string]Func{
		"pdf_count":       func(c *Context, args []string) float64 { return truth(pdfWithin(float64(c.pdfs().count), args)) },
		"pdf_image_count": func(c *Context, args []string) float64 { return truth(pdfWithin(float64(c.pdfs().images), args)) },
		"pdf_pixel_coverage": func(c *Context, args []string) float64 {
			return truth(c.pdfs().area > 0 && pdfWithin(c.pdfs().area, args))
		},
		"pdf_named":      func(c *Context, args []string) float64 { return truth(c.pdfs().names[arg(args, 0)]) },
		"pdf_name_regex": func(c *Context, args []string) float64 { return c.anyMatches(arg(args, 0), c.pdfs().names) },
		"pdf_match_md5": func(c *Context, args []string) float64 {
			return truth(c.pdfs().sums[strings.ToUpper(arg(args, 0))])
		},
		"pdf_match_fuzzy_md5": func(c *Context, args []string) float64 {
			return truth(c.pdfs().fuzzy[strings.ToUpper(arg(args, 0))])
		},
		"pdf_match_details": func(c *Context, args []string) float64 {
			return c.anyMatches(arg(args, 1), c.pdfs().details[strings.ToLower(arg(args, 0))])
		},
		"pdf_is_encrypted":        func(c *Context, _ []string) float64 { return truth(c.pdfs().encrypted) },
		"pdf_is_empty_body":       pdfEmptyBody,
		"pdf_image_to_text_ratio": pdfImageToText, "pdf_image_size_exact": pdfSizeExact, "pdf_image_size_range": pdfSizeRange,
	}
}

// pdfSet is what the PDF files of a message show.
type pdfSet struct {
	count, images int
	area          float64
	encrypted     bool
	names         map[string]bool
	sums, fuzzy   map[string]bool
	sizes         map[[2]int]bool            // height and width
	details       map[string]map[string]bool // by author, creator, created, modified, producer, title
}

var (
	pdfType   = regexp.MustCompile(`^(image|application)/(pdf|octet-stream)$`)
	pdfName   = regexp.MustCompile(`(?i)\.[fp]df$`)
	pdfMagic  = regexp.MustCompile(`%PDF-\d\.\d`)
	pdfMatrix = regexp.MustCompile(`^(\d+)\s+\d+\s+\d+\s+(\d+)\s+\d+\s+\d+\s+cm$`)
	pdfSize   = regexp.MustCompile(`/Width\s(\d+)/Height\s(\d+)`)
	pdfTag    = regexp.MustCompile(`^/([A-Za-z]+)`)
)

// pdfFront is where the mark of a PDF must stand; fuzzyLines are those that its fuzzy sum is made of.
const (
	pdfFront   = 1024
	fuzzyLines = 70
	pdfText    = 256
)

func (c *Context) pdfs() *pdfSet {
	return once(c, "pdfs", func() *pdfSet {
		s := &pdfSet{names: map[string]bool{}, sums: map[string]bool{}, fuzzy: map[string]bool{}, sizes: map[[2]int]bool{}, details: map[string]map[string]bool{}}
		for _, p := range c.Message.Tree().Find(true, pdfType.MatchString) {
			if pdfName.MatchString(p.Name) || strings.HasSuffix(p.Type, "/pdf") {
				s.count++
				s.read(p)
			}
		}
		return s
	})
}

// pdfFile is the work on one file.
type pdfFile struct {
	set           *pdfSet
	fuzzy, tags   strings.Builder
	lines         int
	closed, image bool // no more lines for the fuzzy sum; an image was named
	height, width int
	area          float64
}

func (s *pdfSet) read(p *views.Part) {
	data := strings.TrimPrefix(p.Decode(), "\xef\xbb\xbf")
	if pdfMagic.FindStringIndex(data[:min(len(data), pdfFront+8)]) == nil {
		return
	}
	if p.Name != "" {
		s.names[p.Name] = true
	}
	f := &pdfFile{set: s}
	for line := range strings.SplitSeq(data, "\n") {
		if line != "" {
			f.line(line)
		}
	}
	if f.area > 0 {
		s.area = f.area
		s.sizes[[2]int{f.height, f.width}] = true
	}
	s.sums[upperMD5(data)] = true
	for _, text := range []string{f.fuzzy.String(), f.tags.String()} {
		if text != "" {
			s.fuzzy[upperMD5(text)] = true
		}
	}
}

func upperMD5(text string) string {
	sum := md5.Sum([]byte(text)) //nolint:gosec // see above
	return strings.ToUpper(hex.EncodeToString(sum[:]))
}

func (f *pdfFile) line(line string) {
	f.fuzz(line)
	f.image = f.image || strings.Contains(line, "/Image")
	f.set.encrypted = f.set.encrypted || strings.HasPrefix(line, "/Encrypt")
	if f.image {
		f.dimensions(line)
	}
	if !strings.Contains(line, "/") {
		return
	}
	if m := pdfTag.FindStringSubmatch(line); m != nil {
		f.tags.WriteString(m[1])
	}
	for _, d := range []struct{ key, detail string }{{"/Author", "author"}, {"/Creator", "creator"}, {"/Producer", "producer"}, {"/Title", "title"}} {
		if text, ok := pdfValue(line, d.key); ok {
			f.set.note(d.detail, text)
		}
	}
	for _, d := range []struct{ key, detail string }{{"/CreationDate", "created"}, {"/ModDate", "modified"}} {
		if text, ok := pdfDate(line, d.key); ok {
			f.set.note(d.detail, text)
		}
	}
}

func (s *pdfSet) note(detail, text string) {
	if s.details[detail] == nil {
		s.details[detail] = map[string]bool{}
	}
	s.details[detail][text[:min(len(text), pdfText)]] = true
}

// fuzz takes the first lines for the sum that files of one make share: what differs from page to page is left out.
func (f *pdfFile) fuzz(line string) {
	if f.closed {
		return
	}
	if f.lines++; f.lines >= fuzzyLines {
		return
	}
	if !varies(line) {
		f.fuzzy.WriteString(strings.TrimRight(line, " \t\r\n\f\v"))
	}
	f.closed = strings.Contains(line, "stream")
}

// varies says whether a line is a comment or about sizes.
func varies(line string) bool {
	if line[0] == '%' {
		return true
	}
	for _, front := range []string{"/Height", "/Width", "/MediaBox", "/CropBox"} {
		if strings.HasPrefix(line, front) {
			return true
		}
	}
	return isDigit(line[0]) && pdfMatrix.MatchString(line)
}

func isDigit(b byte) bool { return b >= '0' && b <= '9' }

// dimensions reads the size of an image that was named, if a line has it whole.
func (f *pdfFile) dimensions(line string) {
	var m []string
	if isDigit(line[0]) {
		m = pdfMatrix.FindStringSubmatch(strings.TrimRight(line, "\r"))
	} else if strings.Contains(line, "/Width") {
		m = pdfSize.FindStringSubmatch(line)
	}
	if m == nil {
		return
	}
	width, _ := strconv.Atoi(m[1])
	height, _ := strconv.Atoi(m[2])
	if width <= 0 || height <= 0 {
		return
	}
	f.closed, f.image = true, false
	f.set.images++
	f.set.sizes[[2]int{height, width}] = true
	f.height, f.width, f.area = f.height+height, f.width+width, f.area+float64(width)*float64(height)
}

// pdfValue reads /Key(text) or /Key<hex> of a line: ISO 32000-1 section 7.3.4.
func pdfValue(line, key string) (string, bool) {
	for {
		i := strings.Index(line, key)
		if i < 0 {
			return "", false
		}
		line = line[i+len(key):]
		rest := strings.TrimLeft(line, " \t\r\f\v")
		if rest == "" || len(line)-len(rest) > 2 {
			continue
		}
		if rest[0] == '(' {
			if end := closing(rest); end > 0 {
				return literal(rest[1:end]), true
			}
		}
		if rest[0] == '<' {
			if end := strings.IndexByte(rest, '>'); end > 0 {
				return withoutUTF16(unhex(rest[1:end])), true
			}
		}
	}
}

// closing is the parenthesis that no backslash stands before.
func closing(text string) int {
	for i := 1; i < len(text); i++ {
		if text[i] == ')' && text[i-1] != '\\' {
			return i
		}
	}
	return -1
}

func pdfDate(line, key string) (string, bool) {
	_, rest, ok := strings.Cut(line, key)
	rest, dated := strings.CutPrefix(strings.TrimLeft(rest, " \t"), "(D:")
	end := 0
	for end < len(rest) && isDigit(rest[end]) {
		end++
	}
	return rest[:end], ok && dated && end > 0
}

var (
	pdfOctal  = regexp.MustCompile(`\\[0-3][0-7][0-7]`)
	pdfEscape = strings.NewReplacer(`\(`, "(", `\)`, ")", `\\`, `\`)
)

func literal(text string) string {
	text = pdfOctal.ReplaceAllStringFunc(text, func(o string) string {
		n, _ := strconv.ParseUint(o[1:], 8, 8)
		return string([]byte{byte(n)})
	})
	return pdfEscape.Replace(withoutUTF16(text))
}

func unhex(text string) string {
	digits := strings.Map(func(r rune) rune {
		if strings.ContainsRune("0123456789abcdefABCDEF", r) {
			return r
		}
		return -1
	}, text)
	octets, _ := hex.DecodeString(digits[:len(digits)&^1])
	return string(octets)
}

// withoutUTF16 takes the zeros out of text in UTF-16, which leaves what is Latin in it.
func withoutUTF16(text string) string {
	for _, mark := range []string{"\xfe\xff", "\xff\xfe"} {
		if rest, ok := strings.CutPrefix(text, mark); ok {
			return strings.ReplaceAll(rest, "\x00", "")
		}
	}
	return text
}

// pdfWithin says whether a value is at least the first bound and at most the second, if there is one.
func pdfWithin(value float64, args []string) bool { return between(value, arg(args, 0), arg(args, 1)) }

// anyMatches says whether an expression between slashes matches one of some texts.
func (c *Context) anyMatches(expr string, texts map[string]bool) float64 {
	if len(texts) == 0 || expr == "" {
		return 0
	}
	re := c.pattern(undelimited(expr))
	for text := range texts {
		if c.find(re, text) {
			return 1
		}
	}
	return 0
}

// undelimited puts the modifiers of /expression/modifiers in front. Without slashes it is an expression all the same.
func undelimited(expr string) string {
	end := strings.LastIndexByte(expr, '/')
	if !strings.HasPrefix(expr, "/") || end == 0 {
		return expr
	}
	if mods := expr[end+1:]; mods != "" {
		return "(?" + mods + ")" + expr[1:end]
	}
	return expr[1:end]
}

func pdfEmptyBody(c *Context, args []string) float64 {
	if c.pdfs().count == 0 {
		return 0
	}
	octets := 0
	for i, line := range c.Message.Body() {
		if i > 0 && strings.TrimSpace(line) != "" { // the first one is the subject
			octets += len(line)
		}
	}
	return truth(float64(octets) <= number(arg(args, 0)))
}

func pdfImageToText(c *Context, args []string) float64 {
	length := 0
	for _, line := range c.Message.Body() {
		length += len(line)
	}
	if c.pdfs().area <= 0 || length == 0 || len(args) < 2 {
		return 0
	}
	ratio := float64(length) / c.pdfs().area
	return truth(pdfWithin(ratio, args) && ratio != number(args[1]))
}

func pdfSizeExact(c *Context, args []string) float64 {
	return truth(c.pdfs().sizes[[2]int{int(number(arg(args, 0))), int(number(arg(args, 1)))}])
}

func pdfSizeRange(c *Context, args []string) float64 {
	for s := range c.pdfs().sizes {
		if between(float64(s[0]), arg(args, 0), arg(args, 2)) && between(float64(s[1]), arg(args, 1), arg(args, 3)) {
			return 1
		}
	}
	return 0
}
