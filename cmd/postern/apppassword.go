package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"postern/cmd/postern/house"
	"postern/policy/ledger"
	"postern/proxy/access"
)

type appPasswordCommand struct {
	Add    appPasswordAddCommand    `cmd:"" help:"Make a password for one device of a user. It is shown once."`
	List   appPasswordListCommand   `cmd:"" help:"Who has which."`
	Remove appPasswordRemoveCommand `cmd:"" help:"Take one away, or all of a user's."`
}

func openAppPasswords(f where) (*access.AppPasswords, error) {
	cfg, err := f.read()
	if err != nil {
		return nil, err
	}
	if err := enter(cfg.DataDir, cfg.DataDir); err != nil {
		return nil, err
	}
	return access.OpenAppPasswords(house.AppPasswordsFile(cfg), false), nil
}

type appPasswordAddCommand struct {
	where
	output
	User      string   `arg:"" help:"The login."`
	Name      string   `arg:"" help:"A name for the device, as in phone."`
	Protocols []string `placeholder:"imap,pop3" enum:"imap,pop3" help:"Only for these."`
	Real      bool     `help:"Read the user's real password from standard input and keep it sealed: only the app password opens it. Without, [mail_backend] needs a master_user."`
}

// Run makes one.
func (c *appPasswordAddCommand) Run(w world) error {
	store, err := openAppPasswords(c.where)
	if err != nil {
		return err
	}
	real := ""
	if c.Real {
		line, err := bufio.NewReader(io.LimitReader(w.in, 4096)).ReadString('\n')
		if real = strings.TrimRight(line, "\r\n"); real == "" {
			return usageError{errors.Join(errors.New("no password came on standard input"), err)}
		}
	}
	password, err := store.Add(c.User, c.Name, real, c.Protocols, time.Now())
	if err != nil {
		return err
	}
	if err = c.tell(w, appPasswordJSON{User: c.User, Name: c.Name, Protocols: c.Protocols, Password: password}, password+"\n"); err != nil {
		return err
	}
	return noteAct(w, c.where, "app-password add", c.User+" "+c.Name, nil)
}

// appPasswordJSON is an app password as it is told to other programs. The password itself is told once.
type appPasswordJSON struct {
	User      string     `json:"user"`
	Name      string     `json:"name,omitempty"`
	Protocols []string   `json:"protocols,omitempty"`
	Created   *time.Time `json:"created,omitempty"`
	Password  string     `json:"password,omitempty"`
	Done      string     `json:"done,omitempty"`
}

type appPasswordListCommand struct {
	where
	output
	User string `arg:"" optional:""`
}

// Run lists.
func (c *appPasswordListCommand) Run(w world) error {
	store, err := openAppPasswords(c.where)
	if err != nil {
		return none(w, err)
	}
	all, err := store.List(c.User)
	if err != nil {
		return err
	}
	for _, p := range all {
		text := fmt.Sprintf("%s  %s  %s  %s\n", p.Created.Local().Format("2006-01-02"), ledger.Printable(p.User), ledger.Printable(p.Name), strings.Join(p.Protocols, ","))
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
	Name string `arg:"" optional:"" help:"All of the user's without a name."`
}

// Run takes away.
func (c *appPasswordRemoveCommand) Run(w world) error {
	store, err := openAppPasswords(c.where)
	if err != nil {
		return err
	}
	if err := store.Remove(c.User, c.Name); errors.Is(err, access.ErrNoAppPassword) {
		fmt.Fprintln(w.stderr, "postern: there is no such app password")
		return errNo
	} else if err != nil {
		return err
	}
	done := appPasswordJSON{User: c.User, Name: c.Name, Done: "removed"}
	if err = c.tell(w, done, "removed: sessions that stand go on, the next login is refused\n"); err != nil {
		return err
	}
	return noteAct(w, c.where, "app-password remove", c.User+" "+c.Name, nil)
}
