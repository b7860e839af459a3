package rules

import (
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// How files may include others. What is beyond is a Problem of the line.
const (
	maxIncluded = 200 // by one file, those that these include too
	maxIncludes = 8   // one within the other
)

// Included is a file that another one includes, by its path from the folder of rules.
type Included struct{ Path, Text string }

// included reads what a file of a folder includes, and what that includes. Whatever can't be read is left to the line that
// asks for it.
func included(dir fs.FS, from, text string) []Included {
	var all []Included
	seen := map[string]bool{from: true}
	var read func(from, text string, depth int)
	read = func(from, text string, depth int) {
		for line := range strings.Lines(text) {
			name, ok := includeLine(line)
			if !ok || depth >= maxIncludes || len(all) >= maxIncluded {
				continue
			}
			to, ok := includePath(from, name)
			if !ok || seen[to] {
				continue
			}
			seen[to] = true
			content, err := fs.ReadFile(dir, to)
			if err != nil {
				continue
			}
			all = append(all, Included{to, string(content)})
			read(to, string(content), depth+1)
		}
	}
	read(from, text, 0)
	return all
}

// includeLine is the name in a line "include NAME".
func includeLine(line string) (name string, ok bool) {
	word, rest := cut(strings.TrimSpace(stripComment(line)))
	return strings.TrimSpace(rest), strings.EqualFold(word, "include") && rest != ""
}

// includePath is the path of what a file includes, relative to that file; not ok for one outside of the folder of rules.
func includePath(from, name string) (string, bool) {
	if path.IsAbs(name) {
		return "", false
	}
	to := path.Join(path.Dir(from), name)
	return to, fs.ValidPath(to) && to != "."
}

// include reads a file at the place of its include line, and gives the reason why it can't.
func (p *parser) include(name string) string {
	to, ok := includePath(p.file.Name, name)
	if !ok {
		return "include: a file outside of the folder of rules is not read; put it into the folder"
	}
	for _, open := range append(p.including, p.file.Name) {
		if open == to {
			return "include: the file includes itself"
		}
	}
	if len(p.including) >= maxIncludes {
		return fmt.Sprintf("include: more than %d files within one another", maxIncludes)
	}
	for _, i := range p.file.Included {
		if i.Path != to {
			continue
		}
		outer, line, blocks := p.file, p.line, p.blocks
		p.including = append(p.including, outer.Name)
		p.readFile(File{Name: to, Text: i.Text, Foreign: outer.Foreign, Included: outer.Included})
		p.including = p.including[:len(p.including)-1]
		p.file, p.line, p.blocks = outer, line, blocks
		return ""
	}
	return fmt.Sprintf("include: %s can't be read, or is one of more than %d", to, maxIncluded)
}
