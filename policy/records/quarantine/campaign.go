package quarantine

import (
	"context"
	"fmt"
	"time"
)

// Campaign is a group of similar held messages.
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
