package main

import (
	"errors"
	"fmt"

	"postern/internal/mail/encodedword"
	"postern/policy/ledger"
	"postern/policy/quarantine"
)

type quarantineCampaignsCommand struct {
	List    campaignListCommand    `cmd:"" default:"withargs" help:"Held mails that are alike, most of them first."`
	Release campaignReleaseCommand `cmd:"" help:"Deliver all of a campaign that is held."`
	Delete  campaignDeleteCommand  `cmd:"" help:"Throw all of a campaign away."`
}

type campaignListCommand struct {
	where
	output
	Limit int `default:"100"`
}

// Run lists.
func (c *campaignListCommand) Run(w world) (err error) {
	q, _, err := openQuarantine(c.where, nil)
	if err != nil {
		return none(w, err)
	}
	defer func() { err = errors.Join(err, q.Close()) }()
	all, err := q.ListCampaigns(w.ctx, quarantine.Filter{Limit: c.Limit})
	for _, one := range all {
		err = c.tell(w, one, fmt.Sprintf("%s  %5d messages  %5d recipients  %s  %s\n", one.Key, one.Messages, one.Recipients,
			one.Last.Local().Format("2006-01-02 15:04"), ledger.Printable(encodedword.Decode(one.Subject))))
		if err != nil {
			return err
		}
	}
	return err
}

type campaignReleaseCommand struct {
	where
	output
	Learn bool   `default:"true" negatable:"" help:"Take it as a lesson that it was no spam."`
	Key   string `arg:"" help:"As campaigns shows it."`
}

// Run releases.
func (c *campaignReleaseCommand) Run(w world) error {
	return wholeCampaign(w, c.where, c.output, "release", c.Key, func(d *releaseDesk, f quarantine.Filter) (int, error) {
		claimed, err := d.Quarantine.ClaimAll(w.ctx, f, whoami())
		if err != nil {
			return 0, err
		}
		return d.ReleaseClaimed(w.ctx, claimed, c.Learn)
	})
}

type campaignDeleteCommand struct {
	where
	output
	Key string `arg:"" help:"As campaigns shows it."`
}

// Run deletes.
func (c *campaignDeleteCommand) Run(w world) error {
	return wholeCampaign(w, c.where, c.output, "delete", c.Key, func(d *releaseDesk, f quarantine.Filter) (int, error) {
		return d.Quarantine.DeleteAll(w.ctx, f, whoami())
	})
}

// campaignDone is what became of a campaign, as JSON.
type campaignDone struct {
	deed
	Messages int `json:"messages"`
}

// wholeCampaign does something to a campaign, so many messages at a time, until none are left.
func wholeCampaign(w world, f where, o output, verb, key string, do func(*releaseDesk, quarantine.Filter) (int, error)) (err error) {
	d, err := openReleases(f)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	total := 0
	for {
		n, err := do(d, quarantine.Filter{Campaign: key, Category: quarantine.AnyCategory, Limit: 500})
		total += n
		if err != nil {
			return noteAct(w, f, "campaign "+verb, key, err)
		}
		if n == 0 {
			break
		}
	}
	if total == 0 {
		fmt.Fprintln(w.stderr, "postern: nothing of such a campaign is held")
		return errNo
	}
	if err := o.tell(w, campaignDone{deed{key, verb + "d"}, total}, fmt.Sprintf("%d messages\n", total)); err != nil {
		return err
	}
	return noteAct(w, f, "campaign "+verb, key, nil)
}
