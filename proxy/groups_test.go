package proxy_test

import (
	"context"
	"fmt"
	"testing"

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
