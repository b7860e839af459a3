package mimeview

import (
	"slices"
	"strings"

	"postern/internal/mail/ascii"
)

const (
	maxBoundaries = 64
	maxWritten    = 4096 // octets of a field that is read in other ways
	maxBoundary   = 998  // octets: a line's length in RFC 5322 section 2.1.1
)

// boundary collects the boundaries that readers may see in a Content-Type field.
func (w *walker) boundary(f *facts, one field, s *source, at int64) {
	if !namesBoundary(one.value) {
		return
	}

	if b, ok := plainBoundary(one); ok {
		w.oneBoundary(f, one, b, s, at)
		return
	}

	f.plain = false
	_, params, _ := parseParams(one.value)
	found := boundaryReadings(one, params)
	if len(found) >= maxBoundaries {
		w.view.limit(LimitReadings)
	}
	if len(one.value) > maxWritten {
		w.view.limit(LimitParams)
	}

	for _, v := range found {
		if len(f.boundaries) < maxBoundaries && len(v) <= maxBoundary {
			f.boundaries = appendOnce(f.boundaries, v)
		}
	}
	w.view.ambiguous(boundaryDoubt(params, found), s, at, one.value)
}

// boundaryDoubt names what is wrong with a boundary of which there are several readings.
func boundaryDoubt(params []param, found []string) string {
	switch {
	case len(found) < 3 && slices.Contains(found, ""):
		return BoundaryEmpty
	case countParams(params, func(name string) bool { return name == "boundary" }) > 1:
		return TwiceBoundary
	}
	return BoundaryOdd
}

// oneBoundary takes a boundary that is plainly written: it is one to whoever sees the field, though not every reader may see
// the field.
func (w *walker) oneBoundary(f *facts, one field, b string, s *source, at int64) {
	if len(f.boundaries) == 0 {
		f.plain = true
	} else if f.boundaries[0] != b {
		w.view.ambiguous(TwiceBoundary, s, at, one.value)
	}
	f.plain = f.plain && one.strict

	if len(b) > maxBoundary { // its delimiters are longer than a line may be
		w.view.ambiguous(BoundaryOdd, s, at, b)
	} else if len(b) > 70 {
		w.view.ambiguous(BoundaryLong, s, at, b)
	}
	f.boundaries = appendOnce(f.boundaries, b[:min(len(b), maxBoundary)])
}

// namesBoundary says whether any reader may find a boundary in a field's value.
func namesBoundary(value string) bool {
	if strings.Contains(squeeze(value), "boundary") {
		return true
	}

	return strings.Contains(value, "=?") && strings.Contains(squeeze(DecodeValue(value)), "boundary")
}

// boundaryReadings is what readers may take for the boundary where it is not plainly written.
func boundaryReadings(one field, params []param) (found []string) {
	whole, loose, _ := readings(params, "boundary")
	for _, v := range append(whole, loose...) {
		found = appendOnce(found, v)
	}
	for _, text := range versions(one) {
		found = anyBoundary(found, text)
	}

	return found
}

func countParams(params []param, which func(name string) bool) (n int) {
	for _, p := range params {
		if which(p.name) {
			n++
		}
	}

	return n
}

// plainBoundary reads a boundary that is written as RFC 2046 section 5.1.1 has it, on one line, once.
func plainBoundary(one field) (string, bool) {
	_, params, _ := parseParams(one.value)
	named := countParams(params, func(name string) bool { return strings.HasPrefix(name, "boundary") })
	if named != 1 || strings.ContainsFunc(one.value, isControl) {
		return "", false
	}

	lower := ascii.Lower(one.lines)
	i := strings.Index(lower, "boundary=")
	if i < 0 {
		return "", false
	}
	before := strings.TrimRight(lower[:i], " \t\n")
	if !strings.HasSuffix(before, ";") || strings.Contains(before, "(") {
		return "", false
	}

	b, rest, ok := plainValue(one.lines[i+len("boundary="):])

	return b, ok && b != "" && plainTail(rest) && !encodedWord(b)
}

// plainValue cuts a parameter's value off, a token or a quoted string that needs no unquoting.
func plainValue(text string) (value, rest string, ok bool) {
	if inner, quoted := strings.CutPrefix(text, `"`); quoted {
		value, rest, ok = strings.Cut(inner, `"`)
		return value, rest, ok && !strings.ContainsAny(value, "\n\\") && value == strings.TrimSpace(value)
	}

	end := strings.IndexAny(text, "; \t\n")
	if end < 0 {
		end = len(text)
	}

	return text[:end], text[end:], !strings.ContainsAny(text[:end], "\",()<>@\\[]")
}

// plainTail says whether what stands behind a value is nothing or another parameter.
func plainTail(rest string) bool {
	rest = strings.TrimLeft(rest, " \t\n")
	if rest == "" {
		return true
	}
	tail, ok := strings.CutPrefix(rest, ";")
	if !ok {
		return false
	}

	tail = strings.TrimLeft(tail, " \t\n")
	name, _, named := strings.Cut(tail, "=")

	return tail == "" || named && isToken(strings.TrimRight(name, " \t\n"))
}

// encodedWord says whether any reader may decode it: RFC 2047 section 2. "=?" by itself may stand in a boundary.
func encodedWord(b string) bool {
	_, rest, ok := strings.Cut(b, "=?")
	return ok && strings.Contains(rest, "?=")
}

func isToken(name string) bool {
	return name != "" && !strings.ContainsAny(name, " \t\r\n\",()<>@:\\/[]?=;")
}

// versions are other ways to see a field's value: its first line, white space gone, control octets gone or ending it,
// comments gone, encoded words decoded.
func versions(one field) (all []string) {
	value := one.value[:min(len(one.value), maxWritten)]
	all = []string{value}
	lines := strings.Split(one.lines[:min(len(one.lines), maxWritten)], "\n")
	if len(lines) > 1 {
		all = appendOnce(all, strings.TrimSpace(lines[0]))
		var joined strings.Builder
		for _, line := range lines {
			joined.WriteString(strings.TrimLeft(strings.TrimRight(line, "\r"), " \t"))
		}
		all = appendOnce(all, joined.String())
	}
	all = appendOnce(all, strings.Map(func(r rune) rune {
		if isControl(r) {
			return -1
		}
		return r
	}, value))
	all = appendOnce(all, withoutComments(value))
	return appendOnce(all, DecodeValue(value))
}

// withoutComments takes comments away (RFC 5322 section 3.2.2).
func withoutComments(value string) string {
	var b strings.Builder
	depth := 0
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case c == '(':
			depth++
		case c == ')' && depth > 0:
			depth--
		case depth == 0:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// anyBoundary adds what stands behind each "boundary" and a "=" not far from it.
func anyBoundary(found []string, text string) []string {
	lower := ascii.Lower(text)
	at := 0
	for len(found) < maxBoundaries {
		i := strings.Index(lower[at:], "boundary")
		if i < 0 {
			break
		}
		at += i + len("boundary")
		eq := strings.IndexByte(text[at:min(len(text), at+24)], '=')
		if eq < 0 {
			continue
		}
		found = boundaryForms(found, text[at+eq+1:])
	}
	return found
}

// boundaryForms adds each plausible end and spelling of the value at the front of rest.
func boundaryForms(found []string, rest string) []string {
	add := func(v string) {
		if len(v) <= maxBoundary && len(found) < maxBoundaries {
			found = appendOnce(found, v)
		}
	}
	spell := func(v string) {
		add(strings.TrimSpace(v))
		add(strings.TrimSpace(strings.ReplaceAll(v, `"`, "")))
		add(strings.Trim(v, "\t "))
		before, _, _ := strings.Cut(v, "\x00")
		add(strings.Trim(strings.ReplaceAll(before, `"`, ""), " \t"))
		add(strings.TrimRight(strings.ReplaceAll(v, `"`, ""), " \t"))
		if words := strings.Fields(v); len(words) > 1 {
			add(strings.Trim(strings.Join(words, ""), `"`))
		}
	}
	trimmed := strings.TrimLeft(rest, " \t")
	if strings.HasPrefix(trimmed, `"`) {
		inner, _, _ := strings.Cut(trimmed[1:], `"`)
		spell(inner)
		v, _ := paramValue(trimmed)
		spell(v)
	}
	for _, cut := range []string{";", ",", " ", "(", "\x00", `"`, "\r", "'"} {
		v, _, _ := strings.Cut(trimmed, cut)
		spell(v)
	}
	spell(rest)
	return found
}
