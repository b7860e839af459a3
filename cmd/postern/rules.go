package main

import (
	"fmt"

	"postern/cmd/postern/house"
	"postern/internal/mail"
	"postern/policy/ledger"
)

type rulesCommand struct {
	Lint rulesLintCommand `cmd:"" help:"Read all rules and say which can't be used, with file, line and reason."`
	Test rulesTestCommand `cmd:"" help:"Say which rules hit a message."`
}

type rulesLintCommand struct{ where }

// Run reads the shipped rules and those of [rules] dir; a rule that can't be used is the answer no.
func (c *rulesLintCommand) Run(w world) error {
	cfg, err := c.offline()
	if err != nil {
		return err
	}
	set, problems, err := house.LoadRules(cfg)
	if err != nil {
		return err
	}
	for _, p := range problems {
		fmt.Fprintln(w.stdout, ledger.Printable(p.String()))
	}
	fmt.Fprintf(w.stdout, "%d rules, %d left out\n", set.Len(), len(problems))
	if len(problems) > 0 {
		return errNo
	}
	return nil
}

type rulesTestCommand struct {
	where
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
		fmt.Fprintf(w.stdout, "%s: %d hits\n", ledger.Printable(s.name), len(found))
		for _, f := range found {
			fmt.Fprintf(w.stdout, "  %-28s %s\n", f.Symbol, ledger.Printable(f.Evidence))
		}
		return nil
	})
}
