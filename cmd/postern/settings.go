package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"postern/cmd/postern/app"
	"postern/internal/config"
)

// defaultFiles are where a configuration is looked for when none is named.
func defaultFiles() []string { return []string{"postern.toml", "/etc/postern/postern.toml"} }

// where is the flag of all commands that need the configuration.
type where struct {
	Config string `short:"c" placeholder:"FILE" help:"Configuration file (default: postern.toml here, then /etc/postern/postern.toml)."`
}

// load reads and checks the configuration.
func (f where) load() (*config.Config, error) {
	cfg, err := f.read()
	if err != nil {
		return nil, err
	}
	if problems := cfg.Check(app.KnownFilters()); len(problems) > 0 {
		return nil, usageError{problems}
	}
	return cfg, nil
}

// errNoFile says that no configuration is named, and none is where one is looked for.
var errNoFile = fmt.Errorf("no configuration: name one with -c FILE, put one at %s, or start with\n  postern serve --domain example.com --next-hop exchange.internal:25", defaultFiles()[1])

// offline is the configuration of commands that work without a gateway: the built-in one where there is no file. Of a
// file only what such a command uses has to be right.
func (f where) offline() (*config.Config, error) {
	cfg, err := f.read()
	if errors.Is(err, errNoFile) {
		return config.Default(), nil
	}
	if err != nil {
		return nil, err
	}
	problems := slices.DeleteFunc(cfg.Check(app.KnownFilters()), func(p config.Problem) bool {
		section, _, _ := strings.Cut(p.Key, ".")
		return !slices.Contains([]string{"filters", "policy", "rules", "maps", "dns"}, section)
	})
	if len(problems) > 0 {
		return nil, usageError{problems}
	}
	return cfg, nil
}

// read reads the configuration without checking whether it can work.
func (f where) read() (*config.Config, error) {
	file := f.Config
	for _, name := range defaultFiles() {
		if file == "" {
			if _, err := os.Stat(name); err == nil {
				file = name
			}
		}
	}
	if _, err := os.Stat(config.FlagsDataDir); file == "" && err == nil { // a gateway without a file was started here
		cfg := config.Default()
		cfg.DataDir = config.FlagsDataDir
		return cfg, nil
	}
	if file == "" {
		return nil, usageError{errNoFile}
	}
	cfg, err := config.Load(file)
	if err != nil {
		return nil, usageError{err}
	}
	return cfg, nil
}

type configCommand struct {
	Check configCheckCommand `cmd:"" help:"Report errors, with line and remedy."`
	Show  configShowCommand  `cmd:"" help:"Print the configuration in effect, secrets hidden."`
}

type configCheckCommand struct {
	where
	output
}

// Run checks; problems are the answer no with exit code 2, as scripts expect.
func (c *configCheckCommand) Run(w world) error {
	cfg, err := c.check()
	report := checkedConfig{OK: err == nil, Problems: []problemJSON{}}
	var problems config.Problems
	switch {
	case errors.As(err, &problems):
		report.Problems = problemsJSON(problems)
	case err != nil:
		report.Problems = append(report.Problems, problemJSON{Text: err.Error()})
	}
	if cfg != nil {
		report.File, report.Hint = cfg.File(), cmp.Or(hintMaps(cfg), hintRules(cfg))
	}
	switch {
	case c.JSON:
		return errors.Join(printJSON(w, report), err)
	case err != nil:
		return err
	}
	if report.Hint != "" {
		report.Hint = "hint: " + report.Hint + "\n"
	}
	_, err = fmt.Fprintf(w.stdout, "%s: ok\n%s", cfg.File(), report.Hint)
	return err
}

func (c *configCheckCommand) check() (*config.Config, error) {
	cfg, err := c.load()
	if err != nil {
		return nil, err
	}
	judge, err := app.NewPipeline(cfg, app.Outside{})
	if err != nil {
		return cfg, usageError{err}
	}
	var clashes []error
	for _, p := range judge.Problems {
		if p.Taken {
			clashes = append(clashes, errors.New(p.String()))
		}
	}
	if len(clashes) > 0 {
		return cfg, usageError{errors.Join(clashes...)}
	}
	return cfg, nil
}

// checkedConfig is what config check found, as JSON.
type checkedConfig struct {
	OK       bool          `json:"ok"`
	File     string        `json:"file,omitempty"`
	Problems []problemJSON `json:"problems"`
	// Hint is something that could be done, and need not.
	Hint string `json:"hint,omitempty"`
}

// problemJSON is something wrong in a file of settings. Line is 0 where something is missing.
type problemJSON struct {
	File   string `json:"file,omitempty"`
	Line   int    `json:"line,omitempty"`
	Key    string `json:"key,omitempty"`
	Text   string `json:"text"`
	Remedy string `json:"remedy,omitempty"`
}

func problemsJSON(list []config.Problem) []problemJSON {
	all := []problemJSON{}
	for _, p := range list {
		all = append(all, problemJSON(p))
	}
	return all
}

type configShowCommand struct {
	quick
	output
}

// Run prints the configuration.
func (c *configShowCommand) Run(w world) error {
	cfg, err := c.read()
	if c.Domain != "" || c.NextHop != "" {
		cfg, err = c.configuration()
	} else if errors.Is(err, errNoFile) {
		cfg, err = config.Default(), nil
	}
	if err != nil {
		return err
	}
	var text bytes.Buffer
	if err := cfg.Show(&text, app.KnownFilters()); err != nil {
		return err
	}
	settings := map[string]any{}
	if err := toml.Unmarshal(text.Bytes(), &settings); err != nil {
		return err
	}
	return c.tell(w, settings, text.String())
}
