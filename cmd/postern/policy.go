package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"postern/cmd/postern/app"
	"postern/internal/config"
	"postern/policy"
	"postern/policy/records/ledger"
	"postern/policy/records/lists"
	"postern/policy/replay"
	"postern/proxy/console/api"
)

type policyCommand struct {
	Show     policyShowCommand     `cmd:"" help:"Show the active policy: version and text."`
	Lint     policyLintCommand     `cmd:"" help:"Report errors in a policy, and rules and entries that can never take effect."`
	Plan     policyPlanCommand     `cmd:"" help:"Replay past mail against a draft policy and list each verdict that would change."`
	Tune     policyTuneCommand     `cmd:"" help:"Find the least change of scores that puts marked messages right, and what else it would flip."`
	Apply    policyApplyCommand    `cmd:"" help:"${policy_apply}"`
	Rollback policyRollbackCommand `cmd:"" help:"${policy_rollback}"`
	Versions policyVersionsCommand `cmd:"" help:"Earlier versions, newest first."`
	Diff     policyDiffCommand     `cmd:"" help:"How two versions differ, line by line."`
	Monitor  policyMonitorCommand  `cmd:"" help:"Monitor what a draft would do to mail that arrives from now on."`
	Canary   policyCanaryCommand   `cmd:"" help:"Apply a draft to a share of the recipients. It stops by itself if it blocks mail that the current policy accepts."`
}

// policyWorld is what the policy commands work on.
type policyWorld struct {
	cfg      *config.Config
	versions *replay.Versions
}

func openPolicies(f where) (*policyWorld, error) {
	cfg, err := f.load()
	if err != nil {
		return nil, err
	}
	if err := enter(cfg.DataDir, cfg.DataDir); err != nil {
		return nil, err
	}
	v, err := replay.OpenVersions(app.PolicyStore(cfg))
	return &policyWorld{cfg, v}, err
}

// draft reads and compiles a draft.
func draft(cfg *config.Config, file string) (*policy.Policy, string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, "", usageError{err}
	}
	compiled, err := app.CompilePolicy(cfg, file, text)
	if err != nil {
		return nil, "", usageError{err}
	}
	return compiled, string(text), nil
}

type policyShowCommand struct {
	where
	output
}

// Run shows it.
func (c *policyShowCommand) Run(w world) error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	text, err := app.PolicyText(cfg)
	if err != nil {
		return err
	}
	compiled, err := app.CompilePolicy(cfg, cfg.PolicyFile(), text)
	if err != nil {
		return usageError{err}
	}
	from := cfg.PolicyFile()
	if from == "" {
		from = "built in; [policy] file in postern.toml names one of your own"
	}
	if c.JSON {
		return printJSON(w, shownPolicy{compiled.Version(), compiled.Thresholds(), compiled.Weights()})
	}
	if _, err := fmt.Fprintf(w.stdout, "# version %s (%s)\n%s", compiled.Version(), from, text); err != nil {
		return err
	}
	return showWeights(w, compiled.Weights())
}

// shownPolicy is the policy in force as one JSON object.
type shownPolicy struct {
	Version  string            `json:"version"`
	Required policy.Thresholds `json:"required"`
	Symbols  []policy.Weight   `json:"symbols"`
}

// lintedPolicy is the result of policy lint as JSON: rules that can never decide.
type lintedPolicy struct {
	File    string        `json:"file"`
	Version string        `json:"version"`
	Idle    []problemJSON `json:"idle"`
}

// showWeights prints a table of symbols, as comments, so that the whole output is still a policy.
func showWeights(w world, weights []policy.Weight) error {
	var b strings.Builder
	b.WriteString("\n# All symbols as they weigh for incoming mail: score, action, name, meaning.\n")

	for _, s := range weights {
		fmt.Fprintf(&b, "# %7s  %-10s  %-28s %s\n", strconv.FormatFloat(s.Score, 'f', -1, 64), s.Action, s.Symbol, s.Help)
	}

	_, err := fmt.Fprint(w.stdout, b.String())
	return err
}

type policyLintCommand struct {
	where
	output
	File string `arg:"" optional:"" help:"A draft (default: the policy in force)."`
}

// Run checks. A policy that does not compile is wrong use; a rule that can never decide is the answer no.
func (c *policyLintCommand) Run(w world) error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	file := c.File
	text, err := app.PolicyText(cfg)
	if file != "" {
		text, err = os.ReadFile(file)
	} else if file = cfg.PolicyFile(); file == "" {
		file = "built-in policy"
	}
	if err != nil {
		return usageError{err}
	}
	compiled, err := app.CompilePolicy(cfg, file, text)
	if err != nil {
		return usageError{err}
	}
	idle := policy.Shadowed(compiled)
	found := ""
	for _, p := range idle {
		found += p.String() + "\n"
	}
	if len(idle) == 0 {
		found = fmt.Sprintf("%s: ok, version %s\n", file, compiled.Version())
	}
	if err := c.tell(w, lintedPolicy{file, compiled.Version(), problemsJSON(idle)}, found); err != nil {
		return err
	}
	if len(idle) > 0 {
		return errNo
	}
	return nil
}

type policyPlanCommand struct {
	where
	output
	File  string          `arg:"" help:"The draft."`
	Since config.Duration `default:"30d" help:"How far back."`
	Limit int             `default:"50" help:"How many changed verdicts are listed; all are counted."`
}

// Run replays. A plan that changes verdicts is not a failure.
func (c *policyPlanCommand) Run(w world) (err error) {
	p, err := openPolicies(c.where)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.versions.Close()) }()
	_, text, err := draft(p.cfg, c.File)
	if err != nil {
		return err
	}
	report, err := p.replay(w, c.File, text, time.Now().Add(-c.Since.Std()), c.Limit)
	if err != nil {
		return err
	}
	return tellReport(w, report, c.JSON)
}

// replay judges the stored mail by a policy.
func (p *policyWorld) replay(w world, name, text string, since time.Time, limit int) (_ replay.Report, err error) {
	flush(p.cfg)
	l, err := app.ReadLedger(p.cfg, quiet())
	if err != nil {
		return replay.Report{}, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	o := replay.Options{Since: since, Flips: limit}
	bar := newProgress(w, "replaying")
	o.Progress = bar.show
	defer bar.done()
	all := &app.Policies{Config: p.cfg, Versions: p.versions, Now: time.Now, Ledger: l}
	if q, qerr := app.OpenQuarantine(p.cfg, quiet(), time.Now, nil); qerr == nil { // else releases are not known
		all.Quarantine = q
		defer func() { err = errors.Join(err, q.Close()) }()
	}
	if all.Lists, err = lists.Open(app.ListsStore(p.cfg), lists.Options{}); err != nil {
		return replay.Report{}, err
	}
	defer func() { err = errors.Join(err, all.Lists.Close(w.ctx)) }()
	return all.Replay(w.ctx, name, text, o)
}

func tellReport(w world, r replay.Report, asJSON bool) error {
	if asJSON {
		return printJSON(w, r)
	}
	for _, f := range r.Flips {
		mark := ""
		if f.Released {
			mark = "  (a user had released it)"
		}
		fmt.Fprintf(w.stdout, "%s  %s  %s (%.1f) -> %s (%.1f)  <%s> -> <%s>  %s%s\n", f.Time.Local().Format("2006-01-02 15:04"), f.ID, f.Before, f.ScoreBefore, f.After, f.ScoreAfter,
			ledger.Printable(f.From), ledger.Printable(f.Recipient), ledger.Printable(f.Subject), mark)
	}
	if more := r.Flipped - len(r.Flips); more > 0 {
		fmt.Fprintf(w.stdout, "… and %d more; --limit shows them\n", more)
	}
	fmt.Fprintf(w.stdout, "%d messages judged again (%d left out: refused before there was a message, or fetched), %d verdicts, %d would flip", r.Messages, r.Skipped, r.Verdicts, r.Flipped)
	if r.Flipped > 0 {
		var changes []string
		for name, n := range r.Changes {
			changes = append(changes, fmt.Sprintf("%d %s", n, name))
		}
		slices.Sort(changes)
		fmt.Fprintf(w.stdout, ": %s; %d recipients, senders of %d domains (%s)", strings.Join(changes, ", "), r.Recipients, r.Senders, ledger.Printable(strings.Join(r.TopSenders, ", ")))
	}
	if r.Released > 0 {
		fmt.Fprintf(w.stdout, "; %d of them users had released", r.Released)
	}
	for name, n := range r.Monitored {
		fmt.Fprintf(w.stdout, "\nthe watching rule %q would have acted %d times", ledger.Printable(name), n)
	}
	_, err := fmt.Fprintln(w.stdout)
	return err
}

type policyApplyCommand struct {
	where
	output
	File string `arg:"" help:"The draft."`
	Note string `help:"A note for the list of versions."`
}

// Run puts it in force.
func (c *policyApplyCommand) Run(w world) error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	_, text, err := draft(cfg, c.File)
	if err != nil {
		return err
	}
	if cfg.PolicyFile() == "" {
		return usageError{app.ErrNoPolicyFile}
	}
	return refused(w, "", applied(w, c.where, c.output, "/policy/apply", map[string]string{"text": text, "note": c.Note}))
}

// policyDone is the answer to what changed the policy.
type policyDone struct {
	Version string `json:"version"`
}

// applied performs it and prints the result.
func applied(w world, f where, o output, path string, body map[string]string) error {
	done, err := changePolicy(w, f, http.MethodPost, path, body, "written")
	if err != nil {
		return err
	}
	text := fmt.Sprintf("version %s is in force; postern policy rollback brings back what was before\n", done.Version)
	return o.tell(w, deed{done.Version, "applied"}, text)
}

// changePolicy changes the policy. If the running gateway could not be reloaded, or none runs, the change stands and
// the output says so.
func changePolicy(w world, f where, method, path string, body any, word string) (done policyDone, err error) {
	err = act(w, f, method, path, body, &done)
	p, ok := errors.AsType[api.Problem](err)
	switch {
	case ok && p.Version != "":
		fmt.Fprintf(w.stderr, "postern: %s, but %s\n", word, p.Detail)
		return policyDone{p.Version}, nil
	case ok && p.Status == http.StatusConflict:
		err = plainly(err)
	}
	return done, err
}

type policyRollbackCommand struct {
	where
	output
	To string `help:"A version to bring back (default: the one before the last)."`
}

// Run brings back.
func (c *policyRollbackCommand) Run(w world) error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	err = applied(w, c.where, c.output, "/policy/rollback", map[string]string{"to": c.To})
	switch {
	case isStatus(err, http.StatusNotFound):
		fmt.Fprintln(w.stderr, "postern: there is no such version; postern policy versions lists them")
		return errNo
	case err != nil && cfg.PolicyFile() == "":
		return usageError{app.ErrNoPolicyFile}
	}
	return refused(w, "", err)
}

type policyVersionsCommand struct {
	where
	output
}

// Run lists.
func (c *policyVersionsCommand) Run(w world) (err error) {
	p, err := openPolicies(c.where)
	if err != nil {
		return none(w, err)
	}
	defer func() { err = errors.Join(err, p.versions.Close()) }()
	all, err := p.versions.List(w.ctx, 1000)
	if err != nil {
		return err
	}
	for _, v := range all {
		err = c.tell(w, v, fmt.Sprintf("%d  %s  %s  by %s  %s\n", v.N, v.Version, v.Applied.Local().Format("2006-01-02 15:04"), ledger.Printable(v.By), ledger.Printable(v.Note)))
		if err != nil {
			return err
		}
	}
	return nil
}

type policyDiffCommand struct {
	where
	output
	From string `arg:"" optional:"" help:"A version or a file (default: the one before the last)."`
	To   string `arg:"" optional:"" help:"A version or a file (default: the last)."`
}

// Run shows the lines that differ; versions that don't are the answer no.
func (c *policyDiffCommand) Run(w world) (err error) {
	p, err := openPolicies(c.where)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.versions.Close()) }()
	from, err := p.text(w, c.From, 1)
	if err != nil {
		return err
	}
	to, err := p.text(w, c.To, 0)
	if err != nil {
		return err
	}
	lines := replay.Diff(from, to)
	text := ""
	for _, l := range lines {
		text += ledger.Printable(l) + "\n"
	}
	if err := c.tell(w, map[string]any{"lines": append([]string{}, lines...)}, text); err != nil {
		return err
	}
	if len(lines) == 0 {
		return errNo
	}
	return nil
}

// text is that of a file, of a version, or of the one so many steps back.
func (p *policyWorld) text(w world, name string, steps int) (string, error) {
	if text, err := os.ReadFile(name); err == nil {
		return string(text), nil
	}
	v, err := p.versions.Back(w.ctx, steps)
	if name != "" {
		v, err = p.versions.Get(w.ctx, name)
	}
	if errors.Is(err, replay.ErrNoVersion) {
		return "", usageError{fmt.Errorf("%q is neither a file nor a version; postern policy versions lists them", name)}
	}
	return v.Text, err
}
