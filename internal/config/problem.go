package config

import (
	"fmt"
	"strings"
)

// Problem is one thing that is wrong in a configuration file, and what can be done about it.
type Problem struct {
	File string
	// Line is 0 where what is wrong is that something is missing.
	Line int
	// Key is the dotted key, as it would be written in TOML.
	Key string
	// Text says what is wrong, Remedy what to do; neither ends in a full stop.
	Text, Remedy string
}

// String is the problem on one line: where, what, remedy.
func (p Problem) String() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File)
		if p.Line > 0 {
			fmt.Fprintf(&b, ":%d", p.Line)
		}
		b.WriteString(": ")
	}
	if p.Key != "" {
		b.WriteString(p.Key + ": ")
	}
	b.WriteString(p.Text)
	if p.Remedy != "" {
		b.WriteString("; " + p.Remedy)
	}
	return b.String()
}

// Problems are an error: one line each.
type Problems []Problem

func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i := range p {
		lines[i] = p[i].String()
	}
	return strings.Join(lines, "\n")
}

// asError keeps an empty list from becoming an error that is not nil.
func (p Problems) asError() error {
	if len(p) == 0 {
		return nil
	}
	return p
}
