package web

import (
	"cmp"
	"errors"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"postern/filters"
	"postern/policy/records/ledger"
	"postern/policy/records/lessons"
	"postern/policy/records/lists"
	"postern/policy/replay"
	"postern/proxy/console/api"
)

// listsPage is what the template gets.
type listsPage struct {
	Kinds   []choice
	Query   string
	Rows    []lists.Entry
	Next    string
	MayEdit bool
	Sender  string // for the form
	List    string
}

func (v *visit) lists() error {
	in := v.r.URL.Query()
	q := url.Values{"limit": {"100"}}
	for _, name := range []string{"list", "text", "after"} {
		if value := in.Get(name); value != "" {
			q.Set(name, value)
		}
	}
	var found struct {
		Entries []lists.Entry `json:"entries"`
		Next    string        `json:"next"`
	}
	if err := v.ask(http.MethodGet, "/lists?"+q.Encode(), nil, &found); err != nil {
		return err
	}
	p := listsPage{Query: in.Get("text"), Rows: found.Entries, MayEdit: v.may(http.MethodPost, "/lists"), Sender: in.Get("sender"), List: in.Get("add")}
	for _, one := range [][2]string{{"", "All"}, {"allow", "Allowed"}, {"block", "Blocked"}} {
		p.Kinds = append(p.Kinds, choice{one[1], "/lists?" + url.Values{"list": {one[0]}, "text": {p.Query}}.Encode(), in.Get("list") == one[0]})
	}
	if found.Next != "" {
		q.Set("after", found.Next)
		p.Next = "/lists?" + q.Encode()
	}

	return v.show("lists", "Allow and block lists", "Lists", p)
}

func (v *visit) addToList() error {
	body := map[string]any{"list": v.r.PostFormValue("list"), "reason": v.r.PostFormValue("reason")}
	if sender := strings.TrimSpace(v.r.PostFormValue("sender")); strings.Contains(sender, "/") {
		body["network"] = sender
	} else {
		body["sender"] = sender
	}
	if to := strings.TrimSpace(v.r.PostFormValue("recipient")); to != "" {
		body["recipient"] = to
	}
	if days := v.r.PostFormValue("days"); days != "" {
		d, err := time.ParseDuration(days + "h")
		if err != nil || d <= 0 {
			return api.BadRequest("days: write a number")
		}
		body["expires"] = v.Now().Add(24 * d).UTC()
	}
	if err := v.ask(http.MethodPost, "/lists", body, nil); err != nil {
		return err
	}

	return v.back("/lists", "added")
}

func (v *visit) removeFromList() error {
	if err := v.ask(http.MethodDelete, "/lists/"+url.PathEscape(v.r.PostFormValue("id")), nil, nil); err != nil {
		return err
	}

	return v.back("/lists", "removed")
}

// queueItem is a queued message as the table shows it.
type queueItem struct {
	ID         string    `json:"id"`
	Folder     string    `json:"folder"`
	From       string    `json:"from"`
	Why        string    `json:"why"`
	Queued     time.Time `json:"queued"`
	Next       time.Time `json:"next"`
	Attempts   int       `json:"attempts"`
	Recipients []struct {
		Address string `json:"address"`
		Done    bool   `json:"done"`
	} `json:"recipients"`
}

// queuePage is what the template gets.
type queuePage struct {
	Rows                []queueItem
	MayRetry, MayDelete bool
}

func (v *visit) queue() error {
	p := queuePage{MayRetry: v.may(http.MethodPost, "/queue/{id}/retry"), MayDelete: v.may(http.MethodDelete, "/queue/{id}")}
	if err := v.ask(http.MethodGet, "/queue", nil, &p.Rows); err != nil {
		return err
	}

	return v.show("queue", "Queue", "Queue", p)
}

func (v *visit) actOnQueue() error {
	path := "/queue/" + url.PathEscape(v.r.PostFormValue("id"))
	if v.r.PostFormValue("act") == "delete" {
		if err := v.ask(http.MethodDelete, path, nil, nil); err != nil {
			return err
		}
		return v.back("/queue", "deleted")
	}
	if err := v.ask(http.MethodPost, path+"/retry", nil, nil); err != nil {
		return err
	}

	return v.back("/queue", "retried")
}

// learned is what the classifier knows, as the table shows it.
type learned struct {
	Ham     int   `json:"ham"`
	Spam    int   `json:"spam"`
	Waiting int   `json:"waiting"`
	Event   int64 `json:"event"`
}

// learningPage is what the template gets.
type learningPage struct {
	Classifier *learned
	Lessons    []lessons.Lesson
	MayUndo    bool
	Uncertain  []uncertain
	MayAnswer  bool
}

// uncertain is a message that the classifier was not sure about, as the table shows it, and as the ledger has it.
type uncertain struct {
	ID      string    `json:"id"`
	Message string    `json:"message"`
	Odds    float64   `json:"odds"`
	Time    time.Time `json:"time"`

	messageRow
}

// Percent is how probable the classifier thinks it that it is spam.
func (u uncertain) Percent() int { return int(100/(1+math.Exp(-u.Odds)) + 0.5) }

// askedAtOnce is how many messages one page asks about.
const askedAtOnce = 10

// asked adds the messages that an answer would teach most from.
func (v *visit) asked(p *learningPage) error {
	if err := v.ask(http.MethodGet, "/classifier/audit?limit="+strconv.Itoa(askedAtOnce), nil, &p.Uncertain); err != nil {
		return err
	}
	for i := range p.Uncertain {
		u := &p.Uncertain[i]
		var r ledger.Record
		if v.ask(http.MethodGet, "/messages/"+url.PathEscape(u.Message), nil, &r) == nil && len(r.Transactions) > 0 { // it may be expired
			u.messageRow = rowOf(r.Transactions[0])
		}
	}

	return nil
}

func (v *visit) answer() error {
	body := map[string]any{"id": v.r.PostFormValue("id"), "spam": v.r.PostFormValue("act") == "spam"}
	if err := v.ask(http.MethodPost, "/classifier/audit", body, nil); err != nil {
		return err
	}

	return v.back("/learning", "learned")
}

func (v *visit) learning() error {
	p := learningPage{MayUndo: v.may(http.MethodPost, "/lessons/{id}/undo")}
	if v.ask(http.MethodGet, "/classifier", nil, &p.Classifier) != nil {
		p.Classifier = nil // it is off
	}
	if err := v.ask(http.MethodGet, "/lessons?limit=100", nil, &p.Lessons); err != nil {
		return err
	}

	p.MayAnswer = v.may(http.MethodPost, "/classifier/audit")
	if err := v.asked(&p); err != nil {
		return err
	}

	return v.show("learning", "Learning", "Learning", p)
}

func (v *visit) undoLesson() error {
	if err := v.ask(http.MethodPost, "/lessons/"+url.PathEscape(v.r.PostFormValue("id"))+"/undo", nil, nil); err != nil {
		return err
	}

	return v.back("/learning", "undone")
}

// policyPage is what the template gets.
type policyPage struct {
	Version, Text, Draft string
	Versions             []replay.Version
	Plan                 *replay.Report
	Changes              []topRow
	MayEdit              bool
}

func (v *visit) policy() error { return v.policyPage("", nil) }

func (v *visit) policyPage(draft string, plan *replay.Report) error {
	p := policyPage{Plan: plan, MayEdit: v.may(http.MethodPost, "/policy/apply")}
	var now struct{ Version, Text string }
	if err := v.ask(http.MethodGet, "/policy", nil, &now); err != nil {
		return err
	}
	if err := v.ask(http.MethodGet, "/policy/versions", nil, &p.Versions); err != nil {
		return err
	}
	p.Versions = p.Versions[:min(len(p.Versions), 20)]
	p.Version, p.Text, p.Draft = now.Version, now.Text, cmp.Or(draft, now.Text)
	if plan != nil {
		for what, n := range plan.Changes {
			p.Changes = append(p.Changes, topRow{Name: what, N: n})
		}
		slices.SortFunc(p.Changes, func(a, b topRow) int { return cmp.Or(cmp.Compare(b.N, a.N), cmp.Compare(a.Name, b.Name)) })
	}

	return v.show("policy", "Policy", "Policy", p)
}

// changePolicy replays a draft, applies it, or goes back to an earlier version.
func (v *visit) changePolicy() error {
	draft := strings.ReplaceAll(v.r.PostFormValue("text"), "\r\n", "\n")
	switch v.r.PostFormValue("act") {
	case "plan":
		var r replay.Report
		if err := v.ask(http.MethodPost, "/policy/plan", map[string]any{"text": draft, "limit": 50}, &r); err != nil {
			return err
		}
		return v.policyPage(draft, &r)
	case "apply":
		if err := v.ask(http.MethodPost, "/policy/apply", map[string]string{"text": draft, "note": v.r.PostFormValue("note")}, nil); err != nil {
			return err
		}
		return v.back("/policy", "applied")
	case "rollback":
		if err := v.ask(http.MethodPost, "/policy/rollback", map[string]string{"to": v.r.PostFormValue("to")}, nil); err != nil {
			return err
		}
		return v.back("/policy", "back")
	}

	return api.BadRequest("there is no such act")
}

// tablePage is what the template gets.
type tablePage struct {
	Name, Help string
	Tabs       []choice
	Verbs      []string
	Rows       []filters.Row
}

// tables are those that the console knows how to call, in the order in which they are shown.
func tables() [][3]string {
	return [][3]string{
		{"bans", "Bans", "Who is kept out for guessing passwords. Nobody else is touched: neither the user, nor others at the same address who have logged in before."},
		{"greylist", "Greylist", "Senders that were asked to come again, and have not yet."},
		{"harvest", "Harvesters", "Clients that guess addresses, and are turned away for it."},
		{"frozen", "Frozen users", "Users who may not send just now, because they suddenly wrote to many strangers. Their password may be stolen."},
		{"correspondents", "Frozen users", "Users who may not send just now, because they suddenly wrote to many strangers. Their password may be stolen."},
		{"dnslists", "DNS lists", "The DNS lists in use. One that answers nonsense is muted, and scores nothing."},
		{"campaigns", "Campaigns seen", "Mail that came many times in small variations, with what became of it and what people said. A campaign that is called good, or forgotten, no longer adds to the score."},
		{"muted", "Muted symbols", "Symbols that suddenly convicted mail all by themselves. They weigh nothing for an hour; what they had held was judged again."},
		{"memory", "Memory", "Where the gateway remembers clients."},
	}
}

func (v *visit) table() error {
	name := v.r.PathValue("name")
	var there map[string][]string
	if err := v.ask(http.MethodGet, "/shelves", nil, &there); err != nil {
		return err
	}
	p := tablePage{Name: name}
	for _, t := range tables() {
		if verbs, ok := there[t[0]]; ok {
			p.Tabs = append(p.Tabs, choice{t[1], "/tables/" + t[0], t[0] == name})
			if t[0] == name {
				p.Help = t[2]
				if v.may(http.MethodPost, "/shelves/{name}/{verb}") {
					p.Verbs = verbs
				}
			}
		}
	}
	if err := v.ask(http.MethodGet, "/shelves/"+url.PathEscape(name)+"?limit=500", nil, &p.Rows); err != nil {
		return err
	}

	return v.show("table", "Tables", "Tables", p)
}

func (v *visit) correct() error {
	name, verb := v.r.PathValue("name"), v.r.PathValue("verb")
	err := v.ask(http.MethodPost, "/shelves/"+url.PathEscape(name)+"/"+url.PathEscape(verb), map[string]string{"key": v.r.PostFormValue("key")}, nil)
	if p, ok := errors.AsType[api.Problem](err); err != nil && !(ok && p.Status == http.StatusNotFound) { // a row gone meanwhile is what was wanted
		return err
	}

	return v.back("/tables/"+url.PathEscape(name), "changed")
}

// tokensPage is what the template gets.
type tokensPage struct {
	Rows    []api.Token
	Roles   []api.Role
	Secret  string
	MayEdit bool
}

func (v *visit) tokens() error { return v.tokensPage("") }

func (v *visit) tokensPage(secret string) error {
	p := tokensPage{Roles: api.Roles(), Secret: secret, MayEdit: v.may(http.MethodPost, "/tokens")}
	if err := v.ask(http.MethodGet, "/tokens", nil, &p.Rows); err != nil {
		return err
	}

	return v.show("tokens", "Users and tokens", "Tokens", p)
}

// changeTokens makes a token, which is shown this once, or revokes one.
func (v *visit) changeTokens() error {
	if v.r.PostFormValue("act") == "remove" {
		if err := v.ask(http.MethodDelete, "/tokens/"+url.PathEscape(v.r.PostFormValue("id")), nil, nil); err != nil {
			return err
		}
		return v.back("/tokens", "removed")
	}
	body := map[string]any{"name": v.r.PostFormValue("name"), "role": v.r.PostFormValue("role")}
	scope := strings.FieldsFunc(v.r.PostFormValue("scope"), func(r rune) bool { return r == ',' || r == ' ' })
	switch api.Role(v.r.PostFormValue("role")) {
	case api.DomainAdmin:
		body["domains"] = scope
	case api.User:
		body["addresses"] = scope
	default: // sees all
	}
	var made struct {
		Token string `json:"token"`
	}
	if err := v.ask(http.MethodPost, "/tokens", body, &made); err != nil {
		return err
	}

	return v.tokensPage(made.Token)
}

func (v *visit) audit() error {
	var rows []api.Act
	if err := v.ask(http.MethodGet, "/audit?limit=200", nil, &rows); err != nil {
		return err
	}

	return v.show("audit", "Audit log", "Audit", rows)
}
