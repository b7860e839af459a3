package imapd_test

import (
	"fmt"
	"strings"
	"testing"

	"postern/proxy/access"
	"postern/proxy/imapd/dovecottest"
)

func appendMessage(c *client, mailbox, text string) {
	c.t.Helper()
	c.send(fmt.Sprintf("ap APPEND %s {%d+}\r\n%s\r\n", mailbox, len(text), text))
	if got := c.until("ap "); !strings.Contains(got, "ap OK") {
		c.t.Fatalf("APPEND: %q", got)
	}
}

func TestFirst(t *testing.T) {
	v := dovecottest.Start(t, dovecottest.Options{})
	d := open(t, access.Backend{Address: v.IMAP, TLS: access.TLSNone}, nil)
	c := dial(t, d.address, nil)
	c.login("bob", dovecottest.Password)
	appendMessage(c, "INBOX", "From: a@b.test\r\nSubject: x\r\n\r\nHello\r\n")
	appendMessage(c, "INBOX", "From: a@b.test\r\nSubject: x\r\nX-Mask: yes\r\n\r\nThe EVIL one, very EVIL and longer\r\n")
	for i, cmd := range []string{"CAPABILITY", "SELECT INBOX", "FETCH 1:* (UID FLAGS BODY[])", "FETCH 1:* (BODY.PEEK[TEXT])", "UID FETCH 1:* (BODY.PEEK[1]<3.10> ENVELOPE)", "FETCH 2 (RFC822 RFC822.TEXT PREVIEW BINARY[1])", "IDLE\r\nDONE", "LOGOUT"} {
		t.Logf("%s", c.do(fmt.Sprintf("a%d", i), cmd))
	}
	t.Log(d.records.wait(t, 1))
	t.Log(d.log.String())
	t.Log(v.Text())
}
