package app

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"postern/internal/config"
	"postern/policy/records/quarantine"
)

// OpenQuarantine opens the held mail. It is sealed if the settings say so, or if refused mail is kept; items sealed
// earlier are opened in any case.
func OpenQuarantine(cfg *config.Config, log *slog.Logger, now func() time.Time, told func(quarantine.Change)) (*quarantine.Quarantine, error) {
	o := quarantine.Options{Log: log, Now: now, Told: told}
	file := filepath.Join(cfg.DataDir, "quarantine.key")
	_, err := os.Stat(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("quarantine: %w", err)
	}
	if err == nil || cfg.Quarantine.Seal || cfg.Quarantine.HoldRejected > 0 {
		key, err := quarantine.LoadKey(file)
		if err != nil {
			return nil, fmt.Errorf("quarantine: %w", err)
		}
		o.Keys = [][]byte{key}
	}
	return quarantine.OpenWith(filepath.Join(cfg.DataDir, "quarantine"), o)
}
