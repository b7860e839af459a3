package config

import (
	"bytes"
	"encoding"
	"fmt"
	"io"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// Show writes the effective configuration as TOML that can be read again, secrets hidden, with the sections of all
// filters it is told of.
func (c *Config) Show(w io.Writer, filters []Known) error {
	var b bytes.Buffer
	s := shower{out: &b}
	s.table("", reflect.ValueOf(c).Elem())
	for _, f := range filters {
		if err := c.showFilter(&b, f); err != nil {
			return err
		}
	}
	_, err := b.WriteTo(w)
	return err
}

func (c *Config) showFilter(b *bytes.Buffer, f Known) error {
	path := JoinKey("filters", f.Name)
	fmt.Fprintf(b, "\n# %s\n[%s]\nenabled = %t\n", oneLine(f.Help), path, c.FilterEnabled(f.Name, !f.Disabled))
	if f.Settings == nil {
		return nil
	}
	settings := fresh(f.Settings)
	if err := c.Filter(f.Name).Decode(settings); err != nil {
		return err
	}
	text, err := toml.Marshal(settings)
	if err != nil {
		return fmt.Errorf("show [%s]: %w", path, err)
	}
	for line := range strings.Lines(string(text)) {
		if inner, ok := strings.CutPrefix(line, "["); ok { // a table within the settings
			line = "[" + path + "." + inner
			if rest, ok := strings.CutPrefix(inner, "["); ok {
				line = "[[" + path + "." + rest
			}
		}
		b.WriteString(hideSecret(line))
	}
	return nil
}

// hideSecret takes the value out of a filter's setting whose name says that it is a secret: a key for a DNS list, for one.
func hideSecret(line string) string {
	name, value, ok := strings.Cut(line, " = ")
	secret := strings.HasSuffix(name, "_key") || strings.HasSuffix(name, "password") || strings.HasSuffix(name, "secret")
	if !ok || !secret || strings.Trim(value, "'\"\n") == "" {
		return line
	}
	return name + " = 'hidden'\n"
}

// fresh gives a copy of the settings a pointer points to. Lists and maps in it are new, too.
func fresh(settings any) any {
	v := reflect.ValueOf(settings).Elem()
	n := reflect.New(v.Type())
	n.Elem().Set(v)
	for i := range v.NumField() {
		if f := n.Elem().Field(i); f.CanSet() && f.Kind() == reflect.Map && !f.IsNil() {
			m := reflect.MakeMap(f.Type())
			for _, k := range f.MapKeys() {
				m.SetMapIndex(k, f.MapIndex(k))
			}
			f.Set(m)
		}
	}
	return n.Interface()
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

type shower struct{ out *bytes.Buffer }

// table writes the plain keys first: in TOML what follows a [table] belongs to it.
func (s *shower) table(path string, v reflect.Value) {
	for f := range fields(v.Type()) {
		value := v.FieldByIndex(f.index)
		if isTable(f.kind) || f.name == "filters" || isMapOfTables(f.kind) {
			continue
		}
		fmt.Fprintf(s.out, "%s = %s\n", f.name, plain(value, f.secret))
	}
	for f := range fields(v.Type()) {
		if f.name != "filters" {
			s.tables(JoinKey(path, f.name), v.FieldByIndex(f.index))
		}
	}
}

// tables writes a value of one or more tables, and nothing of any other kind.
func (s *shower) tables(path string, v reflect.Value) {
	switch kind := v.Type(); {
	case isMapOfTables(kind):
		for _, key := range slices.Sorted(maps.Keys(keysOf(v))) {
			s.open("[%s]\n", JoinKey(path, key), v.MapIndex(reflect.ValueOf(key)))
		}
	case kind.Kind() == reflect.Slice && isTable(kind):
		for i := range v.Len() {
			s.open("[[%s]]\n", path, v.Index(i))
		}
	case isTable(kind):
		s.open("[%s]\n", path, v)
	}
}

func isMapOfTables(t reflect.Type) bool { return t.Kind() == reflect.Map && isTable(t.Elem()) }

func (s *shower) open(format, path string, v reflect.Value) {
	s.out.WriteByte('\n')
	fmt.Fprintf(s.out, format, path)
	s.table(path, v)
}

func keysOf(m reflect.Value) map[string]bool {
	keys := map[string]bool{}
	for _, k := range m.MapKeys() {
		keys[k.String()] = true
	}
	return keys
}

// plain writes a value that needs no table of its own.
func plain(v reflect.Value, secret bool) string {
	if secret {
		return quote(hidden(v.String()))
	}
	if t, ok := v.Interface().(encoding.TextMarshaler); ok {
		text := marshalled(t)
		if v.Kind() == reflect.Int8 { // a Switch
			return text
		}
		return quote(text)
	}
	switch v.Kind() {
	case reflect.Slice:
		parts := make([]string, v.Len())
		for i := range parts {
			parts[i] = plain(v.Index(i), false)
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case reflect.Map:
		var parts []string
		for _, key := range slices.Sorted(maps.Keys(keysOf(v))) {
			parts = append(parts, JoinKey("", key)+" = "+plain(v.MapIndex(reflect.ValueOf(key)), false))
		}
		return "{ " + strings.Join(parts, ", ") + " }"
	case reflect.String:
		return quote(v.String())
	case reflect.Bool:
		return strconv.FormatBool(v.Bool())
	}
	return fmt.Sprint(v.Interface())
}

// marshalled is a value's own text, or why it has none.
func marshalled(t encoding.TextMarshaler) string {
	text, err := t.MarshalText()
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// hidden takes the password out of a URL. What is no URL is hidden as a whole.
func hidden(s string) string {
	if s == "" || strings.HasPrefix(s, "sqlite:") {
		return s
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" {
		return "hidden"
	}
	if _, has := u.User.Password(); has {
		u.User = url.UserPassword(u.User.Username(), "hidden")
	}
	query := u.Query()
	for key := range query {
		if strings.Contains(strings.ToLower(key), "pass") {
			query.Set(key, "hidden")
		}
	}
	u.RawQuery = query.Encode()
	return u.String()
}
