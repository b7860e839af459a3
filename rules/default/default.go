// Package defaultrules is the set of content rules that ships with the gateway. They were written for it.
package defaultrules

import (
	"embed"
	"fmt"
	"os"

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
}

// Load reads the shipped rules, behind them those of SpamAssassin's folders, and last, so that they can change all others,
// those of the admin's own. Rules with names that are taken are left out, or serve others only. Lines that can't be used are
// Problems; the error is that of a folder that can't be read.
func Load(from Folders, taken map[string]bool) (*rules.Set, []rules.Problem, error) {
	files, err := rules.ReadFiles(shipped)
	if err != nil {
		return nil, nil, fmt.Errorf("read the shipped rules: %w", err)
	}
	foreign, err := rules.ReadFolders(from.SpamAssassin...)
	if err != nil {
		return nil, nil, err
	}
	files = append(files, foreign...)
	if from.Own != "" {
		own, err := rules.ReadFiles(os.DirFS(from.Own))
		if _, missing := os.Stat(from.Own); missing != nil {
			err = missing
		}
		if err != nil {
			return nil, nil, fmt.Errorf("read the folder of rules: %w", err)
		}
		files = append(files, own...)
	}
	set, problems := rules.ParseWith(rules.Options{Taken: taken, Network: from.Lookups}, files...)
	return set, problems, nil
}
