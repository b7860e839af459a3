package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"postern/internal/mail"
	"postern/policy/records/ledger"
	"postern/proxy/console/api"
)

type appPasswordCommand struct {
	Add    appPasswordAddCommand    `cmd:"" help:"${app_password_add}"`
	List   appPasswordListCommand   `cmd:"" help:"List app passwords."`
	Remove appPasswordRemoveCommand `cmd:"" help:"${app_password_remove}"`
}

type appPasswordAddCommand struct {
	where
	output
	User      string          `arg:"" help:"The login."`
	Name      string          `arg:"" help:"A name for the device, as in phone."`
	Protocols []mail.Protocol `placeholder:"imap,pop3" enum:"imap,pop3" help:"Only for these."`
	Real      bool            `help:"Read the user's real password from standard input and keep it sealed: only the app password opens it. Without, [mail_backend] needs a master_user."`
}

// Run makes one.
func (c *appPasswordAddCommand) Run(w world) error {
	real := ""
	if c.Real {
		line, err := bufio.NewReader(io.LimitReader(w.in, 4096)).ReadString('\n')
		if real = strings.TrimRight(line, "\r\n"); real == "" {
			return usageError{errors.Join(errors.New("no password came on standard input"), err)}
		}
	}
	var made struct {
		Password string `json:"password"`
	}
	body := map[string]any{"user": c.User, "name": c.Name, "protocols": c.Protocols, "real": real}
	if err := act(w, c.where, http.MethodPost, "/app-passwords", body, &made); err != nil {
		return refused(w, "", err)
	}
	return c.tell(w, appPasswordJSON{User: c.User, Name: c.Name, Protocols: c.Protocols, Password: made.Password}, made.Password+"\n")
}

// appPasswordJSON is an app password as JSON. The password itself is printed once.
type appPasswordJSON struct {
	User      string          `json:"user"`
	Name      string          `json:"name,omitempty"`
	Protocols []mail.Protocol `json:"protocols,omitempty"`
	Created   *time.Time      `json:"created,omitempty"`
	Password  string          `json:"password,omitempty"`
	Done      string          `json:"done,omitempty"`
}

type appPasswordListCommand struct {
	where
	output
	User string `arg:"" optional:""`
}

// Run lists.
func (c *appPasswordListCommand) Run(w world) error {
	var all []api.AppPassword
	if err := act(w, c.where, http.MethodGet, "/app-passwords?"+url.Values{"user": {c.User}}.Encode(), nil, &all); err != nil {
		return none(w, plainly(err))
	}
	for _, p := range all {
		text := fmt.Sprintf("%s  %s  %s  %s\n", p.Created.Local().Format("2006-01-02"), ledger.Printable(p.User), ledger.Printable(p.Name), commaed(p.Protocols))
		if err := c.tell(w, appPasswordJSON{User: p.User, Name: p.Name, Protocols: p.Protocols, Created: &p.Created}, text); err != nil {
			return err
		}
	}
	return nil
}

type appPasswordRemoveCommand struct {
	where
	output
	User string `arg:""`
	Name string `arg:"" optional:"" help:"Without a name: all of the user's."`
}

// Run takes away.
func (c *appPasswordRemoveCommand) Run(w world) error {
	path := "/app-passwords?" + url.Values{"user": {c.User}, "name": {c.Name}}.Encode()
	if err := act(w, c.where, http.MethodDelete, path, nil, nil); err != nil {
		return refused(w, "", err)
	}
	done := appPasswordJSON{User: c.User, Name: c.Name, Done: "removed"}
	return c.tell(w, done, "removed: sessions that stand go on, the next login is refused\n")
}

// commaed is a list of protocols on one line.
func commaed(list []mail.Protocol) string {
	words := make([]string, len(list))
	for i, p := range list {
		words[i] = string(p)
	}

	return strings.Join(words, ",")
}
