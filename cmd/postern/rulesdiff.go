package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"postern/cmd/postern/app"
	"postern/internal/mail"
	"postern/policy/records/ledger"
	"postern/policy/records/quarantine"
)

type rulesDiffCommand struct {
	where
	output
	SpamAssassin bool     `name:"spamassassin" help:"The sets are for SpamAssassin, and take the place of those in the settings. Else they take the place of your own."`
	A            string   `arg:"" help:"A file or a folder of rules; - for none."`
	B            string   `arg:"" help:"Another one."`
	Messages     []string `arg:"" optional:"" help:"Messages, mbox files, Maildirs or folders. Without any, the mail that is held."`
}

// ruleDiff is a message that two sets judge in two ways.
type ruleDiff struct {
	File   string  `json:"file"`
	Before string  `json:"before"`
	After  string  `json:"after"`
	ScoreA float64 `json:"score_before"`
	ScoreB float64 `json:"score_after"`
	// Gone are symbols that only the first set has, New those that only the second has.
	Gone []string `json:"gone"`
	New  []string `json:"new"`
}

// ruleDiffs is all that two sets differ in.
type ruleDiffs struct {
	Messages int            `json:"messages"`
	Verdicts map[string]int `json:"verdicts"`
	Changed  []ruleDiff     `json:"changed"`
	Gone     map[string]int `json:"gone"`
	New      map[string]int `json:"new"`
}

// Run judges messages with each of two sets of rules, all else as in the settings.
func (c *rulesDiffCommand) Run(w world) (err error) {
	a, closeA, err := c.checker(c.A)
	if err != nil {
		return err
	}
	defer closeA()
	b, closeB, err := c.checker(c.B)
	if err != nil {
		return err
	}
	defer closeB()
	all := ruleDiffs{Verdicts: map[string]int{}, Changed: []ruleDiff{}, Gone: map[string]int{}, New: map[string]int{}}
	each := func(s source) error {
		all.add(a.judge(w.ctx, s), b.judge(w.ctx, s))
		return w.ctx.Err()
	}
	if len(c.Messages) > 0 {
		err = eachMessage(w.in, c.Messages, each)
	} else {
		err = c.held(w.ctx, each)
	}
	if err != nil {
		return err
	}
	return c.tell(w, all, all.describe())
}

// checker judges with a set in place of that in the settings.
func (c *rulesDiffCommand) checker(path string) (*checker, func(), error) {
	cfg, err := c.offline()
	if err != nil {
		return nil, nil, err
	}
	dir, done, err := ruleFolder(path)
	if err != nil {
		return nil, nil, err
	}
	switch {
	case !c.SpamAssassin:
		cfg.Rules.Dir = dir
	case dir == "":
		cfg.Rules.SpamAssassin = nil
	default:
		cfg.Rules.SpamAssassin = []string{dir}
	}
	k := &checker{to: []mail.Address{{Local: "postmaster"}}}
	if k.app, err = app.NewPipeline(cfg, app.Outside{}, "ratelimit", "spf", "dmarc", "helo"); err != nil {
		done()
		return nil, nil, err
	}
	return k, done, nil
}

// ruleFolder gives the folder of a set: a file alone is put into one for as long as it is needed.
func ruleFolder(path string) (dir string, done func(), err error) {
	if path == "-" {
		return "", func() {}, nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", nil, usageError{err}
	}
	if info.IsDir() {
		return path, func() {}, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", nil, err
	}
	if dir, err = os.MkdirTemp("", "postern-rules-"); err != nil {
		return "", nil, err
	}
	done = func() { _ = os.RemoveAll(dir) }
	if err := os.WriteFile(filepath.Join(dir, strings.TrimSuffix(filepath.Base(path), ".cf")+".cf"), text, 0o600); err != nil {
		done()
		return "", nil, err
	}
	return dir, done, nil
}

// held gives the mail that is held.
func (c *rulesDiffCommand) held(ctx context.Context, each func(source) error) (err error) {
	cfg, err := c.offline()
	if err != nil {
		return err
	}
	q, err := app.OpenQuarantine(cfg, quiet(), time.Now, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, q.Close()) }()
	f := quarantine.Filter{Limit: 1000}
	for {
		items, next, err := q.Page(ctx, f)
		if err != nil {
			return err
		}
		for _, item := range items {
			_, message, err := q.Get(ctx, item.ID)
			if err != nil {
				return err
			}
			raw, err := io.ReadAll(message.Open())
			if err = errors.Join(err, message.Close()); err != nil {
				return err
			}
			if err := each(source{name: item.ID, raw: raw}); err != nil {
				return err
			}
		}
		if f.After = next; next == "" {
			return nil
		}
	}
}

func (d *ruleDiffs) add(a, b verdictJSON) {
	d.Messages++
	gone, young := onlyIn(a, b), onlyIn(b, a)
	for _, s := range gone {
		d.Gone[s]++
	}
	for _, s := range young {
		d.New[s]++
	}
	if a.Disposition != b.Disposition {
		d.Verdicts[a.Disposition.String()+" to "+b.Disposition.String()]++
	}
	if a.Disposition != b.Disposition || len(gone)+len(young) > 0 || a.Score != b.Score {
		d.Changed = append(d.Changed, ruleDiff{a.File, a.Disposition.String(), b.Disposition.String(), a.Score, b.Score, gone, young})
	}
}

func onlyIn(a, b verdictJSON) []string {
	only := []string{}
	for _, s := range a.Symbols {
		if !slices.ContainsFunc(b.Symbols, func(o symbolJSON) bool { return o.Name == s.Name }) {
			only = append(only, s.Name)
		}
	}
	return only
}

func (d *ruleDiffs) describe() string {
	var text strings.Builder
	for _, c := range d.Changed {
		verdict := c.Before
		if c.Before != c.After {
			verdict += " to " + c.After
		}
		fmt.Fprintf(&text, "%s: %s, %.1f to %.1f", ledger.Printable(c.File), verdict, c.ScoreA, c.ScoreB)
		for _, s := range c.Gone {
			text.WriteString(" -" + ledger.Printable(s))
		}
		for _, s := range c.New {
			text.WriteString(" +" + ledger.Printable(s))
		}
		text.WriteString("\n")
	}
	for _, change := range slices.Sorted(maps.Keys(d.Verdicts)) {
		fmt.Fprintf(&text, "%d %s\n", d.Verdicts[change], change)
	}
	fmt.Fprintf(&text, "%d messages, %d with other symbols or scores\n", d.Messages, len(d.Changed))
	return text.String()
}
