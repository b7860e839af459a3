package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"postern/cmd/postern/app"
	"postern/internal/mail"
	"postern/internal/mail/encodedword"
	"postern/policy/records/ledger"
	"postern/policy/records/quarantine"
	"postern/proxy/console/api"
	"postern/proxy/release"
)

type quarantineCommand struct {
	List    quarantineListCommand    `cmd:"" help:"Held messages, newest first."`
	Show    quarantineShowCommand    `cmd:"" help:"One held message: why, and its octets."`
	Release quarantineReleaseCommand `cmd:"" help:"${quarantine_release}"`
	Delete  quarantineDeleteCommand  `cmd:"" help:"${quarantine_delete}"`
	Export  quarantineExportCommand  `cmd:"" help:"${quarantine_export}"`

	Campaigns quarantineCampaignsCommand `cmd:"" help:"Similar held messages: list, release, delete."`
}

// openQuarantine opens the held mail, for looking.
func openQuarantine(f where) (*quarantine.Quarantine, error) {
	cfg, err := f.read()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(cfg.DataDir, "quarantine")
	if err := enter(cfg.DataDir, dir); err != nil {
		return nil, err
	}
	return app.OpenQuarantine(cfg, quiet(), time.Now, nil)
}

type quarantineListCommand struct {
	where
	output
	State     string `enum:"held,releasing,released,all" default:"held" help:"held, releasing, released or all."`
	Category  string `enum:"spam,virus,attachment,policy,rejected,all,wanted" default:"wanted" help:"spam, virus, attachment, policy, rejected, all, or wanted: all except rejected."`
	Recipient string `placeholder:"ADDRESS|DOMAIN"`
	Text      string `help:"Only those with this text in subject, sender or author."`
	Limit     int    `default:"100"`
	IDs       bool   `name:"ids" help:"Only the ids, one a line."`
}

// Run lists.
func (c *quarantineListCommand) Run(w world) (err error) {
	q, err := openQuarantine(c.where)
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

// heldJSON is a held item as JSON: addresses are text.
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
	q, err := openQuarantine(c.where)
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
	const limit = 50
	var all []string
	for n := 1; n <= limit; n++ {
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
	if !errors.Is(err, quarantine.ErrUnknown) {
		return err
	}
	why := err.Error()
	if !strings.HasPrefix(why, id+":") {
		why = id + ": " + why
	}
	fmt.Fprintln(w.stderr, "postern:", ledger.Printable(why))
	return errNo
}

type quarantineReleaseCommand struct {
	where
	output
	To    string   `placeholder:"ADDRESS" help:"Deliver it to another address instead, say for analysis."`
	For   []string `placeholder:"ADDRESS" help:"Only these recipients' copies."`
	Allow bool     `help:"Also allow the sender's authenticated mail to these recipients from now on."`
	Learn bool     `default:"true" negatable:"" help:"Learn the message as ham."`
	Wait  bool     `default:"true" negatable:"" help:"Wait a few seconds for the mail server's answer."`
	IDs   []string `arg:"" name:"id"`
}

// Run releases.
func (c *quarantineReleaseCommand) Run(w world) (err error) {
	body := map[string]any{"to": c.To, "allow": c.Allow, "learn": c.Learn, "wait": c.Wait}
	if c.To != "" {
		if to, err := mail.ParseAddress(c.To); err != nil || to.Domain == "" {
			return usageError{fmt.Errorf("--to: %q is not an address", c.To)}
		}
	}
	for _, text := range c.For {
		if _, err := mail.ParseAddress(text); err != nil {
			return usageError{fmt.Errorf("--for: %q is not an address", text)}
		}
	}
	if len(c.For) > 0 {
		body["recipients"] = c.For
	}
	return eachID(w, c.where, c.IDs, func(p *plane, id string) error {
		var done release.Released
		if err := p.act(http.MethodPost, "/quarantine/"+url.PathEscape(id)+"/release", body, &done); err != nil {
			return err
		}
		if c.JSON {
			return printJSON(w, done)
		}
		if done.Note != "" {
			fmt.Fprintln(w.stderr, "postern:", done.Note)
		}
		return printReleased(w, done)
	})
}

// printReleased prints the mail server's reply, or why it is not known. Mail that the server refused was not released:
// the answer is no.
func printReleased(w world, done release.Released) error {
	said := "on its way to " + strings.Join(done.Recipients, ", ")
	if done.Unattended {
		said = "on the queue for " + strings.Join(done.Recipients, ", ") + ": no gateway is running, it is delivered once one does"
	}
	if len(done.Answers) == 0 {
		_, err := fmt.Fprintf(w.stdout, "%s: %s\n", done.ID, ledger.Printable(said))
		return err
	}
	var no error
	for _, a := range done.Answers {
		if a.Fate == ledger.Refused || a.Fate == ledger.Expired || a.Fate == ledger.Deleted {
			no = errNo
		}
		if _, err := fmt.Fprintf(w.stdout, "%s: %s\n", done.ID, ledger.Printable(a.Text)); err != nil {
			return err
		}
	}
	return no
}

type quarantineDeleteCommand struct {
	where
	output
	IDs   []string `arg:"" name:"id"`
	Learn bool     `help:"Learn the message as spam."`
}

// Run deletes.
func (c *quarantineDeleteCommand) Run(w world) error {
	return eachID(w, c.where, c.IDs, func(p *plane, id string) error {
		path := "/quarantine/" + url.PathEscape(id)
		if c.Learn {
			path += "?learn=true"
		}
		if err := p.act(http.MethodDelete, path, nil, nil); err != nil {
			return err
		}
		return c.tell(w, deed{id, "deleted"}, id+": deleted\n")
	})
}

// eachID acts on each id; the answer is no if one of them failed.
func eachID(w world, f where, ids []string, do func(p *plane, id string) error) (err error) {
	each, err := heldIDs(w, f, ids)
	if err != nil {
		return err
	}
	p, err := openPlane(w, f, "/quarantine")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	var no error
	for _, id := range each {
		err := do(p, id)
		if wrong, ok := errors.AsType[api.Problem](err); ok && wrong.Status == http.StatusBadRequest { // not available for this one
			wrong.Status = http.StatusConflict
			err = wrong
		}
		switch err = refused(w, id, err); {
		case errors.Is(err, errNo):
			no = errNo
		case err != nil:
			return err
		}
	}
	return no
}

// heldIDs gives the ids under which messages are held.
func heldIDs(w world, f where, ids []string) (each []string, err error) {
	q, err := openQuarantine(f)
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		each = append(each, copies(w, q, id)...)
	}
	return each, q.Close()
}

type quarantineExportCommand struct {
	where
	ID string `arg:""`
}

// Run writes the octets of a message to standard output.
func (c *quarantineExportCommand) Run(w world) error {
	ids, err := heldIDs(w, c.where, []string{c.ID})
	if err != nil {
		return err
	}
	if len(ids) > 1 {
		fmt.Fprintf(w.stderr, "postern: %s is held as %s\n", c.ID, strings.Join(ids, ", "))
		return errNo
	}
	return refused(w, c.ID, act(w, c.where, http.MethodGet, "/quarantine/"+url.PathEscape(ids[0])+"/raw", nil, w.stdout))
}
