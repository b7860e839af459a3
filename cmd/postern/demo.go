package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"postern/cmd/postern/demo"
	"postern/policy/records/ledger"
)

type demoCommand struct {
	output
	Once bool `help:"End after the script: exit 0 only if every message met its expected fate."`
}

// Run shows the gateway at work.
func (c *demoCommand) Run(w world) error {
	d, err := demo.Start(w.ctx, quiet())
	if err != nil {
		return err
	}
	defer d.Close()
	cases, err := demo.Cases()
	if err != nil {
		return err
	}
	if !c.JSON {
		fmt.Fprintf(w.stdout, "A mail system for corp.example, the gateway in front of it, and %d messages through its doors:\n\n%-3s %-44s %-5s %-10s %s\n",
			len(cases), "", "message", "reply", "verdict", "why")
	}
	right := 0
	for i, one := range cases {
		r, err := d.Run(w.ctx, one)
		if errors.Is(w.ctx.Err(), context.Canceled) {
			return nil
		}
		if err != nil {
			r.Missed = err.Error()
		}
		if r.Missed == "" {
			right++
		}
		if err := c.print(w, i+1, r); err != nil {
			return err
		}
	}
	if !c.Once && !c.JSON {
		c.stay(w, d)
	}
	if _, err := fmt.Fprintf(w.stdout, "demo: %d of %d as expected\n", right, len(cases)); err != nil {
		return err
	}
	if right < len(cases) {
		return errNo
	}
	return nil
}

// resultJSON is one line of `postern demo --json`.
type resultJSON struct {
	Name    string   `json:"name"`
	Title   string   `json:"title"`
	ID      string   `json:"id"`
	Code    int      `json:"code"`
	Reply   string   `json:"reply"`
	Verdict string   `json:"verdict"`
	Why     string   `json:"why"`
	Symbols []string `json:"symbols"`
	Missed  string   `json:"missed"`
}

func (c *demoCommand) print(w world, n int, r demo.Result) error {
	if c.JSON {
		return printJSON(w, resultJSON{r.Case.Name, r.Case.Title, r.ID, r.Answer.Code, r.Answer.Text, r.Verdict, r.Why, r.Symbols, r.Missed})
	}
	mark := " "
	if r.Missed != "" {
		mark = "!"
	}
	lines := wrap(ledger.Printable(r.Why), 76)
	title := wrap(r.Case.Title, 44)
	for i := 0; i < max(len(lines), len(title)); i++ {
		if i == 0 {
			fmt.Fprintf(w.stdout, "%2d%s %-44s %-5d %-10s %s\n", n, mark, title[0], r.Answer.Code, r.Verdict, at(lines, 0))
		} else {
			fmt.Fprintln(w.stdout, strings.TrimRight(fmt.Sprintf("    %-44s %-5s %-10s %s", at(title, i), "", "", at(lines, i)), " "))
		}
	}
	var err error
	if r.Missed != "" {
		_, err = fmt.Fprintf(w.stdout, "    NOT AS EXPECTED: %s\n", r.Missed)
	}
	return err
}

func at(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return ""
}

// wrap cuts a text into lines of at most width characters, at spaces.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}

// stay keeps the demo running until the user ends it.
func (c *demoCommand) stay(w world, d *demo.Demo) {
	fmt.Fprintf(w.stdout, "\nThe demo stays up until Ctrl-C:\n")
	for _, a := range d.App.Addresses() {
		fmt.Fprintf(w.stdout, "  %-12s %s\n", a.Name, a.Address)
	}
	fmt.Fprintf(w.stdout, "  %-12s http://%s/\n", "console", d.App.ConsoleAddress())
	fmt.Fprintf(w.stdout, "  %-12s %s\n  %-12s %s   user ben@corp.example, password secret-ben\n", "IMAP inside", d.Inside.IMAP, "POP3 inside", d.Inside.POP3)
	<-w.ctx.Done()
}
