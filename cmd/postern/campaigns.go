package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"postern/internal/mail/encodedword"
	"postern/policy/records/ledger"
	"postern/policy/records/quarantine"
)

type quarantineCampaignsCommand struct {
	List    campaignListCommand    `cmd:"" default:"withargs" help:"Similar held messages, most of them first."`
	Release campaignReleaseCommand `cmd:"" help:"${quarantine_campaigns_release}"`
	Delete  campaignDeleteCommand  `cmd:"" help:"${quarantine_campaigns_delete}"`
}

type campaignListCommand struct {
	where
	output
	Limit int `default:"100"`
}

// Run lists.
func (c *campaignListCommand) Run(w world) (err error) {
	q, err := openQuarantine(c.where)
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
	Learn bool   `default:"true" negatable:"" help:"Learn the message as ham."`
	Key   string `arg:"" help:"As campaigns shows it."`
}

// Run releases.
func (c *campaignReleaseCommand) Run(w world) error {
	body := map[string]any{"learn": c.Learn}
	return wholeCampaign(w, c.where, c.output, "released", c.Key, func(p *plane, path string, done *campaignActs) error {
		return p.act(http.MethodPost, path+"/release", body, done)
	})
}

type campaignDeleteCommand struct {
	where
	output
	Key string `arg:"" help:"As campaigns shows it."`
}

// Run deletes.
func (c *campaignDeleteCommand) Run(w world) error {
	return wholeCampaign(w, c.where, c.output, "deleted", c.Key, func(p *plane, path string, done *campaignActs) error {
		return p.act(http.MethodDelete, path, nil, done)
	})
}

// campaignActs is the result for some messages of a campaign. More says that there may be others.
type campaignActs struct {
	Messages, Refused, Failed int
	More                      bool
}

// campaignDone is the result for a campaign, as JSON.
type campaignDone struct {
	deed
	Messages int `json:"messages"`
}

// wholeCampaign acts on a campaign in batches of messages until none are left.
func wholeCampaign(w world, f where, o output, word, key string, do func(*plane, string, *campaignActs) error) (err error) {
	if _, err := heldIDs(w, f, nil); err != nil { // nothing was ever held
		return err
	}
	p, err := openPlane(w, f, "/campaigns")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	total := 0
	for more := true; more; {
		var done campaignActs
		err := do(p, "/campaigns/"+url.PathEscape(key), &done)
		if isStatus(err, http.StatusNotFound) {
			break
		}
		if err != nil {
			return refused(w, key, err)
		}
		total, more = total+done.Messages, done.More && done.Messages > 0
		if done.Failed+done.Refused > 0 {
			return fmt.Errorf("%d messages %s, %d could not be", total, word, done.Failed+done.Refused)
		}
	}
	if total == 0 {
		fmt.Fprintln(w.stderr, "postern: nothing of such a campaign is held")
		return errNo
	}
	return o.tell(w, campaignDone{deed{key, word}, total}, fmt.Sprintf("%d messages\n", total))
}
