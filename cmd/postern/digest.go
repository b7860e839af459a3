package main

import (
	"fmt"
	"net/http"

	"postern/internal/mail"
	"postern/policy/records/ledger"
	"postern/proxy/digests"
)

type digestCommand struct {
	Send digestSendCommand `cmd:"" help:"${digest_send}"`
}

type digestSendCommand struct {
	where
	output
	User   string `placeholder:"ADDRESS" help:"Only this user."`
	DryRun bool   `help:"Dry run: only report who would get a digest."`
}

// Run sends.
func (c *digestSendCommand) Run(w world) error {
	if c.User != "" {
		if user, err := mail.ParseAddress(c.User); err != nil || user.Domain == "" {
			return usageError{fmt.Errorf("--user: %q is not an address", c.User)}
		}
	}
	if _, err := heldIDs(w, c.where, nil); err != nil { // nothing was ever held
		return none(w, err)
	}
	var all []digests.Report
	if err := act(w, c.where, http.MethodPost, "/digests", map[string]any{"user": c.User, "dry_run": c.DryRun}, &all); err != nil {
		return refused(w, "", err)
	}
	for _, one := range all {
		done := "sent to"
		if !one.Sent {
			done = "would go to"
		}
		text := fmt.Sprintf("%s %s: %d messages for %s\n", done, ledger.Printable(one.To), one.Messages, ledger.Printable(one.Mailbox))
		if err := c.tell(w, one, text); err != nil {
			return err
		}
	}
	if len(all) == 0 {
		fmt.Fprintln(w.stderr, "postern: nothing is held that anybody would be told of")
	}
	return nil
}
