package ledger

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// exportPage is how many records are in memory at a time.
const exportPage = 500

// WriteJSONLines writes what a query finds, the newest first, one Transaction a line as JSON. A Limit of 0 is no limit.
// Broken UTF-8 becomes U+FFFD.
func (l *Ledger) WriteJSONLines(ctx context.Context, w io.Writer, q Query) error {
	out := json.NewEncoder(w)
	return l.export(ctx, q, func(t *Transaction) error { return out.Encode(t) })
}

// columns are the header row of the CSV export. New ones are only ever added at the end.
func columns() []string {
	return []string{
		"time", "id", "connection", "kind", "door", "direction", "client", "user", "sender", "author", "recipients", "dispositions", "fates",
		"score", "size", "subject", "message_id", "sha256", "symbols", "decisive", "reply", "policy", "held_id",
	}
}

// WriteCSV writes what a query finds, the newest first, as RFC 4180 says, below a header row: time, id, connection, kind
// (smtp or fetch), door, direction (in or out), client, user, sender, author, recipients, dispositions and fates (of each
// recipient in turn, with ";" between), score (the highest), size (octets), subject, message_id, sha256, symbols, decisive
// (why), reply, policy, held_id. A Limit of 0 is no limit. Control characters are escaped, and a text that a spreadsheet
// would take for a formula has a "'" before it.
func (l *Ledger) WriteCSV(ctx context.Context, w io.Writer, q Query) error {
	out := csv.NewWriter(w)
	if err := out.Write(columns()); err != nil {
		return err
	}
	err := l.export(ctx, q, func(t *Transaction) error { return out.Write(t.cells()) })
	out.Flush()
	if err != nil {
		return err
	}
	return out.Error()
}

func (l *Ledger) export(ctx context.Context, q Query, write func(*Transaction) error) error {
	left := q.Limit
	for {
		q.Limit = exportPage
		if left > 0 {
			q.Limit = min(left, exportPage)
		}
		found, next, err := l.Page(ctx, q)
		if err != nil {
			return err
		}
		for i := range found {
			if err := write(&found[i]); err != nil {
				return fmt.Errorf("ledger: export: %w", err)
			}
		}
		if left > 0 {
			if left -= len(found); left == 0 {
				return nil
			}
		}
		if q.After = next; next == "" {
			return nil
		}
	}
}

func (t *Transaction) cells() []string {
	var to, how, fates, symbols []string
	score := 0.0
	for i, r := range t.Recipients {
		to, how, fates = append(to, r.Address), append(how, r.Disposition.String()), append(fates, string(r.Last()))
		if i == 0 || r.Score > score {
			score = r.Score
		}
	}
	for _, f := range t.Findings {
		symbols = append(symbols, f.Symbol)
	}
	kind := "smtp"
	if t.Kind != SMTP {
		kind = string(t.Kind)
	}
	sender := t.From
	if sender == "" {
		sender = "<>"
	}
	texts := []string{
		t.Time.UTC().Format(time.RFC3339), t.ID, t.ConnID, kind, t.Door, direction(t.Outbound), addrText(t.Client), t.user(), sender, t.HeaderFrom,
		strings.Join(to, ";"), strings.Join(how, ";"), strings.Join(fates, ";"), "", "", t.Subject, t.MessageID, t.SHA256,
		strings.Join(symbols, ";"), t.Decisive, t.Reply, t.PolicyVersion, t.HeldID,
	}
	for i := range texts {
		texts[i] = cell(texts[i])
	}
	const scoreColumn = 13
	texts[scoreColumn], texts[scoreColumn+1] = number(score), strconv.FormatInt(t.Size, 10) // our own numbers
	return texts
}

// cell makes text from outside fit for a spreadsheet. LG-08: what begins with one of these is a formula to some.
func cell(s string) string {
	first, _ := utf8.DecodeRuneInString(strings.TrimLeft(s, " "))
	formula := s != "" && strings.ContainsRune("=+-@\t\r\n＝＋－＠", first)
	if s = Printable(s); formula {
		return "'" + s
	}
	return s
}
