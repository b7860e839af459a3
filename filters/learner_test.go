package filters_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"postern/filters"
	"postern/internal/mail"
)

// diary is a filter that records its calls.
type diary struct {
	inspect
	lines *[]string
}

func (d diary) Answered(_ context.Context, _ *mail.Transaction, to mail.Address, r mail.Reply) {
	*d.lines = append(*d.lines, to.String()+" "+r.String())
}

func (d diary) Decided(_ context.Context, _ *mail.Transaction, judged []filters.Decision) {
	for _, j := range judged {
		*d.lines = append(*d.lines, j.Recipient.String()+" "+j.Disposition.String())
	}
}

// clumsy panics at what diary writes down.
type clumsy struct{ inspect }

func (clumsy) Answered(context.Context, *mail.Transaction, mail.Address, mail.Reply) { panic("oh") }

func TestLearnersHearWhatBecameOfMail(t *testing.T) {
	nothing := inspect(func(context.Context, *mail.Transaction) ([]filters.Finding, error) { return nil, nil })
	var lines []string
	c, err := filters.NewChain([]filters.Link{
		{Spec: filters.Spec{Name: "clumsy"}, Filter: clumsy{nothing}},
		{Spec: filters.Spec{Name: "deaf"}, Filter: nothing},
		{Spec: filters.Spec{Name: "diary"}, Filter: diary{nothing, &lines}},
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ann, _ := mail.ParseAddress("ann@example.com")
	gone, end := context.WithCancel(t.Context())
	end() // the client has disconnected; the fate of its mail is learned all the same
	c.Answered(gone, &mail.Transaction{}, ann, mail.NewReply(550, "5.1.1", "No such user"))
	c.Decided(gone, &mail.Transaction{}, []filters.Decision{{Recipient: ann, Disposition: mail.Reject}})
	c.Ended(gone, &mail.Session{}, filters.Conduct{})
	if got := strings.Join(lines, ", "); got != "ann@example.com 550 5.1.1 No such user, ann@example.com reject" {
		t.Errorf("heard %q", got)
	}
}
