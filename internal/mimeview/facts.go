package mimeview

import (
	"cmp"
	"slices"
	"strings"

	"postern/internal/mail/ascii"
)

// facts are what a header says of its part, in every reading.
type facts struct {
	kind        string // the media type of the RFC's reading
	params      map[string]string
	encoding    encoding
	encodings   []encoding // all, the RFC's first
	disposition string
	id          string
	types       []string // all declared types
	names       []string // all candidate file names
	shown       []string // those of them that readers show as they are given
	charsets    []string // that a second Content-Type gives for the same type
	boundaries  []string // all candidates, the RFC's first
	plain       bool     // the boundary is written in a way that nobody misreads

	typeParams, dispositionParams [][]param
	// what other readers may take it for
	maybeLeaf, maybeMultipart, maybeMessage bool
}

func isMultipart(kind string) bool { return strings.HasPrefix(kind, "multipart/") }

// isMessage names the types whose body is a message (RFC 2046 section 5.2.1, RFC 6532 section 3.7).
func isMessage(kind string) bool {
	return kind == "message/rfc822" || kind == "message/global" || kind == "message/news"
}

// squeeze leaves the lower-case letters and digits.
func squeeze(value string) string {
	var b strings.Builder
	for i := range len(value) {
		if c := value[i]; ascii.IsAlnum(c) {
			b.WriteByte(ascii.LowerOctet(c))
		}
	}
	return b.String()
}

// facts collects what a header says. fallback is the type of a part that gives none.
func (w *walker) facts(h *headerBlock, s *source, base int64, fallback string) *facts {
	f := &facts{kind: fallback, encoding: plain}
	for _, d := range h.doubts {
		w.view.ambiguous(d.kind, s, base+int64(d.at), d.detail)
	}
	w.types(f, h, s, base)
	w.encodings(f, h, s, base)
	w.dispositions(f, h, s, base)
	w.versions(h, s, base)
	f.fileNames(w.view, s, base)
	return f
}

// pick gives the fields of a name, the one that the RFC's reader uses in front.
func pick(h *headerBlock, name string) (all []field) {
	for _, f := range h.fields {
		if f.name == name && f.strict {
			all = append(all, f)
		}
	}
	for _, f := range h.fields {
		if f.name == name && !f.strict {
			all = append(all, f)
		}
	}
	return all
}

func (w *walker) types(f *facts, h *headerBlock, s *source, base int64) {
	all := pick(h, "content-type")
	if len(all) > maxPerKind { // the parameters of those behind are not read
		w.view.limit(LimitParams)
	}

	for i, one := range all {
		at := base + int64(one.at)
		kind, params, whole := parseParams(one.value)
		if !whole {
			w.view.limit(LimitParams)
		}
		if i > 0 && i < maxPerKind {
			w.anotherType(f, kind, params, one, s, at)
		}
		w.maybes(f, kind, one, s, at)
		if !strings.Contains(kind, "=") { // a parameter where the type is missing
			f.types = appendOnce(f.types, kind)
		}
		if i < maxPerKind {
			f.typeParams = append(f.typeParams, params)
			w.boundary(f, one, s, at)
		}
		if i == 0 && one.strict {
			f.kind, f.params = strictKind(kind), firsts(params)
		}
	}
}

// strictKind is the type that the RFC's reader sees: RFC 2045 section 5.2.
func strictKind(kind string) string {
	if strings.Contains(kind, "/") {
		return kind
	}
	return "text/plain"
}

// maybes notes what readers may take a part for whose type is not plainly written.
func (w *walker) maybes(f *facts, kind string, one field, s *source, at int64) {
	squeezed := squeeze(one.value[:min(len(one.value), maxDetail)])
	multi := strings.Contains(squeezed, "multipart")
	message := strings.Contains(squeezed, "rfc822") || strings.Contains(squeezed, "messageglobal")
	f.maybeMultipart, f.maybeMessage = f.maybeMultipart || multi, f.maybeMessage || message

	word, _, _ := strings.Cut(one.value, ";")
	if isMediaType(kind) && !strings.Contains(word, "(") {
		return
	}

	if multi || message {
		w.view.ambiguous(TypeOdd, s, at, one.value)
		f.maybeLeaf = true
	} else {
		w.view.ambiguous(TypeSyntax, s, at, one.value)
	}
}

// onlyCharset says whether two lists of parameters are the same but for the charset, and gives that of the second if it is
// another one.
func onlyCharset(a, b []param) (charset string, same bool) {
	first, other := firsts(a), firsts(b)
	charset, same = other["charset"], len(b) == len(other) && len(a) == len(first)
	delete(other, "charset")
	for name, value := range first {
		same = same && (name == "charset" || other[name] == value)
		delete(other, name)
	}
	if strings.EqualFold(charset, first["charset"]) {
		charset = ""
	}

	return charset, same && len(other) == 0
}

// anotherType compares a second Content-Type with the first. Two that differ in the charset alone are one part, whose text
// is read in both; two that differ in their writing alone are one.
func (w *walker) anotherType(f *facts, kind string, params []param, one field, s *source, at int64) {
	if len(f.types) == 1 && f.types[0] == kind && isMediaType(kind) {
		charset, same := onlyCharset(f.typeParams[0], params)
		if same && charset != "" {
			f.charsets = appendOnce(f.charsets, charset)
			w.view.ambiguous(TwiceCharset, s, at, one.value)
		}
		if same {
			return
		}
	}
	twice := TwiceType
	if !one.strict { // in a fold or behind the header: that two readers see two types is their doubt about the place alone
		twice = TwiceTypeLoose
	}
	w.view.ambiguous(twice, s, at, one.value)
	f.maybeLeaf = true
}

func firsts(all []param) map[string]string {
	m := make(map[string]string, len(all))
	for _, p := range all {
		name := strings.TrimSuffix(p.name, "*")
		if _, twice := m[name]; !twice {
			m[name] = p.value
		}
	}
	return m
}

func isMediaType(kind string) bool {
	slash := 0
	for i := range len(kind) {
		c := kind[i]
		switch {
		case c == '/':
			slash++
		case c <= ' ' || c >= 0x7f || strings.IndexByte(`()<>@,;:\"[]?=`, c) >= 0:
			return false
		}
	}
	return slash == 1 && kind[0] != '/' && kind[len(kind)-1] != '/'
}

func appendOnce[T comparable](all []T, one T) []T {
	for _, have := range all {
		if have == one {
			return all
		}
	}
	return append(all, one)
}

// plainEncoding says which encoding a value names if it names one as RFC 2045 section 6.1 has it.
func plainEncoding(value string) (encoding, bool) {
	switch strings.ToLower(value) {
	case "", "7bit", "8bit", "binary":
		return plain, true
	case "base64":
		return base64, true
	case "quoted-printable":
		return quoted, true
	case "x-uuencode", "uuencode", "x-uue", "uue":
		return uuencode, true
	case "x-yencode", "yenc":
		return yEnc, true
	}
	return plain, false
}

func (w *walker) encodings(f *facts, h *headerBlock, s *source, base int64) {
	all := pick(h, "content-transfer-encoding")
	for i, one := range all {
		at := base + int64(one.at)
		e, ok := plainEncoding(one.value)
		if i == 0 && one.strict {
			f.encoding = e
		}
		if i > 0 && !sameEncoding(one.value, all[0].value) {
			w.view.ambiguous(TwiceEncoding, s, at, one.value)
			f.anyEncoding()
		}
		f.encodings = appendOnce(f.encodings, e)
		if isRare(e) {
			f.encodings = appendOnce(f.encodings, plain)
		}
		// a reader that overlooks a field that is plainly written takes the octets as they are, which is among the readings
		if folded := strings.Contains(one.lines, "\n"); !ok || folded {
			w.oddEncoding(f, one, ok, s, at)
		}
	}

	if slices.ContainsFunc(all, func(one field) bool { return one.broken }) {
		f.anyEncoding()
	}
	f.strictFirst()
}

// isRare says whether many readers do not undo an encoding.
func isRare(e encoding) bool { return e == uuencode || e == yEnc }

// strictFirst puts the encoding that the RFC's reader sees first: "plain" if it sees none of the fields.
func (f *facts) strictFirst() {
	if len(f.encodings) > 0 && f.encodings[0] == f.encoding {
		return
	}
	rest := f.encodings
	f.encodings = []encoding{cmp.Or(f.encoding, plain)}
	for _, e := range rest {
		f.encodings = appendOnce(f.encodings, e)
	}
}

// anyEncoding has the octets read in every common way.
func (f *facts) anyEncoding() {
	f.encodings = appendOnce(appendOnce(appendOnce(f.encodings, plain), base64), quoted)
}

// oddEncoding takes a field that is folded, or names no encoding that is known.
func (w *walker) oddEncoding(f *facts, one field, known bool, s *source, at int64) {
	squeezed := squeeze(DecodeValue(one.value[:min(len(one.value), maxValue)]))
	has := func(part string) bool { return strings.Contains(squeezed, part) }

	kind := EncodingUnknown
	if slices.ContainsFunc([]string{"base", "64", "quoted", "uue"}, has) || strings.Contains(one.value, "=?") {
		kind = EncodingOdd
	}
	if !known || kind == EncodingOdd {
		w.view.ambiguous(kind, s, at, one.value)
	}

	f.anyEncoding()
	if has("uue") {
		f.encodings = appendOnce(f.encodings, uuencode)
	}
}

// sameEncoding says whether two values name the same: 7bit, 8bit and binary all leave the octets as they are.
func sameEncoding(a, b string) bool {
	if strings.EqualFold(a, b) {
		return true
	}
	one, knownOne := plainEncoding(a)
	other, knownOther := plainEncoding(b)
	return knownOne && knownOther && one == other
}

func (w *walker) dispositions(f *facts, h *headerBlock, s *source, base int64) {
	all := pick(h, "content-disposition")
	if len(all) > maxPerKind {
		w.view.limit(LimitParams)
	}
	for i, one := range all {
		kind, params, whole := parseParams(one.value)
		if !whole {
			w.view.limit(LimitParams)
		}
		if i > 0 && one.value != all[0].value {
			w.view.ambiguous(TwiceDisposition, s, base+int64(one.at), one.value)
		}
		if i == 0 && !strings.Contains(kind, "=") {
			f.disposition = kind
		}
		if i < maxPerKind {
			f.dispositionParams = append(f.dispositionParams, params)
		}
		w.twiceParameters(params, s, base+int64(one.at))
	}
	w.contentID(f, h, s, base)
}

// twiceParameters notes parameters that stand there twice with different values.
func (w *walker) twiceParameters(params []param, s *source, at int64) {
	for j, p := range params {
		for _, other := range params[:j] {
			if p.name == other.name && p.value != other.value {
				w.view.ambiguous(TwiceParameter, s, at, p.name)
			}
		}
	}
}

func (w *walker) contentID(f *facts, h *headerBlock, s *source, base int64) {
	for i, one := range pick(h, "content-id") {
		if i == 0 {
			f.id = strings.Trim(one.value, "<> \t")
		} else {
			w.view.ambiguous(TwiceID, s, base+int64(one.at), one.value)
		}
	}
}

func (w *walker) versions(h *headerBlock, s *source, base int64) {
	all := pick(h, "mime-version")
	for i, one := range all {
		if i > 0 && one.value != all[0].value {
			w.view.ambiguous(TwiceVersion, s, base+int64(one.at), one.value)
		}
		if !strings.HasPrefix(one.value, "1.0") {
			w.view.ambiguous(VersionOdd, s, base+int64(one.at), one.value)
		}
	}
}
