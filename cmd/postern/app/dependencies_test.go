package app_test

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"postern/cmd/postern/app"
	"postern/internal/testing/dovecottest"
	"postern/internal/testing/lab"
	"postern/internal/testing/pgtest"
	"postern/internal/testing/redistest"
)

// flows checks that mail still flows.
func (w *watched) flows(m mode) {
	w.t.Helper()
	if code, text := w.send(); code != 250 {
		w.t.Errorf("%s: mail is not taken: %d %s", m, code, text)
	}
}

func eachMode() []mode { return []mode{killed, hung, dragging, wrong} }

// A real Redis, PostgreSQL, OpenLDAP and Dovecot are cut off, hang, are slow and send garbage; each fault and each
// recovery is noticed and reported, and mail flows meanwhile.
func TestServersGoAway(t *testing.T) {
	t.Parallel()
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		server := newStand(t, redistest.Start(t).Addr)
		w := newWatched(t, "[state]\nredis = [\""+server.address+"\"]\n")
		for _, m := range eachMode() {
			w.goesWrong(server, m, "redis", "Redis", w.flows)
			time.Sleep(11 * time.Second) // a flapping server is taken back later each time
		}
	})
	t.Run("database", func(t *testing.T) {
		t.Parallel()
		where, err := url.Parse(pgtest.Start(t).URL)
		if err != nil {
			t.Fatal(err)
		}
		server := newStand(t, where.Host)
		server.late = 600 * time.Millisecond // a query takes several round trips
		where.Host = server.address
		w := newWatched(t, "[database]\nurl = \""+where.String()+"\"\n")
		w.flows(well)
		for _, m := range eachMode() {
			w.goesWrong(server, m, "database", "ledger", func(m mode) {
				if m != dragging { // what is written meanwhile would take longer than it may
					w.flows(m)
				}
			})
			w.soon("what waited is written", func() bool { return w.metric("postern_ledger_waiting 0") })
		}
	})
	t.Run("ldap", func(t *testing.T) {
		t.Parallel()
		server := newStand(t, startSlapd(t))
		server.late = 1200 * time.Millisecond
		w := newWatched(t, "[recipients.ldap]\nurl = \"ldap://"+server.address+"\"\nbase_dn = \"dc=ours,dc=test\"\n")
		for _, m := range eachMode() {
			w.goesWrong(server, m, "ldap", "recipients", w.flows)
		}
	})
	for protocol, door := range map[string]string{"imap": "imap", "pop3": "pop3"} {
		t.Run("mail_backend "+protocol, func(t *testing.T) {
			t.Parallel()
			v := dovecottest.Start(t, dovecottest.Options{})
			server := newStand(t, map[string]string{"imap": v.IMAP, "pop3": v.POP3}[protocol])
			server.late = 600 * time.Millisecond
			w := newWatched(t, fmt.Sprintf("[[door]]\nname = %q\nprotocol = %q\nlisten = \"127.0.0.1:0\"\n[mail_backend.\"boxes\"]\n%s = [%q]\ntls = \"starttls\"\nca_file = %q\n",
				door, protocol, protocol, server.address, filepath.Join(v.Dir, "cert.pem")))
			for _, m := range eachMode() {
				w.goesWrong(server, m, "mail_backend", "boxes "+server.address, w.flows)
			}
		})
	}
}

// The server that checks the logins of a submission door has a row, too, and a bad certificate of it shows before the
// first login.
func TestACertificateThatIsNotTrustedIsSeen(t *testing.T) {
	t.Parallel()
	v := dovecottest.Start(t, dovecottest.Options{})
	w := newWatched(t, submitter("", "[mail_backend.\"boxes\"]\nimap = [\""+v.IMAPS+"\"]\n"))
	w.soon("the webhook hears of it", func() bool { return w.told.toldAs("mail_backend", "away") })
	if d, _ := w.row("mail_backend", "boxes "+v.IMAPS); !strings.Contains(d.Why, "certificate") {
		t.Errorf("%+v", d)
	}
}

// startSlapd starts an OpenLDAP without entries.
func startSlapd(t *testing.T) string {
	t.Helper()
	slapd := lab.Need(t, "slapd", "slapd")
	dir, at := lab.Dir(t), lab.FreePort(t)
	conf := strings.ReplaceAll("include /etc/ldap/schema/core.schema\ninclude /etc/ldap/schema/cosine.schema\npidfile DIR/pid\nmodulepath /usr/lib/ldap\nmoduleload back_mdb\n"+
		"database mdb\nmaxsize 10485760\nsuffix \"dc=ours,dc=test\"\ndirectory DIR/db\n", "DIR", dir)
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "slapd.conf"), []byte(conf), 0o600), os.Mkdir(filepath.Join(dir, "db"), 0o700)); err != nil {
		t.Fatal(err)
	}
	lab.Start(t, at, slapd, "-f", filepath.Join(dir, "slapd.conf"), "-h", "ldap://"+at+"/", "-d", "0")
	return at
}

// nameserver gives an empty answer to every query, by UDP.
type nameserver struct {
	t       *testing.T
	address string

	mu   sync.Mutex
	mode mode
	conn net.PacketConn
}

func newNameserver(t *testing.T) *nameserver {
	t.Helper()
	n := &nameserver{t: t, address: "127.0.0.1:0"}
	n.set(well)
	t.Cleanup(func() { n.set(killed) })
	return n
}

func (n *nameserver) set(m mode) {
	n.t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mode = m
	if m == killed {
		_ = n.conn.Close()
		n.conn = nil
		return
	}
	if n.conn != nil {
		return
	}
	conn, err := net.ListenPacket("udp", n.address)
	if err != nil {
		n.t.Error(err)
		return
	}
	n.conn, n.address = conn, conn.LocalAddr().String()
	go n.serve(conn)
}

func (n *nameserver) serve(conn net.PacketConn) {
	buf := make([]byte, 4096)
	for {
		size, from, err := conn.ReadFrom(buf)
		if err != nil {
			return
		}
		n.mu.Lock()
		m := n.mode
		n.mu.Unlock()
		query := new(mdns.Msg)
		if m == hung || query.Unpack(buf[:size]) != nil {
			continue
		}
		text, err := new(mdns.Msg).SetReply(query).Pack()
		if m == wrong || err != nil {
			text = []byte("what do you want")
		}
		wait := map[mode]time.Duration{dragging: 1200 * time.Millisecond}[m]
		go func() {
			time.Sleep(wait)
			_, _ = conn.WriteTo(text, from)
		}()
	}
}

func TestDNSGoesAway(t *testing.T) {
	t.Parallel()
	server := newNameserver(t)
	w := newWatchedWith(t, app.Outside{}, "[dns]\nservers = [\""+server.address+"\"]\ntimeout = \"3s\"\n", "")
	for _, m := range eachMode() {
		w.goesWrong(server, m, "dns", "resolver", func(mode) {})
	}
}

// disk is a disk whose faults can be set.
type disk struct {
	mu   sync.Mutex
	mode mode
}

func (d *disk) set(m mode) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mode = m
}

func (d *disk) current() mode {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.mode
}

func (d *disk) left(string) (int64, error) {
	switch d.current() {
	case killed:
		return 0, syscall.EIO
	case wrong:
		return 1 << 20, nil
	case dragging:
		time.Sleep(1500 * time.Millisecond)
	case hung:
		for d.current() == hung {
			time.Sleep(20 * time.Millisecond)
		}
	}
	return 1 << 40, nil
}

// A disk fails, is full, is slow, or hangs as network storage may: /healthz answers all the same.
func TestDiskGoesAway(t *testing.T) {
	t.Parallel()
	d := &disk{mode: well}
	w := newWatchedWith(t, app.Outside{DiskLeft: d.left}, "")
	for _, m := range eachMode() {
		w.goesWrong(d, m, "disk", "data_dir", func(mode) {})
	}
}

// A real disk that refuses writes is noticed, whatever free space it reports.
func TestADiskThatCannotBeWrittenIsSeen(t *testing.T) {
	t.Parallel()
	plenty := func(string) (int64, error) { return 1 << 40, nil }
	w := newWatchedWith(t, app.Outside{DiskLeft: plenty}, "")
	sign := filepath.Join(w.dir, "data", ".alive")
	until(t, "it was written to", func() bool { _, err := os.Stat(sign); return err == nil })
	if err := errors.Join(os.Remove(sign), os.Mkdir(sign, 0o700)); err != nil {
		t.Fatal(err)
	}
	w.soon("the webhook hears of it", func() bool { return w.told.toldAs("disk", "away") })
	if err := os.Remove(sign); err != nil {
		t.Fatal(err)
	}
	w.soon("the webhook hears that it is over", func() bool { return w.told.told("disk", true) })
}
