package web

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"postern/internal/mail"
	"postern/policy"
	"postern/policy/records/ledger"
)

// words are the words of the search box with the parameter of the table that each stands for.
func words() map[string]string {
	return map[string]string{"from": "sender", "to": "recipient", "domain": "domain", "client": "client", "symbol": "symbol", "verdict": "disposition", "fate": "fate",
		"user": "user", "id": "id", "door": "door", "sha256": "sha256", "message-id": "message_id", "policy": "policy", "since": "since", "until": "until"}
}

// moment reads a time as people write it: 2h or 3d ago, a day, or a time in full, which the table reads itself.
func moment(text string, now time.Time) string {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil {
			return now.AddDate(0, 0, -n).UTC().Format(time.RFC3339)
		}
	}
	if ago, err := time.ParseDuration(text); err == nil {
		return now.Add(-ago).UTC().Format(time.RFC3339)
	}
	if day, err := time.ParseInLocation(time.DateOnly, text, time.Local); err == nil {
		return day.UTC().Format(time.RFC3339)
	}

	return text
}

// search makes a query of what stands in the box: words, and pairs like from:example.org.
func search(text string, q url.Values, now time.Time) {
	var rest []string
	for _, word := range strings.Fields(text) {
		key, value, ok := strings.Cut(word, ":")
		name := words()[strings.ToLower(key)]
		if name == "since" || name == "until" {
			value = moment(value, now)
		}
		if ok && name != "" && value != "" {
			q.Set(name, value)
		} else {
			rest = append(rest, word)
		}
	}
	if len(rest) > 0 {
		q.Set("q", strings.Join(rest, " "))
	}
}

// choice is one of several values of a parameter.
type choice struct {
	Name, Path string
	Here       bool
}

// messagesPage is what the template gets.
type messagesPage struct {
	Query, Export, Next string
	Verdicts, Ways      []choice
	Since, Until        string
	Rows                []messageRow
}

// messageRow is a message in a list.
type messageRow struct {
	ID, From, To, Subject, Verdict, Fate, Why string
	Time                                      time.Time
	Score                                     float64
	Outbound                                  bool
}

const messagesShown = 50

func (v *visit) messages() error {
	in := v.r.URL.Query()
	q := url.Values{"limit": {strconv.Itoa(messagesShown)}}
	search(in.Get("q"), q, v.Now())
	for from, to := range map[string]string{"verdict": "disposition", "direction": "direction", "since": "since", "until": "until", "after": "after"} {
		if value := in.Get(from); value != "" {
			q.Set(to, value)
		}
	}
	var found struct {
		Messages []ledger.Transaction `json:"messages"`
		Next     string               `json:"next"`
	}
	if err := v.ask(http.MethodGet, "/messages?"+q.Encode(), nil, &found); err != nil {
		return err
	}
	p := messagesPage{Query: in.Get("q"), Since: in.Get("since"), Until: in.Get("until")}
	p.Verdicts = choices(in, "verdict", "", "All", "accept", "Accepted", "tag", "Tagged", "quarantine", "Held", "reject", "Refused", "defer", "Deferred")
	p.Ways = choices(in, "direction", "", "Both ways", "in", "In", "out", "Out")
	for _, t := range found.Messages {
		p.Rows = append(p.Rows, rowOf(t))
	}
	if found.Next != "" {
		p.Next = with(in, "after", found.Next)
	}
	if v.may(http.MethodGet, "/export") {
		q.Del("limit")
		q.Del("after")
		p.Export = "/export?" + q.Encode()
	}

	return v.show("messages", "Messages", "Messages", p)
}

// choices are links that set a parameter and leave the others: pairs of a value and a name.
func choices(in url.Values, name string, pairs ...string) (all []choice) {
	for i := 0; i < len(pairs); i += 2 {
		all = append(all, choice{pairs[i+1], with(in, name, pairs[i]), in.Get(name) == pairs[i]})
	}

	return all
}

// with gives the query with one parameter changed; a page begins anew where that is not its place.
func with(in url.Values, name, value string) string {
	out := url.Values{}
	for key := range in {
		if value := in.Get(key); value != "" && key != "after" && key != "done" {
			out.Set(key, value)
		}
	}
	out.Set(name, value)
	if value == "" {
		out.Del(name)
	}

	return "/messages?" + out.Encode()
}

// export gives all that fits as CSV.
func (v *visit) export() error {
	h := v.w.Header()
	h.Set("Content-Type", "text/csv; charset=utf-8")
	h.Set("Content-Disposition", `attachment; filename="messages.csv"`)
	err := v.ask(http.MethodGet, "/export?"+v.r.URL.RawQuery, nil, v.w)
	if err != nil {
		h.Del("Content-Disposition")
	}

	return err
}

func rowOf(t ledger.Transaction) messageRow {
	m := messageRow{Time: t.Time.Local(), ID: t.ID, From: cmp.Or(t.From, "<>"), Subject: ledger.Printable(t.PlainSubject()), Why: t.Decisive, Outbound: t.Outbound}
	strictest := mail.Accept
	var to []string
	for i, r := range t.Recipients {
		to = append(to, r.Address)
		if i > 0 && r.Disposition < strictest {
			continue
		}
		strictest = r.Disposition
		m.Fate, m.Score = string(r.Last()), r.Score
		refusedBehind := r.Fate != ledger.Delivered && r.Disposition == mail.Accept
		switch {
		case r.Fate == ledger.Abandoned:
			m.Why = t.Reply
		case m.Why == "" || refusedBehind:
			m.Why = r.Reply
		}
	}
	m.Verdict = strictest.String()
	if len(to) == 0 {
		m.Verdict, m.Fate, m.Why = mail.Defer.String(), string(ledger.Refused), t.Reply
		if strings.HasPrefix(t.Reply, "5") {
			m.Verdict = mail.Reject.String()
		}
	}
	m.To = strings.Join(to[:min(len(to), 3)], ", ")
	if len(to) > 3 {
		m.To += ", and " + strconv.Itoa(len(to)-3) + " more"
	}

	return m
}

// messagePage is what the template gets.
type messagePage struct {
	messageRow
	T          ledger.Transaction
	Connection *ledger.Connection
	Sentence   string
	Flip       string
	Reasons    []reason
	Proofs     []proof
	Took       []took
	Others     []messageRow // of the same connection
	HeldID     string

	MayRelease, MayRecall, MayList bool
	AllowFor                       string
}

// reason is a symbol with its weight as a bar: to the right against the message, to the left for it.
type reason struct {
	Symbol, Help string
	Evidence     []string
	Score        float64
	Percent      int
	For          bool
}

// proof is one check of who sent the message.
type proof struct{ Name, Word, Class, Detail string }

type took struct {
	Name    string
	MS      float64
	Percent int
}

func (v *visit) message() error {
	id := v.r.PathValue("id")
	var r ledger.Record
	if err := v.ask(http.MethodGet, "/messages/"+url.PathEscape(id), nil, &r); err != nil {
		return err
	}
	if len(r.Transactions) == 0 {
		return v.show("connection", "Connection", "Messages", r.Connection)
	}
	at := max(slices.IndexFunc(r.Transactions, func(t ledger.Transaction) bool { return t.ID == id }), 0)
	t := r.Transactions[at]
	p := messagePage{messageRow: rowOf(t), T: t, Connection: r.Connection, HeldID: t.HeldID, Sentence: t.Decisive}
	for i, other := range r.Transactions {
		if i != at {
			p.Others = append(p.Others, rowOf(other))
		}
	}
	p.Reasons, p.Proofs, p.Took = reasons(t.Findings), proofs(t), tookOf(t)
	p.Flip = flip(t)
	p.MayRelease = t.HeldID != "" && v.may(http.MethodPost, "/quarantine/{id}/release") && strings.HasSuffix(p.Fate, "held")
	p.MayRecall = v.may(http.MethodPost, "/recalls") && !t.Outbound && (p.Fate == string(ledger.Delivered) || p.Fate == string(ledger.Released))
	p.MayList = v.may(http.MethodPost, "/lists") && strings.Contains(t.From, "@") && !t.Outbound

	return v.show("message", cmp.Or(p.Subject, "(no message)"), "Messages", p)
}

// reasons are the symbols, those that weigh most first.
func reasons(found []policy.Reason) (all []reason) {
	heaviest := 0.1
	for _, f := range found {
		heaviest = max(heaviest, f.Score, -f.Score)
	}
	for _, f := range found {
		all = append(all, reason{f.Symbol, f.Help, f.Evidence, f.Score, int(100 * max(f.Score, -f.Score) / heaviest), f.Score < 0})
	}
	slices.SortStableFunc(all, func(a, b reason) int {
		return cmp.Compare(max(b.Score, -b.Score), max(a.Score, -a.Score))
	})

	return all
}

// proofs draws SPF, DKIM, DMARC and ARC from their symbols.
func proofs(t ledger.Transaction) (all []proof) {
	for _, one := range []struct{ name, front string }{{"SPF", "R_SPF_"}, {"DKIM", "R_DKIM_"}, {"DMARC", "DMARC_"}, {"ARC", "ARC_"}} {
		p := proof{one.name, "not checked", "none", ""}
		for _, f := range t.Findings {
			if rest, ok := strings.CutPrefix(f.Symbol, one.front); ok {
				p.Word, p.Class = proofWord(rest), proofClass(rest)
				p.Detail = strings.Join(f.Evidence, "; ")
				break
			}
		}
		all = append(all, p)
	}

	return all
}

// proofWord says in a word or two what a symbol says.
func proofWord(word string) string {
	switch {
	case word == "NA":
		return "none"
	case strings.HasSuffix(word, "ALLOW"):
		return "pass"
	case word == "DNSFAIL", word == "TEMPFAIL":
		return "no answer from DNS"
	case word == "REJECT":
		return "fail"
	}

	return strings.ToLower(strings.ReplaceAll(word, "_", " "))
}

func proofClass(word string) string {
	switch {
	case strings.HasPrefix(word, "ALLOW"), strings.HasPrefix(word, "POLICY_ALLOW"):
		return "good"
	case strings.Contains(word, "REJECT"), strings.Contains(word, "FAIL") && !strings.Contains(word, "TEMP") && !strings.Contains(word, "DNS") && !strings.Contains(word, "SOFT"), strings.Contains(word, "INVALID"):
		return "bad"
	case word == "NA":
		return "none"
	}

	return "odd"
}

func tookOf(t ledger.Transaction) (all []took) {
	longest := 0.1
	for name, ms := range t.Took {
		longest = max(longest, ms)
		all = append(all, took{name, ms, 0})
	}
	for i := range all {
		all[i].Percent = int(100 * all[i].MS / longest)
	}
	slices.SortFunc(all, func(a, b took) int { return cmp.Or(cmp.Compare(b.MS, a.MS), cmp.Compare(a.Name, b.Name)) })

	return all[:min(len(all), 8)]
}

// flip says what would have led to another verdict.
func flip(t ledger.Transaction) string {
	if len(t.Recipients) == 0 || t.Size == 0 {
		return ""
	}
	r := t.Recipients[0]
	points := func(n float64) string { return strconv.FormatFloat(n, 'f', 1, 64) + " points" }
	switch {
	case r.Disposition == mail.Reject && r.Score >= r.Required.Reject && r.Required.Reject > 0:
		return points(r.Score-r.Required.Reject+0.1) + " less, and it would not have been refused."
	case r.Disposition == mail.Quarantine && r.Score >= r.Required.Quarantine && r.Required.Quarantine > 0:
		return points(r.Score-r.Required.Quarantine+0.1) + " less, and it would not have been held."
	case r.Disposition == mail.Tag && r.Score >= r.Required.Tag:
		return points(r.Required.Quarantine-r.Score) + " more, and it would have been held."
	case r.Disposition == mail.Accept && r.Required.Tag > r.Score:
		return points(r.Required.Tag-r.Score) + " more, and it would have been tagged."
	}

	return ""
}

func (v *visit) recall() error {
	id := v.r.PathValue("id")
	if err := v.ask(http.MethodPost, "/recalls", map[string]string{"id": id, "why": "from the console"}, nil); err != nil {
		return err
	}

	return v.back("/messages/"+url.PathEscape(id), "recalled")
}

// Addresses of pages of earlier versions.
func (v *visit) formerMessage() error {
	http.Redirect(v.w, v.r, "/messages/"+url.PathEscape(v.r.PathValue("id")), http.StatusMovedPermanently)
	return nil
}

func (v *visit) formerTable() error {
	http.Redirect(v.w, v.r, "/tables/"+url.PathEscape(v.r.PathValue("name")), http.StatusMovedPermanently)
	return nil
}
