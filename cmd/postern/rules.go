package main

import (
	"fmt"
	"strings"

	"postern/cmd/postern/app"
	"postern/internal/mail"
	"postern/policy/records/ledger"
	"postern/rules"
)

type rulesCommand struct {
	Lint   rulesLintCommand   `cmd:"" help:"Read all rules and say which can't be used, with file, line and reason."`
	Test   rulesTestCommand   `cmd:"" help:"Show which rules hit a message."`
	Stats  rulesStatsCommand  `cmd:"" help:"Count what rules did to the mail in the ledger."`
	Diff   rulesDiffCommand   `cmd:"" help:"Judge messages with two sets of rules and show what changes."`
	Import rulesImportCommand `cmd:"" help:"Find SpamAssassin's rules and print the setting that uses them."`
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
	report, text := lintReport(set, problems)
	if err := c.tell(w, report, text); err != nil {
		return err
	}
	if len(report.LeftOut) > 0 {
		return errNo
	}
	return nil
}

// lintReport lists by kind everything in the files that does not work.
func lintReport(set *rules.Set, problems []rules.Problem) (rulesReport, string) {
	c := set.Coverage()
	report := rulesReport{Rules: set.Len(), Scored: c.Scored, Whole: c.Whole, LeftOut: []ruleProblem{}, Notes: []ruleProblem{}}
	var text strings.Builder
	for _, kind := range []rules.ProblemKind{rules.BadLine, rules.NameTaken, rules.Unsupported, rules.Lost, rules.Loose, rules.Skipped, rules.NoWeights, rules.Left} {
		for _, p := range problems {
			if p.Kind != kind {
				continue
			}
			one := ruleProblem{p.File, p.Line, p.Text, p.Why, string(p.Kind), p.Rule, p.Points}
			if p.Note() {
				report.Notes = append(report.Notes, one)
			} else {
				report.LeftOut = append(report.LeftOut, one)
			}
			fmt.Fprintf(&text, "%s: %s\n", kind, ledger.Printable(p.String()))
		}
	}
	fmt.Fprintf(&text, "%d rules, %d left out\n", set.Len(), len(report.LeftOut))
	if c.Whole < c.Scored {
		fmt.Fprintf(&text, "of %d rules with a score %d work with all that they need\n", c.Scored, c.Whole)
	}
	return report, text.String()
}

// rulesReport is what rules lint found, as JSON.
type rulesReport struct {
	Rules int `json:"rules"`
	// Scored rules have a score, Whole ones of them all that they need.
	Scored  int           `json:"scored"`
	Whole   int           `json:"whole"`
	LeftOut []ruleProblem `json:"left_out"`
	// Notes are not faults: rules that are left to a filter, blocks for plugins.
	Notes []ruleProblem `json:"notes"`
}

type ruleProblem struct {
	File string `json:"file"`
	Line int    `json:"line"`
	Text string `json:"text"`
	Why  string `json:"why"`
	// Kind sorts problems; Rule is the one it is about, and Points its score.
	Kind   string  `json:"kind"`
	Rule   string  `json:"rule,omitempty"`
	Points float64 `json:"points,omitempty"`
}

type rulesTestCommand struct {
	where
	output
	Paths []string `arg:"" name:"file" help:"Messages; - is standard input."`
}

// Run prints the hits of each message.
func (c *rulesTestCommand) Run(w world) error {
	j, err := onlyFilter(c.where, "content") // the rules are compiled once for all messages
	if err != nil {
		return err
	}
	return eachMessage(w.in, c.Paths, func(s source) error {
		tx := &mail.Transaction{Session: &mail.Session{}, Message: mail.NewMessage(s.raw)}
		tx.From = senderOf(tx.Message)
		found, err := oneFilter(w, j, tx, mail.StageMessage)
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
