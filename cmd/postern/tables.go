package main

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"postern/filters"
	"postern/policy/records/ledger"
	"postern/proxy/console/api"
)

// The running gateway's state is read from it over its control socket.

type bansCommand struct {
	List tableList `cmd:"" default:"withargs" help:"Bans for password guessing, with their expiry."`
	Lift tableVerb `cmd:"" help:"Lift a ban."`
}

type greylistCommand struct {
	List   tableList `cmd:"" default:"withargs" help:"Greylisted senders that have not retried yet."`
	Pass   tableVerb `cmd:"" help:"Accept the next attempt."`
	Forget tableVerb `cmd:"" help:"Remove an entry: the next attempt is greylisted anew."`
}

type harvestCommand struct {
	List    tableList `cmd:"" default:"withargs" help:"Clients blocked for guessing recipient addresses."`
	Forgive tableVerb `cmd:"" help:"Clear a client's record."`
}

type frozenCommand struct {
	List tableList `cmd:"" default:"withargs" help:"Users frozen because they suddenly wrote to many strangers."`
	Thaw tableVerb `cmd:"" help:"Allow a frozen user to send again."`
}

type dnslistsCommand struct {
	List   tableList `cmd:"" default:"withargs" help:"The DNS lists in use: queries, answers and state."`
	Mute   tableVerb `cmd:"" help:"Stop querying a DNS list until it is unmuted."`
	Unmute tableVerb `cmd:"" help:"Query a muted DNS list again."`
}

type campaignsCommand struct {
	List   tableList `cmd:"" default:"withargs" help:"Campaigns: how many were held and let in, from how many networks, what people said."`
	Spam   tableVerb `cmd:"" help:"Call a campaign spam: its next mails weigh more."`
	Good   tableVerb `cmd:"" help:"Call a campaign good: what was held of it counts no longer."`
	Forget tableVerb `cmd:"" help:"Forget a campaign: its next mail begins anew."`
}

type mutedCommand struct {
	List tableList `cmd:"" default:"withargs" help:"Symbols muted for a while because they alone suddenly blocked mail."`
	Lift tableVerb `cmd:"" help:"Unmute a symbol."`
}

type memoryCommand struct {
	List tableList `cmd:"" default:"withargs" help:"The state store (memory or Redis) and its health."`
}

type tableList struct {
	where
	output
	Most int `default:"1000" help:"How many rows at most."`
}

// tableOf is the gateway's table for a command's name.
func tableOf(command string) string {
	if command == "frozen" {
		return "correspondents"
	}
	return command
}

// Run lists a table, which the command above names.
func (c *tableList) Run(w world, k *kong.Context) error {
	command, _, _ := strings.Cut(k.Command(), " ")
	var rows []filters.Row
	limit := min(max(c.Most, 1), 10_000)
	if err := act(w, c.where, http.MethodGet, "/shelves/"+tableOf(command)+"?limit="+strconv.Itoa(limit), nil, &rows); err != nil {
		return plainly(err)
	}
	if len(rows) == 0 {
		fmt.Fprintln(w.stderr, "postern: nothing")
	}
	for _, row := range rows {
		err := c.tell(w, row, plainRow(row)+"\n")
		if err != nil {
			return err
		}
	}
	return nil
}

func plainRow(row filters.Row) string {
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

type tableVerb struct {
	where
	output
	Keys []string `arg:"" name:"key" help:"As the list shows it."`
}

// Run does what the command says with rows of a table.
func (c *tableVerb) Run(w world, k *kong.Context) error {
	words := strings.Fields(k.Command()) // "bans lift <key>"
	for _, key := range c.Keys {
		err := act(w, c.where, http.MethodPost, "/shelves/"+tableOf(words[0])+"/"+words[1], map[string]string{"key": key}, nil)
		if p, ok := errors.AsType[api.Problem](err); ok && p.Detail == filters.ErrNoRow.Error() {
			return refused(w, key, err)
		}
		if err != nil {
			return plainly(err)
		}
		if err := c.tell(w, deed{key, past(words[1])}, ledger.Printable(key)+": done\n"); err != nil {
			return err
		}
	}
	return nil
}

// plainly is the gateway's message, without the kind of the problem.
func plainly(err error) error {
	if p, ok := errors.AsType[api.Problem](err); ok {
		return errors.New(p.Detail)
	}
	return err
}

// past is the result for a row, as JSON.
func past(verb string) string {
	switch verb {
	case "forget":
		return "forgotten"
	case "forgive":
		return "forgiven"
	case "spam", "good":
		return "called " + verb
	case "mute", "unmute":
		return verb + "d"
	}
	return verb + "ed"
}
