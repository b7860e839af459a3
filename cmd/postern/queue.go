package main

import (
	"fmt"
	"path/filepath"

	"postern/internal/mail"
	"postern/policy/ledger"
	"postern/proxy/queue"
)

type queueCommand struct {
	List   queueListCommand   `cmd:"" help:"What waits, and what was given up."`
	Retry  queueRetryCommand  `cmd:"" help:"Try now; what was given up is tried again."`
	Delete queueDeleteCommand `cmd:"" help:"Throw messages away for good."`
}

func queueDir(f where) (string, error) {
	cfg, err := f.read()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cfg.DataDir, "queue")
	return dir, enter(cfg.DataDir, dir)
}

type queueListCommand struct {
	where
	JSON bool `name:"json" help:"One JSON object a line."`
}

// Run lists.
func (c *queueListCommand) Run(w world) error {
	dir, err := queueDir(c.where)
	if err != nil {
		return none(w, err)
	}
	all, err := queue.List(dir)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		fmt.Fprintln(w.stderr, "postern: no message")
	}
	for _, s := range all {
		if c.JSON {
			err = printJSON(w, s)
		} else {
			err = printStatus(w, s)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func printStatus(w world, s queue.Status) error {
	next := "gave up"
	if s.Folder == "queue" {
		next = "next try " + s.Next.Local().Format("15:04:05")
	}
	_, err := fmt.Fprintf(w.stdout, "%s  %s  %s  <%s> by %s, %d tries, %s: %s\n", s.Queued.Local().Format("2006-01-02 15:04"), s.ID, s.Folder,
		ledger.Printable(s.From), s.Route, s.Attempts, next, ledger.Printable(s.Why))
	for _, r := range s.Recipients {
		if err == nil && !r.Done {
			_, err = fmt.Fprintf(w.stdout, "    %s  %s\n", ledger.Printable(r.Address), ledger.Printable(r.Reply))
		}
	}
	return err
}

type queueRetryCommand struct {
	where
	IDs []string `arg:"" name:"id"`
}

// Run asks the running gateway to try now.
func (c *queueRetryCommand) Run(w world) error { return ask(w, c.where, queue.VerbRetry, c.IDs) }

type queueDeleteCommand struct {
	where
	IDs []string `arg:"" name:"id"`
}

// Run asks the running gateway to delete.
func (c *queueDeleteCommand) Run(w world) error { return ask(w, c.where, queue.VerbDelete, c.IDs) }

func ask(w world, f where, verb queue.Verb, ids []string) error {
	dir, err := queueDir(f)
	if err != nil {
		return err
	}
	for _, id := range ids {
		err := error(queue.ErrNotFound)
		if mail.ValidID(id) {
			err = queue.Request(dir, verb, id, whoami())
		}
		if err != nil {
			return unknown(w, id, err)
		}
		if _, err := fmt.Fprintf(w.stdout, "%s: asked the gateway to %s it\n", id, verb); err != nil {
			return err
		}
	}
	return nil
}
