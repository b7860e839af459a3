// Package demo shows the gateway at work: a whole mail system in memory behind it, and a script of good and bad mail in
// front of it.
package demo

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-imap/v2/imapserver/imapmemserver"
	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// Mailbox is one user of the mail system.
type Mailbox struct {
	Address, Password string
	user              *imapmemserver.User
	messages          [][]byte
}

// MailSystem is a small mail server in memory: SMTP in, IMAP and POP3 out. With AnyRecipient it stands for the rest of
// the world.
type MailSystem struct {
	Domain       string
	AnyRecipient bool

	mu    sync.Mutex
	boxes map[string]*Mailbox
	taken int

	smtp             *smtp.Server
	imap             *imapserver.Server
	listeners        []net.Listener
	SMTP, IMAP, POP3 string // addresses
}

// NewMailSystem makes one with these mailboxes, "user@domain" to password, and starts its three servers on loopback.
func NewMailSystem(domain string, anyRecipient bool, users map[string]string) (*MailSystem, error) {
	m := &MailSystem{Domain: domain, AnyRecipient: anyRecipient, boxes: map[string]*Mailbox{}}
	imapUsers := imapmemserver.New()
	for address, password := range users {
		u := imapmemserver.NewUser(address, password)
		if err := u.Create("INBOX", nil); err != nil {
			return nil, fmt.Errorf("mailbox %s: %w", address, err)
		}
		imapUsers.AddUser(u)
		m.boxes[address] = &Mailbox{Address: address, Password: password, user: u}
	}
	m.smtp = smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &delivery{system: m}, nil }))
	m.smtp.Domain = "mail." + domain
	m.smtp.AllowInsecureAuth = true
	m.smtp.EnableSMTPUTF8 = true
	m.smtp.MaxLineLength = 1 << 20
	m.imap = imapserver.New(&imapserver.Options{InsecureAuth: true, NewSession: func(*imapserver.Conn) (imapserver.Session, *imapserver.GreetingData, error) {
		return imapUsers.NewSession(), nil, nil
	}})
	var err error
	m.SMTP, err = m.serve(func(l net.Listener) { _ = m.smtp.Serve(l) }) // ends with Close
	if err == nil {
		m.IMAP, err = m.serve(func(l net.Listener) { _ = m.imap.Serve(l) })
	}
	if err == nil {
		m.POP3, err = m.serve(m.servePOP3)
	}
	if err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

func (m *MailSystem) serve(run func(net.Listener)) (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("demo mail system: %w", err)
	}
	m.listeners = append(m.listeners, l)
	go run(l)
	return l.Addr().String(), nil
}

// Close stops the servers.
func (m *MailSystem) Close() {
	_ = m.smtp.Close() // nothing is lost: all of it was in memory
	_ = m.imap.Close()
	for _, l := range m.listeners {
		_ = l.Close()
	}
}

// Messages gives what stands in a mailbox, oldest first.
func (m *MailSystem) Messages(address string) [][]byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := m.boxes[address]
	if b == nil {
		return nil
	}
	return append([][]byte(nil), b.messages...)
}

// Taken counts the messages the system has said 250 to.
func (m *MailSystem) Taken() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.taken
}

func (m *MailSystem) deliver(to []string, raw []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.taken++
	for _, address := range to {
		b := m.boxes[address]
		if b == nil {
			if !m.AnyRecipient {
				return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "No such user here"}
			}
			b = &Mailbox{Address: address}
			m.boxes[address] = b
		}
		b.messages = append(b.messages, raw)
		if b.user != nil {
			if _, err := b.user.Append("INBOX", literal{bytes.NewReader(raw), int64(len(raw))}, &imap.AppendOptions{}); err != nil {
				return fmt.Errorf("append: %w", err)
			}
		}
	}
	return nil
}

type literal struct {
	io.Reader
	size int64
}

func (l literal) Size() int64 { return l.size }

// delivery is one SMTP session at the mail system.
type delivery struct {
	system *MailSystem
	to     []string
}

func (d *delivery) Reset()                                   { d.to = nil }
func (d *delivery) Logout() error                            { return nil }
func (d *delivery) Mail(_ string, _ *smtp.MailOptions) error { return nil }
func (d *delivery) AuthMechanisms() []string                 { return []string{sasl.Plain} }
func (d *delivery) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		d.system.mu.Lock()
		defer d.system.mu.Unlock()
		if b := d.system.boxes[user]; b == nil || b.Password != password {
			return &smtp.SMTPError{Code: 535, EnhancedCode: smtp.EnhancedCode{5, 7, 8}, Message: "Authentication failed"}
		}
		return nil
	}), nil
}

func (d *delivery) Rcpt(to string, _ *smtp.RcptOptions) error {
	to = strings.ToLower(to)
	d.system.mu.Lock()
	_, known := d.system.boxes[to]
	d.system.mu.Unlock()
	if !known && !d.system.AnyRecipient {
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "No such user here"}
	}
	d.to = append(d.to, to)
	return nil
}

func (d *delivery) Data(r io.Reader) error {
	raw, err := io.ReadAll(io.LimitReader(r, 64<<20))
	if err != nil {
		return err
	}
	if err := d.system.deliver(d.to, raw); err != nil {
		return err
	}
	return &smtp.SMTPError{Code: 250, EnhancedCode: smtp.EnhancedCode{2, 0, 0}, Message: fmt.Sprintf("Ok: queued as %s-%d", d.system.Domain, d.system.Taken())}
}
