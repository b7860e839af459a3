package main

import (
	"fmt"
	"time"

	"postern/cmd/postern/app"
	"postern/filters/arc"
	"postern/internal/mail"
	"postern/policy/records/ledger"
)

type arcCommand struct {
	Verify arcVerifyCommand `cmd:"" help:"Validate the chains of messages (RFC 8617)."`
}

type arcVerifyCommand struct {
	where
	output
	Paths []string `arg:"" name:"file" help:"Messages; - is standard input."`
}

// Run validates; it is the answer no unless every message has a chain that passes.
func (c *arcVerifyCommand) Run(w world) error {
	cfg, err := c.offline()
	if err != nil {
		return err
	}
	settings := arc.Spec.Settings().(*arc.Settings)
	if err := cfg.Filter("arc").Decode(settings); err != nil {
		return usageError{err}
	}
	resolver, err := app.NewResolver(cfg)
	if err != nil {
		return err
	}
	all := true
	err = eachMessage(w.in, c.Paths, func(s source) error {
		steps := []string{}
		v := arc.Validator{DNS: resolver, Now: time.Now, MaxLookups: settings.MaxLookups, Trace: func(step string) { steps = append(steps, step) }}
		m := mail.NewMessage(s.raw)
		o, err := v.Validate(w.ctx, m)
		if err != nil {
			return err
		}
		line := fmt.Sprintf("%s: arc=%s", s.name, o.Result)
		if o.Result == mail.AuthPass {
			line += fmt.Sprintf(" oldest-pass=%d", o.OldestPass)
		}
		if o.Why != "" {
			line += ": " + o.Why
		}
		report, text := arcReport{s.name, o.Result, o.OldestPass, o.Why, []arcSet{}, steps}, ledger.Printable(line)+"\n"
		for _, step := range steps {
			text += fmt.Sprintf("    %s\n", ledger.Printable(step))
		}
		for i, set := range o.Chain {
			if set.Seal != nil {
				report.Sets = append(report.Sets, arcSet{i + 1, set.Seal.Domain, results(set.Results)})
				text += fmt.Sprintf("    instance %d, sealed by %s, says: %s\n", i+1, ledger.Printable(set.Seal.Domain), ledger.Printable(results(set.Results)))
			}
		}
		all = all && o.Result == mail.AuthPass
		return c.tell(w, report, text)
	})
	if err == nil && !all {
		err = errNo
	}
	return err
}

// arcReport is the result of one message's chain, as JSON.
type arcReport struct {
	File       string           `json:"file"`
	Result     mail.AuthVerdict `json:"result"`
	OldestPass int              `json:"oldest_pass"`
	Why        string           `json:"why,omitempty"`
	Sets       []arcSet         `json:"sets"`
	Steps      []string         `json:"steps"`
}

type arcSet struct {
	Instance int    `json:"instance"`
	Domain   string `json:"domain"`
	Results  string `json:"results"`
}

// results is what a sealer says it found, as far as it can be read.
func results(payload string) string {
	id, list, err := mail.ParseAuthResults(payload)
	if err != nil {
		return "something that can't be read"
	}
	text := id + ":"
	for _, r := range list {
		text += " " + string(r.Method) + "=" + string(r.Result)
	}
	return text
}
