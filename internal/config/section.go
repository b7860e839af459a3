// Package config reads postern.toml: how the server runs. What happens to mail stands in policy.toml, package policy.
package config

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// Section is one table of a configuration file whose keys its owner knows: a filter's, for one.
type Section struct {
	path   string
	values map[string]any
}

// NewSection makes a section; path names it in errors, as in "filters.spf".
func NewSection(path string, values map[string]any) Section { return Section{path, values} }

// Decode reads the section over the defaults that stand in into. Unknown keys and wrong types are errors that name the
// key.
func (s Section) Decode(into any) error {
	if len(s.values) == 0 {
		return nil
	}
	text, err := toml.Marshal(s.values)
	if err != nil {
		return fmt.Errorf("[%s]: %w", s.path, err)
	}
	d := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields()
	err = d.Decode(into)
	var strict *toml.StrictMissingError
	if errors.As(err, &strict) {
		var keys []string
		for _, e := range strict.Errors {
			keys = append(keys, strings.Join(e.Key(), "."))
		}
		return fmt.Errorf("[%s]: unknown key %s: take it away or mend its spelling; `postern config show` lists all keys", s.path, strings.Join(keys, ", "))
	}
	var decode *toml.DecodeError
	if errors.As(err, &decode) {
		return fmt.Errorf("[%s]: %s: %s", s.path, strings.Join(decode.Key(), "."), strings.TrimPrefix(decode.Error(), "toml: "))
	}
	if err != nil {
		return fmt.Errorf("[%s]: %w", s.path, err)
	}
	return nil
}
