package relay_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/internal/mail"
	"postern/internal/testing/hoptest"
	"postern/proxy"
	"postern/proxy/relay"
)

// quick are timeouts for tests with hops that never answer.
var quick = relay.Timeouts{
	Connect: time.Second, Command: 400 * time.Millisecond, DataInit: 400 * time.Millisecond, Block: 400 * time.Millisecond,
	Transfer: time.Second, DataTerm: 400 * time.Millisecond,
}

func newRelay(t testing.TB, times relay.Timeouts, set relay.Route) *relay.Relay {
	t.Helper()
	r, err := relay.New(relay.Options{
		Routes: map[string]relay.Route{"in": set}, HeloName: "mx.corp.example", Timeouts: times, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func hops(addresses ...string) relay.Route {
	route := relay.Route{Inbound: true}
	for _, a := range addresses {
		route.Hops = append(route.Hops, relay.Hop{Address: a, TLS: relay.TLSNone})
	}
	return route
}

func addr(t testing.TB, text string) mail.Address {
	t.Helper()
	a, err := mail.ParseAddress(text)
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return a
}

func rcpts(t testing.TB, texts ...string) []mail.Recipient {
	var all []mail.Recipient
	for _, text := range texts {
		all = append(all, mail.Recipient{Address: addr(t, text)})
	}
	return all
}

func envelope(t testing.TB) proxy.Envelope {
	return proxy.Envelope{ID: "T1", From: addr(t, "alice@example.org")}
}

func letter(body string) mail.Copy {
	return mail.Copy{Top: []byte("X-Top: 1\r\n"), Message: mail.NewMessage([]byte("Subject: hi\r\n\r\n" + body))}
}

// pass opens, asks for all recipients, sends to those accepted and gives all replies.
func pass(t testing.TB, r *relay.Relay, e proxy.Envelope, c mail.Copy, to ...string) (asked, sent []mail.Reply) {
	t.Helper()
	d := r.Open(mail.RouteTo("in"), e)
	defer d.Close()
	var yes []mail.Recipient
	for _, one := range rcpts(t, to...) {
		reply := d.Rcpt(t.Context(), one)
		asked = append(asked, reply)
		if reply.Positive() {
			yes = append(yes, one)
		}
	}
	if len(yes) == 0 {
		return asked, nil
	}
	return asked, d.Send(t.Context(), yes, c)
}

func wantReply(t testing.TB, got mail.Reply, prefix string) {
	t.Helper()
	if !strings.HasPrefix(got.String(), prefix) {
		t.Errorf("reply %q, want %q", got, prefix)
	}
}

func TestTheHopsOwnWordsComeBack(t *testing.T) {
	hop := hoptest.New(t, hoptest.Options{Replies: map[string]string{
		"RCPT TO:<nobody@": "550-5.1.1 No such user\n550 5.1.1 here", "RCPT TO:<full@": "452 4.2.2 Mailbox full",
		".": "250 2.6.0 <id@x> [InternalId=7] Queued mail for delivery",
	}})
	r := newRelay(t, relay.Timeouts{}, hops(hop.Addr()))
	asked, sent := pass(t, r, envelope(t), letter("..two\r\n.one\r\n\r\nend"), "bob@corp.example", "nobody@corp.example", "full@corp.example")
	wantReply(t, asked[0], "250 2.1.5 Ok")
	wantReply(t, asked[1], "550-5.1.1 No such user / 550 5.1.1 here")
	wantReply(t, asked[2], "452 4.2.2 Mailbox full")
	wantReply(t, sent[0], "250 2.6.0 <id@x> [InternalId=7] Queued mail for delivery")
	m := hop.Messages()[0]
	want := "X-Top: 1\r\nSubject: hi\r\n\r\n..two\r\n.one\r\n\r\nend\r\n"
	if string(m.Data) != want || m.Defects != nil {
		t.Errorf("the hop got %q %v, want %q", m.Data, m.Defects, want)
	}
	if m.From != "<alice@example.org>" || !slices.Equal(m.To, []string{"<bob@corp.example>"}) || m.Helo != "mx.corp.example" {
		t.Errorf("envelope %+v", m)
	}
}

func TestConnectionIsUsedAgainAndAnAbandonedTransactionForgotten(t *testing.T) {
	hop := hoptest.New(t, hoptest.Options{})
	r := newRelay(t, relay.Timeouts{}, hops(hop.Addr()))
	pass(t, r, envelope(t), letter("1"), "bob@corp.example")
	d := r.Open(mail.RouteTo("in"), envelope(t))
	wantReply(t, d.Rcpt(t.Context(), rcpts(t, "left@corp.example")[0]), "250")
	d.Close()
	pass(t, r, envelope(t), letter("2"), "carl@corp.example")
	if total, _ := hop.Connections(); total != 1 || len(hop.Messages()) != 2 {
		t.Errorf("%d connections, %d messages", total, len(hop.Messages()))
	}
	if to := hop.Messages()[1].To; !slices.Equal(to, []string{"<carl@corp.example>"}) {
		t.Errorf("second message went to %v", to)
	}
}

func TestCopiesForDifferentRecipients(t *testing.T) {
	for _, ext := range [][]string{nil, {"8BITMIME"}} {
		hop := hoptest.New(t, hoptest.Options{Extensions: ext})
		r := newRelay(t, relay.Timeouts{}, hops(hop.Addr()))
		d := r.Open(mail.RouteTo("in"), envelope(t))
		all := rcpts(t, "a@corp.example", "b@corp.example", "c@corp.example")
		for _, one := range all {
			wantReply(t, d.Rcpt(t.Context(), one), "250")
		}
		hop.Reply("RCPT TO:<c@", "550 5.1.1 gone")
		first := d.Send(t.Context(), all[:1], letter("one"))
		rest := d.Send(t.Context(), all[1:], letter("two"))
		d.Close()
		wantReply(t, first[0], "250")
		wantReply(t, rest[0], "250")
		wantReply(t, rest[1], "550 5.1.1 gone")
		var got []string
		for _, m := range hop.Messages() {
			got = append(got, fmt.Sprint(m.To, bytes.HasSuffix(m.Data, []byte("two\r\n"))))
		}
		if want := []string{"[<a@corp.example>] false", "[<b@corp.example>] true"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestParametersGoOnlyWhereTheyAreOffered(t *testing.T) {
	e := envelope(t)
	e.Size, e.Params = 1000, mail.Params{Body: "8BITMIME", Ret: "HDRS", EnvID: "a+b c"}
	to := mail.Recipient{Address: addr(t, "bob@corp.example"), Notify: []string{"FAILURE", "DELAY", "X> EVIL"}, ORcptType: "rfc822", ORcptTo: "bob=1@x"}
	for _, c := range []struct {
		name, mail, rcpt string
		ext              []string
	}{
		{"all", "MAIL FROM:<alice@example.org> SIZE=1000 BODY=8BITMIME RET=HDRS ENVID=a+2Bb+20c", "RCPT TO:<bob@corp.example> NOTIFY=FAILURE,DELAY ORCPT=rfc822;bob+3D1@x", nil},
		{"none", "MAIL FROM:<alice@example.org>", "RCPT TO:<bob@corp.example>", []string{"HELP"}},
		{"lower case", "MAIL FROM:<alice@example.org> SIZE=1000", "RCPT TO:<bob@corp.example>", []string{"size", "pipelining"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			hop := hoptest.New(t, hoptest.Options{Extensions: c.ext})
			e := e
			if c.ext != nil { // or the hop could not accept it at all
				e.Params.Body = "7BIT"
			}
			d := newRelay(t, relay.Timeouts{}, hops(hop.Addr())).Open(mail.RouteTo("in"), e)
			defer d.Close()
			wantReply(t, d.Rcpt(t.Context(), to), "250")
			if got := hop.Commands()[1:]; !slices.Equal(got, []string{c.mail, c.rcpt}) {
				t.Errorf("got  %q\nwant %q", got, []string{c.mail, c.rcpt})
			}
		})
	}
}

// Mail that needs an extension which the client was offered and the hop lacks now is deferred: a hop that has it will
// be back. A smart host that never had it refuses for all.
func TestWhatAHopLacks(t *testing.T) {
	for name, params := range map[string]mail.Params{"SMTPUTF8": {UTF8: true}, "REQUIRETLS": {RequireTLS: true}} {
		hop := hoptest.New(t, hoptest.Options{Extensions: []string{"PIPELINING"}})
		e := envelope(t)
		e.Params = params
		for _, inbound := range []bool{true, false} {
			route := hops(hop.Addr())
			route.Inbound = inbound
			want := "5"
			if inbound {
				want = "451 4."
			}
			asked, _ := pass(t, newRelay(t, relay.Timeouts{}, route), e, letter("x"), "bob@corp.example")
			if !strings.HasPrefix(asked[0].String(), want) {
				t.Errorf("%s, inbound %v: %s, want %s", name, inbound, asked[0], want)
			}
		}
	}
}

// A fallback hop that was never up takes nothing away from the offers of the server it replaces.
func TestAStandInThatWasNeverUpShrinksNoOffer(t *testing.T) {
	a := hoptest.New(t, hoptest.Options{Extensions: []string{"8BITMIME", "SMTPUTF8", "DSN"}})
	r := newRelay(t, relay.Timeouts{Connect: time.Second}, hops(a.Addr(), "127.0.0.1:1"))
	r.Probe(t.Context())
	if got, want := r.Offers(), (proxy.Extensions{EightBitMIME: true, SMTPUTF8: true, DSN: true}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestInternationalAddresses(t *testing.T) {
	plain, able := []string{"PIPELINING"}, []string{"PIPELINING", "SMTPUTF8"}
	for _, c := range []struct {
		name, to string
		asked    bool
		ext      []string
		want     string // reply, or the path that the hop heard
	}{
		{"asked and offered", "jürgen@bücher.example", true, able, "<jürgen@bücher.example>"},
		{"what was judged is what is written", "bob@ｏurs.example", true, able, "<bob@ours.example>"},
		{"asked, not offered", "bob@corp.example", true, plain, "451 4.6.7"},
		{"domain only, hop without", "bob@bücher.example", false, plain, "<bob@xn--bcher-kva.example>"},
		{"domain only, not asked", "bob@bücher.example", false, able, "<bob@xn--bcher-kva.example>"},
		{"local part, not asked", "jürgen@corp.example", false, able, "553 5.6.7"},
		{"quoted", `"victim@internal> NOTIFY=NEVER"@corp.example`, false, plain, `<"victim@internal> NOTIFY=NEVER"@corp.example>`},
	} {
		t.Run(c.name, func(t *testing.T) {
			hop := hoptest.New(t, hoptest.Options{Extensions: c.ext})
			e := envelope(t)
			e.Params.UTF8 = c.asked
			asked, _ := pass(t, newRelay(t, relay.Timeouts{}, hops(hop.Addr())), e, letter("x"), c.to)
			got := asked[0].String()
			if m := hop.Messages(); len(m) == 1 {
				got = m[0].To[0]
			}
			if !strings.HasPrefix(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestFailover(t *testing.T) {
	refused, _ := net.Listen("tcp", "127.0.0.1:0")
	gone := refused.Addr().String()
	_ = refused.Close()
	bad := hoptest.New(t, hoptest.Options{})
	good := hoptest.New(t, hoptest.Options{})
	for _, reply := range []string{"", "421 4.3.2 Shutting down", "450 not now", "554 No service", "CLOSE", "250 what", "RAW 220 a\r\n250 b\r\n"} {
		bad.Reply("GREETING", reply)
		first := bad.Addr()
		if reply == "" {
			first = gone
		}
		r := newRelay(t, quick, hops(first, good.Addr()))
		asked, sent := pass(t, r, envelope(t), letter("x"), "bob@corp.example")
		wantReply(t, asked[0], "250")
		wantReply(t, sent[0], "250 2.0.0 Ok: queued as HOP")
		if h := r.Health(); h[0].Up || !h[1].Up {
			t.Errorf("greeting %q: health %+v", reply, h)
		}
	}
	r := newRelay(t, quick, hops(bad.Addr()))
	bad.Reply("GREETING", "421 4.3.2 Shutting down")
	asked, _ := pass(t, r, envelope(t), letter("x"), "bob@corp.example")
	wantReply(t, asked[0], "451 4.3.2 Shutting down")
	bad.Reply("GREETING", "")
	asked, _ = pass(t, r, envelope(t), letter("x"), "bob@corp.example")
	wantReply(t, asked[0], "250")
}

func TestRestartOfTheHopIsNotSeen(t *testing.T) {
	hop := hoptest.New(t, hoptest.Options{})
	r := newRelay(t, relay.Timeouts{}, hops(hop.Addr()))
	pass(t, r, envelope(t), letter("1"), "bob@corp.example")
	hop.Hangup()
	_, sent := pass(t, r, envelope(t), letter("2"), "bob@corp.example")
	wantReply(t, sent[0], "250")

	d := r.Open(mail.RouteTo("in"), envelope(t))
	to := rcpts(t, "bob@corp.example")
	wantReply(t, d.Rcpt(t.Context(), to[0]), "250")
	hop.Hangup()
	wantReply(t, d.Send(t.Context(), to, letter("3"))[0], "250")
	d.Close()
	if n := len(hop.Messages()); n != 3 {
		t.Errorf("%d messages, want 3", n)
	}
}

func TestLMTPAnswersForEachRecipient(t *testing.T) {
	hop := hoptest.New(t, hoptest.Options{LMTP: true, Address: t.TempDir() + "/lmtp", Replies: map[string]string{".<b@": "552 5.2.2 Over quota"}})
	route := relay.Route{Protocol: relay.LMTP, Hops: []relay.Hop{{Address: hop.Addr()}}}
	_, sent := pass(t, newRelay(t, relay.Timeouts{}, route), envelope(t), letter("x"), "a@corp.example", "b@corp.example", "c@corp.example")
	wantReply(t, sent[0], "250 2.0.0 Delivered to <a@corp.example>")
	wantReply(t, sent[1], "552 5.2.2 Over quota")
	wantReply(t, sent[2], "250 2.0.0 Delivered to <c@corp.example>")
	if hop.Commands()[0] != "LHLO mx.corp.example" {
		t.Errorf("commands %q", hop.Commands())
	}
}

func TestXClientAndXForward(t *testing.T) {
	hop := hoptest.New(t, hoptest.Options{Extensions: []string{"PIPELINING", "XCLIENT NAME ADDR PORT PROTO HELO LOGIN", "XFORWARD NAME ADDR PROTO HELO SOURCE IDENT"}})
	route := hops(hop.Addr())
	route.Hops[0].XClient, route.Hops[0].XForward = true, true
	r := newRelay(t, relay.Timeouts{}, route)
	e := envelope(t)
	e.Client = proxy.Client{Addr: netip.MustParseAddr("2001:db8::7"), Port: 4711, Helo: "a b+c", Proto: "ESMTPS"}
	pass(t, r, e, letter("x"), "bob@corp.example")
	pass(t, r, e, letter("x"), "bob@corp.example")
	m := hop.Messages()[1]
	if want := []string{"XCLIENT NAME=[UNAVAILABLE] ADDR=IPV6:2001:db8::7 PORT=4711 PROTO=ESMTP HELO=a+20b+2Bc LOGIN=[UNAVAILABLE]"}; !slices.Equal(m.XClient, want) {
		t.Errorf("got %q, want %q", m.XClient, want)
	}
	if want := []string{"XFORWARD NAME=[UNAVAILABLE] ADDR=IPV6:2001:db8::7 PROTO=ESMTP HELO=a+20b+2Bc IDENT=T1 SOURCE=REMOTE"}; !slices.Equal(m.XForward, want) {
		t.Errorf("got %q, want %q", m.XForward, want)
	}
	e.Client.Addr = netip.Addr{}
	pass(t, r, e, letter("x"), "bob@corp.example")
	if m := hop.Messages()[2]; len(m.XClient) != 0 {
		t.Errorf("mail of nobody's went out as %q", m.XClient)
	}
	hop.Reply("XCLIENT", "550 5.7.0 not you")
	e.Client.Addr = netip.MustParseAddr("192.0.2.9")
	asked, _ := pass(t, r, e, letter("x"), "bob@corp.example")
	wantReply(t, asked[0], "451")
}

// A hop with XCLIENT gets the client's address before the login is checked.
func TestLoginTellsTheClient(t *testing.T) {
	hop := hoptest.New(t, hoptest.Options{Extensions: []string{"XCLIENT ADDR PORT", "AUTH PLAIN"}, Users: map[string]string{"ann": "s3cret"}})
	route := hops(hop.Addr())
	route.Hops[0].XClient, route.Hops[0].ClearAuth = true, true
	r := newRelay(t, relay.Timeouts{}, route)
	ok, err := r.Login(t.Context(), "in", proxy.Client{Addr: netip.MustParseAddr("192.0.2.9"), Port: 99}, "ann", "s3cret")
	if !ok || err != nil {
		t.Fatal(ok, err)
	}
	told := slices.Index(hop.Commands(), "XCLIENT ADDR=192.0.2.9 PORT=99")
	asked := slices.IndexFunc(hop.Commands(), func(c string) bool { return strings.HasPrefix(c, "AUTH") })
	if told < 0 || asked < told {
		t.Errorf("commands %q", hop.Commands())
	}
}

func TestOffers(t *testing.T) {
	a := hoptest.New(t, hoptest.Options{Extensions: []string{"8BITMIME", "SMTPUTF8", "DSN", "SIZE 5000", "REQUIRETLS"}})
	b := hoptest.New(t, hoptest.Options{Extensions: []string{"8BITMIME", "SMTPUTF8", "SIZE 4000"}})
	r := newRelay(t, relay.Timeouts{}, hops(a.Addr(), b.Addr()))
	if got, want := r.Offers(), (proxy.Extensions{EightBitMIME: true}); got != want {
		t.Errorf("before: %+v, want %+v", got, want)
	}
	r.Probe(t.Context())
	if got, want := r.Offers(), (proxy.Extensions{EightBitMIME: true, SMTPUTF8: true, MaxSize: 4000}); got != want {
		t.Errorf("after: %+v, want %+v", got, want)
	}
}

func TestAConnectionMoreThanAllowedWaits(t *testing.T) {
	hop := hoptest.New(t, hoptest.Options{})
	route := hops(hop.Addr())
	route.MaxConnections = 1
	r := newRelay(t, relay.Timeouts{}, route)
	one, two := r.Open(mail.RouteTo("in"), envelope(t)), r.Open(mail.RouteTo("in"), envelope(t))
	hop.Reply("RCPT", "AFTER 300ms 250 2.1.5 Ok")
	asked := make(chan mail.Reply)
	go func() { asked <- one.Rcpt(t.Context(), rcpts(t, "a@corp.example")[0]) }()
	time.Sleep(100 * time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	wantReply(t, two.Rcpt(ctx, rcpts(t, "a@corp.example")[0]), "451 4.3.2")
	wantReply(t, <-asked, "250")
	one.Close()
	wantReply(t, two.Rcpt(t.Context(), rcpts(t, "a@corp.example")[0]), "250")
	two.Close()
	if total, _ := hop.Connections(); total != 1 {
		t.Errorf("%d connections", total)
	}
}

// A transaction that keeps an idle connection gives it up when another needs it, and after a while in any case. Its
// message arrives all the same: a connection is opened again when it is here.
func TestASilentTransactionHoldsNobodyUp(t *testing.T) {
	hop := hoptest.New(t, hoptest.Options{})
	route := hops(hop.Addr())
	route.MaxConnections = 2
	r := newRelay(t, relay.Timeouts{Hold: 100 * time.Millisecond}, route)
	var idle []proxy.Delivery
	for range 20 {
		d := r.Open(mail.RouteTo("in"), envelope(t))
		wantReply(t, d.Rcpt(t.Context(), rcpts(t, "a@corp.example")[0]), "250")
		idle = append(idle, d)
	}
	began := time.Now()
	_, sent := pass(t, r, envelope(t), letter("x"), "bob@corp.example")
	wantReply(t, sent[0], "250")
	if took := time.Since(began); took > time.Second {
		t.Errorf("the good message took %v", took)
	}
	time.Sleep(300 * time.Millisecond)
	if h := r.Health(); h[0].InUse != 0 {
		t.Errorf("%d connections are still held", h[0].InUse)
	}
	for _, d := range idle {
		wantReply(t, d.Send(t.Context(), rcpts(t, "a@corp.example"), letter("late"))[0], "250")
		d.Close()
	}
	if got := len(hop.Messages()); got != 21 {
		t.Errorf("%d messages arrived", got)
	}
}

// A reply that changed while the client was slow is passed on as it is.
func TestAnAnswerThatChanged(t *testing.T) {
	hop := hoptest.New(t, hoptest.Options{})
	r := newRelay(t, relay.Timeouts{Hold: 20 * time.Millisecond}, hops(hop.Addr()))
	d := r.Open(mail.RouteTo("in"), envelope(t))
	wantReply(t, d.Rcpt(t.Context(), rcpts(t, "a@corp.example")[0]), "250")
	wantReply(t, d.Rcpt(t.Context(), rcpts(t, "b@corp.example")[0]), "250")
	time.Sleep(100 * time.Millisecond)
	hop.Reply("RCPT TO:<b@", "550 5.1.1 gone")
	replies := d.Send(t.Context(), rcpts(t, "a@corp.example", "b@corp.example"), letter("x"))
	wantReply(t, replies[0], "250")
	wantReply(t, replies[1], "550 5.1.1")
	d.Close()
}

// A hop that timed out waiting for the message gets it in a new session.
func TestAHopThatEndsItsSessionAtData(t *testing.T) {
	hop := hoptest.New(t, hoptest.Options{})
	r := newRelay(t, relay.Timeouts{}, hops(hop.Addr()))
	d := r.Open(mail.RouteTo("in"), envelope(t))
	wantReply(t, d.Rcpt(t.Context(), rcpts(t, "a@corp.example")[0]), "250")
	hop.Reply("DATA", "ONCE 421 4.4.2 time-out exceeded\nCLOSE")
	wantReply(t, d.Send(t.Context(), rcpts(t, "a@corp.example"), letter("x"))[0], "250")
	d.Close()
}

// A transaction that the hop can't accept must not continue one that another sender left open on the connection:
// recipients would get the other sender's mail.
func TestATransactionNeverGoesOnInTheOneBefore(t *testing.T) {
	hop := hoptest.New(t, hoptest.Options{Extensions: []string{"PIPELINING"}}) // no SMTPUTF8
	r := newRelay(t, relay.Timeouts{}, hops(hop.Addr()))
	left := r.Open(mail.RouteTo("in"), envelope(t))
	wantReply(t, left.Rcpt(t.Context(), rcpts(t, "left@corp.example")[0]), "250")
	left.Close()
	e := envelope(t)
	e.From, e.Params.UTF8 = addr(t, "jürgen@example.net"), true
	asked, _ := pass(t, r, e, letter("secret"), "bob@corp.example", "carl@corp.example")
	for _, reply := range asked {
		wantReply(t, reply, "451 4.6.7")
	}
	for _, m := range hop.Messages() {
		t.Errorf("the hop got a message from %s to %v", m.From, m.To)
	}
}
