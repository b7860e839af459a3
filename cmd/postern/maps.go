package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"postern/cmd/postern/app"
	"postern/internal/config"
	"postern/policy/records/ledger"
	"postern/rules/mapfile"
	"postern/rules/perlre"
)

type mapsCommand struct {
	List mapsListCommand `cmd:"" help:"Entries with owner, expiry and comment, and the lines that can't be used."`
	Test mapsTestCommand `cmd:"" help:"Say which entry of a map fits a value."`
}

// readMaps reads the maps of the settings, or the one of a name.
func readMaps(f where, only string) (mapfile.Set, error) {
	cfg, err := f.offline()
	if err != nil {
		return nil, err
	}
	set, err := app.ReadMaps(cfg)
	if err != nil {
		return nil, err
	}
	if only == "" {
		return set, nil
	}
	if set[only] == nil {
		return nil, usageError{fmt.Errorf("there is no map %q: postern.toml names none with [%s]", only, config.JoinKey("maps", only))}
	}
	return mapfile.Set{only: set[only]}, nil
}

type mapsListCommand struct {
	where
	output
	Name string `arg:"" optional:"" help:"Only this map."`
}

// mapJSON is a map as JSON.
type mapJSON struct {
	Name     string            `json:"name"`
	File     string            `json:"file"`
	Kind     string            `json:"kind,omitempty"`
	Entries  []mapEntryJSON    `json:"entries"`
	Problems []mapfile.Problem `json:"problems"`
}

type mapEntryJSON struct {
	mapfile.Entry
	Expired bool `json:"expired,omitempty"`
}

// Run lists; lines that can't be used are the answer no.
func (c *mapsListCommand) Run(w world) error {
	set, err := readMaps(c.where, c.Name)
	if err != nil {
		return err
	}
	bad := false
	for _, name := range slices.Sorted(maps.Keys(set)) {
		m := describeMap(set[name])
		bad = bad || len(m.Problems) > 0
		if err := c.tell(w, m, m.text()); err != nil {
			return err
		}
	}
	if bad {
		return errNo
	}
	return nil
}

func describeMap(m *mapfile.Map) mapJSON {
	day := today()
	d := mapJSON{Name: m.Name(), File: m.File(), Kind: string(m.Kind()), Entries: []mapEntryJSON{}, Problems: append([]mapfile.Problem{}, m.Problems()...)}
	for _, e := range m.Entries() {
		d.Entries = append(d.Entries, mapEntryJSON{e, e.Expired(day)})
	}
	return d
}

func today() string { return time.Now().UTC().Format(time.DateOnly) }

func (m mapJSON) text() string {
	var text strings.Builder
	fmt.Fprintf(&text, "%s: %d entries in %s\n", m.Name, len(m.Entries), m.File)
	for _, e := range m.Entries {
		fmt.Fprintf(&text, "  %4d  %-8s %s%s\n", e.Line, e.Kind, ledger.Printable(e.Text), ledger.Printable(notesOf(e.Entry, e.Expired)))
	}
	for _, p := range m.Problems {
		fmt.Fprintf(&text, "%s\n", ledger.Printable(p.String()))
	}
	return text.String()
}

func notesOf(e mapfile.Entry, expired bool) string {
	var notes strings.Builder
	switch {
	case expired:
		notes.WriteString("  EXPIRED " + e.Expires)
	case e.Expires != "":
		notes.WriteString("  until " + e.Expires)
	}
	if e.Owner != "" {
		notes.WriteString("  by " + e.Owner)
	}
	if e.Comment != "" {
		notes.WriteString("  " + e.Comment)
	}
	return notes.String()
}

type mapsTestCommand struct {
	where
	output
	Name   string   `arg:"" help:"The map, as postern.toml calls it."`
	Values []string `arg:"" name:"value" help:"An address, a domain, a network address or a text."`
}

// mapAnswer is what a map says of a value, as JSON.
type mapAnswer struct {
	Value string         `json:"value"`
	Fits  bool           `json:"fits"`
	Entry *mapfile.Entry `json:"entry,omitempty"`
	// TooLong says that an expression was given up, so that nobody knows.
	TooLong bool `json:"too_long,omitempty"`
}

// Run looks each value up; it is the answer no unless all fit.
func (c *mapsTestCommand) Run(w world) error {
	set, err := readMaps(c.where, c.Name)
	if err != nil {
		return err
	}
	m, all := set[c.Name], true
	for _, value := range c.Values {
		budget := perlre.NewBudget(mapfile.Steps)
		e, ok := m.Find(value, today(), budget)
		answer := mapAnswer{Value: value, Fits: ok, TooLong: !ok && budget.Exhausted()}
		text := "no entry fits"
		switch {
		case ok:
			answer.Entry = &e
			text = fmt.Sprintf("line %d: %s%s", e.Line, e.Text, notesOf(e, false))
		case answer.TooLong:
			text = "an expression takes too long"
		}
		all = all && ok
		if err := c.tell(w, answer, fmt.Sprintf("%s: %s\n", ledger.Printable(value), ledger.Printable(text))); err != nil {
			return err
		}
	}
	if !all {
		return errNo
	}
	return nil
}

// hintMaps says that lines of maps can't be used, "" if there is nothing to say.
func hintMaps(cfg *config.Config) string {
	set, err := app.ReadMaps(cfg)
	if err != nil {
		return ""
	}
	n := 0
	for _, m := range set {
		n += len(m.Problems())
	}
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%d lines of maps can't be used: postern maps list names them", n)
}
