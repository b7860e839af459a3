package bounce

import (
	"bytes"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"strings"
	"testing"
	"time"

	ours "postern/internal/mail"
)

func notice() Notice {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	return Notice{Hostname: "gw.test", ID: "ID-1-b01", Message: "ID", To: ours.Address{Local: "ben", Domain: "ours.test"}, Arrived: at, Now: at.Add(time.Hour),
		Params: ours.Params{EnvID: "QQ314"}, Header: []byte("From: ben@ours.test\r\nSubject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?=\r\nX-Odd: caf\xc3\xa9\r\n"),
		Failures: []Failure{
			{Recipient: ours.Recipient{Address: ours.Address{Local: "u", Domain: "far.test"}, ORcptType: "rfc822", ORcptTo: "U@far.test"}, Reply: ours.Reply{Code: 550, Enhanced: "5.1.1", Text: "No such user, ask " + strings.Repeat("somebody else ", 30)}},
			{Recipient: ours.Recipient{Address: ours.Address{Local: "v", Domain: "far.test"}}, Expired: true},
		}}
}

// parts reads a notice as a mail program does.
func parts(t *testing.T, text []byte) (kinds, contents []string) {
	t.Helper()
	m, err := mail.ReadMessage(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/report" || params["report-type"] != "delivery-status" {
		t.Fatal(kind, params, err)
	}
	r := multipart.NewReader(m.Body, params["boundary"])
	for {
		p, err := r.NextPart()
		if err == io.EOF {
			return kinds, contents
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(p)
		if err != nil {
			t.Fatal(err)
		}
		kinds, contents = append(kinds, p.Header.Get("Content-Type")), append(contents, string(content))
	}
}

// A notice is what RFC 3464 and RFC 6522 say, of 7 bits, and its lines are short.
func TestNotice(t *testing.T) {
	text := notice().Bytes()
	if !plain(text) {
		t.Errorf("not of 7 bits and short lines:\n%s", text)
	}
	kinds, contents := parts(t, text)
	if strings.Join(kinds, " ") != "text/plain; charset=utf-8 message/delivery-status text/rfc822-headers" {
		t.Fatal(kinds)
	}
	for i, want := range [][]string{
		{"<u@far.test>", "550 5.1.1 No such user, ask", "No server took it in time", "Grüße", "this id: ID"},
		{"Reporting-MTA: dns; gw.test\r\nOriginal-Envelope-Id: QQ314\r\nArrival-Date: ", "\r\n\r\nOriginal-Recipient: rfc822; U@far.test\r\nFinal-Recipient: rfc822; u@far.test\r\nAction: failed\r\nStatus: 5.1.1\r\n",
			"\r\n\r\nFinal-Recipient: rfc822; v@far.test\r\nAction: failed\r\nStatus: 5.4.7\r\n"},
		{"Subject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?=", "X-Odd: café"},
	} {
		for _, w := range want {
			if !strings.Contains(contents[i], w) {
				t.Errorf("no %q in\n%s", w, contents[i])
			}
		}
	}
}

// Addresses that are not of ASCII make it an international report: RFC 6533.
func TestInternationalNotice(t *testing.T) {
	n := notice()
	n.Failures[0].Recipient.Address.Local = "jürgen"
	kinds, contents := parts(t, n.Bytes())
	if kinds[1] != "message/global-delivery-status" || kinds[2] != "message/global-headers" || !strings.Contains(contents[1], "Final-Recipient: utf-8; jürgen@far.test") {
		t.Error(kinds, contents[1])
	}
	if n.SendParams().UTF8 {
		t.Error("an ASCII sender needs no SMTPUTF8")
	}
}

// Who does not want to be told is not.
func TestWanted(t *testing.T) {
	for notify, want := range map[string]bool{"": true, "NEVER": false, "FAILURE": true, "SUCCESS": false, "SUCCESS,FAILURE": true} {
		r := ours.Recipient{}
		if notify != "" {
			r.Notify = strings.Split(notify, ",")
		}
		if Wanted(r) != want {
			t.Errorf("%q: %v", notify, !want)
		}
	}
}
