// Package defaultrules is the set of content rules that ships with the gateway. They were written for it.
package defaultrules

import (
	"crypto/sha256"
	"embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"postern/rules"
)

//go:embed *.cf
var shipped embed.FS

// Folders are those that rules are read from besides the shipped ones.
type Folders struct {
	// Own is the admin's own, "" for none. SpamAssassin are those of an installation of that program, or of a set for it.
	Own          string
	SpamAssassin []string
	// Lookups says that rules that look names up are scored, and ask.
	Lookups bool
	// Maps are the names of those that rules may look values up in.
	Maps []string
}

// Loaded is a set, and what it was made of.
type Loaded struct {
	Set      *rules.Set
	Problems []rules.Problem
	// Sum stands for the files, the names that are taken and how they are read: as long as it is the same, so is the set.
	Sum [sha256.Size]byte
	// Included are the paths of files that others include.
	Included []string
}

// Load reads the shipped rules, behind them those of SpamAssassin's folders, and last, so that they can change all others,
// those of the admin's own. Rules with names that are taken are left out, or serve others only. Lines that can't be used are
// Problems; the error is that of a folder that can't be read.
func Load(from Folders, taken map[string]bool) (*rules.Set, []rules.Problem, error) {
	loaded, err := LoadAgain(from, taken, nil)
	if err != nil {
		return nil, nil, err
	}
	return loaded.Set, loaded.Problems, nil
}

// LoadAgain is Load for somebody who has a set: it is his that comes back if nothing it was made of has changed, because to
// compile thousands of rules takes a second.
func LoadAgain(from Folders, taken map[string]bool, before *Loaded) (*Loaded, error) {
	files, included, err := read(from)
	if err != nil {
		return nil, err
	}
	sum := sumOf(files, taken, from)
	if before != nil && before.Sum == sum {
		return before, nil
	}
	set, problems := rules.ParseWith(rules.Options{Taken: taken, Network: from.Lookups, Maps: from.Maps}, files...)
	return &Loaded{Set: set, Problems: problems, Sum: sum, Included: included}, nil
}

func sumOf(files []rules.File, taken map[string]bool, from Folders) (sum [sha256.Size]byte) {
	h := sha256.New()
	fmt.Fprintln(h, from.Lookups, from.Maps, taken) // maps are printed in the order of their keys
	for _, f := range files {
		fmt.Fprintf(h, "%s %v %d\n%s", f.Name, f.Foreign, len(f.Text), f.Text)
		for _, i := range f.Included {
			fmt.Fprintf(h, "%s %d\n%s", i.Path, len(i.Text), i.Text)
		}
	}
	h.Sum(sum[:0])
	return sum
}

// read gives the files, and the paths of those that they include.
func read(from Folders) (files []rules.File, included []string, err error) {
	if files, err = rules.ReadFiles(shipped); err != nil {
		return nil, nil, fmt.Errorf("read the shipped rules: %w", err)
	}
	foreign, err := rules.ReadFolders(from.SpamAssassin...)
	if err != nil {
		return nil, nil, err
	}
	for _, f := range foreign {
		for _, dir := range from.SpamAssassin { // the file's own among them
			included = appendPaths(included, dir, f)
		}
	}
	files = append(files, foreign...)
	if from.Own == "" {
		return files, included, nil
	}
	own, err := rules.ReadFiles(os.DirFS(from.Own))
	if _, missing := os.Stat(from.Own); missing != nil {
		err = missing
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read the folder of rules: %w", err)
	}
	for _, f := range own {
		included = appendPaths(included, from.Own, f)
	}
	return append(files, own...), included, nil
}

func appendPaths(paths []string, dir string, f rules.File) []string {
	for _, i := range f.Included {
		paths = append(paths, filepath.Join(dir, i.Path))
	}
	return paths
}

// Look tells the state of the folders in a few words, without reading a file: the names of their rule files, with size and
// time, and the same of included ones. It changes when they do, and may change when they don't.
func Look(from Folders, included []string) string {
	var b strings.Builder
	for _, name := range included {
		if info, err := os.Stat(name); err == nil {
			fmt.Fprintln(&b, name, info.Size(), info.ModTime().UnixNano())
		}
	}
	for _, dir := range append([]string{from.Own}, from.SpamAssassin...) {
		if dir == "" {
			continue
		}
		for _, pattern := range []string{"*.pre", "*.cf"} {
			names, _ := filepath.Glob(filepath.Join(dir, pattern)) // the pattern is good
			for _, name := range names {
				if info, err := os.Stat(name); err == nil {
					fmt.Fprintln(&b, name, info.Size(), info.ModTime().UnixNano())
				}
			}
		}
		if _, err := os.Stat(dir); err != nil {
			fmt.Fprintln(&b, dir, "is not there")
		}
	}
	return b.String()
}
