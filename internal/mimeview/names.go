package mimeview

import "strings"

const (
	maxNames      = 64
	maxNameLength = 1024
	// maxExtension is how long what stands behind a name's last dot may be to be an extension, in octets: the longest that
	// desktops know have about twenty.
	maxExtension = 32
)

// fileNames are all names that the type and disposition fields give, decoded and as they stand. Those that readers show
// whole are compared with each other; what only an odd reader would make of them is a candidate and no more.
func (f *facts) fileNames(v *View, s *source, at int64) {
	var odd, full bool
	for _, from := range []struct {
		fields [][]param
		own    string
		wrong  string // in the wrong field, as some readers take it
	}{{f.dispositionParams, "filename", "name"}, {f.typeParams, "name", "filename"}} {
		for _, all := range from.fields {
			whole, loose, o := readings(all, from.own)
			odd = odd || o
			misplaced, more, _ := readings(all, from.wrong)
			f.shown, full = addNames(f.shown, full, whole, misplaced)
			f.names, full = addNames(f.names, full, whole, misplaced, loose, more)
		}
	}
	if full {
		v.limit(LimitNames)
	}
	if odd { // then nobody can say how they are put together
		v.ambiguous(NameOrder, s, at, f.name())
		f.shown = f.names
	}
	for _, n := range f.names {
		if strings.ContainsFunc(n, isControl) {
			v.ambiguous(NameControl, s, at, n)
			break
		}
	}
	f.compareNames(v, s, at)
}

func (f *facts) compareNames(v *View, s *source, at int64) {
	if len(f.shown) < 2 {
		return
	}
	kind := NamesDiffer
	for i, a := range f.shown {
		for _, b := range f.shown[:i] {
			if !sameExtension(a, b) {
				kind = NameTypesDiffer
			}
		}
	}
	v.ambiguous(kind, s, at, strings.Join(f.shown, " | "))
}

func (f *facts) name() string {
	if len(f.names) == 0 {
		return ""
	}
	return f.names[0]
}

// addNames takes names in, each once, with their encoded words decoded. full says that there were more than are kept.
func addNames(list []string, full bool, more ...[]string) ([]string, bool) {
	for _, values := range more {
		for _, raw := range values {
			if len(raw) > maxNameLength { // what the name ends in says most
				raw = raw[:maxNameLength/2] + raw[len(raw)-maxNameLength/2:]
			}
			name := strings.TrimSpace(DecodeValue(raw))
			if name == "" {
				continue
			}
			if before := len(list); before == maxNames {
				if list = appendOnce(list, name); len(list) > before {
					return list[:before], true
				}
				continue
			}
			list = appendOnce(list, name)
		}
	}
	return list, full
}

// sameExtension compares what stands behind the last dot, as a file system that forgives trailing dots would. A name
// without an extension says nothing of a type, so it contradicts none.
func sameExtension(a, b string) bool {
	a, b = extension(a), extension(b)
	return a == "" || b == "" || strings.EqualFold(a, b) || sameFormat(strings.ToLower(a)) == sameFormat(strings.ToLower(b))
}

// sameFormat gives the one name for extensions that are two spellings of one format.
func sameFormat(extension string) string {
	switch extension {
	case "jpeg", "jpe", "jfif":
		return "jpg"
	case "htm":
		return "html"
	case "tiff":
		return "tif"
	case "text", "log", "patch", "diff", "md": // text that programs show and none runs
		return "txt"
	case "mpeg":
		return "mpg"
	case "yml":
		return "yaml"
	}
	return extension
}

// extension is what a desktop would go by. White space in it makes it the end of a sentence and no extension.
func extension(name string) string {
	if quoted, ok := strings.CutPrefix(name, "'"); ok && strings.HasSuffix(quoted, "'") { // quotes of somebody who knows no others
		name = quoted[:len(quoted)-1]
	}
	name = strings.TrimRight(name, ". \x00")
	i := strings.LastIndexByte(name, '.')
	if i < 0 || len(name)-i-1 > maxExtension || strings.ContainsAny(name[i+1:], " \t()") {
		return ""
	}
	return name[i+1:]
}
