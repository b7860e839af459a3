package app_test

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"

	"postern/cmd/postern/app"
	"postern/policy/records/ledger"
	"postern/policy/records/recall"
)

// mailboxOf is an IMAP server that accepts every login and has one message, the one that text gives.
func mailboxOf(t *testing.T, text func() []byte) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	speak := func(c net.Conn) {
		defer c.Close()
		fmt.Fprint(c, "* OK [CAPABILITY IMAP4rev1] ready\r\n")
		for lines := bufio.NewScanner(c); lines.Scan(); {
			tag, command, _ := strings.Cut(lines.Text(), " ")
			switch {
			case strings.HasPrefix(command, "SELECT"):
				fmt.Fprint(c, "* 1 EXISTS\r\n* OK [UIDVALIDITY 5] ok\r\n")
			case strings.HasPrefix(command, "UID FETCH"):
				fmt.Fprintf(c, "* 1 FETCH (UID 1 BODY[] {%d}\r\n%s)\r\n", len(text()), text())
			}
			fmt.Fprintf(c, "%s OK [CAPABILITY IMAP4rev1] done\r\n", tag)
		}
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go speak(c)
		}
	}()
	return l.Addr().String()
}

// fetched is what a user of the door for mailboxes sees of the message.
func (l *life) fetched() string {
	l.t.Helper()
	c, err := net.Dial("tcp", l.doors["mailboxes"])
	if err != nil {
		l.t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "a LOGIN ben@ours.test %s\r\nb SELECT INBOX\r\nc UID FETCH 1 (BODY.PEEK[])\r\nd LOGOUT\r\n", canary)
	var all strings.Builder
	for lines := bufio.NewScanner(c); lines.Scan(); {
		all.WriteString(lines.Text() + "\n")
		if strings.HasPrefix(lines.Text(), "d ") {
			return all.String()
		}
	}
	l.t.Fatalf("the door hung up: %s", all.String())
	return ""
}

// A message's record says once per reason that a reader was shown a notice in its place, in every interface; a message
// that was shown has no such entry.
func TestMaskedWhenFetched(t *testing.T) {
	t.Parallel()
	var l *life
	backend := mailboxOf(t, func() []byte { return l.inside.Messages()[0].Data })
	g := openGate(t, app.Outside{}, "[filters.greylist]\nenabled = false\n[console]\nlisten = \"127.0.0.1:0\"\n[[door]]\nname = \"mailboxes\"\nprotocol = \"imap\"\nlisten = \"127.0.0.1:0\"\n"+
		"tls = \"none\"\nrequire_tls_for_auth = false\n[mail_backend.\"default\"]\nimap = [\""+backend+"\"]\ntls = \"none\"\n")
	l = &life{gate: g, t: t}
	id := l.send("ben@ours.test", "delivered by mistake", 250)
	if text := l.fetched(); !strings.Contains(text, "At noon?") {
		t.Fatalf("before the recall: %s", text)
	}
	if fates, err := l.app.Ledger.Fates(t.Context(), id); err != nil || len(fates) != 0 {
		t.Errorf("%+v %v", fates, err)
	}
	r, err := l.app.Ledger.Explain(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	e := recall.Entry{ID: id, MessageID: r.Transactions[0].MessageID, By: "ann", Why: "it was bad"}
	if err := l.app.Recalls.Add(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	until(t, "the recall holds", func() bool { return !strings.Contains(l.fetched(), "At noon?") })
	l.ended(id, "ben@ours.test", ledger.Masked, "by door mailboxes")
	for range 3 {
		if text := l.fetched(); strings.Contains(text, "At noon?") {
			t.Errorf("after the recall: %s", text)
		}
	}
	fates, err := l.app.Ledger.Fates(t.Context(), id)
	masked := 0
	for _, f := range fates {
		if f.Word == ledger.Masked {
			masked++
		}
	}
	if err != nil || masked != 1 {
		t.Errorf("%d words about it: %+v %v", masked, fates, err)
	}
}
