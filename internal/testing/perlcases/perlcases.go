// Package perlcases makes texts from expressions and asks Perl what they match.
package perlcases

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"postern/rules/perlre"
)

//go:embed oracle.pl
var oracle string

//go:embed stock.pl
var stock string

// Pattern is an expression and where it comes from.
type Pattern struct {
	Name   string
	Kind   string // head, body, rawbody, uri, full or own
	Header string
	Mods   string
	Expr   string
}

// Flags are the modifiers as the matcher takes them.
func (p Pattern) Flags() perlre.Flags {
	var f perlre.Flags
	for i, c := range p.Mods {
		switch c {
		case 'i':
			f |= perlre.IgnoreCase
		case 'm':
			f |= perlre.MultiLine
		case 's':
			f |= perlre.DotAll
		case 'x':
			f |= perlre.Extended
			if strings.Contains(p.Mods[:i], "x") {
				f |= perlre.ExtendedMore
			}
		}
	}
	return f
}

// Own reads patterns from a file: one a line, modifiers and expression with a tab between; the expression may be quoted as
// Go quotes strings.
func Own(t testing.TB, file string) []Pattern {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var all []Pattern
	for i, line := range strings.Split(string(text), "\n") {
		if line == "" || strings.HasPrefix(line, "# ") {
			continue
		}
		mods, expr, ok := strings.Cut(line, "\t")
		if !ok {
			t.Fatalf("%s:%d: no tab", file, i+1)
		}
		if strings.HasPrefix(expr, `"`) {
			if expr, err = strconv.Unquote(expr); err != nil {
				t.Fatalf("%s:%d: %v", file, i+1, err)
			}
		}
		all = append(all, Pattern{Name: fmt.Sprintf("line %d", i+1), Kind: "own", Mods: mods, Expr: expr})
	}
	return all
}

// Stock gives the expressions of the rules that are installed on this machine, nil if there are none.
func Stock(t testing.TB) []Pattern {
	t.Helper()
	files, _ := filepath.Glob("/usr/share/spamassassin/*.cf")
	if len(files) == 0 {
		return nil
	}
	Need(t)
	out, err := exec.CommandContext(t.Context(), "perl", "-e", stock).Output()
	if err != nil {
		t.Logf("the installed rules can't be listed: %v", err)
		return nil
	}
	var all []Pattern
	for line := range strings.Lines(string(out)) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(f) != 4 || f[3] == "" {
			continue
		}
		expr, err := hex.DecodeString(f[3])
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, Pattern{Kind: f[0], Name: f[1], Header: f[2], Expr: string(expr)})
	}
	return all
}

// Need skips a test where Perl is missing, but fails it on the machines that must have it.
func Need(t testing.TB) {
	t.Helper()
	if _, err := exec.LookPath("perl"); err == nil {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatal("there is no perl to compare with")
	}
	t.Skip("there is no perl to compare with")
}

// Case is a text for a pattern.
type Case struct {
	Text string
	From int
}

// Answer is what Perl said about a case.
type Answer struct {
	Found bool
	// Slow says that Perl gave up.
	Slow bool
	// At are the beginnings and ends of the match and of its groups, -1 for groups that took no part.
	At []int
}

// Asked is a pattern with its cases and Perl's answers.
type Asked struct {
	Pattern Pattern
	Cases   []Case
	Refused string // why Perl refuses the expression
	Answers []Answer
}

// Ask fills in what Perl says.
func Ask(ctx context.Context, all []*Asked) error {
	var in bytes.Buffer
	for _, a := range all {
		fmt.Fprintf(&in, "P\t%x\t%x\n", a.Pattern.Mods, a.Pattern.Expr)
		for _, c := range a.Cases {
			fmt.Fprintf(&in, "T\t%x\t%d\n", c.Text, c.From)
		}
	}
	cmd := exec.CommandContext(ctx, "perl", "-e", oracle)
	cmd.Stdin = &in
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("perl: %w", err)
	}
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 1<<20)
	for _, a := range all {
		if !lines.Scan() {
			return fmt.Errorf("perl said nothing about %s", a.Pattern.Expr)
		}
		a.Refused = strings.TrimPrefix(lines.Text(), "bad ")
		if lines.Text() == "ok" {
			a.Refused = ""
		}
		for range a.Cases {
			if !lines.Scan() {
				return fmt.Errorf("perl said too little about %s", a.Pattern.Expr)
			}
			a.Answers = append(a.Answers, answer(lines.Text()))
		}
	}
	return lines.Err()
}

func answer(line string) Answer {
	switch line {
	case "-":
		return Answer{}
	case "slow":
		return Answer{Slow: true}
	}
	a := Answer{Found: true}
	for f := range strings.FieldsSeq(line) {
		n, err := strconv.Atoi(f)
		if err != nil {
			n = -1
		}
		a.At = append(a.At, n)
	}
	return a
}
