package app_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/cmd/postern/app"
	"postern/policy/records/ledger"
	"postern/policy/records/recall"
	"postern/proxy/console/api"
	"postern/proxy/release"
)

const lifecyclePolicy = `[[rule]]
name = "HELD"
when = 'subject.contains("hold me")'
action = "quarantine"
[[rule]]
name = "ELSEWHERE"
when = 'subject.contains("send me on")'
redirect_to = "other@ours.test"
[[rule]]
name = "REFUSED"
when = 'subject.contains("refuse me")'
action = "reject"
[[rule]]
name = "LATER"
when = 'subject.contains("not now")'
action = "defer"
`

// life is a gateway whose messages meet every fate.
type life struct {
	*gate
	t *testing.T
	n int
}

func newLife(t *testing.T, out app.Outside) *life {
	t.Helper()
	file := filepath.Join(t.TempDir(), "policy.toml")
	if err := os.WriteFile(file, []byte(lifecyclePolicy), 0o600); err != nil {
		t.Fatal(err)
	}
	g := openGate(t, out, "[policy]\nfile = \""+file+"\"\n[filters.greylist]\nenabled = false\n[console]\nlisten = \"127.0.0.1:0\"\n[alerts]\nafter = \"0s\"\n")
	return &life{gate: g, t: t}
}

// letter is a message with this subject.
func (l *life) letter(from, subject string) string {
	l.n++
	return "From: <" + from + ">\r\nTo: <ben@ours.test>\r\nDate: Mon, 02 Nov 2026 10:00:00 +0000\r\nMessage-ID: <" + subject[:3] + "-" + string(rune('a'+l.n)) + "@friend.example>\r\nSubject: " + subject + "\r\n\r\nAt noon?\r\n"
}

// send brings a message in from outside and gives the id of its record.
func (l *life) send(to, subject string, want int) string {
	l.t.Helper()
	c := l.dial("mx")
	code, text := c.message("anna@friend.example", to, l.letter("anna@friend.example", subject))
	if code != want {
		l.t.Fatalf("%s: %d %s, want %d", subject, code, text, want)
	}
	c.say("QUIT", 221)
	return l.newest()
}

// newest is the id of the newest record.
func (l *life) newest() string {
	l.t.Helper()
	found, err := l.app.Ledger.Search(context.Background(), ledger.Query{Limit: 1})
	if err != nil || len(found) != 1 {
		l.t.Fatalf("%v %v", found, err)
	}
	return found[0].ID
}

// ours sends a message of ben's to one recipient outside and one here; the far server defers it.
func (l *life) ours(subject string) string {
	l.t.Helper()
	l.outside.Reply(".", "451 4.3.0 come again")
	c := l.login("staff")
	for _, line := range []string{"MAIL FROM:<ben@ours.test>", "RCPT TO:<eva@ours.test>", "RCPT TO:<u@far.test>"} {
		c.say(line, 250)
	}
	c.say("DATA", 354)
	c.send(l.letter("ben@ours.test", subject) + ".\r\n")
	c.say("", 250)
	c.say("QUIT", 221)
	return l.newest()
}

// ended checks the fate of a message for a recipient, in every interface.
func (l *life) ended(id, to string, word ledger.Word, reply string) {
	l.t.Helper()
	var seen ledger.Transaction
	until(l.t, id+" is "+string(word), func() bool {
		r, err := l.app.Ledger.Explain(context.Background(), id)
		if err != nil {
			return false
		}
		seen = r.Transactions[0]
		for _, one := range seen.Recipients {
			if one.Address == to && one.Last() == word {
				return true
			}
		}
		return false
	})
	r, err := l.app.Ledger.Explain(context.Background(), id)
	if err != nil {
		l.t.Fatal(err)
	}
	var text strings.Builder
	if err := ledger.Describe(&text, r, ledger.Admin); err != nil {
		l.t.Fatal(err)
	}
	if !strings.Contains(text.String(), string(word)) && len(seen.Fates) > 0 || !strings.Contains(text.String(), reply) {
		l.t.Errorf("explain does not tell %q, %q:\n%s", word, reply, text.String())
	}
	found, err := l.app.Ledger.Search(context.Background(), ledger.Query{ID: id})
	if err != nil || len(found) != 1 || !strings.Contains(string(found[0].Recipients[len(found[0].Recipients)-1].Last()+found[0].Recipients[0].Last()), string(word)) {
		l.t.Errorf("search: %+v %v", found, err)
	}
	l.api(id, string(word))
	inLog := false
	for line := range strings.Lines(l.log.String()) {
		if strings.Contains(line, "id="+id) && (strings.Contains(line, "fate="+string(word)) || strings.Contains(line, ","+string(word))) {
			inLog = true
		}
	}
	if !inLog {
		l.t.Errorf("the log has no line with id=%s and %s", id, word)
	}
}

// api checks that the JSON interface reports it, too.
func (l *life) api(id, word string) {
	l.t.Helper()
	store, err := api.OpenStore(filepath.Join(l.dir, "data", "admin.db"), nil)
	if err != nil {
		l.t.Fatal(err)
	}
	defer store.Close()
	_, token, err := store.Add(l.t.Context(), api.Token{Name: "t" + id, Role: api.Admin})
	if err != nil {
		l.t.Fatal(err)
	}
	r, err := http.NewRequest(http.MethodGet, "http://"+l.app.ConsoleAddress()+"/api/v1/messages/"+id, nil)
	if err != nil {
		l.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		l.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || !json.Valid(text) || !strings.Contains(string(text), `"`+word+`"`) {
		l.t.Errorf("the interface does not say %s: %s %v", word, text, err)
	}
}

// queued is the id of a message in the queue.
func (l *life) queued(id string) string {
	l.t.Helper()
	r, err := l.app.Ledger.Explain(context.Background(), id)
	if err != nil || len(r.Transactions[0].QueueIDs) != 1 {
		l.t.Fatalf("%+v %v", r, err)
	}
	return r.Transactions[0].QueueIDs[0]
}

// retry makes the queue try again, with this reply.
func (l *life) retry(id, answer string) {
	l.t.Helper()
	l.ended(id, "u@far.test", ledger.Deferred, "451 4.3.0 come again")
	until(l.t, "the first try is over", func() bool {
		list, err := l.app.Queue.List()
		return err == nil && len(list) > 0 && list[0].Attempts > 0
	})
	l.outside.Reply(".", answer)
	if err := l.app.Queue.Retry(l.queued(id), "ann"); err != nil {
		l.t.Fatal(err)
	}
}

// The immediate fates: delivered, refused by policy, by the server behind, deferred, abandoned, redirected.
func TestEndsAtOnce(t *testing.T) {
	t.Parallel()
	l := newLife(t, app.Outside{})
	l.ended(l.send("ben@ours.test", "deliver me", 250), "ben@ours.test", ledger.Delivered, "250")
	l.ended(l.send("ben@ours.test", "refuse me", 550), "ben@ours.test", ledger.Refused, "550")
	l.ended(l.send("ben@ours.test", "not now", 451), "ben@ours.test", ledger.Deferred, "451")
	l.ended(l.send("nosuch@ours.test", "nobody here", 550), "nosuch@ours.test", ledger.Refused, "550 5.1.1 no such user")

	c := l.dial("mx")
	c.say("MAIL FROM:<anna@friend.example>", 250)
	c.say("RCPT TO:<ben@ours.test>", 250)
	c.say("QUIT", 221)
	l.ended(l.newest(), "ben@ours.test", "abandoned", "")

	id := l.send("ben@ours.test", "send me on", 250)
	l.ended(id, "ben@ours.test", ledger.Redirected, "sent on to <other@ours.test>")
	until(t, "the redirected mail is delivered, and told", func() bool {
		fates, err := l.app.Ledger.Fates(t.Context(), id)
		return err == nil && len(fates) == 1 && fates[0].Word == ledger.Delivered && fates[0].Recipient == "other@ours.test"
	})
}

// What our queue accepted with 250 and could not deliver is reported to the admin, and to the sender if it is ours; a
// stranger never gets a bounce. RFC 5321 section 6.1.
func TestEndsInTheQueue(t *testing.T) {
	t.Parallel()
	l := newLife(t, app.Outside{})
	id := l.ours("delivered later")
	l.retry(id, "250 2.0.0 taken")
	l.ended(id, "u@far.test", ledger.Delivered, "250 2.0.0 taken")

	id = l.ours("refused later")
	l.inside.Forget()
	l.retry(id, "554 5.7.1 no spam here")
	l.ended(id, "u@far.test", ledger.Refused, "554 5.7.1 no spam here")
	until(t, "the sender is told", func() bool { return len(l.inside.Messages()) == 1 })
	notice := l.inside.Messages()[0]
	for _, want := range []string{"report-type=delivery-status", "Auto-Submitted: auto-replied", "Final-Recipient: rfc822; u@far.test", "Action: failed", "Status: 5.7.1",
		"Diagnostic-Code: smtp; 554 5.7.1 no spam here", "Subject: refused later", "Content-Type: text/rfc822-headers", id} {
		if !strings.Contains(string(notice.Data), want) {
			t.Errorf("the notice has no %q:\n%s", want, notice.Data)
		}
	}
	if notice.From != "<>" || len(notice.To) != 1 || notice.To[0] != "<ben@ours.test>" {
		t.Errorf("from %s to %s", notice.From, notice.To)
	}
	until(t, "the record has the notice", func() bool {
		fates, err := l.app.Ledger.Fates(t.Context(), id)
		return err == nil && strings.Contains(told(fates), "bounced the notice to the sender: delivered")
	})
	lost := false
	for _, one := range l.app.Troubles() {
		lost = lost || one.Kind == "given_up" && strings.Contains(one.Text, "554 5.7.1 no spam here")
	}
	if !lost {
		t.Errorf("no trouble: %+v", l.app.Troubles())
	}
	list, err := l.app.Queue.List()
	if err != nil || len(list) != 1 || !strings.Contains(list[0].Why, "no spam here") {
		t.Errorf("queue list: %+v %v", list, err)
	}

	id = l.ours("thrown away")
	until(t, "an admin throws it away", func() bool { return l.app.Queue.Delete(l.queued(id), "ann") == nil })
	l.ended(id, "u@far.test", ledger.Deleted, "by ann")
}

func told(fates []ledger.Fate) (text string) {
	for _, f := range fates {
		text += string(f.Word) + " " + f.Note + "\n"
	}
	return text
}

// Mail not accepted by the next hop in time expires.
func TestEndsByTime(t *testing.T) {
	t.Parallel()
	l := newLife(t, app.Outside{QueueExpiry: time.Millisecond})
	l.inside.Forget()
	id := l.ours("in vain")
	l.ended(id, "u@far.test", ledger.Expired, "451 4.3.0 come again")
	until(t, "the sender is told", func() bool { return len(l.inside.Messages()) == 2 })
	if notice := l.inside.Messages()[1]; !strings.Contains(string(notice.Data), "Status: 5.4.7") {
		t.Errorf("%s", notice.Data)
	}
}

// A stranger and the null reverse-path get no bounce: the address may be forged, and bounces of bounces would loop.
func TestNoBounceToStrangers(t *testing.T) {
	t.Parallel()
	l := newLife(t, app.Outside{})
	for _, from := range []string{"<anna@friend.example>", "<>"} {
		l.outside.Reply(".", "451 4.3.0 come again")
		c := l.from("127.0.0.99", "mx") // our own server, with mail that it passes on
		c.say("", 220)
		c.say("EHLO exchange.ours.test", 250)
		for _, line := range []string{"MAIL FROM:" + from, "RCPT TO:<eva@ours.test>", "RCPT TO:<u@far.test>"} {
			c.say(line, 250)
		}
		c.say("DATA", 354)
		c.send(l.letter("anna@friend.example", "passed on") + ".\r\n")
		c.say("", 250)
		c.say("QUIT", 221)
		id := l.newest()
		l.retry(id, "554 5.7.1 no")
		l.ended(id, "u@far.test", ledger.Refused, "554 5.7.1 no")
		l.inside.Forget()
	}
	time.Sleep(1500 * time.Millisecond) // longer than the queue's look into its folder
	if n := len(l.inside.Messages()) + l.app.Queue.Len(); n != 0 {
		t.Errorf("%d notices", n)
	}
}

// Held mail ends by release, reported with the server's reply, by deletion or by expiry; delivered mail may be
// recalled.
func TestEndsOfHeldMail(t *testing.T) {
	t.Parallel()
	l := newLife(t, app.Outside{})
	ctx := t.Context()
	release := func(id string) release.Released {
		t.Helper()
		done, err := l.app.Releaser().Release(ctx, release.Order{ID: id + "-1", By: "ann"})
		if err != nil {
			t.Fatal(err)
		}
		return done
	}
	id := l.send("ben@ours.test", "hold me", 250)
	l.ended(id, "ben@ours.test", "held", "")
	if done := release(id); len(done.Answers) != 1 || done.Answers[0].Fate != "delivered" {
		t.Errorf("%+v", done)
	}
	l.ended(id, "ben@ours.test", ledger.Delivered, "released, <ben@ours.test>, by ann")

	id = l.send("ben@ours.test", "hold me, too", 250)
	l.inside.Reply(".", "552 5.2.2 mailbox full")
	if done := release(id); len(done.Answers) != 1 || done.Answers[0].Fate != "refused" || !strings.Contains(done.Answers[0].Text, "552 5.2.2 mailbox full") {
		t.Errorf("%+v", done)
	}
	l.inside.Reply(".", "")
	l.ended(id, "ben@ours.test", ledger.Refused, "552 5.2.2 mailbox full")

	id = l.send("ben@ours.test", "hold me for the bin", 250)
	if err := l.app.Quarantine.DeleteCopies(ctx, id+"-1", "ann"); err != nil {
		t.Fatal(err)
	}
	l.ended(id, "ben@ours.test", ledger.Deleted, "by ann")

	id = l.send("ben@ours.test", "hold me for ever", 250)
	if _, err := l.app.Quarantine.Expire(ctx, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	l.ended(id, "ben@ours.test", ledger.Expired, "kept for as long")

	id = l.send("ben@ours.test", "delivered by mistake", 250)
	r, err := l.app.Ledger.Explain(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range []recall.Entry{{SHA256: r.Transactions[0].SHA256}, {MessageID: r.Transactions[0].MessageID}} {
		e.ID, e.By, e.Why = id, "ann", "it was bad"
		if err := l.app.Recalls.Add(ctx, e); err != nil {
			t.Fatal(err)
		}
	}
	l.ended(id, "ben@ours.test", ledger.Recalled, "by ann")
	if fates, err := l.app.Ledger.Fates(ctx, id); err != nil || len(fates) != 1 {
		t.Errorf("one recall: %+v %v", fates, err)
	}
}

func recipientQuery(to string) ledger.Query { return ledger.Query{Recipient: to} }

func noWorld() app.Outside { return app.Outside{} }
