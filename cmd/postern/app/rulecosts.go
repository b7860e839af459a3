package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"postern/internal/config"
	"postern/rules"
)

// costsKept is how often it is written down what content rules took.
const costsKept = time.Minute

func ruleCostsFile(cfg *config.Config) string { return filepath.Join(cfg.DataDir, "rule-costs.json") }

// keepRuleCosts writes down what content rules took since the start, for `postern rules stats`. Without it nothing is lost but
// that.
func (a *App) keepRuleCosts(context.Context) {
	if err := a.writeRuleCosts(); err != nil {
		a.out.Log.Warn("the costs of content rules can't be written", "error", err)
	}
}

func (a *App) writeRuleCosts() error {
	report := a.out.RuleCosts.Report()
	if report.Messages == 0 {
		return nil
	}
	report.Since = a.started
	text, err := json.Marshal(report)
	if err != nil {
		return err
	}
	file := ruleCostsFile(a.cfg)
	if err := os.WriteFile(file+".new", text, 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

// RuleCosts are those that a gateway with this configuration wrote down last; nothing is known where none has.
func RuleCosts(cfg *config.Config) (r rules.CostReport, err error) {
	text, err := os.ReadFile(ruleCostsFile(cfg))
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err != nil {
		return r, fmt.Errorf("read the costs of content rules: %w", err)
	}
	return r, nil
}
