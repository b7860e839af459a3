package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"time"

	"postern/filters/all"
	"postern/internal/config"
	"postern/policy"
	"postern/policy/records/lists"
	"postern/policy/records/quarantine"
	"postern/policy/replay"
	"postern/proxy/console/api"
)

// PolicyStore is where versions and trials of the policy are.
func PolicyStore(cfg *config.Config) string { return cfg.Store("policy.db") }

// CompilePolicy makes the policy of a text, as a gateway with this configuration would. The name is for problems.
func CompilePolicy(cfg *config.Config, name string, text []byte, more ...policy.ListEntry) (*policy.Policy, error) {
	set, _, err := LoadRules(cfg)
	if err != nil {
		return nil, err
	}
	tables, err := ReadMaps(cfg)
	if err != nil {
		return nil, err
	}
	return compilePolicy(cfg, tables, Symbols(all.Specs(set)), name, text, nil, more...)
}

// Scored makes the policy of a text again and again, each time with other scores for some symbols.
func Scored(cfg *config.Config, name string, text []byte) (func(scores map[string]float64) (*policy.Policy, error), error) {
	set, _, err := LoadRules(cfg)
	if err != nil {
		return nil, err
	}
	tables, err := ReadMaps(cfg)
	if err != nil {
		return nil, err
	}
	symbols := Symbols(all.Specs(set))
	return func(scores map[string]float64) (*policy.Policy, error) {
		settings := policy.Default()
		if len(text) > 0 {
			var problems []config.Problem
			if settings, problems = policy.Parse(name, text); len(problems) > 0 {
				return nil, config.Problems(problems)
			}
		}
		settings.Disclose, settings.Maps = cfg.SMTP.Disclose, tables
		if settings.Scores == nil {
			settings.Scores = map[string]float64{}
		}
		maps.Copy(settings.Scores, scores)
		p, problems := policy.Compile(settings, symbols)
		if len(problems) > 0 {
			return nil, config.Problems(problems)
		}
		return p, nil
	}, nil
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

// Errors of Policies.
var (
	ErrNoPolicyFile = fmt.Errorf("%w: no policy file is named: add [policy] with file = \"policy.toml\" to postern.toml first", api.ErrNotNow)
	ErrPolicyFile   = fmt.Errorf("%w: the policy's file can't be written", api.ErrNotNow)
)

// Policies manages the versions and trials of the policy, for the command line and the JSON interface.
type Policies struct {
	Config     *config.Config
	Versions   *replay.Versions
	Ledger     replay.Source
	Quarantine *quarantine.Quarantine // nil where it is not known what users released
	Lists      *lists.Store           // nil for none
	Now        func() time.Time
	// Reload makes the running gateway reload.
	Reload func() error
}

// verbs are those of the JSON interface.
func (p *Policies) verbs() api.Policies {
	return api.Policies{
		Current: func() (string, string, error) {
			text, err := PolicyText(p.Config)
			if err != nil {
				return "", "", err
			}
			compiled, err := CompilePolicy(p.Config, p.Config.PolicyFile(), text)
			if err != nil {
				return "", "", err
			}
			return compiled.Version(), string(text), nil
		},
		Plan: func(ctx context.Context, text string, since time.Time, flips int) (replay.Report, error) {
			return p.Replay(ctx, "draft", text, replay.Options{Since: since, Flips: flips})
		},
		Apply: func(ctx context.Context, by, text, note string) (string, error) {
			draft, err := CompilePolicy(p.Config, "draft", []byte(text))
			if err != nil {
				return "", err
			}
			return draft.Version(), p.Apply(ctx, draft.Version(), text, by, note)
		},
		Rollback: p.Rollback, Versions: p.Versions, Try: p.Try, Trial: p.trial, End: p.End,
	}
}

// Replay judges the stored mail by a draft, with the lists that are in force beside it. The name is for problems.
func (p *Policies) Replay(ctx context.Context, name, text string, o replay.Options) (replay.Report, error) {
	var entries []policy.ListEntry
	if p.Lists != nil {
		all, err := p.Lists.All(ctx)
		if err != nil {
			return replay.Report{}, err
		}
		entries = lists.Deciding(all)
	}
	draft, err := CompilePolicy(p.Config, name, []byte(text), entries...)
	if err != nil {
		return replay.Report{}, err
	}
	o.Released = p.released(ctx)
	return replay.Rescore(ctx, p.Ledger, draft, o)
}

// maxReleased bounds how many releases a replay knows of.
const maxReleased = 100_000

// released reports which held messages were released.
func (p *Policies) released(ctx context.Context) func(string) bool {
	if p.Quarantine == nil {
		return nil
	}
	items, err := p.Quarantine.List(ctx, quarantine.Filter{State: quarantine.Released, Category: quarantine.AnyCategory, Limit: maxReleased})
	if err != nil {
		return nil
	}
	known := map[string]bool{}
	for _, i := range items {
		known[i.ID] = true
	}
	return func(id string) bool { return known[id] }
}

// Apply writes the policy's file and keeps both versions. The error is api.ErrNotTold if only the reload failed.
func (p *Policies) Apply(ctx context.Context, version, text, by, note string) error {
	file := p.Config.PolicyFile()
	if file == "" {
		return ErrNoPolicyFile
	}
	old, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if before, err := CompilePolicy(p.Config, file, old); err == nil { // a broken one is not kept
		if err := p.Versions.Add(ctx, replay.Version{Version: before.Version(), Text: string(old), Applied: p.Now(), By: by, Note: "as it was found"}); err != nil {
			return err
		}
	}
	if err := replaceFile(file, text); errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("%w: %w", ErrPolicyFile, err)
	} else if err != nil {
		return err
	}
	if err := p.Versions.Add(ctx, replay.Version{Version: version, Text: text, Applied: p.Now(), By: by, Note: note}); err != nil {
		return err
	}
	return p.tell()
}

func (p *Policies) tell() error {
	if err := p.Reload(); err != nil {
		return fmt.Errorf("%w (%w)", api.ErrNotTold, err)
	}
	return nil
}

// Rollback brings a version back, the one before the last if none is named, and gives its name.
func (p *Policies) Rollback(ctx context.Context, by, to string) (string, error) {
	back, err := p.Versions.Back(ctx, 1)
	if to != "" {
		back, err = p.Versions.Get(ctx, to)
	}
	if err != nil {
		return "", err
	}
	compiled, err := CompilePolicy(p.Config, "version "+back.Version, []byte(back.Text))
	if err != nil {
		return "", err
	}
	return compiled.Version(), p.Apply(ctx, compiled.Version(), back.Text, by, fmt.Sprintf("back to %d", back.N))
}

// Try begins a trial: of a draft that is only watched if the share is 0.
func (p *Policies) Try(ctx context.Context, by, text string, share int) (string, error) {
	draft, err := CompilePolicy(p.Config, "draft", []byte(text))
	if err != nil {
		return "", err
	}
	if err := p.Versions.Try(ctx, replay.Trial{Text: text, Since: p.Now(), By: by, Share: share}); err != nil {
		return "", err
	}
	if share == 0 {
		return draft.Version(), nil
	}
	return draft.Version(), p.tell()
}

// End ends the trial. The error is replay.ErrNoVersion if there is none.
func (p *Policies) End(ctx context.Context) error {
	if _, ok, err := p.Versions.Trial(ctx); err != nil || !ok {
		return errors.Join(err, replay.ErrNoVersion)
	}
	if err := p.Versions.End(ctx); err != nil {
		return err
	}
	return p.tell()
}

func (p *Policies) trial(ctx context.Context) (*api.TrialReport, error) {
	t, ok, err := p.Versions.Trial(ctx)
	if err != nil || !ok {
		return nil, err
	}
	draft, err := CompilePolicy(p.Config, "draft", []byte(t.Text))
	if err != nil {
		return nil, err
	}
	report, err := p.Replay(ctx, "draft", t.Text, replay.Options{Since: t.Since, Flips: 50})
	return &api.TrialReport{Trial: t, Version: draft.Version(), Report: report}, err
}

// replaceFile writes a file whole or not at all, with the rights it had.
func replaceFile(file, text string) error {
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	temp, err := os.CreateTemp(filepath.Dir(file), ".policy-*")
	if err != nil {
		return err
	}
	_, err = io.WriteString(temp, text)
	err = errors.Join(err, temp.Chmod(info.Mode().Perm()), temp.Sync(), temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), file)
	}
	if err != nil {
		_ = os.Remove(temp.Name()) // the error that counts is given
	}
	return err
}
