package config

import (
	"reflect"
	"slices"
)

// allKeys are the names of all plain keys, drawn from the struct as Show and Strict draw them.
func allKeys() []string {
	var keys []string
	var walk func(t reflect.Type)
	walk = func(t reflect.Type) {
		for f := range fields(t) {
			inner := f.kind
			if inner.Kind() == reflect.Map {
				inner = inner.Elem()
			}
			switch {
			case isTable(inner):
				walk(element(inner))
			case f.name != "filters" && !slices.Contains(keys, f.name):
				keys = append(keys, f.name)
			}
		}
	}
	walk(reflect.TypeFor[Config]())
	return keys
}
