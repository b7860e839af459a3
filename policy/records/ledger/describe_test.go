package ledger

import (
	"strings"
	"testing"

	"postern/policy"
)

func described(t *testing.T, r *Record, voice Voice) string {
	t.Helper()
	var b strings.Builder
	if err := Describe(&b, r, voice); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestDescribeForAdmin(t *testing.T) {
	c, tx := sample(1)
	want := `Connection 01J9ABCDEF000001 at door mx, 2026-05-03 12:00:01 UTC
  client       192.0.2.7, by way of 127.0.0.1
  HELO         mail.example.org
  TLS          none
  ended        quit, after 1.2s
  counts       1 transactions, 2 recipients, 1 of them refused, 0 errors, 0 octets

Message 01J9ABCDEF000001.1, inbound, 2026-05-03 12:00:02 UTC
  from         <Bob@Example.org>
  author       Bob <bob@example.org>
  subject      cheap pills
  message-id   <1@example.org>
  size         2048 octets
  to           <ann@example.com>: quarantine, score 7 (tag 4, quarantine 6, reject 12), route default
  to           <nobody@example.com>: reject, score 0
               550 5.1.1 No such user
  why          Held: the score of 7 reaches 6.
  reply        250 2.0.0 Message accepted
  policy       abc
        5  BAYES_SPAM  it reads like spam
        2  HELO_NOT_FQDN  HELO is not a fully-qualified name
           mail
  took (ms)    spf 12.3
`
	if got := described(t, &Record{&c, []Transaction{tx}}, Admin); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestDescribeFetch(t *testing.T) {
	_, tx := sample(1)
	tx.Kind, tx.Door, tx.User, tx.SHA256 = Fetch, "imap", "ann", "abcd"
	got := described(t, &Record{nil, []Transaction{tx}}, Admin)
	if !strings.HasPrefix(got, "Message 01J9ABCDEF000001.1, fetched by ann at door imap, 2026-05-03 12:00:02 UTC\n") || !strings.Contains(got, "abcd") {
		t.Error(got)
	}
}

func TestDescribeForUserAndSender(t *testing.T) {
	c, tx := sample(1)
	tx.Recipients = tx.Recipients[:1]
	r := &Record{&c, []Transaction{tx}}
	user := described(t, r, User)
	for _, want := range []string{`The message "cheap pills" from Bob <bob@example.org>`, "held in quarantine", "- it reads like spam\n", "release it, with the id 01J9ABCDEF000001.1"} {
		if !strings.Contains(user, want) {
			t.Errorf("no %q in\n%s", want, user)
		}
	}
	// the sender must not learn that it is held, nor why
	sender := described(t, r, Sender)
	if !strings.Contains(sender, "It was taken.") || strings.Contains(sender, "spam") || strings.Contains(sender, "192.0.2.7") {
		t.Error(sender)
	}
	r.Transactions[0].Recipients[0].Disposition = policy.Reject
	r.Transactions[0].Reply = "550 5.7.1 Refused, this looks like spam"
	if sender = described(t, r, Sender); !strings.Contains(sender, "It was refused. Our reply was: 550 5.7.1 Refused") {
		t.Error(sender)
	}
}

// Nothing that a sender writes reaches the terminal as a control sequence.
func TestDescribeEscapes(t *testing.T) {
	c, tx := sample(1)
	const evil = "\x1b]0;owned\a\r\n  why  all is well"
	c.Helo, c.User, c.End, tx.Subject, tx.From, tx.HeaderFrom, tx.Reply, tx.Recipients[0].Address = evil, evil, evil, evil, evil, evil, evil, evil
	tx.Findings[0].Evidence, tx.Decisive, tx.MessageID = []string{evil}, evil, evil
	for _, voice := range []Voice{Admin, User, Sender} {
		got := described(t, &Record{&c, []Transaction{tx}}, voice)
		if strings.ContainsAny(got, "\x1b\a\r") || strings.Contains(got, "\n  why  all") {
			t.Errorf("%s: %q", voice, got)
		}
	}
	for _, r := range []*Record{{}, {Connection: &c}} {
		for _, voice := range []Voice{Admin, User, Sender} {
			if described(t, r, voice) == "" {
				t.Errorf("%s is told nothing", voice)
			}
		}
	}
}
