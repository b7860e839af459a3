package config

import (
	"bytes"
	"errors"
	"reflect"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// Strict reads TOML over what already stands in into, a pointer to a struct. Every key that the struct doesn't know is a
// problem of its own; a value that can't be read is one, the first.
func Strict(file string, text []byte, into any) Problems {
	err := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields().Decode(into)
	if err == nil {
		return checkValues(file, text, into)
	}
	var unknown *toml.StrictMissingError
	if errors.As(err, &unknown) {
		return unknownKeys(file, unknown, reflect.TypeOf(into).Elem())
	}
	return Problems{valueProblem(file, err)}
}

func unknownKeys(file string, unknown *toml.StrictMissingError, root reflect.Type) Problems {
	var all Problems
	for _, e := range unknown.Errors {
		line, _ := e.Position()
		key := e.Key()
		all = append(all, Problem{file, line, dotted(key), "there is no such key", hint(root, key)})
	}
	return all
}

// valueProblem says what go-toml has to say, without its prefix and its drawing.
func valueProblem(file string, err error) Problem {
	p := Problem{File: file, Text: strings.TrimPrefix(err.Error(), "toml: "), Remedy: ""}
	var at *toml.DecodeError
	if !errors.As(err, &at) {
		return p
	}
	p.Line, _ = at.Position()
	p.Key = dotted(at.Key())
	p.Text = strings.TrimPrefix(at.Error(), "toml: ")
	if first, remedy, ok := strings.Cut(p.Text, "; "); ok {
		p.Text, p.Remedy = first, remedy
	}
	// "cannot decode TOML string into struct field config.SMTP.MaxErrors of type int", "… into float64"
	text := strings.Replace(p.Text, "table in a ", "table into ", 1) // "cannot store a table in a string"
	if what, into, ok := strings.Cut(text, " into "); ok && strings.HasPrefix(what, "cannot ") {
		words, kinds := strings.Fields(what), strings.Fields(into)
		p.Text = "is a " + words[len(words)-1]
		if strings.HasPrefix(words[len(words)-1], "i") || strings.HasPrefix(words[len(words)-1], "a") { // integer, array
			p.Text = "is an " + words[len(words)-1]
		}
		p.Remedy = "it must be " + kindInWords(kinds[len(kinds)-1])
	}
	return p
}

func kindInWords(kind string) string {
	switch {
	case kind == "bool":
		return "true or false"
	case strings.HasPrefix(kind, "int"):
		return "a whole number"
	case strings.HasPrefix(kind, "float"):
		return "a number"
	case strings.HasPrefix(kind, "[]"):
		return `a list, as in ["one", "two"]`
	case kind == "string":
		return "text in quotes"
	}
	return "of another kind; `postern config show` shows it with its default"
}

// hint names the key that was probably meant, or the table in which a key of this name exists.
func hint(root reflect.Type, key []string) string {
	name := key[len(key)-1]
	if here := Nearest(name, namesAt(root, key[:len(key)-1])); here != "" {
		return "did you mean " + here + "?"
	}
	var places []string
	collect(root, "", func(table, field string) {
		if strings.EqualFold(field, name) && !slices.Contains(places, table) {
			places = append(places, table)
		}
	})
	if len(places) > 0 {
		return "a key of this name belongs in " + strings.Join(places[:min(len(places), 3)], " or ")
	}
	return "take it away, or see `postern config show` for all keys"
}

// namesAt are the keys that the table at this path can have.
func namesAt(t reflect.Type, path []string) []string {
	for _, part := range path {
		t = below(t, part)
		if t == nil {
			return nil
		}
	}
	var names []string
	if t = element(t); t.Kind() == reflect.Struct {
		for f := range fields(t) {
			names = append(names, f.name)
		}
	}
	return names
}

func below(t reflect.Type, part string) reflect.Type {
	t = element(t)
	switch t.Kind() {
	case reflect.Map:
		return t.Elem()
	case reflect.Struct:
		for f := range fields(t) {
			if strings.EqualFold(f.name, part) {
				return f.kind
			}
		}
	}
	return nil
}

func element(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Slice || t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

// collect visits every key below t with the table it stands in, written as in TOML.
func collect(t reflect.Type, table string, visit func(table, field string)) {
	for f := range fields(t) {
		where := "the top of the file"
		if table != "" {
			where = "[" + table + "]"
		}
		visit(where, f.name)
		inner, path := f.kind, JoinKey(table, f.name)
		if inner.Kind() == reflect.Map {
			inner, path = inner.Elem(), path+".NAME"
		}
		if isTable(inner) {
			collect(element(inner), path, visit)
		}
	}
}

func isTable(t reflect.Type) bool {
	return element(t).Kind() == reflect.Struct && !isText(element(t))
}

// Nearest gives the name that is a slip of the finger away from the one given, "" if none is.
func Nearest(name string, names []string) string {
	best, at := "", 1+max(1, len(name)/3)
	for _, n := range names {
		if d := distance(strings.ToLower(name), strings.ToLower(n)); d < at {
			best, at = n, d
		}
	}
	return best
}

// distance counts the slips of the finger between two names: letters to insert, delete, replace or swap with their
// neighbour (Damerau and Levenshtein, without swapping twice). Names are short: longer ones are cut.
func distance(a, b string) int {
	a, b = a[:min(len(a), 64)], b[:min(len(b), 64)]
	before, row, next := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		next[0] = i + 1
		for j := range len(b) {
			cost := row[j]
			if a[i] != b[j] {
				cost++
			}
			next[j+1] = min(cost, row[j+1]+1, next[j]+1)
			if i > 0 && j > 0 && swapped(a[i-1:i+1], b[j-1:j+1]) {
				next[j+1] = min(next[j+1], before[j-1]+1)
			}
		}
		before, row, next = row, next, before
	}
	return row[len(b)]
}

// swapped says whether two pairs of letters are the same letters in the other order.
func swapped(a, b string) bool { return a[0] == b[1] && a[1] == b[0] }

func dotted(key []string) string {
	path := ""
	for _, part := range key {
		path = JoinKey(path, part)
	}
	return path
}
