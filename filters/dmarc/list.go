package dmarc

import (
	"context"
	"slices"
	"strings"
	"time"

	"postern/filters"
	"postern/internal/mail"
	"postern/internal/state"
)

// Mail of a list can't keep the signatures of its members if the list changes it, and RFC 9989 section 7.4 asks
// receivers not to refuse mail for p=reject alone. List headers are easily forged, so such mail is not delivered
// either.

const (
	kindList = "dmarclist"
	// listKept is how long a list is known that was heard of.
	listKept = 180 * 24 * time.Hour
	// maxLooks bounds the recipients and domains that are looked at.
	maxLooks = 20
)

// listFields are those that lists put there beside List-Id: RFC 2369, RFC 5064, RFC 3834 and habit.
func listFields() []string {
	return []string{"List-Post", "List-Unsubscribe", "List-Subscribe", "List-Help", "List-Owner", "List-Archive", "Archived-At",
		"Mailing-List", "X-BeenThere", "X-Mailman-Version", "X-Loop", "X-Original-From"}
}

// mailingList names the list that a message comes from, or its ARC sealer, "" if it has neither: it has a List-Id and
// more that lists have, a chain of ARC that verifies, or a List-Id under which a recipient had mail before from a
// sender authenticated now as then.
func (f filter) mailingList(ctx context.Context, tx *mail.Transaction) string {
	h := tx.Message.Header()
	id, sealer := listID(h), chained(tx.AllFindings())
	switch {
	case id != "" && (sealer != "" || structured(h) || f.knownList(ctx, tx, id)):
		return id
	case sealer != "":
		return "sealed by " + sealer
	}
	return ""
}

// listID is the text between the angle brackets: RFC 2919 section 3. Some lists leave the brackets out.
func listID(h *mail.Header) string {
	value := strings.TrimSpace(h.Get("List-Id"))
	if open := strings.LastIndexByte(value, '<'); open >= 0 {
		value = strings.TrimSuffix(strings.TrimSpace(value[open+1:]), ">")
	}
	if !strings.Contains(value, ".") || strings.ContainsAny(value, " \t\r\n") || len(value) > 255 {
		return ""
	}
	return strings.ToLower(value)
}

func structured(h *mail.Header) bool {
	if slices.ContainsFunc(listFields(), func(name string) bool { return h.Count(name) > 0 }) {
		return true
	}
	return strings.EqualFold(strings.TrimSpace(h.Get("Precedence")), "list")
}

// chained names the newest sealer of a chain that verifies.
func chained(findings []mail.Finding) string {
	for _, f := range findings {
		if c, ok := f.Value.(filters.ARC); ok && c.Result == mail.AuthPass && len(c.Sealers) > 0 {
			return c.Sealers[len(c.Sealers)-1]
		}
	}
	return ""
}

func listKey(to mail.Address, id, domain string) string {
	return state.Key(kindList, to.Key(), id, domain)
}

// senders are the organizations that are proven, a few of them.
func senders(tx *mail.Transaction) []string {
	spf, dkim := filters.ProvenDomains(tx)
	var all []string
	for _, d := range append(spf, dkim...) {
		if d = filters.RegisteredDomain(mail.ASCIIDomain(d)); d != "" && !slices.Contains(all, d) && len(all) < maxLooks {
			all = append(all, d)
		}
	}
	return all
}

func (f filter) knownList(ctx context.Context, tx *mail.Transaction, id string) bool {
	if f.env.State == nil {
		return false
	}
	domains := senders(tx)
	for _, r := range tx.Recipients[:min(len(tx.Recipients), maxLooks)] {
		for _, d := range domains {
			if _, ok := f.env.State.Get(ctx, listKey(r.Address, id, d)); ok {
				return true
			}
		}
	}
	return false
}

// Decided implements filters.MessageLearner: it remembers from which list a recipient has had mail.
func (f filter) Decided(ctx context.Context, tx *mail.Transaction, judged []filters.Decision) {
	if tx.Session.Outbound() || tx.Message == nil || f.env.State == nil {
		return
	}
	id := listID(tx.Message.Header())
	if id == "" {
		return
	}
	domains := senders(tx)
	for _, one := range judged[:min(len(judged), maxLooks)] {
		if one.Disposition != mail.Accept {
			continue
		}
		for _, d := range domains {
			key := listKey(one.Recipient, id, d)
			if _, known := f.env.State.Get(ctx, key); !known {
				f.env.State.Put(ctx, key, []byte{1}, listKept)
			}
		}
	}
}
