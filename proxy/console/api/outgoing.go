package api

import "postern/proxy/digests"

func (c *call) sendDigests() (any, error) {
	var body struct {
		User   string `json:"user"`
		DryRun bool   `json:"dry_run"`
	}
	if err := c.read(&body); err != nil {
		return nil, err
	}
	c.what, c.tried = body.User, body.DryRun
	c.takeTime()
	all, err := c.o.SendDigests(c.ctx, body.User, body.DryRun)
	if all == nil {
		all = []digests.Report{}
	}
	return all, err
}

// SweepOrder names the users whose mailboxes are swept.
type SweepOrder struct {
	Backend string `json:"backend"`
	User    string `json:"user"`
	// To is the mailbox of the user that the messages are moved to.
	To     string `json:"to"`
	DryRun bool   `json:"dry_run"`
}

func (c *call) sweep() (any, error) {
	var order SweepOrder
	if err := c.read(&order); err != nil {
		return nil, err
	}
	c.what, c.tried = order.User+" at "+order.Backend, order.DryRun
	if order.User == "" || order.To == "" {
		return nil, BadRequest("user and to are wanted: whose mailboxes, and where the messages go")
	}
	c.takeTime()
	return c.o.Sweep(c.ctx, order)
}
