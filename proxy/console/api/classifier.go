package api

import (
	"context"
	"fmt"
	"strconv"
)

// Classifier is what the gateway has learned from people, as its admins see it.
type Classifier interface {
	// Status tells what it knows, Events what it was told: those behind a number, the oldest first.
	Status(ctx context.Context) (any, error)
	Events(ctx context.Context, after int64, limit int) (any, error)
	// Change changes what it knows.
	Change(ctx context.Context, what Learning, by string) (any, error)
}

// Learning is a change of what the classifier knows: ReadLog, ReadFolders, Answer, Forget or RollBack.
type Learning interface{ learning() }

// ReadLog looks for lessons that were written into the log.
type ReadLog struct{}

// ReadFolders reads the mailboxes of [[learn_folder]] now.
type ReadFolders struct{}

// Answer says what a message was that the classifier was not sure about.
type Answer struct {
	ID   string
	Spam bool
}

// Forget forgets what was said of messages: by one person, or by anybody if By is "".
type Forget struct {
	IDs []string
	By  string
}

// RollBack forgets everything behind an event of the log.
type RollBack struct{ To int64 }

func (ReadLog) learning()     {}
func (ReadFolders) learning() {}
func (Answer) learning()      {}
func (Forget) learning()      {}
func (RollBack) learning()    {}

// classifierVerbs are the verbs on what the classifier knows.
func classifierVerbs() []Verb {
	messages := []param{{"messages", "integer", "how many were written into the log"}}
	return []Verb{
		{Method: "GET", Path: "/classifier", Help: "What the classifier knows, and whether it says anything yet.", Roles: readers(), do: (*call).classifier},
		{Method: "GET", Path: "/classifier/log", Help: "What the classifier was told, oldest first.", Roles: readers(), Query: []param{{"after", "integer", "the number of an event"}, {"limit", "integer", ""}}, do: (*call).classifierLog},
		{Method: "POST", Path: "/classifier/spam", Name: "learn spam", Help: "Teach the classifier spam: messages, mbox files, Maildirs or folders.", Roles: admins(), Body: messages, do: (*call).readLog},
		{Method: "POST", Path: "/classifier/ham", Name: "learn ham", Help: "Teach the classifier honest mail: messages, mbox files, Maildirs or folders.", Roles: admins(), Body: messages, do: (*call).readLog},
		{Method: "POST", Path: "/classifier/folders", Name: "learn folders", Help: "Read the mailboxes of [[learn_folder]] now, and learn what is new in them.", Roles: admins(), do: (*call).readFolders},
		{Method: "GET", Path: "/classifier/audit", Help: "The messages that the classifier was least sure about, the newest first: an answer teaches it most.", Roles: readers(), Query: []param{{"limit", "integer", ""}}, do: (*call).uncertain},
		{Method: "POST", Path: "/classifier/audit", Name: "learn audit", Help: "Say of a message that the classifier was not sure about whether it is spam.", Roles: admins(), Body: []param{{"id", "string", "as the list has it"}, {"spam", "boolean", ""}}, do: (*call).answer},
		{Method: "POST", Path: "/classifier/forget", Name: "learn forget", Help: "Make the classifier forget messages, as if it had never learned them.", Roles: admins(), Body: []param{{"ids", "array", "as the log has them"}}, do: (*call).forget},
		{Method: "POST", Path: "/classifier/rollback", Name: "learn rollback", Help: "Make the classifier forget everything behind an event.", Roles: admins(), Body: []param{{"to", "integer", "the number of the last event that holds"}}, do: (*call).rollBackLessons},
	}
}

func (c *call) theClassifier() (Classifier, error) {
	if c.o.Classifier == nil {
		return nil, fmt.Errorf("%w: the classifier is off: [filters.classify] enabled = false", ErrNotNow)
	}

	return c.o.Classifier, nil
}

func (c *call) classifier() (any, error) {
	k, err := c.theClassifier()
	if err != nil {
		return nil, err
	}

	return k.Status(c.ctx)
}

func (c *call) classifierLog() (any, error) {
	k, err := c.theClassifier()
	if err != nil {
		return nil, err
	}
	after := int64(0)
	if text := c.r.URL.Query().Get("after"); text != "" {
		if after, err = strconv.ParseInt(text, 10, 64); err != nil {
			return nil, BadRequest("after: %q is no number", text)
		}
	}
	limit := 0
	if err := c.limit(&limit, maxRows); err != nil {
		return nil, err
	}

	return k.Events(c.ctx, after, limit)
}

// readLog is the act behind an import, which writes into the log by itself.
func (c *call) readLog() (any, error) {
	var body struct {
		Messages int `json:"messages"`
	}
	if err := c.read(&body); err != nil {
		return nil, err
	}
	c.what = fmt.Sprintf("%d messages", body.Messages)

	return c.learn(ReadLog{})
}

func (c *call) uncertain() (any, error) {
	limit := 100
	if err := c.limit(&limit, maxRows); err != nil {
		return nil, err
	}
	if c.o.Uncertain == nil {
		return []any{}, nil
	}

	return c.o.Uncertain(c.ctx, limit)
}

func (c *call) answer() (any, error) {
	var body struct {
		ID   string `json:"id"`
		Spam bool   `json:"spam"`
	}
	if err := c.read(&body); err != nil {
		return nil, err
	}
	c.what = body.ID

	return c.learn(Answer{body.ID, body.Spam})
}

func (c *call) readFolders() (any, error) { return c.learn(ReadFolders{}) }

func (c *call) forget() (any, error) {
	var body struct {
		IDs []string `json:"ids"`
	}
	if err := c.read(&body); err != nil {
		return nil, err
	}
	c.what = fmt.Sprintf("%d messages", len(body.IDs))

	return c.learn(Forget{IDs: body.IDs})
}

func (c *call) rollBackLessons() (any, error) {
	var body struct {
		To int64 `json:"to"`
	}
	if err := c.read(&body); err != nil {
		return nil, err
	}
	c.what = fmt.Sprintf("to event %d", body.To)

	return c.learn(RollBack{body.To})
}

func (c *call) learn(what Learning) (any, error) {
	k, err := c.theClassifier()
	if err != nil {
		return nil, err
	}
	c.takeTime()

	return k.Change(c.ctx, what, c.who())
}
