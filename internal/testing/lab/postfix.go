package lab

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Postfix is a real Postfix as the internal mail server: it takes mail for corp.test and puts each message into a file.
type Postfix struct {
	Addr string
	// Mailbox is the Maildir folder in which new messages stand.
	Mailbox string
	dir     string
}

const postfixMain = `compatibility_level = 3.6
queue_directory = %[1]s/spool
data_directory = %[1]s/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
meta_directory = /etc/postfix
shlib_directory = /usr/lib/postfix
mail_owner = postfix
setgid_group = postdrop
myhostname = mail.corp.test
mydestination =
local_recipient_maps =
alias_maps =
virtual_mailbox_domains = corp.test
virtual_mailbox_base = %[1]s/mail
virtual_mailbox_maps = static:box/
virtual_uid_maps = static:%[2]s
virtual_gid_maps = static:%[3]s
virtual_mailbox_limit = 0
message_size_limit = 60000000
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
smtpd_authorized_xclient_hosts = 127.0.0.0/8
smtpd_authorized_xforward_hosts = 127.0.0.0/8
smtpd_forbid_bare_newline = no
message_drop_headers =
local_header_rewrite_clients =
smtp_dns_support_level = disabled
maillog_file_prefixes = %[1]s
maillog_file = %[1]s/maillog
%[4]s
`

const postfixMaster = `%s inet n - n - 100 smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
`

// StartPostfix starts one; more are lines for its main.cf.
func StartPostfix(t testing.TB, more ...string) *Postfix {
	t.Helper()
	Need(t, "postfix", "postfix")
	p := &Postfix{dir: Dir(t), Addr: FreePort(t)}
	p.Mailbox = filepath.Join(p.dir, "mail", "box", "new")
	owner, err := user.Lookup("nobody")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{"spool", "data", "etc", "mail"} {
		if err := os.MkdirAll(filepath.Join(p.dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	uid, _ := strconv.Atoi(owner.Uid) // Lookup gives numbers
	gid, _ := strconv.Atoi(owner.Gid)
	if err := os.Chown(filepath.Join(p.dir, "mail"), uid, gid); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("chown", "postfix", filepath.Join(p.dir, "data")).CombinedOutput(); err != nil {
		t.Fatalf("chown: %s", out)
	}
	_, port, _ := net.SplitHostPort(p.Addr)
	p.write(t, "main.cf", fmt.Sprintf(postfixMain, p.dir, owner.Uid, owner.Gid, strings.Join(more, "\n")))
	p.write(t, "master.cf", fmt.Sprintf(postfixMaster, "127.0.0.1:"+port))
	p.command(t, "start")
	t.Cleanup(func() { p.command(t, "stop") })
	WaitPort(t, p.Addr, p.Log)
	return p
}

func (p *Postfix) write(t testing.TB, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(p.dir, "etc", name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (p *Postfix) command(t testing.TB, word string) {
	t.Helper()
	out, err := exec.Command("postfix", "-c", filepath.Join(p.dir, "etc"), word).CombinedOutput()
	if err != nil {
		t.Fatalf("postfix %s: %v: %s %s", word, err, out, p.Log())
	}
}

// Log is what Postfix logged.
func (p *Postfix) Log() string {
	text, err := os.ReadFile(filepath.Join(p.dir, "maillog"))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// Messages gives the octets of all delivered messages, by file name.
func (p *Postfix) Messages(t testing.TB) map[string][]byte {
	t.Helper()
	found := map[string][]byte{}
	entries, err := os.ReadDir(p.Mailbox)
	if os.IsNotExist(err) {
		return found
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		raw, err := os.ReadFile(filepath.Join(p.Mailbox, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		found[e.Name()] = raw
	}
	return found
}
