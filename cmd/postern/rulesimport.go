package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"postern/internal/config"
	"postern/rules"
)

type rulesImportCommand struct {
	where
	output
	Root    string   `hidden:"" default:"/" help:"Where the folders are looked for."`
	Folders []string `arg:"" optional:"" name:"folder" help:"Folders besides those where packages and sa-update put rules, such as one with KAM's."`
}

// foundRules is a folder of rules for SpamAssassin.
type foundRules struct {
	Folder string `json:"folder"`
	Files  int    `json:"files"`
	Rules  int    `json:"rules"`
	// Named says that the settings name it already.
	Named bool `json:"named"`
}

type importReport struct {
	Found []foundRules `json:"found"`
	// Setting is what postern.toml is to say, "" if it says so already.
	Setting string `json:"setting"`
}

// Run looks for the rules of a SpamAssassin that is installed, and prints the setting that reads them where they are.
func (c *rulesImportCommand) Run(w world) error {
	cfg, err := c.offline()
	if err != nil {
		return err
	}
	for _, folder := range c.Folders {
		if files, err := rules.ReadFolders(folder); err != nil || len(files) == 0 {
			return usageError{errors.Join(fmt.Errorf("%s: no folder with rules", folder), err)}
		}
	}
	report := importReport{Found: findRules(c.Root, c.Folders, cfg.Rules.SpamAssassin)}
	report.Setting = settingFor(report.Found)
	var text strings.Builder
	for _, f := range report.Found {
		named := ""
		if f.Named {
			named = ", in use"
		}
		fmt.Fprintf(&text, "%s: %d files, %d rules%s\n", f.Folder, f.Files, f.Rules, named)
	}
	switch {
	case len(report.Found) == 0:
		text.WriteString("no rules of SpamAssassin are installed here\n")
	case report.Setting == "":
		text.WriteString("all of them are in use\n")
	default:
		fmt.Fprintf(&text, "\nTo use them where they are, put this into postern.toml (no file is copied), then ask postern rules lint:\n\n[rules]\n%s\n", report.Setting)
	}
	return c.tell(w, report, text.String())
}

// findRules looks where packages and sa-update put rules: the stock set (that of sa-update where there is one), then those
// that the settings and the caller name, then those of the site, which may change all others.
func findRules(root string, more, named []string) []foundRules {
	updated, _ := filepath.Glob(filepath.Join(root, "var/lib/spamassassin/[0-9]*/updates_spamassassin_org")) // the pattern is good
	var folders []string
	if len(updated) > 0 {
		slices.Sort(updated)
		newest := updated[len(updated)-1]
		folders = append(folders, newest)
		channels, _ := filepath.Glob(filepath.Join(filepath.Dir(newest), "*"))
		for _, f := range channels { // other channels, such as KAM's
			if f != newest {
				folders = append(folders, f)
			}
		}
	} else {
		folders = append(folders, filepath.Join(root, "usr/share/spamassassin"))
	}
	var site []string
	for _, f := range []string{"etc/mail/spamassassin", "etc/spamassassin", "usr/local/etc/mail/spamassassin"} {
		site = append(site, filepath.Join(root, f))
	}
	for _, f := range slices.Concat(named, more) {
		if !linked(site, f) {
			folders = append(folders, f)
		}
	}
	folders = append(folders, site...)
	found := []foundRules{}
	seen := map[string]bool{}
	for _, folder := range folders {
		real, err := filepath.EvalSymlinks(folder) // one is often a link to another
		if err != nil || seen[real] {
			continue
		}
		seen[real] = true
		files, err := rules.ReadFolders(folder)
		if err != nil || len(files) == 0 {
			continue
		}
		set, _ := rules.ParseWith(rules.Options{}, files...)
		found = append(found, foundRules{Folder: folder, Files: len(files), Rules: set.Len(), Named: names(named, real)})
	}
	return found
}

// linked says whether one of some folders is this one, by whichever name.
func linked(folders []string, folder string) bool {
	real, err := filepath.EvalSymlinks(folder)
	return err == nil && names(folders, real)
}

func names(named []string, folder string) bool {
	return slices.ContainsFunc(named, func(one string) bool {
		real, err := filepath.EvalSymlinks(one)
		return err == nil && real == folder
	})
}

func settingFor(found []foundRules) string {
	var quoted []string
	missing := false
	for _, f := range found {
		quoted = append(quoted, strconv.Quote(f.Folder))
		missing = missing || !f.Named
	}
	if !missing {
		return ""
	}
	return "spamassassin = [" + strings.Join(quoted, ", ") + "]"
}

// hintRules says that rules lie unused, "" if there is nothing to say.
func hintRules(cfg *config.Config) string {
	if len(cfg.Rules.SpamAssassin) > 0 {
		return ""
	}
	for _, folder := range []string{"/usr/share/spamassassin", "/var/lib/spamassassin"} {
		if _, err := os.Stat(folder); err == nil {
			return "rules of SpamAssassin are installed and not used: postern rules import prints the setting"
		}
	}
	return ""
}
