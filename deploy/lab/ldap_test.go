package lab_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/testing/hoptest"
	"postern/internal/testing/lab"
)

// startLDAP starts an OpenLDAP whose users have proxyAddresses, as Active Directory's do.
func startLDAP(t *testing.T) string {
	t.Helper()
	slapd := lab.Need(t, "slapd", "slapd")
	add := lab.Need(t, "ldapadd", "ldap-utils")
	dir := lab.Dir(t)
	at := lab.FreePort(t)
	conf := strings.NewReplacer("DIR", dir).Replace(`include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
attributetype ( 1.2.840.113556.1.2.210 NAME 'proxyAddresses' EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
objectclass ( 1.2.840.113556.1.5.99999 NAME 'adUser' SUP top AUXILIARY MAY ( proxyAddresses ) )
pidfile DIR/pid
modulepath /usr/lib/ldap
moduleload back_mdb
database mdb
maxsize 10485760
suffix "dc=corp,dc=test"
directory DIR/db
rootdn "cn=admin,dc=corp,dc=test"
rootpw s3cret
access to * by dn.exact="cn=gateway,dc=corp,dc=test" read by anonymous auth
`)
	write(t, filepath.Join(dir, "slapd.conf"), conf)
	if err := os.Mkdir(filepath.Join(dir, "db"), 0o700); err != nil {
		t.Fatal(err)
	}
	lab.Start(t, at, slapd, "-f", filepath.Join(dir, "slapd.conf"), "-h", "ldap://"+at+"/", "-d", "0")
	ldif := `dn: dc=corp,dc=test
objectClass: dcObject
objectClass: organization
o: Corp
dc: corp

dn: cn=gateway,dc=corp,dc=test
objectClass: person
cn: gateway
sn: gateway
userPassword: gate-pass

dn: uid=ann,dc=corp,dc=test
objectClass: inetOrgPerson
objectClass: adUser
uid: ann
cn: Ann
sn: A
mail: ann@corp.test
proxyAddresses: SMTP:ann@corp.test
proxyAddresses: smtp:a.archer@corp.test
ou: cn=Staff,ou=groups,dc=corp,dc=test

dn: uid=cy,dc=corp,dc=test
objectClass: inetOrgPerson
objectClass: adUser
uid: cy
cn: Cy
sn: C
mail: cy@corp.test
`
	cmd := exec.Command(add, "-x", "-H", "ldap://"+at+"/", "-D", "cn=admin,dc=corp,dc=test", "-w", "s3cret")
	cmd.Stdin = strings.NewReader(ldif)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("ldapadd: %v %s", err, out)
	}
	return at
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestADirectoryKnowsTheRecipients(t *testing.T) {
	t.Parallel()
	ldap := startLDAP(t)
	hop := hoptest.New(t, hoptest.Options{})
	door := lab.FreePort(t)
	secret := filepath.Join(lab.Dir(t), "secret")
	write(t, secret, "gate-pass\n")
	p := lab.NewPostern(t, program, fmt.Sprintf(`hostname = "gw.test"
data_dir = "%%DATA%%"
domains = ["corp.test"]
[[door]]
name = "mx"
listen = %q
[next_hop."default"]
addresses = [%q]
tls = "none"
[recipients.ldap]
url = "ldap://%s"
bind_dn = "cn=gateway,dc=corp,dc=test"
password_file = %q
base_dn = "dc=corp,dc=test"
[dns]
servers = ["127.0.0.1:9"]
timeout = "200ms"
`, door, hop.Addr(), ldap, secret))
	p.Start(t)
	c, err := lab.DialClient(door, "")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, step := range []struct {
		line string
		want int
	}{
		{"MAIL FROM:<bob@friend.example>", 250}, {"RCPT TO:<ann@corp.test>", 250}, {"RCPT TO:<A.Archer@corp.test>", 250},
		{"RCPT TO:<ben@corp.test>", 550}, {"RCPT TO:<postmaster@corp.test>", 250},
		// what has a meaning in a filter is a part of the address and no more
		{"RCPT TO:<*@corp.test>", 550}, {"RCPT TO:<ann*@corp.test>", 550}, {"RCPT TO:<\"*)(uid=*\"@corp.test>", 550}, {"RCPT TO:<\"a)(|(uid=ann\"@corp.test>", 550},
	} {
		code, text, err := c.Say(step.line)
		if err != nil || code != step.want {
			t.Errorf("%s: %d %s %v, want %d", step.line, code, text, err, step.want)
		}
	}
	for _, m := range hop.Messages() {
		t.Errorf("the hop got %v", m.To)
	}
}

// A rule of the policy asks for the groups that the directory knows of a recipient.
func TestADirectoryKnowsTheGroups(t *testing.T) {
	t.Parallel()
	ldap := startLDAP(t)
	hop := hoptest.New(t, hoptest.Options{})
	door := lab.FreePort(t)
	dir := lab.Dir(t)
	secret, policy := filepath.Join(dir, "secret"), filepath.Join(dir, "policy.toml")
	write(t, secret, "gate-pass\n")
	write(t, policy, "[[rule]]\nname = \"staff\"\nwhen = '\"Staff\" in groups'\naction = \"reject\"\n")
	p := lab.NewPostern(t, program, fmt.Sprintf(`hostname = "gw.test"
data_dir = "%%DATA%%"
domains = ["corp.test"]
[[door]]
name = "mx"
listen = %q
[next_hop."default"]
addresses = [%q]
tls = "none"
[policy]
file = %q
[recipients.ldap]
url = "ldap://%s"
bind_dn = "cn=gateway,dc=corp,dc=test"
password_file = %q
base_dn = "dc=corp,dc=test"
group_attribute = "ou"
[dns]
servers = ["127.0.0.1:9"]
timeout = "200ms"
`, door, hop.Addr(), policy, ldap, secret))
	p.Start(t)
	c, err := lab.DialClient(door, "")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for to, want := range map[string]int{"ann@corp.test": 550, "cy@corp.test": 250, "a.archer@corp.test": 550} {
		code, text, err := c.Send("bob@friend.example", to, []byte("From: bob@friend.example\r\nDate: Mon, 02 Mar 2026 12:00:00 +0000\r\nMessage-ID: <1@friend.example>\r\nSubject: x\r\n\r\nhello\r\n"))
		if err != nil || code != want {
			t.Errorf("%s: %d %s %v, want %d", to, code, text, err, want)
		}
	}
}
