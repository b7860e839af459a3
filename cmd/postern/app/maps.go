package app

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"postern/internal/config"
	"postern/rules/mapfile"
)

// ReadMaps reads the maps of a configuration. Lines that can't be used are the maps' Problems; the error is that of a file
// that can't be read.
func ReadMaps(cfg *config.Config) (mapfile.Set, error) {
	var set mapfile.Set
	for _, name := range mapNames(cfg) {
		m, err := mapfile.Read(name, cfg.Maps[name].File, mapfile.Kind(cfg.Maps[name].Kind))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", config.JoinKey("maps", name), err)
		}
		if set == nil {
			set = mapfile.Set{}
		}
		set[name] = m
	}
	return set, nil
}

func mapNames(cfg *config.Config) []string { return slices.Sorted(maps.Keys(cfg.Maps)) }

// lookAtMaps tells the state of the maps' files in a few words, without reading one.
func lookAtMaps(cfg *config.Config) string {
	var b strings.Builder
	for _, name := range mapNames(cfg) {
		file := cfg.Maps[name].File
		info, err := os.Stat(file)
		if err != nil {
			fmt.Fprintln(&b, file, "is not there")
			continue
		}
		fmt.Fprintln(&b, file, info.Size(), info.ModTime().UnixNano())
	}
	return b.String()
}

// sayBadLines logs the lines of maps that can't be used, of maps that have changed since.
func (a *App) sayBadLines(j *Pipeline, before mapfile.Set) {
	for _, name := range slices.Sorted(maps.Keys(j.Maps)) {
		m := j.Maps[name]
		if same(m, before[name]) {
			continue
		}
		for _, p := range m.Problems() {
			a.out.Log.Warn("line of a map left out", "map", name, "problem", p.String())
		}
		if before[name] != nil {
			a.out.Log.Info("map in force", "map", name, "entries", len(m.Entries()))
		}
	}
}

func same(a, b *mapfile.Map) bool { return a != nil && b != nil && a.Sum() == b.Sum() }
