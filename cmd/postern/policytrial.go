package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"postern/cmd/postern/house"
	"postern/internal/admin"
	"postern/internal/config"
	"postern/policy/replay"
)

type policyMonitorCommand struct {
	where
	File string `arg:"" optional:"" help:"The draft to watch from now on. Without: what the one that is watched would have done so far."`
	Off  bool   `help:"Watch no more."`
	JSON bool   `name:"json" help:"The report as JSON."`
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
		return p.endTrial(w, c.where, "policy monitor")
	case c.File != "":
		return p.beginTrial(w, c.where, c.File, 0)
	}
	return p.tellTrial(w, c.JSON)
}

type policyCanaryCommand struct {
	where
	File  string `arg:"" optional:"" help:"The draft to put in force for a share of the recipients. Without: how the one that is tried fares."`
	Share int    `default:"10" help:"How many recipients of a hundred."`
	Off   bool   `help:"End it: the policy holds for all again."`
	JSON  bool   `name:"json" help:"The report as JSON."`
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
		return p.endTrial(w, c.where, "policy canary")
	case c.File != "":
		if c.Share < 1 || c.Share > 100 {
			return usageError{errors.New("--share is a percentage from 1 to 100")}
		}
		return p.beginTrial(w, c.where, c.File, c.Share)
	}
	return p.tellTrial(w, c.JSON)
}

func (p *policyWorld) beginTrial(w world, f where, file string, share int) error {
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
	verb, told := "policy monitor", fmt.Sprintf("version %s is watched from now on; postern policy monitor tells what it would have done", version)
	if share > 0 {
		verb, told = "policy canary", fmt.Sprintf("version %s holds for %d of 100 recipients; postern policy canary tells how it fares, --off ends it", version, share)
	}
	if _, err := fmt.Fprintln(w.stdout, told); err != nil {
		return err
	}
	return noteAct(w, f, verb, version, nil)
}

func (p *policyWorld) endTrial(w world, f where, verb string) error {
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
	report, err := p.replay(w, "draft", t.Text, t.Since, 50, asJSON)
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

// progress is a bar on a terminal, and nothing elsewhere.
type progress struct {
	w     world
	name  string
	on    bool
	begun time.Time
}

func newProgress(w world, name string) *progress {
	f, ok := w.stderr.(*os.File)
	if ok {
		info, err := f.Stat()
		ok = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return &progress{w, name, ok, time.Now()}
}

func (p *progress) show(share float64, n int) {
	if !p.on {
		return
	}
	const width = 30
	full := int(share * width)
	fmt.Fprintf(p.w.stderr, "\r%s [%s%s] %3.0f %%  %d, %s", p.name, strings.Repeat("=", full), strings.Repeat(" ", width-full), share*100, n, time.Since(p.begun).Round(time.Second))
}

func (p *progress) done() {
	if p.on {
		fmt.Fprint(p.w.stderr, "\r\x1b[K")
	}
}
