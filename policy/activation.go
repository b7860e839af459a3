package policy

import (
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/interpreter"

	"postern/policy/calendar"
)

// activation gives a condition the values of its variables.
type activation struct {
	q     *question
	memo  map[string]ref.Val
	local calendar.Local
	timed bool
}

// Parent is there for CEL.
func (a *activation) Parent() interpreter.Activation { return nil }

// ResolveName gives a variable of conditions. Each is made once for all rules.
func (a *activation) ResolveName(name string) (any, bool) {
	if v, ok := a.memo[name]; ok {
		return v, true
	}
	v := a.value(name)
	if v == nil {
		return nil, false
	}
	if a.memo == nil {
		a.memo = map[string]ref.Val{}
	}
	a.memo[name] = v
	return v, true
}

func (a *activation) value(name string) ref.Val {
	f, q := a.q.f, a.q
	switch name {
	case "symbols":
		return a.found()
	case "score":
		return types.Double(float64(q.t.score) / 1000)
	case "direction":
		if f.Outbound {
			return types.String("out")
		}
		return types.String("in")
	case "stage":
		return types.String(f.Stage.String())
	case "client":
		if !f.Client.IsValid() {
			return types.String("")
		}
		return types.String(f.Client.String())
	case "user":
		return types.String(fact(f.User))
	case "size":
		return types.Int(f.Size)
	case "subject":
		return types.String(fact(f.Subject))
	case "message_id":
		return types.String(fact(f.MessageID))
	case "list_id":
		return types.String(fact(f.ListID))
	case "reply_to":
		return types.String(fact(f.ReplyTo))
	case "attachments":
		return q.p.adapter.NativeToValue(f.Attachments[:min(len(f.Attachments), maxAttachments)])
	}
	return a.sender(name)
}

func (a *activation) sender(name string) ref.Val {
	f, q := a.q.f, a.q
	authors := q.senders[1 : 1+len(f.HeaderFrom)]
	authors = authors[:min(len(authors), maxAttachments)]
	switch name {
	case "from":
		return types.String(fact(q.senders[0].key))
	case "from_domain":
		return types.String(fact(q.senders[0].domain))
	case "rcpt":
		return types.String(fact(q.to[0].key))
	case "rcpt_domain":
		return types.String(fact(q.to[0].domain))
	case "header_from", "header_from_domains":
		list := make([]string, len(authors))
		for i, p := range authors {
			list[i] = fact(p.domain)
			if name == "header_from" {
				list[i] = fact(p.key)
			}
		}
		return a.list(list)
	case "groups":
		return a.list(f.Groups[q.to[0].key])
	case "authenticated":
		return a.list(f.Authenticated)
	}
	return a.clock(name)
}

func (a *activation) clock(name string) ref.Val {
	if !a.timed {
		a.timed, a.local = true, a.q.f.Time.In(a.q.p.zone)
	}
	switch name {
	case "time.hour":
		return types.Int(a.local.Minute / 60)
	case "time.minute":
		return types.Int(a.local.Minute % 60)
	case "time.weekday":
		return types.String(a.local.Weekday)
	case "time.date":
		return types.String(a.local.Date)
	case utcDay:
		return types.String(dayOf(a.q.f.Time))
	}
	return nil
}

func (a *activation) list(of []string) ref.Val {
	return types.NewStringList(a.q.p.adapter, of[:min(len(of), maxAttachments)])
}

// found are the symbols with their weights.
func (a *activation) found() ref.Val {
	values := make(map[ref.Val]ref.Val, len(a.q.t.reasons))
	for i, r := range a.q.t.reasons {
		if r.Symbol != GroupMax && len(values) < maxSymbols {
			values[types.String(r.Symbol)] = types.Double(float64(a.q.t.weights[i]) / 1000)
		}
	}
	return types.NewRefValMap(a.q.p.adapter, values)
}
