// Package dovecottest runs a real Dovecot for the tests of the POP3 and IMAP doors: a configuration of its own, high ports
// of 127.0.0.1, mailboxes in a folder that goes with the test. It takes root, as Dovecot does.
package dovecottest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/internal/testing/lab"
)

// Password is that of every user; any name is a user.
const Password = "secret"

// Options change the configuration.
type Options struct {
	// Format is "maildir" (default), "sdbox" or "mdbox".
	Format string
	// Extra is put behind the configuration.
	Extra string
	// Penalty makes clients wait who gave wrong passwords before, as Dovecot does where nobody says otherwise.
	Penalty bool
	// Performance serves many logins by one process.
	Performance bool
}

// Server is a running Dovecot.
type Server struct {
	// IMAP, IMAPS, POP3 and POP3S are addresses; IMAP and POP3 offer STARTTLS.
	IMAP, IMAPS, POP3, POP3S string
	// Dir holds all it has, Log is its log file.
	Dir, Log string
	// Roots trusts its certificate, which is for 127.0.0.1 and localhost.
	Roots *x509.CertPool
	// Cert is that certificate with its key, for doors in front of it.
	Cert tls.Certificate

	config string
}

// Start runs a Dovecot until the test ends.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	if os.Geteuid() != 0 {
		lab.Missing(t, "Dovecot takes root")
	}
	program := lab.Need(t, "dovecot", "dovecot-imapd")
	lab.Need(t, "imap", "dovecot-imapd") // Courier's package takes it away
	lab.Need(t, "pop3", "dovecot-pop3d")
	s := &Server{Dir: lab.Dir(t), IMAP: lab.FreePort(t), IMAPS: lab.FreePort(t), POP3: lab.FreePort(t), POP3S: lab.FreePort(t)}
	s.Log = filepath.Join(s.Dir, "log")
	s.certificate(t)
	s.config = filepath.Join(s.Dir, "dovecot.conf")
	write(t, s.config, s.settings(o))
	mail := filepath.Join(s.Dir, "mail")
	if err := os.Mkdir(mail, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(mail, 8, 8); err != nil { // Debian's user mail
		t.Fatal(err)
	}
	lab.Start(t, s.IMAP, program, "-F", "-c", s.config)
	lab.WaitPort(t, s.POP3, s.Text)
	return s
}

// Text is what its log says.
func (s *Server) Text() string {
	text, _ := os.ReadFile(s.Log) // no log is no text
	return string(text)
}

func (s *Server) settings(o Options) string {
	format := o.Format
	if format == "" {
		format = "maildir"
	}
	port := func(address string) string { _, p, _ := net.SplitHostPort(address); return p }
	login := "service_count = 1\n  process_limit = 2000"
	if o.Performance {
		login = "service_count = 0\n  process_min_avail = 1\n  client_limit = 5000"
	}
	penalty := "0"
	if o.Penalty {
		penalty = "0600"
	}
	return strings.NewReplacer("PENALTY", penalty, "DIR", s.Dir, "FORMAT", format, "LOGIN", login,
		"IMAPPORT", port(s.IMAP), "IMAPSPORT", port(s.IMAPS), "POP3PORT", port(s.POP3), "POP3SPORT", port(s.POP3S)).Replace(settings) + o.Extra
}

const settings = `
base_dir = DIR/run
state_dir = DIR/state
log_path = DIR/log
protocols = imap pop3
listen = 127.0.0.1
ssl = yes
ssl_cert = <DIR/cert.pem
ssl_key = <DIR/key.pem
disable_plaintext_auth = no
auth_mechanisms = plain login
login_trusted_networks = 127.0.0.0/8
auth_failure_delay = 0
mail_max_userip_connections = 5000
first_valid_uid = 8
mail_uid = mail
mail_gid = mail
mail_location = FORMAT:DIR/mail/%u
mailbox_list_index = yes
mail_attribute_dict = file:%h/dovecot-attributes
verbose_proctitle = no
mailbox_idle_check_interval = 1 secs
passdb {
  driver = static
  args = password=` + Password + `
}
userdb {
  driver = static
  args = uid=mail gid=mail home=DIR/mail/%u
}
namespace inbox {
  inbox = yes
  mailbox Junk {
    special_use = \Junk
    auto = create
  }
  mailbox Trash {
    special_use = \Trash
    auto = create
  }
}
service imap-login {
  LOGIN
  inet_listener imap {
    port = IMAPPORT
  }
  inet_listener imaps {
    port = IMAPSPORT
    ssl = yes
  }
}
service pop3-login {
  LOGIN
  inet_listener pop3 {
    port = POP3PORT
  }
  inet_listener pop3s {
    port = POP3SPORT
    ssl = yes
  }
}
service imap {
  process_limit = 5000
}
service pop3 {
  process_limit = 5000
}
service stats {
  client_limit = 20000
}
service anvil {
  client_limit = 20000
  unix_listener anvil-auth-penalty {
    mode = PENALTY
  }
}
service auth {
  client_limit = 20000
}
mail_plugins = $mail_plugins quota acl
plugin {
  quota = count:User quota
  quota_rule = *:storage=1G
  quota_vsizes = yes
  acl = vfile
}
protocol imap {
  mail_plugins = $mail_plugins imap_quota imap_acl
  imap_metadata = yes
}
`

func (s *Server) certificate(t testing.TB) {
	t.Helper()
	certPEM, keyPEM := newPEM(t)
	write(t, filepath.Join(s.Dir, "cert.pem"), string(certPEM))
	write(t, filepath.Join(s.Dir, "key.pem"), string(keyPEM))
	s.Cert, s.Roots = load(t, certPEM, keyPEM)
}

// Certificate makes a certificate for 127.0.0.1 and localhost, and what trusts it.
func Certificate(t testing.TB) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	certPEM, keyPEM := newPEM(t)
	return load(t, certPEM, keyPEM)
}

func load(t testing.TB, certPEM, keyPEM []byte) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(certPEM)
	return cert, roots
}

func newPEM(t testing.TB) (certPEM, keyPEM []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return certPEM, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
}

func write(t testing.TB, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
