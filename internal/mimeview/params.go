package mimeview

import (
	"net/url"
	"sort"
	"strconv"
	"strings"

	charsets "postern/internal/mail/charset"
)

// maxParams is how many parameters of one field are read.
const maxParams = 64

// param is a parameter as it is written.
type param struct{ name, value string }

// parseParams gives all parameters in order, and whether these were all. What stands before the first semicolon is the
// word; where it is a parameter itself, as in a field that lacks its type, it is both.
func parseParams(value string) (word string, all []param, whole bool) {
	whole = len(value) <= maxValue
	value = value[:min(len(value), maxValue)]
	word, rest, _ := strings.Cut(value, ";")
	if name, _, ok := strings.Cut(uncommented(word), "="); ok && isToken(strings.TrimSpace(name)) {
		rest = value
	}
	word, _, _ = strings.Cut(word, "(")
	word = strings.ToLower(strings.TrimSpace(word))
	all, more := appendParams(nil, rest)
	// RFC 2045 section 5.1: comments are allowed between the words, and no part of the value
	if bare := uncommented(rest); bare != rest {
		again, left := appendParams(nil, bare)
		for _, p := range again {
			all = appendOnce(all, p)
		}
		more = more || left
	}
	return word, all, whole && !more
}

// appendParams reads parameters. It says whether there are more than are read of one field.
func appendParams(all []param, rest string) ([]param, bool) {
	for rest != "" {
		if len(all) == maxParams {
			return all, true
		}
		rest = strings.TrimLeft(rest, "; \t")
		name, after, ok := strings.Cut(rest, "=")
		if !ok {
			break
		}
		if i := strings.LastIndexByte(name, ';'); i >= 0 {
			name = name[i+1:]
		}
		var text string
		text, rest = paramValue(strings.TrimLeft(after, " \t"))
		if name = strings.ToLower(strings.TrimSpace(name)); name != "" {
			all = append(all, param{name, text})
		}
	}
	return all, false
}

// uncommented takes comments away that do not stand within quotes (RFC 5322 section 3.2.2). One that is never closed stays.
func uncommented(value string) string {
	if strings.IndexByte(value, '(') < 0 {
		return value
	}
	var b strings.Builder
	depth, from, quoted := 0, 0, false
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case c == '\\' && (quoted || depth > 0):
			i++
		case c == '"' && depth == 0:
			quoted = !quoted
		case quoted:
		case c == '(':
			if depth++; depth == 1 {
				b.WriteString(value[from:i])
				from = i
			}
		case c == ')' && depth > 0:
			if depth--; depth == 0 {
				from = i + 1
			}
		}
	}
	b.WriteString(value[min(from, len(value)):])
	return b.String()
}

func paramValue(text string) (value, rest string) {
	if !strings.HasPrefix(text, `"`) {
		value, rest, _ = strings.Cut(text, ";")
		return strings.TrimSpace(value), rest
	}
	if i := strings.IndexAny(text[1:], `"\`); i >= 0 && text[1+i] == '"' { // nothing is quoted by a backslash
		_, rest, _ = strings.Cut(text[i+1:], ";")
		return text[1 : i+1], rest
	}
	var b strings.Builder
	i := 1
	for ; i < len(text) && text[i] != '"'; i++ {
		if text[i] == '\\' && i+1 < len(text) {
			i++
		}
		b.WriteByte(text[i])
	}
	_, rest, _ = strings.Cut(text[min(i, len(text)):], ";")
	return b.String(), rest
}

// piece is a part of a value that is too long for one parameter: RFC 2231 section 3.
type piece struct {
	number   int
	value    string
	extended bool // with percent signs, the first of them with a charset
}

// readings gives all values that readers may take a parameter to have. whole are those of readers that know RFC 2231 and of
// those that take the plain form; loose are what others make of it: a value with its charset and its percent signs, pieces
// that are not in order put together in other ways, single ones of them. odd says that the pieces are not as they should be.
func readings(all []param, name string) (whole, loose []string, odd bool) {
	var pieces []piece
	seen := map[int]bool{}
	for _, p := range all {
		rest, ok := strings.CutPrefix(p.name, name)
		switch {
		case !ok:
		case rest == "":
			whole = appendOnce(whole, p.value)
		case rest == "*":
			whole = appendOnce(whole, extended(p.value))
			loose = appendOnce(loose, p.value)
		case rest[0] == '*':
			number, err := strconv.Atoi(strings.TrimSuffix(rest[1:], "*"))
			if err != nil {
				continue
			}
			odd = odd || number != len(pieces) || seen[number]
			seen[number] = true
			pieces = append(pieces, piece{number, p.value, strings.HasSuffix(rest, "*")})
		}
	}
	if len(pieces) == 0 {
		return whole, loose, false
	}
	whole = appendOnce(whole, joined(inOrder(pieces)))
	if odd {
		loose = append(loose, looselyJoined(pieces)...)
	}
	return whole, loose, odd
}

// looselyJoined gives what readers make of pieces that are not in order.
func looselyJoined(pieces []piece) []string {
	loose := []string{joined(pieces), joined(lasts(pieces))}
	sort.SliceStable(pieces, func(i, j int) bool { return pieces[i].number < pieces[j].number })
	loose = append(loose, joined(pieces), joined(lasts(pieces)))
	for _, p := range pieces {
		loose = append(loose, joined([]piece{p}))
	}
	return loose
}

// inOrder are the pieces from number 0 on, up to the first gap, of two with one number the first.
func inOrder(pieces []piece) (run []piece) {
	byNumber := make(map[int]piece, len(pieces))
	for _, p := range pieces {
		if _, twice := byNumber[p.number]; !twice {
			byNumber[p.number] = p
		}
	}
	for i := 0; ; i++ {
		p, ok := byNumber[i]
		if !ok {
			return run
		}
		run = append(run, p)
	}
}

// lasts are the pieces without those that another of the same number follows at once.
func lasts(pieces []piece) (kept []piece) {
	for i, p := range pieces {
		if i == len(pieces)-1 || pieces[i+1].number != p.number {
			kept = append(kept, p)
		}
	}
	return kept
}

// joined puts pieces together and decodes them then: a letter may be cut between two of them (RFC 2231 section 4.1).
func joined(pieces []piece) string {
	var octets []byte
	charset, decode := "", false
	for i, p := range pieces {
		if !p.extended {
			octets = append(octets, p.value...)
			continue
		}
		v := p.value
		if parts := strings.SplitN(v, "'", 3); i == 0 && len(parts) == 3 {
			charset, v = parts[0], parts[2]
		}
		decode = true
		octets = append(octets, unpercent(v)...)
	}
	if !decode {
		return string(octets)
	}
	return charsets.ToUTF8(octets, charset)
}

func unpercent(v string) []byte {
	if u, err := url.PathUnescape(v); err == nil {
		return []byte(u)
	}
	return decodeAll(percent, []byte(v))
}

// extended takes the charset away and undoes the percent signs: RFC 2231 section 4.
func extended(v string) string {
	return joined([]piece{{0, v, true}})
}
