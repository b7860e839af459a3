package main

import (
	"errors"
	"fmt"
	"net/http"

	"postern/cmd/postern/app"
)

type policyMonitorCommand struct {
	where
	output
	File string `arg:"" optional:"" help:"The draft to monitor from now on. Without it: what the monitored draft would have done so far."`
	Off  bool   `help:"Stop monitoring."`
}

// Run begins, ends or reports. The verdicts of a watched draft are computed from the facts of later mail.
func (c *policyMonitorCommand) Run(w world) error {
	return trial(w, c.where, c.output, c.File, 0, c.Off)
}

type policyCanaryCommand struct {
	where
	output
	File  string `arg:"" optional:"" help:"The draft to apply to a share of the recipients. Without it: results of the running trial."`
	Share int    `default:"10" help:"Percentage of recipients."`
	Off   bool   `help:"End the trial: the active policy applies to everyone again."`
}

// Run begins, ends or reports.
func (c *policyCanaryCommand) Run(w world) error {
	if c.File != "" && (c.Share < 1 || c.Share > 100) {
		return usageError{errors.New("--share is a percentage from 1 to 100")}
	}
	return trial(w, c.where, c.output, c.File, c.Share, c.Off)
}

// trial begins a trial of a draft, ends the current one, or reports on it.
func trial(w world, f where, o output, file string, share int, off bool) (err error) {
	p, err := openPolicies(f)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.versions.Close()) }()
	switch {
	case off:
		return endTrial(w, f, o)
	case file != "":
		return p.beginTrial(w, f, o, file, share)
	}
	return p.tellTrial(w, o.JSON)
}

func (p *policyWorld) beginTrial(w world, f where, o output, file string, share int) error {
	_, text, err := draft(p.cfg, file)
	if err != nil {
		return err
	}
	done, err := changePolicy(w, f, http.MethodPost, "/policy/trial", map[string]any{"text": text, "share": share}, "kept")
	if err != nil {
		return refused(w, "", err)
	}
	word, told := "watched", fmt.Sprintf("version %s is watched from now on; postern policy monitor tells what it would have done", done.Version)
	if share > 0 {
		word, told = "tried", fmt.Sprintf("version %s holds for %d of 100 recipients; postern policy canary tells how it fares, --off ends it", done.Version, share)
	}
	return o.tell(w, trialBegun{deed{done.Version, word}, share}, told+"\n")
}

// trialBegun is a draft that is watched, or in force for a share of the recipients, as JSON.
type trialBegun struct {
	deed
	Share int `json:"share"`
}

func endTrial(w world, f where, o output) error {
	_, err := changePolicy(w, f, http.MethodDelete, "/policy/trial", nil, "ended")
	if isStatus(err, http.StatusNotFound) {
		fmt.Fprintln(w.stderr, "postern: no draft is being tried")
		return errNo
	}
	if err != nil {
		return refused(w, "", err)
	}
	return o.tell(w, deed{Done: "ended"}, "")
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
	draft, err := app.CompilePolicy(p.cfg, "draft", []byte(t.Text))
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
