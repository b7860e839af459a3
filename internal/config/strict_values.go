package config

import (
	"encoding"
	"reflect"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// checkValues lets those values be read by their own types that go-toml sets without asking them: it calls
// UnmarshalText only where neither a string nor a number fits, so that `listen = "nonsense"` and `timeout = 30` would
// pass.
func checkValues(file string, text []byte, into any) Problems {
	c := valueChecker{file: file}
	c.lines, c.kinds = index(text)
	c.visit("", reflect.ValueOf(into).Elem())
	return c.found
}

type valueChecker struct {
	file  string
	lines Lines
	kinds map[string]unstable.Kind
	found Problems
}

func (c *valueChecker) visit(path string, v reflect.Value) {
	if reflect.PointerTo(v.Type()).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		c.text(path, v)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for f := range fields(v.Type()) {
			if field, err := v.FieldByIndexErr(f.index); err == nil {
				c.visit(JoinKey(path, f.name), field)
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			c.visit(path+"["+strconv.Itoa(i)+"]", v.Index(i))
		}
	case reflect.Map:
		c.visitMap(path, v)
	case reflect.Pointer:
		if !v.IsNil() {
			c.visit(path, v.Elem())
		}
	}
}

// visitMap visits copies of a map's values, which can't be changed in place, and puts them back.
func (c *valueChecker) visitMap(path string, v reflect.Value) {
	if v.Type().Key().Kind() != reflect.String || v.Type().Elem().Kind() == reflect.Interface {
		return
	}
	for _, key := range v.MapKeys() {
		one := reflect.New(v.Type().Elem()).Elem()
		one.Set(v.MapIndex(key))
		c.visit(JoinKey(path, key.String()), one)
		v.SetMapIndex(key, one)
	}
}

func (c *valueChecker) text(path string, v reflect.Value) {
	kind, given := c.kinds[strings.ToLower(path)]
	if !given {
		return // a default
	}
	var err error
	switch {
	case v.Kind() == reflect.String:
		err = v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(v.String()))
	case kind == unstable.Integer && v.Type() == reflect.TypeFor[Duration]():
		err = new(Duration).UnmarshalText(strconv.AppendInt(nil, v.Int(), 10))
	case kind == unstable.Integer && v.Type() == reflect.TypeFor[Size]():
		err = new(Size).UnmarshalText(strconv.AppendInt(nil, v.Int(), 10))
	case kind == unstable.Integer && v.Type() == reflect.TypeFor[Switch]():
		err = new(Switch).UnmarshalText(strconv.AppendInt(nil, v.Int(), 10))
	}
	if err == nil {
		return
	}
	what, remedy, _ := strings.Cut(err.Error(), "; ")
	c.found = append(c.found, Problem{c.file, c.lines.Line(path), path, what, remedy})
}
