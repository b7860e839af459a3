package unpack

import (
	"bytes"
	"regexp"
	"strings"

	"postern/internal/mail/ascii"
	"postern/internal/mimeview/unpack/filetype"
)

// inspectRTF walks over the groups of an RTF text. Objects are written as hexadecimal digits, and Word reads these
// with anything strewn between them: blanks, control words, whole groups. We do so as well.
func inspectRTF(w *walk, n *node, o *Object) func() {
	if !o.is("application/rtf") {
		return nil
	}
	r := rtf{b: n.content, o: o}
	r.read()
	if r.more {
		o.flag(LimitHit, "entries")
		w.limit("entries")
	}
	for _, hex := range r.objects {
		if b := octets(hex[:min(len(hex), 4096)]); equation(string(b)) || bytes.Contains(b, []byte(equationClass)) {
			o.flag(AutoExec, "Equation.3")
		}
	}
	return func() {
		for _, hex := range r.objects {
			if w.stopped() {
				return
			}
			w.rtfObject(n, hex)
		}
		for _, raw := range r.binary {
			w.part(n, []string{"bin"}, raw)
		}
	}
}

type rtf struct {
	b       []byte
	o       *Object
	groups  []rtfGroup
	deep    int // groups beyond those that are kept
	objects [][]byte
	binary  [][]byte
	more    bool // objects than are kept
}

type rtfGroup struct {
	word    string // the destination
	star    bool   // \*: to be skipped by who does not know it
	text    []byte // of destinations that we read
	object  int    // 1 + index of the object that its digits belong to
	started bool
}

const (
	maxGroups  = 10_000
	maxObjects = 200
)

func (r *rtf) read() {
	r.groups = append(r.groups, rtfGroup{})
	for at := 0; at < len(r.b); {
		switch c := r.b[at]; c {
		case '{':
			at++
			r.open()
		case '}':
			at++
			r.close()
		case '\\':
			at += r.control(r.b[at+1:]) + 1
		default:
			r.text(c)
			at++
		}
	}
}

func (r *rtf) top() *rtfGroup { return &r.groups[len(r.groups)-1] }

func (r *rtf) open() {
	if len(r.groups) >= maxGroups {
		r.deep++
		return
	}
	g := rtfGroup{object: r.top().object}
	switch r.top().word {
	case "template", "fldinst": // their text goes on in groups inside
		g.word = r.top().word
	}
	r.groups = append(r.groups, g)
}

func (r *rtf) close() {
	if r.deep > 0 {
		r.deep--
		return
	}
	if len(r.groups) == 1 {
		return
	}
	g := *r.top()
	r.groups = r.groups[:len(r.groups)-1]
	if up := r.top(); g.word == up.word && len(g.text) > 0 {
		up.text = append(up.text, g.text...)
		return
	}
	text := strings.TrimSpace(string(g.text))
	switch g.word {
	case "template":
		if isRemote(text) {
			r.o.flag(RemoteTemplate, text)
		}
	case "fldinst":
		r.field(text)
	case "objclass":
		r.o.flag(EmbeddedObject, text)
		if equation(text) {
			r.o.flag(AutoExec, text)
		}
	}
}

var hyperlink = regexp.MustCompile(`(?i)^\s*(HYPERLINK|INCLUDEPICTURE|INCLUDETEXT)\s+"?([^"\s]+)`)

func (r *rtf) field(text string) {
	if ddeField.MatchString(text) {
		r.o.flag(DDE, text)
	}
	if m := hyperlink.FindStringSubmatch(text); m != nil {
		r.o.flag(URI, m[2])
	}
}

// control reads what follows a backslash and gives its length.
func (r *rtf) control(b []byte) int {
	if len(b) == 0 {
		return 0
	}
	if c := b[0] | 0x20; c < 'a' || c > 'z' {
		return r.symbol(b)
	}

	word, number, size := controlWord(b)
	if word == "bin" {
		inside := b[size:min(len(b), size+number)]
		r.bin(inside)
		return size + len(inside)
	}
	r.word(word)

	return size
}

// symbol reads a control of one character.
func (r *rtf) symbol(b []byte) int {
	switch b[0] {
	case '*':
		r.top().star = true
	case '\'':
		return min(3, len(b)) // an escaped octet is no digit of an object
	case '\\', '{', '}':
		r.text(b[0])
	}

	return 1
}

// controlWord reads letters, a number, and the space that ends them.
func controlWord(b []byte) (word string, number, size int) {
	for size < len(b) && size < 64 && ascii.IsLetter(b[size]) {
		size++
	}
	word = strings.ToLower(string(b[:size]))

	if bytes.HasPrefix(b[size:], []byte("-")) {
		size++
	}
	for n := 0; n < 10 && size < len(b) && ascii.IsDigit(b[size]); n++ {
		number = number*10 + int(b[size]-'0')
		size++
	}
	if size < len(b) && b[size] == ' ' {
		size++
	}

	return word, number, size
}

// bin takes octets that are written as they are.
func (r *rtf) bin(octets []byte) {
	if g := r.top(); g.object > 0 && (g.started || !g.star) { // octets of the object among its digits
		for _, c := range octets {
			r.objects[g.object-1] = append(r.objects[g.object-1], c>>4, c&0xf)
		}
		return
	}

	switch {
	case len(r.binary) == maxObjects:
		r.more = true
	case len(octets) > 16 && filetype.Detect(octets, nil)[0].Class != filetype.Image:
		r.binary = append(r.binary, octets)
	}
}

func (r *rtf) word(word string) {
	g := r.top()
	switch word {
	case "objdata":
		if len(r.objects) < maxObjects {
			r.objects = append(r.objects, nil)
			g.object = len(r.objects)
			g.started = true
		} else {
			r.more = true
		}
		r.o.flag(EmbeddedObject, "objdata")
	case "objautlink", "objlink":
		r.o.flag(EmbeddedObject, word)
	case "template", "fldinst", "objclass":
		g.word = word
	}
	if g.word == "" {
		g.word = word
	}
}

func (r *rtf) text(c byte) {
	g := r.top()
	switch g.word {
	case "template", "fldinst", "objclass":
		if len(g.text) < 64<<10 && c >= ' ' {
			g.text = append(g.text, c)
		}
		return
	}
	// a group inside the object that is marked as skippable is skipped
	if g.object == 0 || g.star && !g.started {
		return
	}
	if digit := ascii.HexValue(c); digit >= 0 {
		r.objects[g.object-1] = append(r.objects[g.object-1], byte(digit))
	}
}

// equationClass is {0002CE02-0000-0000-C000-000000000046} as a compound file has it.
const equationClass = "\x02\xce\x02\x00\x00\x00\x00\x00\xc0\x00\x00\x00\x00\x00\x00\x46"

func octets(digits []byte) []byte {
	b := make([]byte, len(digits)/2)
	for i := range b {
		b[i] = digits[2*i]<<4 | digits[2*i+1]
	}
	return b
}

// rtfObject decodes an OLE 1 object: version, format, class, topic, item, size, content. [MS-OLEDS] 2.2.4, 2.2.5
func (w *walk) rtfObject(n *node, digits []byte) {
	b := octets(digits)
	class, content, ok := ole1(b)
	switch {
	case !ok: // not the structure that it should be: what stands in it is looked for
		for _, magic := range []string{"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "PK\x03\x04", "{\\rt", "MZ\x90"} {
			if i := bytes.Index(b, []byte(magic)); i >= 0 {
				b = b[i:]
				break
			}
		}
		w.part(n, []string{"objdata"}, b)
	case strings.EqualFold(class, "Package"):
		if names, file, ok := packagedFile(append(make([]byte, 4), content...)); ok {
			w.part(n, names, file, Flag{EmbeddedObject, class})
			return
		}
		fallthrough
	default:
		w.part(n, []string{"objdata"}, content, Flag{EmbeddedObject, class})
	}
}

func ole1(b []byte) (class string, content []byte, ok bool) {
	if len(b) < 12 || le32(b[4:]) != 2 {
		return "", nil, false
	}
	b = b[8:]
	var texts [3]string
	for i := range texts {
		if len(b) < 4 {
			return "", nil, false
		}
		size := int64(le32(b))
		if size > 1024 || size+4 > int64(len(b)) {
			return "", nil, false
		}
		texts[i] = strings.TrimRight(string(b[4:4+size]), "\x00")
		b = b[4+size:]
	}
	if len(b) < 4 {
		return "", nil, false
	}
	size := int64(le32(b))
	return texts[0], b[4 : 4+min(size, int64(len(b)-4))], true
}
