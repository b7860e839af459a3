package api

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"postern/filters"
	"postern/internal/mail"
	"postern/policy/records/ledger"
	"postern/policy/records/recall"
)

// The sets of roles that verbs are open to.
func everybody() []Role { return Roles() }
func readers() []Role   { return []Role{Admin, Helpdesk, Auditor} }
func admins() []Role    { return []Role{Admin} }

// Verbs is the table of verbs and roles.
func Verbs() []Verb {
	return slices.Concat(mailVerbs(), heldVerbs(), listVerbs(), classifierVerbs(), policyVerbs())
}

// mailVerbs are the verbs on what came in, and on the gateway itself.
func mailVerbs() []Verb {
	id := func(help string) param { return param{"id", "string", help} }
	return []Verb{
		{Method: "GET", Path: "/whoami", Help: "Identity of the token.", Roles: everybody(), do: (*call).whoami},
		{Method: "GET", Path: "/status", Help: "Current troubles an admin should know of.", Roles: readers(), do: (*call).status},
		{Method: "GET", Path: "/statistics", Help: "What became of mail in the last hours, 24 if it is not said: by hour and verdict, with the names seen most.", Roles: readers(), Query: []param{{"hours", "integer", "168 at most"}}, do: (*call).statistics},
		{Method: "GET", Path: "/messages", Help: "Search messages by words and exact values, newest first.", Roles: everybody(), Query: searchParams(), do: (*call).messages},
		{Method: "GET", Path: "/messages/{id}", Help: "The whole record of a message or a connection.", Roles: everybody(), do: (*call).explain,
			Query: []param{{"for", "string", "admin, user or sender: plain words for one of them instead of the record"}}},
		{Method: "GET", Path: "/export", Help: "Export all matches as CSV or JSON lines.", Roles: []Role{Admin, Auditor},
			Query: append(searchParams(), param{"format", "string", "csv or json"}), do: (*call).export},
		{Method: "GET", Path: "/ledger/written", Help: "Wait until all records so far are searchable.", Roles: readers(), do: (*call).written},
		{Method: "GET", Path: "/recalls", Help: "Messages recalled after delivery.", Roles: readers(), do: (*call).recalls},
		{Method: "POST", Path: "/recalls", Name: "recall add", Help: "Recall a message: from now on it is masked when fetched by POP3 or IMAP.", Roles: admins(), do: (*call).recall,
			Body: []param{id("its id in the ledger"), {"sha256", "string", "its hash"}, {"message_id", "string", "its Message-ID"}, {"why", "string", "for the record"}}},
		{Method: "DELETE", Path: "/recalls/{id}", Name: "recall undo", Help: "Undo a recall, by id, hash or Message-ID.", Roles: admins(), do: (*call).undoRecall},
		{Method: "GET", Path: "/shelves", Help: "Names of the tables an admin can correct.", Roles: readers(), do: (*call).tableNames},
		{Method: "GET", Path: "/shelves/{name}", Help: "Its rows: bans, greylist, harvest, frozen users, DNS lists, campaigns.", Roles: readers(), Query: []param{{"limit", "integer", "how many"}}, do: (*call).table},
		{Method: "POST", Path: "/shelves/{name}/{verb}", Name: TableVerb, Help: "Correct a row: lift, thaw, mute and so on.", Roles: []Role{Admin, Helpdesk}, Body: []param{{"key", "string", "the row's key"}}, do: (*call).correct},
		{Method: "GET", Path: "/queue", Help: "Queued mail.", Roles: readers(), do: (*call).queue},
		{Method: "POST", Path: "/queue/{id}/retry", Name: "queue retry", Help: "Retry now, including messages given up.", Roles: []Role{Admin, Helpdesk}, do: (*call).retry},
		{Method: "DELETE", Path: "/queue/{id}", Name: "queue delete", Help: "Delete a queued message for good.", Roles: admins(), do: (*call).unqueue},
		{Method: "GET", Path: "/tokens", Help: "All tokens, without their secrets.", Roles: []Role{Admin, Auditor}, do: (*call).tokens},
		{Method: "POST", Path: "/tokens", Name: "token add", Help: "Create a token for the JSON interface. It is shown once.", Roles: admins(), do: (*call).addToken,
			Body: []param{{"name", "string", "for the log of acts"}, {"role", "string", "admin, domain-admin, helpdesk, auditor or user"}, {"domains", "array", "of a domain-admin"},
				{"addresses", "array", "of a user"}, {"expires", "string", "RFC 3339, never if left out"}}},
		{Method: "DELETE", Path: "/tokens/{id}", Name: "token remove", Help: "Revoke a token.", Roles: admins(), do: (*call).removeToken},
		{Method: "GET", Path: "/audit", Name: "audit", Help: "Audit log: who did what through which interface, newest first.", Roles: []Role{Admin, Auditor}, Query: []param{{"limit", "integer", "how many"}}, do: (*call).audit},
	}
}

func searchParams() []param {
	list := []param{{"q", "string", "words of subject, sender, recipients, Message-ID, client name, HELO, login"}}
	for _, name := range strings.Fields("sender recipient domain client id symbol disposition fate sha256 message_id user door direction kind policy since until limit after") {
		help := ""
		if name == "fate" {
			help = "what became of it after the reply: delivered, refused, expired, released, deleted, redirected, recalled, masked and others"
		}
		list = append(list, param{name, "string", help})
	}
	return list
}

func (c *call) whoami() (any, error) {
	return struct {
		Name      string   `json:"name"`
		Role      Role     `json:"role"`
		Domains   []string `json:"domains,omitempty"`
		Addresses []string `json:"addresses,omitempty"`
	}{c.caller.Name, c.caller.Role, c.caller.Domains, c.caller.Addresses}, nil
}

func (c *call) status() (any, error) {
	return struct {
		Troubles any `json:"troubles"`
	}{c.o.Troubles()}, nil
}

// query reads the parameters of a search.
func (c *call) query() (ledger.Query, error) {
	v := c.r.URL.Query()
	q := ledger.Query{Text: v.Get("q"), Sender: v.Get("sender"), Recipient: v.Get("recipient"), Domain: v.Get("domain"), ID: v.Get("id"), Symbol: v.Get("symbol"),
		SHA256: v.Get("sha256"), MessageID: v.Get("message_id"), User: v.Get("user"), Door: v.Get("door"), Direction: v.Get("direction"), PolicyVersion: v.Get("policy"), After: v.Get("after")}

	for _, one := range []struct {
		name string
		read func(text string) error
	}{
		{"client", func(text string) (err error) {
			if q.Client, err = network(text); err != nil {
				return BadRequest("client: %q is neither an address nor a network", text)
			}
			return nil
		}},
		{"disposition", func(text string) error {
			d, err := mail.ParseDisposition(text)
			q.Disposition = &d
			return wrongWord("disposition", err)
		}},
		{"fate", func(text string) (err error) {
			q.Fate, err = ledger.ParseWord(text)
			return wrongWord("fate", err)
		}},
		{"kind", func(text string) (err error) {
			q.Kind, err = kind(text)
			return err
		}},
		{"since", func(text string) (err error) { q.Since, err = calendar("since", text); return err }},
		{"until", func(text string) (err error) { q.Until, err = calendar("until", text); return err }},
		{"limit", func(text string) (err error) {
			if q.Limit, err = strconv.Atoi(text); err != nil || q.Limit < 1 || q.Limit > ledger.MaxLimit {
				return BadRequest("limit: write a number from 1 to %d", ledger.MaxLimit)
			}
			return nil
		}},
	} {
		if text := v.Get(one.name); text != "" {
			if err := one.read(text); err != nil {
				return q, err
			}
		}
	}

	return q, nil
}

// wrongWord makes an error one of the question's.
func wrongWord(name string, err error) error {
	if err == nil {
		return nil
	}

	return BadRequest("%s: %v", name, err)
}

func kind(text string) (*ledger.Kind, error) {
	k := ledger.SMTP
	switch text {
	case "smtp":
	case "fetch":
		k = ledger.Fetch
	default:
		return nil, BadRequest("kind: write smtp or fetch")
	}

	return &k, nil
}

func calendar(name, text string) (time.Time, error) {
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, BadRequest("%s: %q is no time: write it as in 2026-11-23T12:00:00Z", name, text)
	}

	return at, nil
}

// maxLooked bounds how many records are looked through for those that a caller may see.
const maxLooked = 20_000

func (c *call) messages() (any, error) {
	q, err := c.query()
	if err != nil {
		return nil, err
	}
	want := q.Limit
	if want == 0 {
		want = 100
	}
	page := struct {
		Messages []ledger.Transaction `json:"messages"`
		Next     string               `json:"next,omitempty"`
	}{Messages: []ledger.Transaction{}}
	for looked := 0; ; {
		found, next, err := c.o.Ledger.Page(c.ctx, q)
		if err != nil {
			return nil, err
		}
		for _, t := range found {
			if own, ok := c.caller.ours(t); ok {
				page.Messages = append(page.Messages, own)
			}
		}
		looked += len(found)
		page.Next = next
		if next == "" || len(page.Messages) >= want || looked >= maxLooked {
			return page, nil
		}
		q.After = next
	}
}

func (c *call) explain() (any, error) {
	record, err := c.o.Ledger.Explain(c.ctx, c.r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	voice := ledger.Voice(c.r.URL.Query().Get("for"))
	own := ledger.Record{}
	for _, t := range record.Transactions {
		if mine, ok := c.caller.ours(t); ok {
			own.Transactions = append(own.Transactions, mine)
		}
	}
	if c.caller.all() {
		own.Connection = record.Connection
	} else if len(own.Transactions) == 0 {
		return nil, ledger.ErrUnknown // as if it weren't there
	}
	if c.caller.Role == User && (voice == "" || voice == ledger.Admin) {
		voice = ledger.User
	}
	switch voice {
	case "":
		return own, nil
	case ledger.Admin, ledger.User, ledger.Sender:
		c.silent = true
		c.w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		return nil, ledger.Describe(c.w, &own, voice)
	}
	return nil, BadRequest("for: write admin, user or sender")
}

func (c *call) export() (any, error) {
	q, err := c.query()
	if err != nil {
		return nil, err
	}
	switch c.r.URL.Query().Get("format") {
	case "", "csv":
		c.w.Header().Set("Content-Type", "text/csv; charset=utf-8")
		c.w.Header().Set("Content-Disposition", `attachment; filename="messages.csv"`)
		c.silent, err = true, c.o.Ledger.WriteCSV(c.ctx, c.w, q)
	case "json":
		c.w.Header().Set("Content-Type", "application/jsonl")
		c.silent, err = true, c.o.Ledger.WriteJSONLines(c.ctx, c.w, q)
	default:
		return nil, BadRequest("format: write csv or json")
	}
	return nil, err
}

func (c *call) recalls() (any, error) {
	all, err := c.o.Recalls.All(c.ctx)
	if all == nil {
		all = []recall.Entry{}
	}
	return all, err
}

func (c *call) recall() (any, error) {
	var body struct {
		ID        string `json:"id"`
		SHA256    string `json:"sha256"`
		MessageID string `json:"message_id"`
		Why       string `json:"why"`
	}
	if err := c.read(&body); err != nil {
		return nil, err
	}
	c.what = strings.TrimSpace(body.ID + " " + body.SHA256 + " " + body.MessageID)
	entries := []recall.Entry{{SHA256: body.SHA256, MessageID: body.MessageID}}
	if body.ID != "" {
		c.waitForRecords()
		record, err := c.o.Ledger.Explain(c.ctx, body.ID)
		if err != nil {
			return nil, err
		}
		entries = nil
		for _, t := range record.Transactions {
			entries = append(entries, recall.Entry{SHA256: t.SHA256, ID: t.ID}, recall.Entry{MessageID: t.MessageID, ID: t.ID})
		}
	}
	added := 0
	for _, e := range entries {
		e.By, e.Why = c.caller.Name, body.Why
		err := c.o.Recalls.Add(c.ctx, e)
		if errors.Is(err, recall.ErrNothing) && len(entries) > 1 {
			continue // a message without a Message-ID
		}
		if err != nil {
			return nil, err
		}
		added++
	}
	if added == 0 {
		return nil, NotFound(body.ID + " brought no message")
	}
	return nil, nil
}

func (c *call) undoRecall() (any, error) {
	return nil, c.o.Recalls.Remove(c.ctx, c.r.PathValue("id"), c.who())
}

func (c *call) tableNames() (any, error) {
	if c.o.AdminTables == nil {
		return nil, ErrNoGateway
	}
	names := map[string][]string{}
	for name, s := range c.o.AdminTables() {
		names[name] = s.Verbs()
	}
	return names, nil
}

// maxRows bounds the rows of a table in one answer.
const maxRows = 10_000

// TableVerb is the name of the verb that corrects a row. The log of acts has the command itself: bans lift.
const TableVerb = "shelf"

// named gives a table by its name.
func (c *call) named(name string) (filters.AdminTable, error) {
	if c.o.AdminTables == nil {
		return nil, ErrNoGateway
	}
	s, ok := c.o.AdminTables()[name]
	if !ok {
		return nil, NotFound("the gateway has no such thing: the filter may be switched off")
	}
	return s, nil
}

func (c *call) table() (any, error) {
	s, err := c.named(c.r.PathValue("name"))
	if err != nil {
		return nil, err
	}
	limit := maxRows
	if err := c.limit(&limit, maxRows); err != nil {
		return nil, err
	}
	rows, err := s.Rows(c.ctx, limit)
	if rows == nil {
		rows = []filters.Row{}
	}
	return rows, err
}

func (c *call) correct() (any, error) {
	c.what = c.r.PathValue("name") + " " + c.r.PathValue("verb")
	s, err := c.named(c.r.PathValue("name"))
	if err != nil {
		return nil, err
	}
	var body struct {
		Key string `json:"key"`
	}
	if err := c.read(&body); err != nil {
		return nil, err
	}
	c.what += " " + body.Key
	return nil, s.Apply(c.ctx, c.r.PathValue("verb"), body.Key)
}

func (c *call) queue() (any, error) { return c.o.Queue.All() }

func (c *call) retry() (any, error) { return nil, c.o.Queue.Retry(c.r.PathValue("id"), c.who()) }

func (c *call) unqueue() (any, error) { return nil, c.o.Queue.Delete(c.r.PathValue("id"), c.who()) }

func (c *call) tokens() (any, error) { return c.o.Store.Tokens(c.ctx) }

func (c *call) addToken() (any, error) {
	var body struct {
		Name      string    `json:"name"`
		Role      Role      `json:"role"`
		Domains   []string  `json:"domains"`
		Addresses []string  `json:"addresses"`
		Expires   time.Time `json:"expires"`
	}
	if err := c.read(&body); err != nil {
		return nil, err
	}
	c.what = string(body.Role) + " " + body.Name
	t, secret, err := c.o.Store.Add(c.ctx, Token{Name: body.Name, Role: body.Role, Domains: body.Domains, Addresses: body.Addresses, Expires: body.Expires, Created: c.o.Now()})
	if err != nil {
		return nil, err
	}
	return struct {
		Token
		Secret string `json:"token"`
	}{t, secret}, nil
}

func (c *call) removeToken() (any, error) {
	err := c.o.Store.Remove(c.ctx, c.r.PathValue("id"))
	if errors.Is(err, ErrUnknownToken) {
		return nil, NotFound(err.Error())
	}
	return nil, err
}

func (c *call) audit() (any, error) {
	atMost := 100
	if err := c.limit(&atMost, maxRows); err != nil {
		return nil, err
	}
	acts, err := c.o.Store.Acts(c.ctx, atMost)
	names := map[string]string{}
	for _, v := range c.verbs {
		names[v.Method+" "+v.Path] = v.Name
	}
	for i, a := range acts {
		acts[i].Name = names[a.Verb]
		if acts[i].Name == TableVerb { // what is bans lift and the row
			acts[i].Name = ""
		}
	}
	return acts, err
}

// waitForRecords makes an id that was just given out findable. If the database is down the search reports it.
func (c *call) waitForRecords() {
	ctx, cancel := context.WithTimeout(c.ctx, 2*time.Second)
	defer cancel()
	if err := c.o.Written(ctx); err != nil {
		c.o.Log.Warn("records are not written yet", "error", err)
	}
}

func (c *call) written() (any, error) { return nil, c.o.Written(c.ctx) }
