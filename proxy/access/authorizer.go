package access

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"postern/internal/mail"
)

// HTTPOptions say how an authorizer is asked.
type HTTPOptions struct {
	URL string
	// Timeout (default 2 s) bounds one question.
	Timeout time.Duration
	// Nonce makes the mark of a password that Dovecot's form sends worthless elsewhere; all that ask the same policy server
	// need the same one.
	Nonce string
	// Bearer, if set, is put in the Authorization field.
	Bearer string
	Client *http.Client
}

func (o *HTTPOptions) fill() {
	o.Timeout = cmp.Or(o.Timeout, 2*time.Second)
	if o.Client == nil {
		o.Client = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
}

// NginxForm asks in the form of nginx's mail proxy (ngx_mail_auth_http_module): the answer's fields say whether the login
// may go on, and to which server.
type NginxForm struct {
	o HTTPOptions
}

// NewNginxForm makes an authorizer of nginx's form.
func NewNginxForm(o HTTPOptions) *NginxForm {
	o.fill()
	return &NginxForm{o}
}

// maxAnswer bounds the body of an answer, in octets.
const maxAnswer = 64 << 10

// Authorize implements Authorizer.
func (n *NginxForm) Authorize(ctx context.Context, s *mail.Session, protocol mail.Protocol, a Attempt) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, n.o.Timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, n.o.URL, nil)
	if err != nil {
		return Answer{}, err
	}
	// nginx percent-encodes user and password, and servers decode them
	r.Header.Set("Auth-Method", "plain")
	r.Header.Set("Auth-User", url.PathEscape(a.User))
	r.Header.Set("Auth-Pass", url.PathEscape(a.Password+a.Token))
	r.Header.Set("Auth-Protocol", string(protocol))
	r.Header.Set("Auth-Login-Attempt", "1")
	r.Header.Set("Client-IP", s.Client.Unmap().String())
	if s.TLS != nil {
		r.Header.Set("Auth-SSL", "on")
	}
	n.o.authorize(r)
	reply, err := n.o.Client.Do(r)
	if err != nil {
		return Answer{}, withoutURL(err)
	}
	defer func() { _ = reply.Body.Close() }()
	if reply.StatusCode != http.StatusOK {
		return Answer{}, fmt.Errorf("it answers %d", reply.StatusCode)
	}
	return nginxAnswer(reply.Header)
}

func nginxAnswer(h http.Header) (Answer, error) {
	if status := h.Get("Auth-Status"); status != "OK" {
		if status == "" {
			return Answer{}, errors.New("its answer has no Auth-Status")
		}
		seconds, _ := strconv.Atoi(h.Get("Auth-Wait")) // 0 where there is none
		return Answer{Refused: true, Wait: time.Duration(max(seconds, 0)) * time.Second}, nil
	}
	answer := Answer{}
	var err error
	if server := h.Get("Auth-Server"); server != "" {
		if _, err := netip.ParseAddr(server); err != nil {
			return Answer{}, errors.New("its Auth-Server is no address")
		}
		port := h.Get("Auth-Port")
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return Answer{}, errors.New("its Auth-Port is no port")
		}
		answer.Host = net.JoinHostPort(server, port)
	}
	if answer.User, err = url.PathUnescape(h.Get("Auth-User")); err != nil {
		return Answer{}, errors.New("its Auth-User can't be read")
	}
	if answer.Password, err = url.PathUnescape(h.Get("Auth-Pass")); err != nil {
		return Answer{}, errors.New("its Auth-Pass can't be read")
	}
	if answer.User != "" && !plainName(answer.User) {
		return Answer{}, errors.New("its Auth-User is no name")
	}
	return answer, nil
}

// Report implements Authorizer: the form has no such message.
func (*NginxForm) Report(context.Context, *mail.Session, mail.Protocol, Attempt, bool) {}

func (o *HTTPOptions) authorize(r *http.Request) {
	if o.Bearer != "" {
		r.Header.Set("Authorization", "Bearer "+o.Bearer)
	}
}

// withoutURL takes the URL out of an error of net/http: it may hold a secret.
func withoutURL(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

// DovecotForm asks a policy server in Dovecot's form (auth_policy_server_url): before the login whether it may go on, or
// after how many seconds, and after it tells how it ended.
type DovecotForm struct {
	o HTTPOptions
}

// NewDovecotForm makes an authorizer of Dovecot's form.
func NewDovecotForm(o HTTPOptions) *DovecotForm {
	o.fill()
	return &DovecotForm{o}
}

// policyQuestion is the JSON object of Dovecot's default auth_policy_request_attributes.
type policyQuestion struct {
	Login     string        `json:"login"`
	PwHash    string        `json:"pwhash"`
	Remote    string        `json:"remote"`
	DeviceID  string        `json:"device_id"`
	Protocol  mail.Protocol `json:"protocol"`
	SessionID string        `json:"session_id"`
	TLS       string        `json:"tls,omitempty"`
	Success   *bool         `json:"success,omitempty"`
	Reject    *bool         `json:"policy_reject,omitempty"`
}

// pwHash is the mark that Dovecot sends: the first 12 bits of a hash, enough to see that the same wrong password comes
// again, too little to find it.
func (d *DovecotForm) pwHash(user, password string) string {
	sum := sha256.Sum256([]byte(d.o.Nonce + user + "\x00" + password))
	return hex.EncodeToString([]byte{sum[0], sum[1] & 0xf0})[:3]
}

func (d *DovecotForm) ask(ctx context.Context, command string, q policyQuestion) (io.ReadCloser, error) {
	text, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(d.o.URL)
	if err != nil {
		return nil, errors.New("its URL can't be read")
	}
	query := u.Query()
	query.Set("command", command)
	u.RawQuery = query.Encode()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(text))
	if err != nil {
		return nil, withoutURL(err)
	}
	r.Header.Set("Content-Type", "application/json")
	d.o.authorize(r)
	reply, err := d.o.Client.Do(r)
	if err != nil {
		return nil, withoutURL(err)
	}
	if reply.StatusCode/100 != 2 {
		return nil, errors.Join(fmt.Errorf("it answers %d", reply.StatusCode), reply.Body.Close())
	}
	return reply.Body, nil
}

func (d *DovecotForm) question(s *mail.Session, protocol mail.Protocol, a Attempt) policyQuestion {
	q := policyQuestion{Login: a.User, PwHash: d.pwHash(a.User, a.Password+a.Token), Remote: s.Client.Unmap().String(), Protocol: protocol, SessionID: s.ID}
	if s.TLS != nil {
		q.TLS = "TLS"
	}
	return q
}

// Authorize implements Authorizer.
func (d *DovecotForm) Authorize(ctx context.Context, s *mail.Session, protocol mail.Protocol, a Attempt) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, d.o.Timeout)
	defer cancel()
	body, err := d.ask(ctx, "allow", d.question(s, protocol, a))
	if err != nil {
		return Answer{}, err
	}
	defer func() { _ = body.Close() }()
	var answer struct {
		Status *int `json:"status"`
	}
	if err := json.NewDecoder(io.LimitReader(body, maxAnswer)).Decode(&answer); err != nil || answer.Status == nil {
		return Answer{}, errors.New("its answer has no status")
	}
	// negative refuses, positive is a number of seconds to wait
	if *answer.Status < 0 {
		return Answer{Refused: true}, nil
	}
	return Answer{Wait: time.Duration(min(*answer.Status, 1<<20)) * time.Second}, nil
}

// Report implements Authorizer.
func (d *DovecotForm) Report(ctx context.Context, s *mail.Session, protocol mail.Protocol, a Attempt, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, d.o.Timeout)
	defer cancel()
	q := d.question(s, protocol, a)
	no := false
	q.Success, q.Reject = &ok, &no
	if body, err := d.ask(ctx, "report", q); err == nil {
		_ = body.Close() // the response is ignored
	}
}

// hostsOf takes ldap's values apart that are written as URLs, as in "imap://host".
func hostsOf(values []string) []string {
	var hosts []string
	for _, v := range values {
		if u, err := url.Parse(v); err == nil && u.Host != "" {
			v = u.Host
		}
		hosts = append(hosts, strings.TrimSuffix(strings.TrimSpace(v), "."))
	}
	return hosts
}
