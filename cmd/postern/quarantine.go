package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"strings"

	"postern/cmd/postern/house"
	"postern/internal/mail"
	"postern/policy/ledger"
	"postern/policy/quarantine"
	"postern/proxy"
	"postern/proxy/queue"
)

type quarantineCommand struct {
	List    quarantineListCommand    `cmd:"" help:"What is held, the newest first."`
	Show    quarantineShowCommand    `cmd:"" help:"One held message: why, and its octets."`
	Release quarantineReleaseCommand `cmd:"" help:"Deliver held messages, once, as they came. They are not judged again."`
	Delete  quarantineDeleteCommand  `cmd:"" help:"Throw held messages away for good."`
}

func openQuarantine(f where) (*quarantine.Quarantine, string, error) {
	cfg, err := f.read()
	if err != nil {
		return nil, "", err
	}
	dir := filepath.Join(cfg.DataDir, "quarantine")
	if err := enter(cfg.DataDir, dir); err != nil {
		return nil, "", err
	}
	q, err := quarantine.Open(dir, quiet())
	return q, filepath.Join(cfg.DataDir, "queue"), err
}

type quarantineListCommand struct {
	where
	State     string `enum:"held,releasing,released,all" default:"held" help:"held, releasing, released or all."`
	Recipient string `placeholder:"ADDRESS|DOMAIN"`
	Text      string `help:"Only those with this text in subject, sender or author."`
	Limit     int    `default:"100"`
	IDs       bool   `name:"ids" help:"Only the ids, one a line."`
	JSON      bool   `name:"json" help:"One JSON object a line."`
}

// Run lists.
func (c *quarantineListCommand) Run(w world) (err error) {
	q, _, err := openQuarantine(c.where)
	if err != nil {
		return none(w, err)
	}
	defer func() { err = errors.Join(err, q.Close()) }()
	items, err := q.List(w.ctx, quarantine.Filter{State: quarantine.State(c.State), Recipient: c.Recipient, Text: c.Text, Limit: c.Limit})
	if err != nil {
		return err
	}
	if len(items) == 0 {
		fmt.Fprintln(w.stderr, "postern: no message")
	}
	for _, i := range items {
		switch {
		case c.JSON:
			err = printJSON(w, inWords(i))
		case c.IDs:
			_, err = fmt.Fprintln(w.stdout, i.ID)
		default:
			_, err = fmt.Fprintf(w.stdout, "%s  %s  %5.1f  <%s> -> %s  %s\n", i.Time.Local().Format("2006-01-02 15:04"), i.ID, i.Score,
				ledger.Printable(i.From.String()), ledger.Printable(addresses(i.Recipients)), ledger.Printable(i.Subject))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// heldJSON is an item as it is told to other programs: addresses are text.
type heldJSON struct {
	quarantine.Item
	From       string   `json:"from"`
	Recipients []string `json:"recipients"`
}

func inWords(i quarantine.Item) heldJSON {
	h := heldJSON{Item: i, From: i.From.String()}
	for _, r := range i.Recipients {
		h.Recipients = append(h.Recipients, r.Address.String())
	}
	return h
}

func addresses(list []mail.Recipient) string {
	text := ""
	for i, r := range list {
		if i > 0 {
			text += ", "
		}
		text += r.Address.String()
	}
	return text
}

type quarantineShowCommand struct {
	where
	Raw  bool   `help:"The octets of the message, and nothing else."`
	JSON bool   `name:"json" help:"What is known of it, as JSON."`
	ID   string `arg:""`
}

// Run shows.
func (c *quarantineShowCommand) Run(w world) (err error) {
	q, _, err := openQuarantine(c.where)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, q.Close()) }()
	ids := copies(w, q, c.ID)
	if len(ids) > 1 {
		fmt.Fprintf(w.stderr, "postern: %s is held as %s\n", c.ID, strings.Join(ids, ", "))
		return errNo
	}
	item, message, err := q.Get(w.ctx, ids[0])
	if err != nil {
		return unknown(w, c.ID, err)
	}
	defer func() { err = errors.Join(err, message.Close()) }()
	switch {
	case c.Raw:
		_, err = io.Copy(w.stdout, message.Open())
		return err
	case c.JSON:
		return printJSON(w, inWords(item))
	}
	fmt.Fprintf(w.stdout, "id         %s (%s)\nheld       %s\nfrom       <%s>, client %s\nto         %s\nsubject    %s\nscore      %.1f\nwhy        %s\n",
		item.ID, item.State, item.Time.Local().Format("2006-01-02 15:04:05"), ledger.Printable(item.From.String()), item.Client,
		ledger.Printable(addresses(item.Recipients)), ledger.Printable(item.Subject), item.Score, ledger.Printable(item.Reason))
	for _, r := range item.Reasons {
		fmt.Fprintf(w.stdout, "  %6.1f  %-28s %s\n", r.Score, r.Symbol, ledger.Printable(r.Help))
	}
	_, err = fmt.Fprintf(w.stdout, "%d octets; postern quarantine show --raw %s prints them\n", item.Size, item.ID)
	return err
}

// copies gives the ids under which a message is held: the sender, the header and the log have the message's own id, of
// which several copies may be held. An id that nothing is held under is given back.
func copies(w world, q *quarantine.Quarantine, id string) []string {
	held := func(id string) bool {
		_, message, err := q.Get(w.ctx, id)
		if err == nil {
			_ = message.Close() // opened for reading only
		}
		return err == nil
	}
	if strings.Contains(id, "-") || !mail.ValidID(id) || held(id) {
		return []string{id}
	}
	const most = 50
	var all []string
	for n := 1; n <= most; n++ {
		for _, end := range []string{"", "-refused"} {
			if one := fmt.Sprintf("%s-%d%s", id, n, end); held(one) {
				all = append(all, one)
			}
		}
	}
	if all == nil {
		return []string{id}
	}
	return all
}

func unknown(w world, id string, err error) error {
	if errors.Is(err, quarantine.ErrUnknown) || errors.Is(err, quarantine.ErrTaken) || errors.Is(err, quarantine.ErrDeleted) || errors.Is(err, queue.ErrNotFound) {
		why := err.Error()
		if !strings.HasPrefix(why, id+":") {
			why = id + ": " + why
		}
		fmt.Fprintln(w.stderr, "postern:", ledger.Printable(why))
		return errNo
	}
	return err
}

type quarantineReleaseCommand struct {
	where
	IDs []string `arg:"" name:"id"`
}

// Run releases: the message goes to the queue's folder, from which a running gateway delivers it.
func (c *quarantineReleaseCommand) Run(w world) error {
	return eachID(w, c.where, c.IDs, "released", func(q *quarantine.Quarantine, queueDir, id string) error {
		return release(w, q, queueDir, id)
	})
}

// release takes the item for itself and puts it into the queue's folder. Of any number of callers one gets that far.
func release(w world, q *quarantine.Quarantine, queueDir, id string) error {
	r, err := q.Claim(w.ctx, id, whoami())
	if err != nil {
		return err
	}
	if err := os.MkdirAll(queueDir, 0o700); err != nil {
		return errors.Join(err, q.Return(w.ctx, r))
	}
	queued := false
	err = house.Release(w.ctx, q, r, func(item proxy.QueueItem, c mail.Copy) error {
		err := queue.WriteItem(queueDir, item, c)
		queued = err == nil
		return err
	})
	if err != nil && !queued { // once queued it must not be held again; the gateway finishes it at its next start
		return errors.Join(err, q.Return(w.ctx, r))
	}
	return err
}

func whoami() string {
	u, err := user.Current()
	if err != nil {
		return "admin"
	}
	return u.Username
}

type quarantineDeleteCommand struct {
	where
	IDs []string `arg:"" name:"id"`
}

// Run deletes.
func (c *quarantineDeleteCommand) Run(w world) error {
	return eachID(w, c.where, c.IDs, "deleted", func(q *quarantine.Quarantine, _, id string) error {
		return q.Delete(w.ctx, id)
	})
}

// eachID does one thing to each id, and the answer is no if one of them could not have it done.
func eachID(w world, f where, ids []string, done string, do func(q *quarantine.Quarantine, queueDir, id string) error) (err error) {
	q, queueDir, err := openQuarantine(f)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, q.Close()) }()
	var no error
	var each []string
	for _, id := range ids {
		each = append(each, copies(w, q, id)...)
	}
	for _, id := range each {
		err := unknown(w, id, do(q, queueDir, id))
		switch {
		case errors.Is(err, errNo):
			no = errNo
		case err != nil:
			return err
		default:
			if _, err := fmt.Fprintf(w.stdout, "%s: %s\n", id, done); err != nil {
				return err
			}
		}
	}
	return no
}
