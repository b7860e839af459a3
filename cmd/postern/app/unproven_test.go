package app_test

import (
	"net/netip"
	"strings"
	"testing"

	"postern/internal/mail"
	"postern/policy"
	"postern/policy/records/ledger"
	"postern/policy/records/quarantine"
	"postern/proxy/release"
)

// An entry for an unauthenticated sender would never match: none is made, and the answer says what to do instead. The
// author of a list message is not authenticated, the list is.
func TestReleaseAllowsNobodyUnproven(t *testing.T) {
	t.Parallel()
	l := newLife(t, noWorld())
	ctx, id := t.Context(), "01M8PDTEF7DNMY70.1"
	address := func(text string) mail.Address {
		a, err := mail.ParseAddress(text)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	facts := &policy.Facts{Stage: mail.StageMessage, From: address("bounce@list.example"), HeaderFrom: []mail.Address{address("anna@friend.example")}, Authenticated: []string{"list.example"}}
	l.app.Ledger.Transaction(ledger.Transaction{ID: id, Recipients: []ledger.Recipient{{Address: "ben@ours.test", Fate: "held"}}, Facts: facts})
	item := quarantine.Item{ID: id + "-1", From: facts.From, HeaderFrom: "Anna <anna@friend.example>", Route: mail.RouteTo("default"), Client: netip.MustParseAddr("192.0.2.7"),
		Recipients: []mail.Recipient{{Address: address("ben@ours.test")}}}
	if err := l.app.Quarantine.Hold(ctx, item, mail.Copy{Message: mail.NewMessage([]byte(hello))}); err != nil {
		t.Fatal(err)
	}
	done, err := l.app.Releaser().Release(ctx, release.Order{ID: item.ID, By: "ann", Allow: true})
	if err != nil || len(done.Allowed) != 0 || len(done.Answers) != 1 || done.Answers[0].Fate != "delivered" {
		t.Errorf("%+v %v", done, err)
	}
	for _, want := range []string{"neither SPF nor DKIM proves anna@friend.example", "lists add allow list.example --recipient ben@ours.test --expires 90d", "--network 192.0.2.7"} {
		if !strings.Contains(done.Note, want) {
			t.Errorf("no %q in %q", want, done.Note)
		}
	}
}
