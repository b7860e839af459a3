package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"time"

	"postern/cmd/postern/house"
	"postern/internal/admin/api"
	"postern/internal/mail"
	"postern/internal/mail/encodedword"
	"postern/policy/ledger"
	"postern/policy/lists"
	"postern/policy/quarantine"
	"postern/policy/recall"
	"postern/proxy"
	"postern/proxy/queue"
)

type quarantineCommand struct {
	List    quarantineListCommand    `cmd:"" help:"What is held, the newest first."`
	Show    quarantineShowCommand    `cmd:"" help:"One held message: why, and its octets."`
	Release quarantineReleaseCommand `cmd:"" help:"Deliver held messages, once, as they came. They are not judged again."`
	Delete  quarantineDeleteCommand  `cmd:"" help:"Throw held messages away for good."`
	Export  quarantineExportCommand  `cmd:"" help:"The octets of one held message, for analysis elsewhere."`

	Campaigns quarantineCampaignsCommand `cmd:"" help:"Held mails that are alike: list, release, delete."`
}

// openQuarantine opens the held mail. told hears what becomes of it, nil for nobody.
func openQuarantine(f where, told func(quarantine.Change)) (*quarantine.Quarantine, string, error) {
	cfg, err := f.read()
	if err != nil {
		return nil, "", err
	}
	dir := filepath.Join(cfg.DataDir, "quarantine")
	if err := enter(cfg.DataDir, dir); err != nil {
		return nil, "", err
	}
	q, err := house.OpenQuarantine(cfg, quiet(), time.Now, told)
	return q, filepath.Join(cfg.DataDir, "queue"), err
}

type quarantineListCommand struct {
	where
	output
	State     string `enum:"held,releasing,released,all" default:"held" help:"held, releasing, released or all."`
	Category  string `enum:"spam,virus,attachment,policy,rejected,all,wanted" default:"wanted" help:"spam, virus, attachment, policy, rejected, all, or wanted: all but what was rejected."`
	Recipient string `placeholder:"ADDRESS|DOMAIN"`
	Text      string `help:"Only those with this text in subject, sender or author."`
	Limit     int    `default:"100"`
	IDs       bool   `name:"ids" help:"Only the ids, one a line."`
}

// Run lists.
func (c *quarantineListCommand) Run(w world) (err error) {
	q, _, err := openQuarantine(c.where, nil)
	if err != nil {
		return none(w, err)
	}
	defer func() { err = errors.Join(err, q.Close()) }()
	category := quarantine.Category(c.Category)
	if c.Category == "wanted" {
		category = ""
	}
	items, err := q.List(w.ctx, quarantine.Filter{State: quarantine.State(c.State), Category: category, Recipient: c.Recipient, Text: c.Text, Limit: c.Limit})
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
				ledger.Printable(i.From.String()), ledger.Printable(addresses(i.Recipients)), ledger.Printable(encodedword.Decode(i.Subject)))
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
	output
	Raw bool   `help:"The octets of the message, and nothing else."`
	ID  string `arg:""`
}

// Run shows.
func (c *quarantineShowCommand) Run(w world) (err error) {
	q, _, err := openQuarantine(c.where, nil)
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
		ledger.Printable(addresses(item.Recipients)), ledger.Printable(encodedword.Decode(item.Subject)), item.Score, ledger.Printable(item.Reason))
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
	if errors.Is(err, api.ErrNoWayOut) || errors.Is(err, api.ErrNoSender) {
		fmt.Fprintf(w.stderr, "postern: %s: %s\n", ledger.Printable(id), strings.TrimPrefix(err.Error(), "bad request: "))
		return errNo
	}
	return err
}

type quarantineReleaseCommand struct {
	where
	output
	To    string   `placeholder:"ADDRESS" help:"Deliver it to another address instead, say for analysis."`
	For   []string `placeholder:"ADDRESS" help:"Only these recipients' copies."`
	Allow bool     `help:"Let the sender's mail in from now on, for those who get this message, if it is authentic."`
	Learn bool     `default:"true" negatable:"" help:"Take it as a lesson that it was no spam."`
	Wait  bool     `default:"true" negatable:"" help:"Wait a few seconds for what the mail server answers."`
	IDs   []string `arg:"" name:"id"`
}

// Run releases: the message goes to the queue's folder, from which a running gateway delivers it.
func (c *quarantineReleaseCommand) Run(w world) (err error) {
	o := api.ReleaseOrder{By: whoami(), Allow: c.Allow, Learn: c.Learn, NoWait: !c.Wait}
	if c.To != "" {
		if o.To, err = mail.ParseAddress(c.To); err != nil || o.To.Domain == "" {
			return usageError{fmt.Errorf("--to: %q is not an address", c.To)}
		}
	}
	for _, text := range c.For {
		a, err := mail.ParseAddress(text)
		if err != nil {
			return usageError{fmt.Errorf("--for: %q is not an address", text)}
		}
		o.Recipients = append(o.Recipients, a)
	}
	return eachID(w, c.where, c.IDs, "release", func(d *releaseDesk, id string) error {
		o.ID = id
		done, err := d.Release(w.ctx, o)
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(w, done)
		}
		if done.Note != "" {
			fmt.Fprintln(w.stderr, "postern:", done.Note)
		}
		return printReleased(w, d, done)
	})
}

// printReleased says what the mail server answered, or why that is not known. Mail that it refused was not released: the
// answer is no.
func printReleased(w world, d *releaseDesk, done api.Released) error {
	said := "on its way to " + strings.Join(done.Recipients, ", ")
	if d.Unattended {
		said = "on the queue for " + strings.Join(done.Recipients, ", ") + ": no gateway is running, it is delivered once one does"
	}
	if len(done.Answers) == 0 {
		_, err := fmt.Fprintf(w.stdout, "%s: %s\n", done.ID, ledger.Printable(said))
		return err
	}
	var no error
	for _, a := range done.Answers {
		if a.Fate == string(ledger.Refused) || a.Fate == string(ledger.Expired) || a.Fate == string(ledger.Deleted) {
			no = errNo
		}
		if _, err := fmt.Fprintf(w.stdout, "%s: %s\n", done.ID, ledger.Printable(a.Text)); err != nil {
			return err
		}
	}
	return no
}

// releaseDesk lets held mail go beside a running gateway, or without one.
type releaseDesk struct {
	*house.Releaser
	close []func() error
}

func openReleases(f where) (_ *releaseDesk, err error) {
	cfg, err := f.read()
	if err != nil {
		return nil, err
	}
	records, err := openLedger(f)
	if err != nil {
		return nil, err
	}
	d := &releaseDesk{Releaser: &house.Releaser{Route: house.ReleaseRoute(cfg), Log: quiet()}, close: []func() error{records.Close}}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.Close())
		}
	}()
	q, queueDir, err := openQuarantine(f, house.HeldTold(records.Fate))
	if err != nil {
		return d, err
	}
	d.Quarantine, d.close = q, append([]func() error{q.Close}, d.close...)
	d.Ledger, d.Unattended = records, !flush(cfg)
	d.Put = func(_ context.Context, item proxy.QueueItem, c mail.Copy) error {
		if err := os.MkdirAll(queueDir, 0o700); err != nil {
			return err
		}
		return queue.WriteItem(queueDir, item, c)
	}
	if d.Lists, err = lists.Open(house.ListsStore(cfg), lists.Options{}); err != nil {
		return d, err
	}
	d.close = append(d.close, func() error { return d.Lists.Close(context.Background()) })
	if d.Grants, err = recall.Open(house.RecallStore(cfg), time.Now); err != nil {
		return d, err
	}
	d.close = append(d.close, d.Grants.Close)
	if d.LetIn, err = house.LetIn(cfg); err != nil {
		return d, err
	}
	teacher, done, err := house.OpenTeacher(cfg, quiet())
	d.Teacher, d.close = teacher, append(d.close, done)
	return d, err
}

// Close closes all that it opened.
func (d *releaseDesk) Close() (err error) {
	for _, one := range d.close {
		err = errors.Join(err, one())
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
	output
	IDs []string `arg:"" name:"id"`
}

// Run deletes.
func (c *quarantineDeleteCommand) Run(w world) error {
	return eachID(w, c.where, c.IDs, "delete", func(d *releaseDesk, id string) error {
		if err := d.Quarantine.Delete(w.ctx, id, whoami()); err != nil {
			return err
		}
		return c.tell(w, deed{id, "deleted"}, id+": deleted\n")
	})
}

// eachID does one thing to each id, and the answer is no if one of them could not have it done. Each is noted.
func eachID(w world, f where, ids []string, verb string, do func(d *releaseDesk, id string) error) (err error) {
	d, err := openReleases(f)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	var no error
	var each []string
	for _, id := range ids {
		each = append(each, copies(w, d.Quarantine, id)...)
	}
	for _, id := range each {
		err := unknown(w, id, noteAct(w, f, "quarantine "+verb, id, do(d, id)))
		switch {
		case errors.Is(err, errNo):
			no = errNo
		case err != nil:
			return err
		}
	}
	return no
}

type quarantineExportCommand struct {
	where
	ID string `arg:""`
}

// Run writes the octets of a message to standard output.
func (c *quarantineExportCommand) Run(w world) (err error) {
	q, _, err := openQuarantine(c.where, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, q.Close()) }()
	ids := copies(w, q, c.ID)
	if len(ids) > 1 {
		fmt.Fprintf(w.stderr, "postern: %s is held as %s\n", c.ID, strings.Join(ids, ", "))
		return errNo
	}
	return unknown(w, c.ID, noteAct(w, c.where, "quarantine export", ids[0], q.Export(w.ctx, ids[0], w.stdout)))
}
