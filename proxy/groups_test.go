package proxy_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"

	"postern/filters"
	"postern/internal/config"
	"postern/internal/mail"
	"postern/policy"
	"postern/proxy"
)

// The directory is asked about each recipient once, however many there are.
func TestGroupsAreLookedUpOnce(t *testing.T) {
	settings, problems := policy.Parse("policy.toml", []byte("[recipient_group.sales]\nreject = 99\n"))
	if len(problems) > 0 {
		t.Fatal(config.Problems(problems))
	}
	p, problems := policy.Compile(settings, proxy.Symbols())
	if len(problems) > 0 {
		t.Fatal(config.Problems(problems))
	}
	b := newBench(t, "")
	asked := map[string]int{}
	b.gateway.Use(&proxy.Setup{Chain: chain(t, false), Policy: p, Route: func(string) (mail.Route, bool) { return mail.RouteTo("one"), true },
		Groups: func(_ context.Context, a mail.Address) ([]string, bool) {
			asked[a.Local]++
			return []string{"sales"}, true
		}})
	x, reply := b.connection.Begin(t.Context(), mail.Address{Local: "bob", Domain: "example.org"}, mail.Params{}, 0)
	if !reply.Positive() {
		t.Fatal(reply)
	}

	const recipients = 200
	for i := range recipients {
		to := mail.Recipient{Address: mail.Address{Local: fmt.Sprint("r", i), Domain: "ours.test"}}
		if reply := x.Rcpt(t.Context(), to); !reply.Positive() {
			t.Fatal(reply)
		}
	}
	if reply := b.gateway.Handle(t.Context(), x, mail.NewMessage([]byte("From: bob@example.org\r\n\r\nhello\r\n"))); !reply.Positive() {
		t.Fatal(reply)
	}
	x.Close("done")

	if len(asked) != recipients {
		t.Errorf("%d recipients were looked up, want %d", len(asked), recipients)
	}
	for who, n := range asked {
		if n != 1 {
			t.Errorf("%s was looked up %d times", who, n)
		}
	}
}

// told is a finding of each recipient. It counts how often it is read.
type told struct{ read *atomic.Int64 }

func (o told) Weight() float64 {
	o.read.Add(1)
	return 0.5
}

func (o told) Inspect(context.Context, *mail.Transaction) ([]mail.Finding, error) {
	return []mail.Finding{{Symbol: "TEST", Value: o}}, nil
}

// many is a transaction with many recipients, by a policy that asks for groups and has a list of rules. It says how often the
// directory was asked, and how often a finding was read.
func many(t *testing.T, recipients int) (asked, read int64) {
	t.Helper()
	text := "[recipient_group.sales]\nreject = 99\n"
	for i := range 50 {
		text += fmt.Sprintf("[who.w%d]\ngroups = [\"g%d\"]\n[[rule]]\nname = \"r%d\"\nto = [\"w%d\"]\naction = \"accept\"\nunauthenticated = true\n", i, i, i, i)
	}
	settings, problems := policy.Parse("policy.toml", []byte(text))
	if len(problems) > 0 {
		t.Fatal(config.Problems(problems))
	}
	p, problems := policy.Compile(settings, append(proxy.Symbols(), filters.Symbol{Name: "TEST", Score: 0.1}))
	if len(problems) > 0 {
		t.Fatal(config.Problems(problems))
	}
	reads := &atomic.Int64{}
	c, err := filters.NewChain([]filters.Link{{Spec: filters.Spec{Name: "told", Stages: mail.StageMail | mail.StageRcpt | mail.StageMessage, Inline: true},
		Filter: told{reads}}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	b := newBench(t, "")
	b.gateway.Use(&proxy.Setup{Chain: c, Policy: p, Route: func(string) (mail.Route, bool) { return mail.RouteTo("one"), true },
		Groups: func(context.Context, mail.Address) ([]string, bool) {
			asked++
			return []string{"sales"}, true
		}})
	x, reply := b.connection.Begin(t.Context(), mail.Address{Local: "bob", Domain: "example.org"}, mail.Params{}, 0)
	if !reply.Positive() {
		t.Fatal(reply)
	}
	for i := range recipients {
		if reply := x.Rcpt(t.Context(), mail.Recipient{Address: mail.Address{Local: fmt.Sprint("r", i), Domain: "ours.test"}}); !reply.Positive() {
			t.Fatal(reply)
		}
	}
	if reply := b.gateway.Handle(t.Context(), x, mail.NewMessage([]byte("From: bob@example.org\r\n\r\nhello\r\n"))); !reply.Positive() {
		t.Fatal(reply)
	}
	x.Close("done")

	return asked, reads.Load()
}

// What is gathered at each recipient is what is new: the work grows with the recipients, not with their square.
func TestManyRecipientsAreLinear(t *testing.T) {
	for _, n := range []int{100, 800} {
		asked, read := many(t, n)
		// one finding at MAIL, one for each recipient, one of the message; all are read once more for the record
		if found := int64(n) + 2; asked != int64(n) || read > 2*found {
			t.Errorf("%d recipients: the directory was asked %d times, %d findings were read %d times", n, asked, found, read)
		}
	}
}
