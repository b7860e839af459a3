package main

import (
	"fmt"

	"postern/cmd/postern/app"
	"postern/internal/mail"
	"postern/policy/records/ledger"
)

type rulesCommand struct {
	Lint rulesLintCommand `cmd:"" help:"Read all rules and say which can't be used, with file, line and reason."`
	Test rulesTestCommand `cmd:"" help:"Say which rules hit a message."`
}

type rulesLintCommand struct {
	where
	output
}

// Run reads the shipped rules and those of [rules] dir; a rule that can't be used is the answer no.
func (c *rulesLintCommand) Run(w world) error {
	cfg, err := c.offline()
	if err != nil {
		return err
	}
	set, problems, err := app.LoadRules(cfg)
	if err != nil {
		return err
	}
	report, text := rulesReport{Rules: set.Len(), LeftOut: []ruleProblem{}}, ""
	for _, p := range problems {
		report.LeftOut = append(report.LeftOut, ruleProblem{p.File, p.Line, p.Text, p.Why})
		text += ledger.Printable(p.String()) + "\n"
	}
	text += fmt.Sprintf("%d rules, %d left out\n", set.Len(), len(problems))
	if err := c.tell(w, report, text); err != nil {
		return err
	}
	if len(problems) > 0 {
		return errNo
	}
	return nil
}

// rulesReport is what rules lint found, as JSON.
type rulesReport struct {
	Rules   int           `json:"rules"`
	LeftOut []ruleProblem `json:"left_out"`
}

type ruleProblem struct {
	File string `json:"file"`
	Line int    `json:"line"`
	Text string `json:"text"`
	Why  string `json:"why"`
}

type rulesTestCommand struct {
	where
	output
	Paths []string `arg:"" name:"file" help:"Messages; - is standard input."`
}

// Run prints the hits of each message.
func (c *rulesTestCommand) Run(w world) error {
	return eachMessage(w.in, c.Paths, func(s source) error {
		tx := &mail.Transaction{Session: &mail.Session{}, Message: mail.NewMessage(s.raw)}
		found, err := runFilter(w, c.where, "content", tx, mail.StageMessage)
		if err != nil {
			return err
		}
		hits, text := []ruleHit{}, fmt.Sprintf("%s: %d hits\n", ledger.Printable(s.name), len(found))
		for _, f := range found {
			hits = append(hits, ruleHit{f.Symbol, f.Evidence})
			text += fmt.Sprintf("  %-28s %s\n", f.Symbol, ledger.Printable(f.Evidence))
		}
		return c.tell(w, ruleHits{s.name, hits}, text)
	})
}

// ruleHits are the hits of one message, as JSON.
type ruleHits struct {
	File string    `json:"file"`
	Hits []ruleHit `json:"hits"`
}

type ruleHit struct {
	Symbol   string `json:"symbol"`
	Evidence string `json:"evidence"`
}
