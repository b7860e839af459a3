package house

import (
	"fmt"
	"os"
	"path/filepath"

	"postern/filters/all"
	"postern/internal/config"
	"postern/policy"
	defaultrules "postern/rules/default"
)

// PolicyStore is where versions and trials of the policy are: a file in data_dir, or the server that several gateways share.
func PolicyStore(cfg *config.Config) string {
	if cfg.SharedDatabase() {
		return cfg.Database.URL
	}
	return filepath.Join(cfg.DataDir, "policy.db")
}

// CompilePolicy makes the policy of a text, as a gateway with this configuration would. The name is for problems.
func CompilePolicy(cfg *config.Config, name string, text []byte, more ...policy.ListEntry) (*policy.Policy, error) {
	set, _, err := defaultrules.Load(cfg.Rules.Dir)
	if err != nil {
		return nil, err
	}
	return compilePolicy(cfg, Symbols(all.Specs(set)), name, text, nil, more...)
}

// PolicyText is the text of the policy in force, empty for the built-in one.
func PolicyText(cfg *config.Config) ([]byte, error) {
	file := cfg.PolicyFile()
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	return text, nil
}
