package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"postern/cmd/postern/house"
	"postern/internal/admin"
	"postern/internal/config"
	"postern/policy/replay"
)

type policyMonitorCommand struct {
	where
	output
	File string `arg:"" optional:"" help:"The draft to watch from now on. Without: what the one that is watched would have done so far."`
	Off  bool   `help:"Watch no more."`
}

// Run begins, ends or reports. What a watched draft would have done is judged from the facts of what came since.
func (c *policyMonitorCommand) Run(w world) (err error) {
	p, err := openPolicies(c.where)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.versions.Close()) }()
	switch {
	case c.Off:
		return p.endTrial(w, c.where, c.output, "policy monitor")
	case c.File != "":
		return p.beginTrial(w, c.where, c.output, c.File, 0)
	}
	return p.tellTrial(w, c.JSON)
}

type policyCanaryCommand struct {
	where
	output
	File  string `arg:"" optional:"" help:"The draft to put in force for a share of the recipients. Without: how the one that is tried fares."`
	Share int    `default:"10" help:"How many recipients of a hundred."`
	Off   bool   `help:"End it: the policy holds for all again."`
}

// Run begins, ends or reports.
func (c *policyCanaryCommand) Run(w world) (err error) {
	p, err := openPolicies(c.where)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.versions.Close()) }()
	switch {
	case c.Off:
		return p.endTrial(w, c.where, c.output, "policy canary")
	case c.File != "":
		if c.Share < 1 || c.Share > 100 {
			return usageError{errors.New("--share is a percentage from 1 to 100")}
		}
		return p.beginTrial(w, c.where, c.output, c.File, c.Share)
	}
	return p.tellTrial(w, c.JSON)
}

func (p *policyWorld) beginTrial(w world, f where, o output, file string, share int) error {
	_, text, err := p.draft(file)
	if err != nil {
		return err
	}
	version, err := p.policies(w).Try(w.ctx, whoami(), text, share)
	if errors.Is(err, house.ErrNotTold) {
		fmt.Fprintf(w.stderr, "postern: kept, but %v\n", err)
	} else if err != nil {
		return err
	}
	verb, word, told := "policy monitor", "watched", fmt.Sprintf("version %s is watched from now on; postern policy monitor tells what it would have done", version)
	if share > 0 {
		verb, word, told = "policy canary", "tried", fmt.Sprintf("version %s holds for %d of 100 recipients; postern policy canary tells how it fares, --off ends it", version, share)
	}
	if err := o.tell(w, trialBegun{deed{version, word}, share}, told+"\n"); err != nil {
		return err
	}
	return noteAct(w, f, verb, version, nil)
}

// trialBegun is a draft that is watched, or in force for a share of the recipients, as JSON.
type trialBegun struct {
	deed
	Share int `json:"share"`
}

func (p *policyWorld) endTrial(w world, f where, o output, verb string) error {
	err := p.policies(w).End(w.ctx)
	switch {
	case errors.Is(err, replay.ErrNoVersion):
		fmt.Fprintln(w.stderr, "postern: no draft is being tried")
		return errNo
	case errors.Is(err, house.ErrNotTold):
		fmt.Fprintf(w.stderr, "postern: ended, but %v\n", err)
	case err != nil:
		return err
	}
	if err := o.tell(w, deed{Done: "ended"}, ""); err != nil {
		return err
	}
	return noteAct(w, f, verb, "off", nil)
}

func (p *policyWorld) tellTrial(w world, asJSON bool) error {
	t, ok, err := p.versions.Trial(w.ctx)
	if err != nil {
		return err
	}
	if !ok {
		fmt.Fprintln(w.stderr, "postern: no draft is being tried; name one")
		return errNo
	}
	draft, err := house.CompilePolicy(p.cfg, "draft", []byte(t.Text))
	if err != nil {
		return usageError{err}
	}
	if !asJSON {
		state := "watched"
		if t.Share > 0 {
			state = fmt.Sprintf("in force for %d of 100 recipients", t.Share)
		}
		if t.Stopped != "" {
			state = "stopped by itself: " + t.Stopped
		}
		fmt.Fprintf(w.stdout, "version %s, by %s since %s, %s\n", draft.Version(), t.By, t.Since.Local().Format("2006-01-02 15:04"), state)
	}
	report, err := p.replay(w, "draft", t.Text, t.Since, 50)
	if err != nil {
		return err
	}
	return tellReport(w, report, asJSON)
}

// reload asks the running gateway to read its files again.
func reload(w world, cfg *config.Config) error {
	r, err := http.NewRequestWithContext(w.ctx, http.MethodPost, "http://postern/v1/reload", nil)
	if err != nil {
		return err
	}
	answer, err := admin.Client(house.ControlSocket(cfg)).Do(r)
	if err != nil {
		return errors.New("no gateway runs with this configuration")
	}
	defer func() { _ = answer.Body.Close() }() // it was read
	text, err := io.ReadAll(io.LimitReader(answer.Body, 64<<10))
	if answer.StatusCode != http.StatusNoContent {
		return errors.Join(errors.New(strings.TrimSpace(string(text))), err)
	}
	return nil
}
