package imapd_test

import (
	"strings"
	"testing"

	"postern/internal/testing/dovecottest"
	"postern/proxy/access"
	"postern/proxy/frame"
	"postern/proxy/imapd"
)

// More commands at once than may be under way, whose answers are not read meanwhile.
func TestManyCommandsAtOnce(t *testing.T) {
	v := dovecottest.Start(t, dovecottest.Options{})
	d := open(t, access.Backend{Address: v.IMAP, TLS: access.TLSNone}, nil)
	c := dial(t, d.address, nil)
	c.login("bob", dovecottest.Password)
	c.send(strings.Repeat("a NOOP\r\n", 3000) + "b NOOP\r\n")
	if got := strings.Count(c.until("b OK"), "a OK"); got != 3000 {
		t.Errorf("%d answers", got)
	}
}

// What is known of a message goes with its copies.
func TestCopiesCarryTheRuling(t *testing.T) {
	v := dovecottest.Start(t, dovecottest.Options{})
	d := open(t, access.Backend{Address: v.IMAP, TLS: access.TLSNone}, nil)
	c := dial(t, d.address, nil)
	c.login("bob", dovecottest.Password)
	for range 3 {
		appendMessage(c, "INBOX", compound(marker, true))
	}
	c.do("s", "SELECT INBOX")
	c.do("a", "UID FETCH 1:* BODY.PEEK[]")
	c.do("b", "COPY 1:2 Junk")
	c.do("c", "UID MOVE 3 Junk")
	c.do("d", "SELECT Junk")
	before := d.verdicts.judged
	if got := c.do("e", "FETCH 1:* (BODY.PEEK[] BODY.PEEK[1.1])"); strings.Contains(got, marker) || strings.Count(got, notice) < 3 {
		t.Errorf("%.500q", got)
	}
	if d.verdicts.judged != before || before != 3 || len(d.verdicts.carried) != 6 {
		t.Errorf("judged %d times, then %d; %d carried", before, d.verdicts.judged-before, len(d.verdicts.carried))
	}
}

// The notice names the judgement, in whole messages and in parts; and what is known of a message is known of this server
// only, which may be one of many behind a transparent door.
func TestTheNoticeNamesTheJudgement(t *testing.T) {
	v := dovecottest.Start(t, dovecottest.Options{})
	d := open(t, access.Backend{Address: v.IMAP, TLS: access.TLSNone}, func(o *imapd.Options, _ *access.Options, _ *frame.Options) {
		o.Notice = "Withheld, id {id}."
	})
	d.verdicts.id = "abc123"
	c := dial(t, d.address, nil)
	c.login("bob", dovecottest.Password)
	appendMessage(c, "INBOX", compound(marker, true))
	c.do("s", "SELECT INBOX")
	if got := c.do("a", "FETCH 1 (BODY.PEEK[] BODY.PEEK[1.1] BODY.PEEK[TEXT])"); strings.Contains(got, marker) || strings.Count(got, "Withheld, id abc123.") < 3 {
		t.Errorf("%.2000q", got)
	}
	for p := range d.verdicts.known {
		if p.Backend != "default@"+v.IMAP {
			t.Errorf("%+v", p)
		}
	}
}
