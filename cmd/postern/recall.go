package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"postern/policy/records/ledger"
	"postern/policy/records/recall"
	"postern/proxy/console/api"
)

type recallCommand struct {
	Add  recallAddCommand  `cmd:"" help:"${recall_add}"`
	List recallListCommand `cmd:"" help:"Recalled messages."`
	Undo recallUndoCommand `cmd:"" help:"${recall_undo}"`
}

type recallAddCommand struct {
	where
	output
	ID        string `arg:"" optional:"" help:"The id of the message, as the ledger knows it."`
	SHA256    string `name:"sha256" placeholder:"HEX" help:"The hash of its octets."`
	MessageID string `name:"message-id" placeholder:"<ID>" help:"The Message-ID, for servers that rewrite messages, such as Exchange."`
	Why       string `default:"called back by an administrator" help:"A note for the audit log."`
}

// Run calls a message back: by its id that is its hash and its Message-ID.
func (c *recallAddCommand) Run(w world) error {
	if c.ID == "" && c.SHA256 == "" && c.MessageID == "" {
		return usageError{errors.New("name the message: its id, --sha256 or --message-id")}
	}
	what := c.ID + c.SHA256 + c.MessageID
	err := act(w, c.where, http.MethodPost, "/recalls", map[string]string{"id": c.ID, "sha256": c.SHA256, "message_id": c.MessageID, "why": c.Why}, nil)
	if p, ok := errors.AsType[api.Problem](err); ok && p.Detail == ledger.ErrUnknown.Error() {
		fmt.Fprintf(w.stderr, "postern: %s: the ledger has no such message\n", ledger.Printable(c.ID))
		return errNo
	}
	if err != nil {
		return refused(w, "", err)
	}
	return c.tell(w, deed{what, "recalled"}, "recalled: it is masked at the next fetch\n")
}

type recallListCommand struct {
	where
	output
}

// Run lists.
func (c *recallListCommand) Run(w world) error {
	var all []recall.Entry
	if err := act(w, c.where, http.MethodGet, "/recalls", nil, &all); err != nil {
		return none(w, plainly(err))
	}
	if len(all) == 0 {
		fmt.Fprintln(w.stderr, "postern: nothing was called back")
	}
	for _, e := range all {
		err := c.tell(w, e, fmt.Sprintf("%s  %s  %s%s  by %s: %s\n", e.Time.Local().Format("2006-01-02 15:04"), ledger.Printable(e.ID), e.SHA256,
			ledger.Printable(e.MessageID), ledger.Printable(e.By), ledger.Printable(e.Why)))
		if err != nil {
			return err
		}
	}
	return nil
}

type recallUndoCommand struct {
	where
	output
	Key string `arg:"" help:"The id, the hash or the Message-ID."`
}

// Run takes back.
func (c *recallUndoCommand) Run(w world) error {
	if err := act(w, c.where, http.MethodDelete, "/recalls/"+url.PathEscape(c.Key), nil, nil); err != nil {
		return refused(w, "", err)
	}
	return c.tell(w, deed{c.Key, "restored"}, "taken back: it is shown again\n")
}
