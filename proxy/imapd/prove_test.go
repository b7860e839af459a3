package imapd_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"postern/internal/mail"
	"postern/internal/testing/dovecottest"
	"postern/proxy/access"
	"postern/proxy/imapd"
)

// wordByWord is a server that answers each line with what stands behind the word it begins with, its tag put in for TAG.
func wordByWord(t *testing.T, greeting string, answers map[string]string) (address string, heard chan string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	heard = make(chan string, 100)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, greeting+"\r\n")
			for in := bufio.NewScanner(c); in.Scan(); {
				heard <- in.Text()
				tag, rest, _ := strings.Cut(in.Text(), " ")
				word, _, _ := strings.Cut(rest, " ")
				_, _ = io.WriteString(c, strings.ReplaceAll(answers[word], "TAG", tag))
			}
			_ = c.Close()
		}
	}()
	return l.Addr().String(), heard
}

// What a login at a server shows, and what it does not.
func TestProve(t *testing.T) {
	const ready = "* OK [CAPABILITY IMAP4rev1 ID] ready"
	password := func(err error) bool { return errors.Is(err, access.ErrPassword) }
	away := func(err error) bool {
		return err != nil && !errors.Is(err, access.ErrPassword) && !errors.Is(err, access.ErrUnavailable)
	}
	for name, c := range map[string]struct {
		greeting, login string
		tls             access.TLSMode
		want            func(error) bool
	}{
		"right":                   {ready, "TAG OK in\r\n", access.TLSNone, func(err error) bool { return err == nil }},
		"wrong":                   {ready, "TAG NO [AUTHENTICATIONFAILED] no\r\n", access.TLSNone, password},
		"wrong, and nothing said": {ready, "TAG NO no\r\n", access.TLSNone, password},
		"its directory is away":   {ready, "TAG NO [UNAVAILABLE] later\r\n", access.TLSNone, away},
		"too many sessions":       {ready, "TAG NO [LIMIT] later\r\n", access.TLSNone, func(err error) bool { return errors.Is(err, access.ErrUnavailable) }},
		"somebody is in already":  {"* PREAUTH [CAPABILITY IMAP4rev1] welcome", "TAG OK in\r\n", access.TLSNone, away},
		"no TLS there":            {ready, "TAG OK in\r\n", access.TLSStartTLS, away},
		"nonsense":                {"what do you want", "", access.TLSNone, away},
		"it hangs up":             {ready, "* BYE\r\n", access.TLSNone, away},
	} {
		t.Run(name, func(t *testing.T) {
			at, heard := wordByWord(t, c.greeting, map[string]string{"ID": "* ID NIL\r\nTAG OK\r\n", "LOGIN": c.login, "STARTTLS": "TAG BAD\r\n", "CAPABILITY": "TAG BAD\r\n"})
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			s := &mail.Session{ID: "01TEST", Client: netip.MustParseAddr("192.0.2.7"), Peer: netip.MustParseAddrPort("192.0.2.7:4711"), Local: netip.MustParseAddrPort("127.0.0.1:587")}
			err := imapd.Prove(ctx, s, &access.Backend{Address: at, TLS: c.tls, Forward: true}, access.Attempt{Mechanism: "LOGIN", User: "ann", Password: "secret"})
			if !c.want(err) {
				t.Errorf("%v", err)
			}
			id, login := false, false
			for len(heard) > 0 {
				line := <-heard
				id = id || strings.Contains(line, `"x-originating-ip" "192.0.2.7" "x-originating-port" "4711"`)
				login = login || strings.Contains(line, "LOGIN")
			}
			if login && !id || login && c.tls != access.TLSNone {
				t.Errorf("it was asked for a login: told the client %v", id)
			}
		})
	}
}

// A look at a server logs nobody in, and finds a certificate that is not trusted.
func TestProbe(t *testing.T) {
	v := dovecottest.Start(t, dovecottest.Options{})
	for _, b := range []access.Backend{{Address: v.IMAPS, TLS: access.TLSImplicit}, {Address: v.IMAP, TLS: access.TLSStartTLS}} {
		if err := imapd.Probe(t.Context(), &b); err == nil || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("%s: %v", b.TLS, err)
		}
		b.Trust = &tls.Config{RootCAs: v.Roots}
		if err := imapd.Probe(t.Context(), &b); err != nil {
			t.Errorf("%s: %v", b.TLS, err)
		}
	}
}
