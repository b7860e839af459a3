// Package rules is the language of the content rules: SpamAssassin's .cf as a subset. A rule looks at header fields,
// text, links or the whole message with a regular expression, or combines other rules (meta).
//
// Expressions are Perl's as far as they can be matched in time linear in the text: look-around and back-references
// can't, and a rule that has them is refused with file and line. One bad line never takes a set down. Text is matched
// as octets, as Perl does it: "." is one octet, \w, \s, \b and the folding of /i know ASCII.
package rules

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// File is a file of rules.
type File struct{ Name, Text string }

// Problem is a line that was left out, and why.
type Problem struct {
	File string
	Line int
	Text string
	Why  string
	// Taken says that the rule bears a name that stands for something else already.
	Taken bool
}

// Set is a set of rules, ready to match. It is immutable and serves many messages at once.
type Set struct {
	rules  []*rule
	byName map[string]*rule
	// literals are what the expressions of one kind of rule need in their text.
	literals map[kind]*literals
}

// Symbol is what is known of a rule that reports.
type Symbol struct {
	Name     string
	Score    float64
	Describe string
	File     string
	Line     int
}

// Hit is a rule that matched.
type Hit struct {
	Rule string
	// Evidence is what it matched, "" for a rule that combines others. Count is how often.
	Evidence string
	Count    int
}

type kind int

const (
	kindHeader kind = iota
	kindBody
	kindRaw
	kindURI
	kindFull
	kindMeta
)

type rule struct {
	name     string
	kind     kind
	file     string
	line     int
	header   headerSpec
	negate   bool // !~
	pattern  *pattern
	meta     *expr
	score    float64
	scored   bool // a score line stands for it
	describe string
	nice     bool
	multiple bool
	maxHits  int
}

// hidden rules only serve metas.
func (r *rule) hidden() bool { return strings.HasPrefix(r.name, "__") }

// effective is the score: that of its line, else SpamAssassin's defaults.
func (r *rule) effective() float64 {
	switch {
	case r.hidden():
		return 0
	case r.scored:
		return r.score
	case strings.HasPrefix(r.name, "T_"):
		return 0.01
	case r.nice:
		return -1
	}
	return 1
}

// off says whether a score of 0 switches the rule off.
func (r *rule) off() bool { return !r.hidden() && r.effective() == 0 }

// Symbols lists the rules that can report, in file order.
func (s *Set) Symbols() []Symbol {
	var all []Symbol
	for _, r := range s.rules {
		if !r.hidden() && !r.off() {
			all = append(all, Symbol{r.name, r.effective(), r.describe, r.file, r.line})
		}
	}
	return all
}

// Len is the number of rules, hidden ones included.
func (s *Set) Len() int { return len(s.rules) }

// ReadFiles reads all .cf files of a folder, in the order of their names.
func ReadFiles(dir fs.FS) ([]File, error) {
	names, err := fs.Glob(dir, "*.cf")
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	var files []File
	for _, n := range names {
		text, err := fs.ReadFile(dir, n)
		if err != nil {
			return nil, err
		}
		files = append(files, File{path.Base(n), string(text)})
	}
	return files, nil
}

// String is the problem as one line: file, line, reason.
func (p Problem) String() string {
	return fmt.Sprintf("%s:%d: %s: %s", p.File, p.Line, p.Text, p.Why)
}
