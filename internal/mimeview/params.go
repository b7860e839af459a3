package mimeview

import (
	"net/url"
	"sort"
	"strconv"
	"strings"
)

// maxParams is how many parameters of one field are read.
const maxParams = 64

// param is a parameter as it is written.
type param struct{ name, value string }

// parseParams gives all parameters in order, and whether these were all.
func parseParams(value string) (word string, all []param, whole bool) {
	if len(value) > maxValue {
		value = value[:maxValue]
	}
	word, rest, _ := strings.Cut(value, ";")
	word, _, _ = strings.Cut(word, "(")
	word = strings.ToLower(strings.TrimSpace(word))
	for rest != "" {
		if len(all) == maxParams {
			return word, all, false
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
	return word, all, true
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

// readings gives all values that readers may take a parameter to have: plain, first and last, extended, put together
// of its pieces in order of number and of appearance (RFC 2231 section 3 and 4). odd says that the pieces are not as
// they should be.
func readings(all []param, name string) (values []string, odd bool) {
	type piece struct {
		number int
		value  string
	}
	var pieces []piece
	seen := map[int]bool{}
	add := func(v string) {
		for _, have := range values {
			if have == v {
				return
			}
		}
		values = append(values, v)
	}
	for _, p := range all {
		rest, ok := strings.CutPrefix(p.name, name)
		switch {
		case !ok:
		case rest == "":
			add(p.value)
		case rest == "*":
			add(extended(p.value))
			add(p.value)
		case rest[0] == '*':
			number, err := strconv.Atoi(strings.TrimSuffix(rest[1:], "*"))
			if err != nil {
				continue
			}
			v := p.value
			if strings.HasSuffix(rest, "*") {
				v = extended(v)
			}
			odd = odd || number != len(pieces) || seen[number]
			seen[number] = true
			pieces = append(pieces, piece{number, v})
		}
	}
	if len(pieces) == 0 {
		return values, false
	}
	join := func() {
		var b, last strings.Builder
		for i, p := range pieces {
			b.WriteString(p.value)
			if i == len(pieces)-1 || pieces[i+1].number != p.number {
				last.WriteString(p.value) // of two pieces with one number the last
			}
		}
		add(b.String())
		add(last.String())
	}
	join()
	sort.SliceStable(pieces, func(i, j int) bool { return pieces[i].number < pieces[j].number })
	join()
	for _, p := range pieces {
		add(p.value)
	}
	return values, odd
}

// extended takes the charset away and undoes the percent signs: RFC 2231 section 4.
func extended(v string) string {
	charset := ""
	if parts := strings.SplitN(v, "'", 3); len(parts) == 3 {
		charset, v = parts[0], parts[2]
	}
	if u, err := url.PathUnescape(v); err == nil {
		v = u
	} else {
		v = string(decodeAll(percent, []byte(v)))
	}
	return toUTF8([]byte(v), charset)
}

const (
	maxNames      = 32
	maxNameLength = 1024
)

// fileNames are all names that the type and disposition fields give, decoded and as they stand.
func (f *facts) fileNames(v *View, s *source, at int64) {
	var odd bool
	for _, all := range f.dispositionParams {
		values, o := readings(all, "filename")
		odd = odd || o
		f.addNames(values)
		values, _ = readings(all, "name") // in the wrong field, as some readers take it
		f.addNames(values)
	}
	for _, all := range f.typeParams {
		values, o := readings(all, "name")
		odd = odd || o
		f.addNames(values)
		values, _ = readings(all, "filename")
		f.addNames(values)
	}
	if odd {
		v.ambiguous(NameOrder, s, at, f.name())
	}
	if len(f.names) < 2 {
		if len(f.names) == 1 && strings.ContainsFunc(f.names[0], isControl) {
			v.ambiguous(NameControl, s, at, f.names[0])
		}
		return
	}
	kind := ""
	for i, n := range f.names[1:] {
		if !sameExtension(n, f.names[0]) {
			kind = NameTypesDiffer
		} else if i+1 < f.given && kind == "" {
			kind = NamesDiffer
		}
	}
	if kind != "" {
		v.ambiguous(kind, s, at, strings.Join(f.names, " | "))
	}
	for _, n := range f.names {
		if strings.ContainsFunc(n, isControl) {
			v.ambiguous(NameControl, s, at, n)
			break
		}
	}
}

func (f *facts) name() string {
	if len(f.names) == 0 {
		return ""
	}
	return f.names[0]
}

// addNames takes names in as they are read, then other ways to read them.
func (f *facts) addNames(values []string) {
	for _, raw := range values {
		if len(raw) > maxNameLength { // what the name ends in says most
			raw = raw[:maxNameLength/2] + raw[len(raw)-maxNameLength/2:]
		}
		decoded := strings.TrimSpace(DecodeValue(raw))
		f.addName(decoded)
		f.given = len(f.names)
	}
}

func (f *facts) addName(name string) {
	if name == "" || len(f.names) == maxNames {
		return
	}
	for _, have := range f.names {
		if have == name {
			return
		}
	}
	f.names = append(f.names, name)
}

// sameExtension compares what stands behind the last dot, as a file system that forgives trailing dots would.
func sameExtension(a, b string) bool {
	return strings.EqualFold(extension(a), extension(b))
}

func extension(name string) string {
	name = strings.TrimRight(name, ". \x00")
	i := strings.LastIndexByte(name, '.')
	if i < 0 {
		return ""
	}
	return name[i+1:]
}
