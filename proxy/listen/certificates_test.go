package listen

import (
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// shake makes a handshake and gives the client's side of it.
func shake(t *testing.T, server, client *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	here, there := net.Pipe()
	defer here.Close()
	defer there.Close()
	go func() {
		s := tls.Server(there, server)
		if s.Handshake() == nil {
			_, _ = s.Write([]byte("x")) // session tickets go out in front of it
		}
		_ = there.Close()
	}()
	client.InsecureSkipVerify = true
	c := tls.Client(here, client)
	if err := c.Handshake(); err != nil {
		return tls.ConnectionState{}, err
	}
	_, _ = c.Read(make([]byte, 1))
	return c.ConnectionState(), nil
}

func pair(t *testing.T, host string) Pair {
	t.Helper()
	file := filepath.Join(t.TempDir(), host+".pem")
	if err := selfSigned(file, host); err != nil {
		t.Fatal(err)
	}
	return Pair{file, file}
}

func certName(t *testing.T, server *tls.Config, sni string) string {
	t.Helper()
	state, err := shake(t, server, &tls.Config{ServerName: sni})
	if err != nil {
		t.Fatalf("%s: %v", sni, err)
	}
	return state.PeerCertificates[0].Subject.CommonName
}

func TestCertificateByName(t *testing.T) {
	c, err := NewCertificates(CertificateOptions{Pairs: []Pair{pair(t, "a.example"), pair(t, "b.example")}})
	if err != nil {
		t.Fatal(err)
	}
	for sni, want := range map[string]string{"a.example": "a.example", "B.example": "b.example", "": "a.example", "other.example": "a.example", strings.Repeat("a.", 120) + "example": "a.example"} {
		if got := certName(t, c.Config(), sni); got != want {
			t.Errorf("%.40q: %s, want %s", sni, got, want)
		}
	}
}

func TestChangedCertificateIsReadAndABrokenOneNot(t *testing.T) {
	p := pair(t, "old.example")
	c, err := NewCertificates(CertificateOptions{Pairs: []Pair{p}})
	if err != nil {
		t.Fatal(err)
	}
	replace := func(text []byte, age time.Duration) {
		if err := os.WriteFile(p.Cert, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(p.Cert, time.Time{}, time.Now().Add(-age)); err != nil {
			t.Fatal(err)
		}
		c.refresh(time.Now().Add(time.Hour - age)) // as if the next look were due
	}
	replace([]byte("half a fil"), 2*time.Minute)
	if got := certName(t, c.Config(), ""); got != "old.example" {
		t.Errorf("%s is shown", got)
	}
	if err := c.Reload(); err == nil {
		t.Error("Reload took a broken file")
	}
	text, err := os.ReadFile(pair(t, "new.example").Cert)
	if err != nil {
		t.Fatal(err)
	}
	replace(text, time.Minute)
	if got := certName(t, c.Config(), ""); got != "new.example" {
		t.Errorf("%s is shown", got)
	}
}

func TestTheSelfSignedOneStays(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tls")
	var first time.Time
	for range 2 {
		c, err := NewCertificates(CertificateOptions{Dir: dir, HostName: "mx.corp.example"})
		if err != nil {
			t.Fatal(err)
		}
		if got := certName(t, c.Config(), "mx.corp.example"); got != "mx.corp.example" {
			t.Errorf("%s is shown", got)
		}
		if first.IsZero() {
			first = c.Expiry()
		} else if !c.Expiry().Equal(first) {
			t.Error("a second start made another certificate")
		}
	}
	if first.Before(time.Now().AddDate(9, 11, 0)) {
		t.Errorf("expires %s", first)
	}
	info, err := os.Stat(filepath.Join(dir, "self-signed.pem"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key's file: %v %v", info.Mode(), err)
	}
}

func TestWhatTLSIsRefused(t *testing.T) {
	c, err := NewCertificates(CertificateOptions{Pairs: []Pair{pair(t, "a.example")}})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name   string
		client *tls.Config
		ok     bool
	}{
		{"1.2", &tls.Config{MaxVersion: tls.VersionTLS12}, true},
		{"1.1", &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, false},
		{"no ALPN", &tls.Config{}, true},
		{"ALPN of mail", &tls.Config{NextProtos: []string{"smtp"}}, true},
		{"ALPN of the web", &tls.Config{NextProtos: []string{"h2", "http/1.1"}}, false},
		{"ALPN of the old web", &tls.Config{NextProtos: []string{"http/1.1"}}, false},
		{"RC4", &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_RSA_WITH_RC4_128_SHA}}, false},
	} {
		if _, err := shake(t, c.Config(), test.client); (err == nil) != test.ok {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

func TestASessionOfOneDoorIsNoneOfAnother(t *testing.T) {
	c, err := NewCertificates(CertificateOptions{Pairs: []Pair{pair(t, "a.example")}})
	if err != nil {
		t.Fatal(err)
	}
	one, other := c.Config(), c.Config()
	cache := tls.NewLRUClientSessionCache(2)
	for _, step := range []struct {
		door    *tls.Config
		resumed bool
	}{{one, false}, {one, true}, {other, false}} {
		state, err := shake(t, step.door, &tls.Config{ServerName: "a.example", ClientSessionCache: cache})
		if err != nil || state.DidResume != step.resumed {
			t.Errorf("resumed %v %v, want %v", state.DidResume, err, step.resumed)
		}
	}
}

func TestACMENeedsAddressAndName(t *testing.T) {
	for _, o := range []ACMEOptions{{}, {Names: []string{"a.example"}}, {HTTP: ":80"}, {Names: []string{"a.example"}, HTTP: "nowhere"}} {
		if _, err := NewACME(t.Context(), o); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
}
