package main

import (
	"errors"
	"fmt"
	"time"

	"postern/cmd/postern/house"
	"postern/policy/ledger"
	"postern/policy/recall"
)

type recallCommand struct {
	Add  recallAddCommand  `cmd:"" help:"Call a message back: whoever fetches it from now on by POP3 or IMAP gets it masked."`
	List recallListCommand `cmd:"" help:"What was called back."`
	Undo recallUndoCommand `cmd:"" help:"Take a recall back."`
}

// recalls are the list, with the ledger that is told of changes.
type recalls struct {
	*recall.List
	records *ledger.Ledger
}

// Close closes both.
func (r recalls) Close() error { return errors.Join(r.List.Close(), r.records.Close()) }

func openRecalls(f where) (_ recalls, err error) {
	cfg, err := f.read()
	if err != nil {
		return recalls{}, err
	}
	if err := enter(cfg.DataDir, cfg.DataDir); err != nil {
		return recalls{}, err
	}
	list, err := recall.Open(house.RecallStore(cfg), time.Now)
	if err != nil {
		return recalls{}, err
	}
	records, err := house.ReadLedger(cfg, quiet())
	if err != nil {
		return recalls{}, errors.Join(err, list.Close())
	}
	list.Tell(house.RecallTold(records, records.Fate))
	return recalls{list, records}, nil
}

type recallAddCommand struct {
	where
	output
	ID        string `arg:"" optional:"" help:"The id of the message, as the ledger knows it."`
	SHA256    string `name:"sha256" placeholder:"HEX" help:"The hash of its octets."`
	MessageID string `name:"message-id" placeholder:"<ID>" help:"Its Message-ID: for servers that write messages anew, such as Exchange."`
	Why       string `default:"called back by an administrator" help:"For the record."`
}

// Run calls a message back: by its id that is its hash and its Message-ID.
func (c *recallAddCommand) Run(w world) (err error) {
	if c.ID == "" && c.SHA256 == "" && c.MessageID == "" {
		return usageError{errors.New("name the message: its id, --sha256 or --message-id")}
	}
	entries := []recall.Entry{{SHA256: c.SHA256, MessageID: c.MessageID}}
	if c.ID != "" {
		if entries, err = entriesOf(w, c.where, c.ID); err != nil {
			return err
		}
	}
	list, err := openRecalls(c.where)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, list.Close()) }()
	for _, e := range entries {
		e.By, e.Why = whoami(), c.Why
		if err := list.Add(w.ctx, e); errors.Is(err, recall.ErrHash) {
			return usageError{err}
		} else if err != nil {
			return err
		}
	}
	if err = c.tell(w, deed{c.ID + c.SHA256 + c.MessageID, "recalled"}, "recalled: it is masked at the next fetch\n"); err != nil {
		return err
	}
	return noteAct(w, c.where, "recall add", c.ID+c.SHA256+c.MessageID, nil)
}

// entriesOf looks a message up in the ledger.
func entriesOf(w world, f where, id string) (_ []recall.Entry, err error) {
	l, err := openLedger(f)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	record, err := l.Explain(w.ctx, id)
	if errors.Is(err, ledger.ErrUnknown) {
		fmt.Fprintf(w.stderr, "postern: %s: the ledger has no such message\n", ledger.Printable(id))
		return nil, errNo
	}
	if err != nil {
		return nil, err
	}
	var entries []recall.Entry
	for _, t := range record.Transactions {
		if t.SHA256 != "" {
			entries = append(entries, recall.Entry{SHA256: t.SHA256, ID: t.ID})
		}
		if t.MessageID != "" {
			entries = append(entries, recall.Entry{MessageID: t.MessageID, ID: t.ID})
		}
	}
	if len(entries) == 0 {
		fmt.Fprintf(w.stderr, "postern: %s brought no message\n", ledger.Printable(id))
		return nil, errNo
	}
	return entries, nil
}

type recallListCommand struct {
	where
	output
}

// Run lists.
func (c *recallListCommand) Run(w world) (err error) {
	list, err := openRecalls(c.where)
	if err != nil {
		return none(w, err)
	}
	defer func() { err = errors.Join(err, list.Close()) }()
	all, err := list.All(w.ctx)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		fmt.Fprintln(w.stderr, "postern: nothing was called back")
	}
	for _, e := range all {
		err = c.tell(w, e, fmt.Sprintf("%s  %s  %s%s  by %s: %s\n", e.Time.Local().Format("2006-01-02 15:04"), ledger.Printable(e.ID), e.SHA256,
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
func (c *recallUndoCommand) Run(w world) (err error) {
	list, err := openRecalls(c.where)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, list.Close()) }()
	if err := list.Remove(w.ctx, c.Key, whoami()); errors.Is(err, recall.ErrUnknown) {
		fmt.Fprintln(w.stderr, "postern: there is no such recall")
		return errNo
	} else if err != nil {
		return err
	}
	if err = c.tell(w, deed{c.Key, "restored"}, "taken back: it is shown again\n"); err != nil {
		return err
	}
	return noteAct(w, c.where, "recall undo", c.Key, nil)
}
