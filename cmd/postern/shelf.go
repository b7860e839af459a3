package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"postern/cmd/postern/house"
	"postern/filters"
	"postern/internal/admin"
	"postern/policy/ledger"
)

// What the running gateway remembers is asked of itself, over its control socket.

type bansCommand struct {
	List shelfList `cmd:"" default:"withargs" help:"Who is kept out for guessing passwords, and until when."`
	Lift shelfVerb `cmd:"" help:"Let somebody in again."`
}

type greylistCommand struct {
	List   shelfList `cmd:"" default:"withargs" help:"Who was asked to come again, and has not yet."`
	Pass   shelfVerb `cmd:"" help:"Let the next try in."`
	Forget shelfVerb `cmd:"" help:"Forget an entry: the next try is a first one."`
}

type harvestCommand struct {
	List    shelfList `cmd:"" default:"withargs" help:"Clients that guess addresses, and are turned away for it."`
	Forgive shelfVerb `cmd:"" help:"Forget what a client asked for."`
}

type frozenCommand struct {
	List shelfList `cmd:"" default:"withargs" help:"Users who may not send just now, because they suddenly wrote to many strangers."`
	Thaw shelfVerb `cmd:"" help:"Let a user send again."`
}

type dnslistsCommand struct {
	List   shelfList `cmd:"" default:"withargs" help:"The DNS lists in use: how often they were asked, how they fare."`
	Mute   shelfVerb `cmd:"" help:"Ask a list no more until it is unmuted."`
	Unmute shelfVerb `cmd:"" help:"Ask a list again."`
}

type memoryCommand struct {
	List shelfList `cmd:"" default:"withargs" help:"Where the gateway remembers clients, and how that fares."`
}

type shelfList struct {
	where
	output
	Most int `default:"1000" help:"How many rows at most."`
}

// shelfOf is what a command's name stands for at the gateway.
func shelfOf(command string) string {
	if command == "frozen" {
		return "correspondents"
	}
	return command
}

// Run lists a shelf, which the command above names.
func (c *shelfList) Run(w world, k *kong.Context) error {
	command, _, _ := strings.Cut(k.Command(), " ")
	var rows []filters.Kept
	if err := askGateway(w, c.where, http.MethodGet, shelfOf(command), url.Values{"most": {strconv.Itoa(c.Most)}}, &rows); err != nil {
		return err
	}
	if len(rows) == 0 {
		fmt.Fprintln(w.stderr, "postern: nothing")
	}
	for _, row := range rows {
		var err error
		err = c.tell(w, row, plainRow(row)+"\n")
		if err != nil {
			return err
		}
	}
	return nil
}

func plainRow(row filters.Kept) string {
	parts := []string{ledger.Printable(row.Key)}
	if row.Text != "" {
		parts = append(parts, ledger.Printable(row.Text))
	}
	if !row.Since.IsZero() {
		parts = append(parts, "since "+row.Since.Local().Format(time.DateTime))
	}
	if !row.Until.IsZero() {
		parts = append(parts, "until "+row.Until.Local().Format(time.DateTime))
	}
	return strings.Join(parts, "  ")
}

type shelfVerb struct {
	where
	output
	Keys []string `arg:"" name:"key" help:"As the list shows it."`
}

// Run does what the command says with rows of a shelf.
func (c *shelfVerb) Run(w world, k *kong.Context) error {
	words := strings.Fields(k.Command()) // "bans lift <key>"
	for _, key := range c.Keys {
		err := askGateway(w, c.where, http.MethodPost, shelfOf(words[0])+"/"+words[1], url.Values{"key": {key}}, nil)
		if errors.Is(err, filters.ErrNotKept) {
			fmt.Fprintf(w.stderr, "postern: %s: %v\n", ledger.Printable(key), err)
			return errNo
		}
		if err != nil {
			return err
		}
		if err := c.tell(w, deed{key, past(words[1])}, ledger.Printable(key)+": done\n"); err != nil {
			return err
		}
	}
	return nil
}

// past is what has become of a row, for other programs.
func past(verb string) string {
	switch verb {
	case "forget":
		return "forgotten"
	case "forgive":
		return "forgiven"
	case "mute", "unmute":
		return verb + "d"
	}
	return verb + "ed"
}

// maxControlAnswer bounds what is read from the gateway, in octets.
const maxControlAnswer = 64 << 20

// askGateway puts a question to the running gateway.
func askGateway(w world, f where, method, path string, query url.Values, answer any) error {
	cfg, err := f.read()
	if err != nil {
		return err
	}
	socket := house.ControlSocket(cfg)
	if err := enter(cfg.DataDir, socket); err != nil {
		var missing notYet
		if errors.As(err, &missing) {
			return fmt.Errorf("no gateway is running with this configuration (%s is not there)", missing.path)
		}
		return err
	}
	r, err := http.NewRequestWithContext(w.ctx, method, "http://gateway/v1/shelf/"+path+"?"+query.Encode(), nil)
	if err != nil {
		return err
	}
	resp, err := admin.Client(socket).Do(r)
	var refused *net.OpError
	switch {
	case errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("no gateway is running with this configuration")
	case errors.As(err, &refused) && errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("only root and the gateway's own user may ask it: %w", err)
	case err != nil:
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxControlAnswer))
	switch said := strings.TrimSpace(string(text)); {
	case err != nil:
		return err
	case said == filters.ErrNotKept.Error():
		return filters.ErrNotKept
	case resp.StatusCode >= 400:
		return errors.New(said)
	case answer == nil:
		return nil
	}
	return json.Unmarshal(text, answer)
}
