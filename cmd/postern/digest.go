package main

import (
	"errors"
	"fmt"

	"postern/cmd/postern/house"
	"postern/internal/mail"
	"postern/policy/ledger"
)

type digestCommand struct {
	Send digestSendCommand `cmd:"" help:"Tell users by mail what is held for them, now, whatever the schedule says."`
}

type digestSendCommand struct {
	where
	output
	User   string `placeholder:"ADDRESS" help:"Only this user."`
	DryRun bool   `help:"Only tell who would get one."`
}

// Run sends: the messages go to the queue's folder, from which a running gateway delivers them.
func (c *digestSendCommand) Run(w world) (err error) {
	var user mail.Address
	if c.User != "" {
		if user, err = mail.ParseAddress(c.User); err != nil || user.Domain == "" {
			return usageError{fmt.Errorf("--user: %q is not an address", c.User)}
		}
	}
	cfg, err := c.read()
	if err != nil {
		return err
	}
	d, err := openReleases(c.where)
	if err != nil {
		return none(w, err)
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	all, err := house.SendDigests(w.ctx, cfg, d.Quarantine, d.Put, user, c.DryRun)
	if errors.Is(err, house.ErrNoDigest) {
		return usageError{err}
	}
	for _, one := range all {
		if c.JSON {
			err = errors.Join(err, printJSON(w, one))
			continue
		}
		done := "sent to"
		if !one.Sent {
			done = "would go to"
		}
		_, werr := fmt.Fprintf(w.stdout, "%s %s: %d messages for %s\n", done, ledger.Printable(one.To), one.Messages, ledger.Printable(one.Mailbox))
		err = errors.Join(err, werr)
	}
	if len(all) == 0 && err == nil {
		fmt.Fprintln(w.stderr, "postern: nothing is held that anybody would be told of")
	}
	if c.DryRun {
		return err
	}
	return noteAct(w, c.where, "digest send", c.User, err)
}
