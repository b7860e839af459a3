package config

import (
	"bytes"
	"strings"
	"testing"
)

// What is a secret in a filter's section is not shown.
func TestShowHidesTheKeysOfFilters(t *testing.T) {
	c, err := Parse("postern.toml", []byte("[filters.lists]\ndqs_key = \"s3cret\"\n[[filters.lists.list]]\nzone = \"bl.example\"\nlist_key = \"s3cret\"\nkey = \"client\"\n"))
	if err != nil {
		t.Fatal(err)
	}
	type list struct {
		Zone string `toml:"zone"`
		Key  string `toml:"list_key"`
		Not  string `toml:"key"`
	}
	settings := &struct {
		Key   string `toml:"dqs_key"`
		Empty string `toml:"other_key"`
		Lists []list `toml:"list"`
	}{}
	var shown bytes.Buffer
	if err := c.Show(&shown, []Known{{Name: "lists", Help: "x", Settings: settings}}); err != nil {
		t.Fatal(err)
	}
	if text := shown.String(); strings.Contains(text, "s3cret") || strings.Count(text, "key = 'hidden'") != 2 || !strings.Contains(text, "key = 'client'") || !strings.Contains(text, "other_key = ''") {
		t.Error(text)
	}
}
