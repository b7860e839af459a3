// Package config reads postern.toml: how the server runs. What happens to mail stands in policy.toml, package policy.
package config

import "github.com/pelletier/go-toml/v2"

// Section is one table of a configuration file whose keys its owner knows: a filter's, for one.
type Section struct {
	path   string
	values map[string]any
	file   string
	lines  Lines
}

// NewSection makes a section; path names it in errors, as in "filters.spf".
func NewSection(path string, values map[string]any) Section {
	return Section{path: path, values: values}
}

// Decode reads the section over the defaults that stand in into, a pointer to a struct. Unknown keys and wrong types
// are errors that name the key and, where the section is from a file, its line.
func (s Section) Decode(into any) error { return s.problems(into).asError() }

func (s Section) problems(into any) Problems {
	if len(s.values) == 0 {
		return nil
	}
	text, err := toml.Marshal(s.values)
	if err != nil {
		return Problems{{File: s.file, Line: s.lines.Line(s.path), Key: s.path, Text: err.Error()}}
	}
	// the lines of that text are not those of the file: each is looked up anew
	found := Strict(s.file, text, into)
	for i := range found {
		key := s.path
		if found[i].Key != "" {
			key += "." + found[i].Key
		}
		found[i].Key, found[i].Line = key, s.lines.Line(key)
	}
	return found
}
