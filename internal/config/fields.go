package config

import (
	"encoding"
	"iter"
	"reflect"
	"strings"
)

// field is a key of a struct, embedded structs flattened as go-toml does it.
type field struct {
	name   string
	kind   reflect.Type
	index  []int
	secret bool
}

// fields are the keys of a struct in the order of its source.
func fields(t reflect.Type) iter.Seq[field] {
	return func(yield func(field) bool) {
		eachField(element(t), nil, yield)
	}
}

func eachField(t reflect.Type, before []int, yield func(field) bool) bool {
	if t.Kind() != reflect.Struct {
		return true
	}
	for i := range t.NumField() {
		f := t.Field(i)
		index := append(before[:len(before):len(before)], i)
		tag := f.Tag.Get("toml")
		if f.Anonymous && tag == "" {
			if !eachField(f.Type, index, yield) {
				return false
			}
			continue
		}
		name, _, _ := strings.Cut(tag, ",")
		if !f.IsExported() || name == "-" {
			continue
		}
		if name == "" {
			name = strings.ToLower(f.Name)
		}
		if !yield(field{name, f.Type, index, f.Tag.Get("show") == "hidden"}) {
			return false
		}
	}
	return true
}

// isText says whether values of this type are written as one word or number.
func isText(t reflect.Type) bool {
	return t.Implements(reflect.TypeFor[encoding.TextMarshaler]())
}
