package quarantine

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"postern/internal/mail"
)

// Filter says which items are listed. What it leaves out does not matter.
type Filter struct {
	// State is Held where nothing is said; AnyState lists all. With an address as Recipient it is the state of that
	// recipient's copy.
	State State
	// Category is all but Rejected where nothing is said; AnyCategory lists all.
	Category Category
	// Recipient and Sender are each an address or a domain. A sender is looked for in the envelope and in the From field.
	Recipient, Sender string
	// Recipients, if there are any, are addresses one of which must have a copy: a person's own and those they are deputy
	// for. There may be a thousand.
	Recipients []mail.Address
	// Text is looked for in subject, sender and author, whatever its case.
	Text string
	// Campaign is a key of CampaignKey.
	Campaign string
	// Since is included, Until isn't.
	Since, Until time.Time
	// Limit is how many are listed, the newest first; 0 is 100.
	Limit int
	// After is the cursor that the page before gave: "" for the first one.
	After string
}

// AnyState lists items of all states.
const AnyState State = "all"

// Errors of a Filter.
var (
	ErrCursor     = errors.New("this is no cursor of a list of held mail")
	ErrRecipients = errors.New("more than a thousand recipients at once")
)

const (
	selectItem    = "SELECT meta, state, by, (SELECT json_group_array(json(standing)) FROM (SELECT standing FROM recipient WHERE item = item.id ORDER BY n)) FROM item"
	maxRecipients = 1000
)

// List gives the items that the filter asks for, the newest first.
func (q *Quarantine) List(ctx context.Context, f Filter) ([]Item, error) {
	items, _, err := q.Page(ctx, f)
	return items, err
}

// Page is List with the cursor of the next page, "" if there is none.
func (q *Quarantine) Page(ctx context.Context, f Filter) (items []Item, next string, err error) {
	where, args, err := f.where()
	if err != nil {
		return nil, "", fmt.Errorf("quarantine: %w", err)
	}
	if f.Limit <= 0 {
		f.Limit = 100
	}
	items, err = q.items(ctx, min(f.Limit, 1000), selectItem+where+" ORDER BY time DESC, id DESC LIMIT ?", append(args, f.Limit+1)...)
	if err != nil {
		return nil, "", fmt.Errorf("quarantine: %w", err)
	}
	if len(items) > f.Limit {
		items = items[:f.Limit]
		last := items[f.Limit-1]
		next = strconv.FormatInt(last.Time.UnixMilli(), 10) + "_" + last.ID
	}
	return items, next, nil
}

// where writes the condition in SQL.
func (f Filter) where() (string, []any, error) {
	text, args := " WHERE 1", []any{}
	and := func(condition string, values ...any) {
		text += " AND " + condition
		args = append(args, values...)
	}

	f.State = cmp.Or(f.State, Held)
	f.whereState(and)
	if !f.Since.IsZero() {
		and("time >= ?", f.Since.UnixMilli())
	}
	if !f.Until.IsZero() {
		and("time < ?", f.Until.UnixMilli())
	}
	if err := f.whereRecipient(and); err != nil {
		return "", nil, err
	}
	if f.Sender != "" {
		f.whereSender(and)
	}
	if f.Text != "" {
		and("instr(words, ?) > 0", strings.ToLower(f.Text))
	}
	if f.Campaign != "" {
		and("campaign = ?", f.Campaign)
	}
	if f.After != "" {
		ms, id, found := strings.Cut(f.After, "_")
		at, err := strconv.ParseInt(ms, 10, 64)
		if !found || err != nil || !mail.ValidID(id) {
			return "", nil, ErrCursor
		}
		and("(time, id) < (?, ?)", at, id)
	}

	return text, args, nil
}

// whereState leaves out refused mail by default. A search by recipient is for the state of that recipient's copies.
func (f Filter) whereState(and func(condition string, values ...any)) {
	if f.State != AnyState && f.Recipient == "" && len(f.Recipients) == 0 {
		and("state = ?", string(f.State))
	}

	switch f.Category {
	case "":
		and("category <> ?", string(Rejected))
	case AnyCategory:
	default:
		and("category = ?", string(f.Category))
	}
}

func (f Filter) whereSender(and func(condition string, values ...any)) {
	if a, err := mail.ParseAddress(f.Sender); err == nil {
		and("(sender = ? OR author = ?)", a.Key(), a.Key())
		return
	}
	domain := mail.ASCIIDomain(strings.TrimPrefix(f.Sender, "@"))
	and("(sender_domain = ? OR author_domain = ?)", domain, domain)
}

// whereRecipient asks for copies, and for their own state: that of the item is the other recipients' too.
func (f Filter) whereRecipient(and func(string, ...any)) error {
	if len(f.Recipients) > maxRecipients {
		return ErrRecipients
	}
	const ( // a person has few of the messages, a domain may have all: then one goes along the time and looks at each
		few  = "id IN (SELECT item FROM recipient WHERE 1"
		many = "EXISTS (SELECT 1 FROM recipient WHERE recipient.item = item.id"
	)
	own := func(before, condition string, values ...any) {
		if f.State != AnyState {
			condition, values = condition+" AND recipient.state = ?", append(values, string(f.State))
		}
		and(before+" AND forward = 0 AND "+condition+")", values...)
	}
	if len(f.Recipients) > 0 {
		keys := make([]any, len(f.Recipients))
		for i, a := range f.Recipients {
			keys[i] = a.Key()
		}
		own(few, "address IN (?"+strings.Repeat(",?", len(keys)-1)+")", keys...)
	}
	if f.Recipient == "" {
		return nil
	}
	if a, err := mail.ParseAddress(f.Recipient); err == nil {
		own(few, "address = ?", a.Key())
		return nil
	}
	own(many, "domain = ?", mail.ASCIIDomain(strings.TrimPrefix(f.Recipient, "@")))
	return nil
}

// Unfinished gives what was claimed and not finished, the oldest first. At the start, before any new claim, these are
// leftovers of a crash: it is to be put on the queue again, under the same id, and finished.
func (q *Quarantine) Unfinished(ctx context.Context) ([]Release, error) {
	found, err := q.items(ctx, 0, selectItem+" WHERE id IN (SELECT item FROM recipient WHERE state = 'releasing') ORDER BY time, id")
	if err != nil {
		return nil, fmt.Errorf("quarantine: %w", err)
	}
	var all []Release
	for _, item := range found {
		begin := len(all)
		for _, s := range item.Standings {
			if s.State != Releasing {
				continue
			}
			i := begin
			for i < len(all) && all[i].Number != s.Release {
				i++
			}
			if i == len(all) {
				all = append(all, Release{Item: item.ID, Number: s.Release, By: s.By, At: s.At, Forward: s.Forward})
			}
			all[i].Recipients = append(all[i].Recipients, mail.Recipient{Address: s.Address})
		}
		for i := begin; i < len(all); i++ {
			all[i] = all[i].asHeld(item)
		}
	}
	return all, nil
}

// Expire deletes what came before, held or released, and what had an end of its own that is over. It says how many. What
// is being released stays.
func (q *Quarantine) Expire(ctx context.Context, before time.Time) (int, error) {
	n := 0
	for after := ""; ; {
		old, err := q.items(ctx, 0, selectItem+` WHERE (time < ? OR expires > 0 AND expires <= ?) AND id > ?
			AND id NOT IN (SELECT item FROM recipient WHERE state = 'releasing') ORDER BY id LIMIT 200`, before.UnixMilli(), q.now().UnixMilli(), after)
		if err != nil {
			return n, fmt.Errorf("quarantine: %w", err)
		}
		if len(old) == 0 {
			return n, nil
		}
		for _, item := range old {
			after = item.ID
			gone, err := q.throwAway(ctx, item.ID)
			q.tellGone(item.ID, gone, "", Expired)
			if err != nil && !errors.Is(err, ErrTaken) && !errors.Is(err, ErrUnknown) {
				return n, err
			}
			if err == nil {
				n++
			}
		}
	}
}

func (q *Quarantine) items(ctx context.Context, room int, text string, args ...any) ([]Item, error) {
	rows, err := q.db.Read().QueryContext(ctx, text, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // reading only; Err tells what matters
	found := make([]Item, 0, room)
	for rows.Next() {
		var meta, list []byte
		var state, by string
		if err := rows.Scan(&meta, &state, &by, &list); err != nil {
			return nil, err
		}
		var item Item
		if err := errors.Join(json.Unmarshal(meta, &item), json.Unmarshal(list, &item.Standings)); err != nil {
			return nil, err
		}
		item.State, item.By = State(state), by
		found = append(found, item)
	}
	return found, rows.Err()
}
