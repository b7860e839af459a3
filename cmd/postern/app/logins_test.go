package app_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/internal/testing/dovecottest"
)

// loginAt logs in at a submission door and gives the answer, and how long it took.
func (g *gate) loginAt(door, address, user, password string) (string, time.Duration) {
	c := g.from(address, door)
	defer c.conn.Close()
	c.say("", 220)
	c.say("EHLO laptop.example", 250)
	c.say("STARTTLS", 220)
	c = c.overTLS(trusting())
	c.say("EHLO laptop.example", 250)
	begun := time.Now()
	return c.say("AUTH PLAIN "+plain(user, password), 0), time.Since(begun)
}

// submitter is a submission door whose logins a real Dovecot checks.
func submitter(auth, backend string) string {
	return "[[door]]\nname = \"submit\"\nprotocol = \"submission\"\nlisten = \"127.0.0.1:0\"\nauth = \"imap\"\n" + auth + "\n" +
		"[bans]\nnever = [\"127.0.0.0/8\"]\n" + backend
}

// Dovecot delays clients after wrong passwords. It gets the client's address: four wrong passwords from one address
// delay no right one from another.
func TestWrongPasswordsDelayNobodyElse(t *testing.T) {
	t.Parallel()
	v := dovecottest.Start(t, dovecottest.Options{Penalty: true, Extra: "auth_verbose = yes\n"})
	backend := func(address, tls, more string) string {
		return fmt.Sprintf("[mail_backend.\"default\"]\nimap = [%q]\ntls = %q\nca_file = %q\n%s\n", address, tls, filepath.Join(v.Dir, "cert.pem"), more)
	}
	for i, c := range []struct {
		name, address, tls string
		told               bool
	}{{"TLS at once at an odd port", v.IMAPS, "implicit", true}, {"STARTTLS", v.IMAP, "starttls", true}, {"not told", v.IMAPS, "implicit", false}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g := newGate(t, submitter("", backend(c.address, c.tls, fmt.Sprint("forward_client = ", c.told))))
			guesser, owner := fmt.Sprintf("127.0.1.%d", 10+i), fmt.Sprintf("127.0.2.%d", 10+i)
			for n := range 4 {
				if said, _ := g.loginAt("submit", guesser, "ben@ours.test", fmt.Sprint("wrong", n)); !strings.HasPrefix(said, "535 ") {
					t.Fatal(said)
				}
			}
			said, took := g.loginAt("submit", owner, "ben@ours.test", dovecottest.Password)
			if !strings.HasPrefix(said, "235 ") || (took < time.Second) != c.told {
				t.Errorf("the right password from another address: %s after %s", said, took)
			}
			t.Logf("four wrong passwords from elsewhere, then a right one: after %s", took.Round(time.Millisecond))
			if !c.told { // shows that Dovecot does slow down logins
				return
			}
			if !strings.Contains(v.Text(), "rip="+owner) || !strings.Contains(v.Text(), guesser) {
				t.Errorf("Dovecot was not told who the clients are:\n%s", v.Text())
			}
		})
	}
}

// A submission door asks the server of [mail_backend] that its settings name, or the one that serves the user, with all of its
// options.
func TestLoginsByTheOptionsOfABackend(t *testing.T) {
	t.Parallel()
	v := dovecottest.Start(t, dovecottest.Options{Extra: "auth_username_format = %Lu\n"})
	t.Run("logins", func(t *testing.T) { loginsByOptions(t, v) })
	if !strings.Contains(v.Text(), "user=<ben>") {
		t.Errorf("nobody logged in as ben:\n%s", v.Text())
	}
}

func loginsByOptions(t *testing.T, v *dovecottest.Server) {
	ca := filepath.Join(v.Dir, "cert.pem")
	for _, c := range []struct {
		name, auth, backends, user, password, want string
	}{
		{"named", `auth_backend = "two"`, "[mail_backend.\"one\"]\nimap = [\"127.0.0.1:9\"]\n[mail_backend.\"two\"]\nusers = [\"nobody\"]\nimap = [\"" + v.IMAPS + "\"]\nca_file = \"" + ca + "\"\n",
			"ben@ours.test", dovecottest.Password, "235"},
		{"that of the user", "", "[mail_backend.\"one\"]\nimap = [\"127.0.0.1:9\"]\n[mail_backend.\"two\"]\ndomains = [\"ours.test\"]\nimap = [\"" + v.IMAPS + "\"]\nca_file = \"" + ca + "\"\n",
			"ben@ours.test", dovecottest.Password, "235"},
		{"a stand-in", "", "[mail_backend.\"one\"]\nimap = [\"127.0.0.1:9\", \"" + v.IMAP + "\"]\ntls = \"starttls\"\nca_file = \"" + ca + "\"\n",
			"ben@ours.test", dovecottest.Password, "235"},
		{"a wrong password", "", "[mail_backend.\"one\"]\nimap = [\"" + v.IMAPS + "\"]\nca_file = \"" + ca + "\"\n", "ben@ours.test", "x", "535"},
		{"an authority that is not ours", "", "[mail_backend.\"one\"]\nimap = [\"" + v.IMAPS + "\"]\n", "ben@ours.test", dovecottest.Password, "454"},
		{"unchecked", "", "[mail_backend.\"one\"]\nimap = [\"" + v.IMAPS + "\"]\nverify = false\n", "ben@ours.test", dovecottest.Password, "235"},
		{"another name", "", "[mail_backend.\"one\"]\nimap = [\"" + v.IMAPS + "\"]\nca_file = \"" + ca + "\"\nserver_name = \"elsewhere.test\"\n", "ben@ours.test", dovecottest.Password, "454"},
		{"as another", "", "[mail_backend.\"one\"]\nimap = [\"" + v.IMAPS + "\"]\nca_file = \"" + ca + "\"\nlogin_as = \"{local}\"\n", "Ben@ours.test", dovecottest.Password, "235"},
		{"by the separator of master users", "", "[mail_backend.\"one\"]\nimap = [\"" + v.IMAPS + "\"]\nca_file = \"" + ca + "\"\nmaster_separator = \"*\"\n", "ben*root", dovecottest.Password, "535"},
		{"nobody serves him", "", "[mail_backend.\"one\"]\nusers = [\"eve\"]\nimap = [\"" + v.IMAPS + "\"]\nca_file = \"" + ca + "\"\n", "ben@ours.test", dovecottest.Password, "535"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g := newGate(t, submitter(c.auth, c.backends))
			if said, _ := g.loginAt("submit", "127.0.0.1", c.user, c.password); !strings.HasPrefix(said, c.want+" ") {
				t.Errorf("%s, want %s", said, c.want)
			}
			if strings.Contains(g.log.String(), dovecottest.Password) {
				t.Error("the password is in the log")
			}
		})
	}
}
