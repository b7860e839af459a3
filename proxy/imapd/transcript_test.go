package imapd_test

import (
	"crypto/tls"
	"net"
	"strconv"
	"testing"
	"time"

	"postern/internal/testing/dovecottest"
	"postern/internal/testing/transcript"
	"postern/proxy/access"
	"postern/proxy/frame"
	"postern/proxy/imapd"
)

func TestTranscripts(t *testing.T) {
	cert, roots := dovecottest.Certificate(t)
	transcript.RunAll(t, "testdata/*.txt", func(t *testing.T, settings map[string]string) transcript.Door {
		back, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = back.Close() })
		server := &tls.Config{Certificates: []tls.Certificate{cert}}
		b := access.Backend{Address: back.Addr().String(), TLS: access.TLSNone, Forward: settings["forward"] == "yes", Trust: &tls.Config{RootCAs: roots}}
		if settings["backend"] != "" {
			b.TLS = access.TLSMode(settings["backend"])
		}
		d := open(t, b, func(o *imapd.Options, gate *access.Options, _ *frame.Options) {
			o.AuthInClear = settings["clear"] != "no"
			if settings["tls"] != "" {
				o.TLS, o.Implicit = server, settings["tls"] == "implicit"
			}
			o.MaxLogins, _ = strconv.Atoi(settings["logins"]) // none is the default
			if settings["learn"] == "yes" {
				o.Learner = &learner{}
			}
			if pause, err := time.ParseDuration(settings["pause"]); err == nil {
				o.VerdictCache.(*verdicts).pause, o.Progress = pause, pause/3
			}
			if stall, err := time.ParseDuration(settings["stall"]); err == nil {
				o.Stall = stall
			}
			if idle, err := time.ParseDuration(settings["idle"]); err == nil {
				o.Idle = idle
			}
			o.MaxMessage, _ = strconv.ParseInt(settings["max_message"], 10, 64) // none is the default
			gate.Tokens = settings["tokens"] == "yes"
			if settings["opaque"] != "" {
				gate.Opaque, gate.OpaqueMechanisms = "default", []string{settings["opaque"]}
			}
		})
		return transcript.Door{Address: d.address, TLS: &tls.Config{RootCAs: roots, ServerName: "localhost", NextProtos: []string{"imap"}},
			Backend: back, BackendTLS: server}
	})
}
