package correspondents

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"strings"

	"postern/filters"
	"postern/internal/mail"
	"postern/internal/state"
)

// Bounds of what is looked at: the longest id, how many a reply may name, and how far and how often a bounce is searched.
const (
	maxID        = 998 // RFC 5322 section 2.1.1: a line
	maxReplyIDs  = 10
	maxBounceIDs = 50
	maxBounce    = 64 << 10
)

// ids takes message ids from the values of Message-ID, In-Reply-To or References: RFC 5322 section 3.6.4.
func ids(value string, limit int) []string {
	var all []string
	for len(all) < limit {
		_, rest, ok := strings.Cut(value, "<")
		if !ok {
			break
		}
		id, after, ok := strings.Cut(rest, ">")
		if !ok {
			break
		}
		value = after
		if id != "" && len(id) <= maxID && !strings.ContainsAny(id, " \t<") {
			all = append(all, id)
		}
	}
	return all
}

func firstID(value string) string {
	if list := ids(value, 1); len(list) > 0 {
		return list[0]
	}
	return ""
}

// sentBy is stored with the id of a message of ours: hashes of its sender.
func sentBy(ours []mail.Address) []byte {
	var b []byte
	for _, a := range ours {
		b = append(b, mark(a)...)
	}
	return b
}

const markLength = 8

func mark(a mail.Address) []byte {
	sum := sha256.Sum256([]byte(a.Key()))
	return sum[:markLength]
}

// reply reports that a recipient has sent what is answered here.
func (f *filter) reply(ctx context.Context, tx *mail.Transaction) []filters.Finding {
	h := tx.Message.Header()
	list := ids(h.Get("In-Reply-To"), 2)
	if all := ids(h.Get("References"), 1000); len(all) > 0 { // the last ones are the nearest
		list = append(list, all[max(0, len(all)-maxReplyIDs+len(list)):]...)
	}
	for i, id := range list {
		if i > 0 && id == list[0] {
			continue
		}
		senders, ok := f.env.State.Get(ctx, state.Key(kindMessageID, id))
		if !ok {
			continue
		}
		for _, r := range tx.Recipients {
			if isAmong(senders, mark(r.Address)) {
				return []filters.Finding{{Symbol: "REPLY", Evidence: filters.Printable(id)}}
			}
		}
	}
	return nil
}

func isAmong(marks, one []byte) bool {
	for ; len(marks) >= markLength; marks = marks[markLength:] {
		if bytes.Equal(marks[:markLength], one) {
			return true
		}
	}
	return false
}

// bounce reports mail from the null sender that names no message of ours, in its header or in what it returns.
func (f *filter) bounce(ctx context.Context, tx *mail.Transaction) ([]filters.Finding, error) {
	h := tx.Message.Header()
	list := append(ids(h.Get("In-Reply-To"), maxReplyIDs), ids(h.Get("References"), maxReplyIDs)...)
	body, err := io.ReadAll(io.LimitReader(tx.Message.OpenBody(), maxBounce))
	if err != nil {
		return nil, err
	}
	list = append(list, returnedIDs(body)...)
	for _, id := range list {
		if _, ours := f.env.State.Get(ctx, state.Key(kindMessageID, id)); ours {
			return nil, nil
		}
	}
	evidence := "no Message-ID in it"
	if len(list) > 0 {
		evidence = fmt.Sprintf("none of %d ids is ours: %s", len(list), list[len(list)-1])
	}
	return []filters.Finding{{Symbol: "BOUNCE_UNSOLICITED", Evidence: filters.Printable(evidence)}}, nil
}

// returnedIDs are the ids in fields of a returned message, quoted or indented perhaps, as servers have many ways to return
// one. Original-Message-ID is that of a disposition notification: RFC 8098 section 3.2.5.
func returnedIDs(body []byte) []string {
	var all []string
	within := false // such a field
	for line := range bytes.Lines(body) {
		if len(all) >= maxBounceIDs {
			break
		}
		rest := bytes.TrimLeft(line, "> \t|")
		if !within || !bytes.HasPrefix(rest, []byte("<")) { // a folded line of ids begins with one
			name, value, ok := bytes.Cut(rest, []byte(":"))
			if within = ok && namesMessage(name); !within {
				continue
			}
			rest = value
		}
		all = append(all, ids(string(rest[:min(len(rest), 2*maxID)]), maxBounceIDs-len(all))...)
	}
	return all
}

func namesMessage(name []byte) bool {
	for _, n := range []string{"message-id", "in-reply-to", "references", "original-message-id"} {
		if len(name) == len(n) && strings.EqualFold(string(name), n) {
			return true
		}
	}
	return false
}
