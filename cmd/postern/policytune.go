package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"postern/cmd/postern/app"
	"postern/internal/config"
	"postern/internal/mail"
	"postern/policy/records/ledger"
	"postern/policy/replay"
)

type policyTuneCommand struct {
	where
	output
	Wanted   []string        `placeholder:"ID" help:"Messages that should have been let in."`
	Unwanted []string        `placeholder:"ID" help:"Messages that should have been held or refused."`
	Since    config.Duration `default:"30d" help:"How far back a proposal is tested against other mail."`
}

// Run looks for the least change of scores that puts the messages right, and tells what else it would flip.
func (c *policyTuneCommand) Run(w world) (err error) {
	p, err := openPolicies(c.where)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.versions.Close()) }()
	flush(p.cfg)
	l, err := app.ReadLedger(p.cfg, quiet())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	var marks []replay.Mark
	for i, ids := range [][]string{c.Wanted, c.Unwanted} {
		for _, id := range ids {
			one, err := marksOf(w, l, id, i == 0)
			if err != nil {
				return err
			}
			marks = append(marks, one...)
		}
	}
	if len(marks) == 0 {
		return usageError{errors.New("name messages: --wanted ID for those that should have come in, --unwanted ID for those that should not")}
	}
	text, err := app.PolicyText(p.cfg)
	if err != nil {
		return err
	}
	compile, err := app.Scored(p.cfg, p.cfg.PolicyFile(), text)
	if err != nil {
		return err
	}
	bar := newProgress(w, "tune")
	found, err := replay.Tune(w.ctx, marks, compile, l, replay.Options{Since: time.Now().Add(-c.Since.Std()), Progress: bar.show})
	bar.done()
	if errors.Is(err, replay.ErrAllRight) || errors.Is(err, replay.ErrNoScores) {
		fmt.Fprintln(w.stderr, "postern:", err)
		return errNo
	}
	if err != nil {
		return err
	}
	for i, f := range found {
		if c.JSON {
			err = printJSON(w, f)
		} else {
			err = tellProposal(w, i+1, f)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func tellProposal(w world, n int, f replay.Proposal) error {
	fmt.Fprintf(w.stdout, "# proposal %d: %d other verdicts would flip\n[scores]\n", n, f.Others)
	for _, s := range slices.Sorted(maps.Keys(f.Scores)) {
		fmt.Fprintf(w.stdout, "%s = %g\n", s, f.Scores[s])
	}
	for _, change := range slices.Sorted(maps.Keys(f.Changes)) {
		fmt.Fprintf(w.stdout, "# %d %s\n", f.Changes[change], change)
	}
	_, err := fmt.Fprintln(w.stdout)
	return err
}

// marksOf are the verdicts on a message, each for one recipient.
func marksOf(w world, l *ledger.Ledger, id string, wanted bool) ([]replay.Mark, error) {
	record, err := l.Explain(w.ctx, id)
	if errors.Is(err, ledger.ErrUnknown) || errors.Is(err, ledger.ErrAmbiguous) {
		return nil, usageError{err}
	}
	if err != nil {
		return nil, err
	}
	var marks []replay.Mark
	for i := range record.Transactions {
		t := &record.Transactions[i]
		for _, r := range t.Recipients {
			to, err := mail.ParseAddress(r.Address)
			if err == nil && t.Facts != nil && t.Facts.Stage == mail.StageMessage {
				marks = append(marks, replay.Mark{ID: t.ID, Facts: t.Facts, To: to, Wanted: wanted})
			}
		}
	}
	return marks, nil
}
