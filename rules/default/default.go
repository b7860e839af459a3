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

// Load reads the shipped rules and behind them, so that they can change the shipped ones, those of the admin's folder,
// "" for none. Rules with names that are taken are left out. Lines that can't be used are Problems; the error is that of a
// folder that can't be read.
func Load(dir string, taken map[string]bool) (*rules.Set, []rules.Problem, error) {
	files, err := rules.ReadFiles(shipped)
	if err != nil {
		return nil, nil, fmt.Errorf("read the shipped rules: %w", err)
	}
	if dir != "" {
		if _, err := os.Stat(dir); err != nil {
			return nil, nil, fmt.Errorf("read the folder of rules: %w", err)
		}
		own, err := rules.ReadFiles(os.DirFS(dir))
		if err != nil {
			return nil, nil, fmt.Errorf("read the folder of rules: %w", err)
		}
		files = append(files, own...)
	}
	set, problems := rules.ParseBeside(taken, files...)
	return set, problems, nil
}
