package quarantine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"postern/internal/mail"
)

// Campaign is a number of held mails that are alike.
type Campaign struct {
	// Key is that of CampaignKey.
	Key string `json:"key"`
	// Messages and Recipients are counted among what the filter asks for.
	Messages   int       `json:"messages"`
	Recipients int       `json:"recipients"`
	First      time.Time `json:"first"`
	Last       time.Time `json:"last"`
	// Subject is that of the newest.
	Subject string `json:"subject"`
}

// ListCampaigns gives the campaigns with the most messages first, Filter.Limit of them (100 for 0), without mail that
// stands alone.
func (q *Quarantine) ListCampaigns(ctx context.Context, f Filter) (all []Campaign, err error) {
	where, args, err := f.where()
	if err != nil {
		return nil, fmt.Errorf("quarantine: %w", err)
	}
	if f.Limit <= 0 {
		f.Limit = 100
	}
	// of a bare column beside max() SQLite gives the value of the row with the maximum
	rows, err := q.db.Read().QueryContext(ctx, `WITH biggest AS (SELECT campaign, count(*) AS n, min(time) AS first, max(time) AS last, meta ->> 'subject' AS subject
		FROM item`+where+` AND campaign <> '' GROUP BY campaign HAVING count(*) > 1 ORDER BY n DESC, last DESC, campaign LIMIT ?)
		SELECT campaign, n, first, last, coalesce(subject, ''), (SELECT count(*) FROM recipient r JOIN item i ON i.id = r.item WHERE i.campaign = b.campaign AND r.forward = 0)
		FROM biggest b ORDER BY n DESC, last DESC, campaign`, append(args, f.Limit)...)
	if err != nil {
		return nil, fmt.Errorf("quarantine: %w", err)
	}
	defer func() { _ = rows.Close() }() // reading only; Err tells what matters
	for rows.Next() {
		var c Campaign
		var first, last int64
		if err := rows.Scan(&c.Key, &c.Messages, &first, &last, &c.Subject, &c.Recipients); err != nil {
			return nil, fmt.Errorf("quarantine: %w", err)
		}
		c.First, c.Last = time.UnixMilli(first).UTC(), time.UnixMilli(last).UTC()
		all = append(all, c)
	}
	return all, rows.Err()
}

// bulk is how many messages one call takes.
const bulk = 500

// ClaimAll claims all that is held and that the filter asks for, up to Filter.Limit, at most 500 at a time: the caller
// puts them on the queue, finishes them and comes again until there are none. With Filter.Recipients only their copies
// are claimed. What others were faster to take is left out.
func (q *Quarantine) ClaimAll(ctx context.Context, f Filter, by string) ([]Release, error) {
	f.State, f.After = Held, ""
	f.Limit = boundBulk(f.Limit)
	items, err := q.List(ctx, f)
	if err != nil {
		return nil, err
	}
	var all []Release
	for _, item := range items {
		r, err := q.Claim(ctx, item.ID, by, item.heldOf(f)...)
		switch {
		case err == nil:
			all = append(all, r)
		case !errors.Is(err, ErrTaken) && !errors.Is(err, ErrUnknown) && !errors.Is(err, ErrDeleted):
			return all, err
		}
	}
	return all, nil
}

// DeleteAll throws the copies away that ClaimAll would claim, and says of how many messages.
func (q *Quarantine) DeleteAll(ctx context.Context, f Filter, by string) (int, error) {
	f.State, f.After = Held, ""
	f.Limit = boundBulk(f.Limit)
	items, err := q.List(ctx, f)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, item := range items {
		err := q.DeleteCopies(ctx, item.ID, by, item.heldOf(f)...)
		switch {
		case err == nil:
			n++
		case !errors.Is(err, ErrTaken) && !errors.Is(err, ErrUnknown) && !errors.Is(err, ErrDeleted):
			return n, err
		}
	}
	return n, nil
}

func boundBulk(limit int) int {
	if limit <= 0 || limit > bulk {
		return bulk
	}
	return limit
}

// heldOf names the copies that a filter with recipients means, and that are still held; none for a filter without them.
func (i Item) heldOf(f Filter) []mail.Address {
	if len(f.Recipients) == 0 && f.Recipient == "" {
		return nil
	}
	one, err := mail.ParseAddress(f.Recipient)
	isAddress, domain := err == nil, mail.ASCIIDomain(strings.TrimPrefix(f.Recipient, "@"))
	var own []mail.Address
	for _, s := range i.Standings {
		switch a := s.Address; {
		case s.State != Held || s.Forward:
		case len(f.Recipients) > 0 && !slices.ContainsFunc(f.Recipients, func(o mail.Address) bool { return o.Key() == a.Key() }):
		case f.Recipient != "" && isAddress && a.Key() != one.Key():
		case f.Recipient != "" && !isAddress && a.ASCIIDomain() != domain:
		default:
			own = append(own, a)
		}
	}
	return own
}
