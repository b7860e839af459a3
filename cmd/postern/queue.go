package main

import (
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"

	"postern/policy/records/ledger"
	"postern/proxy/queue"
)

type queueCommand struct {
	List   queueListCommand   `cmd:"" help:"Queued messages, and those given up."`
	Retry  queueRetryCommand  `cmd:"" help:"${queue_retry}"`
	Delete queueDeleteCommand `cmd:"" help:"${queue_delete}"`
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
	output
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
		if err := c.tell(w, s, queued(s)); err != nil {
			return err
		}
	}
	return nil
}

// queued prints a queued message and its remaining recipients.
func queued(s queue.Status) string {
	next, tries := "gave up", "1 try"
	if s.Attempts != 1 {
		tries = fmt.Sprintf("%d tries", s.Attempts)
	}
	if s.Folder == "queue" {
		next = "next try " + s.Next.Local().Format("15:04:05")
	}
	text := fmt.Sprintf("%s  %s  %s  <%s> by %s, %s, %s: %s\n", s.Queued.Local().Format("2006-01-02 15:04"), s.ID, s.Folder,
		ledger.Printable(s.From), s.Route, tries, next, ledger.Printable(s.Why))
	for _, r := range s.Recipients {
		if !r.Done {
			text += fmt.Sprintf("    %s  %s\n", ledger.Printable(r.Address), ledger.Printable(r.Reply))
		}
	}
	return text
}

type queueRetryCommand struct {
	where
	output
	IDs []string `arg:"" name:"id"`
}

// Run asks the running gateway to try now.
func (c *queueRetryCommand) Run(w world) error {
	return ask(w, c.where, c.output, http.MethodPost, "retry", c.IDs)
}

type queueDeleteCommand struct {
	where
	output
	IDs []string `arg:"" name:"id"`
}

// Run asks the running gateway to delete.
func (c *queueDeleteCommand) Run(w world) error {
	return ask(w, c.where, c.output, http.MethodDelete, "delete", c.IDs)
}

func ask(w world, f where, o output, method, verb string, ids []string) error {
	if _, err := queueDir(f); err != nil {
		return err
	}
	for _, id := range ids {
		path := "/queue/" + url.PathEscape(id)
		if method == http.MethodPost {
			path += "/" + verb
		}
		if err := act(w, f, method, path, nil, nil); err != nil {
			return refused(w, id, err)
		}
		if err := o.tell(w, deed{id, "asked to " + verb}, fmt.Sprintf("%s: asked the gateway to %s it\n", id, verb)); err != nil {
			return err
		}
	}
	return nil
}
