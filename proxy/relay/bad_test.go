package relay_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"postern/internal/mail"
	"postern/internal/testing/hoptest"
	"postern/proxy"
	"postern/proxy/relay"
)

// Whatever a hop does at whatever step, the answer is a 4xx within the deadline, or the hop's own reply.
func TestAHopThatMisbehavesIsA4xx(t *testing.T) {
	deeds := []string{
		"CLOSE", "HANG", "ENDLESS", "SLOW 250-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "RAW garbage\r\n", "RAW 2x0 a\r\n", "RAW 250-a\r\n550 b\r\n",
		"RAW 250-" + strings.Repeat("a", 4000) + "\r\n", "RAW " + strings.Repeat("250-a\r\n", 200), "RAW \r\n", "RAW \x00\r\n", "RAW 999 a\r\n",
		"RAW 100 a\r\n", "221 2.0.0 Bye", "211 help", "334 go on", "421 4.3.2 Shutting down\nCLOSE", "450 4.2.0 greylisted", "RAW 25",
		"354 go on",
	}
	for _, step := range []string{"GREETING", "EHLO", "MAIL", "RCPT", "DATA", "MIDDATA", "."} {
		for _, deed := range deeds {
			if step == "EHLO" && (strings.HasPrefix(deed, "RAW 25") || strings.HasPrefix(deed, "SLOW")) {
				continue
			}
			if step == "DATA" && deed == "354 go on" {
				continue // that is what it should say
			}
			t.Run(fmt.Sprintf("%s %.20q", step, deed), func(t *testing.T) {
				t.Parallel()
				hop := hoptest.New(t, hoptest.Options{Replies: map[string]string{step: deed}})
				r := newRelay(t, quick, hops(hop.Addr()))
				asked, sent := pass(t, r, envelope(t), letter(strings.Repeat("a line of text\r\n", 10_000)), "bob@corp.example")
				got := append(asked, sent...)
				last := got[len(got)-1]
				if !last.Temporary() || last.Code == 421 {
					t.Errorf("reply %q, want a 4xx", last)
				}
				// A hop that talks in the middle and takes the message all the same leaves the outcome unknown.
				if n := len(hop.Messages()); n > 0 && step != "MIDDATA" {
					t.Errorf("%d messages arrived", n)
				}
			})
		}
	}
}

func TestRefusalsAreTheHopsOwn(t *testing.T) {
	for step, reply := range map[string]string{
		"MAIL": "550 5.7.1 We do not like alice", "RCPT": "550 5.1.1 No bob here", "DATA": "554 5.5.1 No message today", ".": "554 5.7.1 Spam",
		"MIDDATA": "552 5.3.4 Too big\nCLOSE",
	} {
		hop := hoptest.New(t, hoptest.Options{Replies: map[string]string{step: reply}})
		asked, sent := pass(t, newRelay(t, quick, hops(hop.Addr())), envelope(t), letter(strings.Repeat("a line of text\r\n", 1000)), "bob@corp.example")
		got := append(asked, sent...)
		if step == "MIDDATA" && got[len(got)-1].Temporary() {
			continue // the reset overtook the words
		}
		wantReply(t, got[len(got)-1], strings.TrimSuffix(reply, "\nCLOSE"))
	}
}

// The second octets behind a reply would be read as the answer to our next command.
func TestOctetsBehindAReplyEndTheConnection(t *testing.T) {
	for _, step := range []string{"MAIL", "RCPT", ".", "RSET"} {
		hop := hoptest.New(t, hoptest.Options{Extensions: []string{"8BITMIME"}, Replies: map[string]string{step: "RAW 250 2.0.0 ok\r\n250 2.0.0 injected\r\n"}})
		r := newRelay(t, quick, hops(hop.Addr()))
		pass(t, r, envelope(t), letter("1"), "bob@corp.example")
		hop.Reply(step, "")
		total, _ := hop.Connections()
		hop.Reply("RCPT", "550 5.1.1 no")
		asked, _ := pass(t, r, envelope(t), letter("2"), "carl@corp.example")
		wantReply(t, asked[0], "550 5.1.1 no")
		if after, _ := hop.Connections(); after == total && step != "RSET" {
			t.Errorf("%s: the connection was used again", step)
		}
	}
}

func TestMessageThatMustNotLeave(t *testing.T) {
	hop := hoptest.New(t, hoptest.Options{})
	r := newRelay(t, quick, hops(hop.Addr()))
	for _, body := range []string{"a\nb", "a\rb", "a\x00b", "a\r\r\nb", "a\n.\nMAIL", "a\r", "\n"} {
		_, sent := pass(t, r, envelope(t), letter(body), "bob@corp.example")
		wantReply(t, sent[0], "451 4.3.0")
	}
	if n := len(hop.Messages()); n != 0 {
		t.Errorf("%d messages arrived", n)
	}
}

func TestTLS(t *testing.T) {
	good, ca := hoptest.Certificate(t, time.Hour, "127.0.0.1", "mail.internal")
	expired, oldCA := hoptest.Certificate(t, -time.Minute, "127.0.0.1")
	old := good.Clone()
	old.MinVersion, old.MaxVersion = tls.VersionTLS11, tls.VersionTLS11
	for _, c := range []struct {
		name string
		hop  hoptest.Options
		set  relay.Hop
		want string
		tls  bool
	}{
		{"required", hoptest.Options{TLS: good}, relay.Hop{TLS: relay.TLSRequired, CAFile: ca}, "250", true},
		{"required, by name", hoptest.Options{TLS: good}, relay.Hop{TLS: relay.TLSRequired, CAFile: ca, ServerName: "mail.internal"}, "250", true},
		{"implicit", hoptest.Options{TLS: good, Implicit: true}, relay.Hop{TLS: relay.TLSImplicit, CAFile: ca}, "250", true},
		{"insecure", hoptest.Options{TLS: good}, relay.Hop{TLS: relay.TLSRequired, Insecure: true}, "250", true},
		{"opportunistic", hoptest.Options{TLS: good}, relay.Hop{TLS: relay.TLSOpportunistic}, "250", true},
		{"opportunistic, not offered", hoptest.Options{}, relay.Hop{TLS: relay.TLSOpportunistic}, "250", false},
		{"opportunistic, refused", hoptest.Options{TLS: good, Replies: map[string]string{"STARTTLS": "454 4.7.0 no"}}, relay.Hop{TLS: relay.TLSOpportunistic}, "250", false},
		{"opportunistic, TLS 1.1", hoptest.Options{TLS: old}, relay.Hop{TLS: relay.TLSOpportunistic}, "250", false},
		{"not offered", hoptest.Options{}, relay.Hop{TLS: relay.TLSRequired}, "451 4.7.5", false},
		{"454", hoptest.Options{TLS: good, Replies: map[string]string{"STARTTLS": "454 4.7.0 no"}}, relay.Hop{TLS: relay.TLSRequired, CAFile: ca}, "451 4.7.5", false},
		{"502", hoptest.Options{TLS: good, Replies: map[string]string{"STARTTLS": "502 5.5.1 what"}}, relay.Hop{TLS: relay.TLSRequired, CAFile: ca}, "451 4.7.5", false},
		{"closes", hoptest.Options{TLS: good, Replies: map[string]string{"STARTTLS": "CLOSE"}}, relay.Hop{TLS: relay.TLSRequired, CAFile: ca}, "451 4.7.5", false},
		{"clear text behind 220", hoptest.Options{TLS: good, Replies: map[string]string{"STARTTLS": "RAW 220 go\r\n250 injected\r\n"}}, relay.Hop{TLS: relay.TLSOpportunistic}, "451 4.7.5", false},
		{"unknown CA", hoptest.Options{TLS: good}, relay.Hop{TLS: relay.TLSRequired}, "451 4.7.5", false},
		{"other name", hoptest.Options{TLS: good}, relay.Hop{TLS: relay.TLSRequired, CAFile: ca, ServerName: "other.internal"}, "451 4.7.5", false},
		{"expired", hoptest.Options{TLS: expired}, relay.Hop{TLS: relay.TLSRequired, CAFile: oldCA}, "451 4.7.5", false},
		{"TLS 1.1", hoptest.Options{TLS: old}, relay.Hop{TLS: relay.TLSRequired, CAFile: ca}, "451 4.7.5", false},
		{"login not in clear", hoptest.Options{Users: map[string]string{"u": "p"}}, relay.Hop{TLS: relay.TLSOpportunistic, User: "u", Password: "p"}, "451 4.7.5", false},
		{"login", hoptest.Options{TLS: good, Users: map[string]string{"u": "p"}}, relay.Hop{TLS: relay.TLSRequired, CAFile: ca, User: "u", Password: "p"}, "250", true},
		{"login refused", hoptest.Options{TLS: good, Users: map[string]string{"u": "q"}}, relay.Hop{TLS: relay.TLSRequired, CAFile: ca, User: "u", Password: "p"}, "451 4.4.1", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			hop := hoptest.New(t, c.hop)
			c.set.Address = hop.Addr()
			r := newRelay(t, quick, relay.Route{Hops: []relay.Hop{c.set}})
			asked, _ := pass(t, r, envelope(t), letter("x"), "bob@corp.example")
			wantReply(t, asked[0], c.want)
			m := hop.Messages()
			if (len(m) == 1) != (c.want == "250") || len(m) == 1 && m[0].TLS != c.tls {
				t.Errorf("messages %+v, want TLS %v", m, c.tls)
			}
		})
	}
}

func TestRequireTLS(t *testing.T) {
	good, ca := hoptest.Certificate(t, time.Hour, "127.0.0.1")
	for _, c := range []struct {
		ext  []string
		set  relay.Hop
		want string
	}{
		{[]string{"REQUIRETLS"}, relay.Hop{TLS: relay.TLSRequired, CAFile: ca}, "250"},
		{[]string{"REQUIRETLS"}, relay.Hop{TLS: relay.TLSOpportunistic}, "550 5.7.30"},
		{[]string{"8BITMIME"}, relay.Hop{TLS: relay.TLSRequired, CAFile: ca}, "550 5.7.30"},
		{[]string{"REQUIRETLS"}, relay.Hop{TLS: relay.TLSNone}, "550 5.7.30"},
	} {
		hop := hoptest.New(t, hoptest.Options{TLS: good, Extensions: c.ext})
		c.set.Address = hop.Addr()
		e := envelope(t)
		e.Params.RequireTLS = true
		asked, _ := pass(t, newRelay(t, quick, relay.Route{Hops: []relay.Hop{c.set}}), e, letter("x"), "bob@corp.example")
		wantReply(t, asked[0], c.want)
	}
}

func TestLogin(t *testing.T) {
	good, ca := hoptest.Certificate(t, time.Hour, "127.0.0.1")
	var log bytes.Buffer
	for _, c := range []struct {
		name     string
		hop      hoptest.Options
		policy   relay.TLSPolicy
		password string
		ok, asks bool
	}{
		{"right", hoptest.Options{TLS: good}, relay.TLSRequired, "s3cret", true, true},
		{"wrong", hoptest.Options{TLS: good}, relay.TLSRequired, "wr0ng", false, true},
		{"NUL", hoptest.Options{TLS: good}, relay.TLSRequired, "x\x00s3cret", false, true},
		{"temporary", hoptest.Options{TLS: good, Replies: map[string]string{"AUTH": "454 4.7.0 later"}}, relay.TLSRequired, "s3cret", false, false},
		{"in clear", hoptest.Options{}, relay.TLSNone, "s3cret", false, false},
		{"TLS is refused", hoptest.Options{TLS: good, Replies: map[string]string{"STARTTLS": "454 no"}}, relay.TLSOpportunistic, "s3cret", false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.hop.Users = map[string]string{"ann": "s3cret"}
			hop := hoptest.New(t, c.hop)
			r, err := relay.New(relay.Options{
				Routes: map[string]relay.Route{"in": {Hops: []relay.Hop{{Address: hop.Addr(), TLS: c.policy, CAFile: ca}}}}, Timeouts: quick,
				Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
			})
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			ok, err := r.Login(t.Context(), "in", proxy.Client{}, "ann", c.password)
			if ok != c.ok || (err == nil) != c.asks {
				t.Errorf("%v %v, want %v", ok, err, c.ok)
			}
			if !c.asks && c.name != "temporary" && strings.Contains(strings.Join(hop.Commands(), "\n"), "AUTH") {
				t.Errorf("the password went out in clear: %q", hop.Commands())
			}
		})
	}
	if strings.Contains(log.String(), "s3cret") || strings.Contains(log.String(), "wr0ng") {
		t.Errorf("a password stands in the log:\n%s", log.String())
	}
}

func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			// The lines in front of the dialogue say what our own client must hear: "want: 250 ..." for each reply.
			var wants []string
			script := ""
			for line := range strings.SplitSeq(string(text), "\n") {
				if want, ok := strings.CutPrefix(line, "want: "); ok {
					wants = append(wants, want)
				} else {
					script += line + "\n"
				}
			}
			hop := hoptest.NewScript(t, script)
			asked, sent := pass(t, newRelay(t, quick, hops(hop.Addr())), envelope(t), letter("x"), "bob@corp.example", "carl@corp.example")
			got := append(asked, sent...)
			if len(got) != len(wants) {
				t.Fatalf("replies %v, want %q", got, wants)
			}
			for i, want := range wants {
				wantReply(t, got[i], want)
			}
			if wrong := hop.Wrong(); wrong != nil {
				t.Errorf("dialogue: %q", wrong)
			}
		})
	}
}

func TestNoGoroutineIsLeft(t *testing.T) {
	before := runtime.NumGoroutine()
	for _, replies := range []map[string]string{nil, {".": "HANG"}, {"MAIL": "HANG"}, {"DATA": "CLOSE"}, {"GREETING": "HANG"}} {
		hop := hoptest.New(t, hoptest.Options{Replies: replies})
		r := newRelay(t, quick, hops(hop.Addr()))
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		d := r.Open(mail.RouteTo("in"), envelope(t))
		to := rcpts(t, "bob@corp.example")
		if d.Rcpt(ctx, to[0]).Positive() {
			got := d.Send(ctx, to, letter("x"))[0]
			if got.Positive() != (replies == nil) {
				t.Errorf("%v: %s", replies, got)
			}
		}
		d.Close()
		cancel()
		r.Close()
		hop.Close()
	}
	for range 100 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	stacks := make([]byte, 1<<16)
	t.Errorf("%d goroutines, were %d\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
}

// A hop that says 250 in the middle of a message and refuses it at the end has not taken it.
func TestA250BeforeTheDotIsNotBelieved(t *testing.T) {
	hop := hoptest.New(t, hoptest.Options{Replies: map[string]string{"MIDDATA": "250 2.0.0 ok", ".": "550 5.7.1 no"}})
	c := letter(strings.Repeat("a line of text\r\n", 1_000_000))
	_, sent := pass(t, newRelay(t, relay.Timeouts{}, hops(hop.Addr())), envelope(t), c, "bob@corp.example")
	if sent[0].Positive() {
		t.Errorf("reply %q", sent[0])
	}
}
