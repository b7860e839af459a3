package imapd

import (
	"strings"

	"postern/proxy/imapd/wire"
)

// parseID reads the arguments of ID: NIL, or up to 30 pairs. A value is nil for NIL.
//
// RFC 2971 section 3.3: 30 pairs, fields of 30 octets, values of 1,024.
func parseID(args *wire.Lexer) (pairs []idPair, good bool) {
	t := args.Next()
	if isNil(t) {
		return nil, args.Next().Kind == wire.End
	}
	if t.Kind != wire.Open {
		return nil, false
	}
	for {
		field := args.Next()
		if field.Kind == wire.Close {
			return pairs, args.Next().Kind == wire.End
		}
		p, good := newIDPair(field, args.Next())
		if !good || len(pairs) == 30 {
			return nil, false
		}
		pairs = append(pairs, p)
	}
}

func newIDPair(field, value wire.Token) (p idPair, good bool) {
	if field.Kind != wire.String || len(field.Text) > 30 || len(value.Text) > 1024 {
		return p, false
	}
	p.field = field.Text
	if !isNil(value) {
		p.value = &value.Text
	}

	return p, value.Kind == wire.String || p.value == nil
}

func isNil(t wire.Token) bool { return t.Kind == wire.Atom && strings.EqualFold(t.Text, "NIL") }

type idPair struct {
	field string
	value *string
}

// forwardID writes a client's ID anew. Fields that begin with x- are ours to tell: a client that says where it comes from
// would be believed by a backend that trusts us.
func forwardID(pairs []idPair) string {
	var b strings.Builder
	for _, p := range pairs {
		goodValue := p.value == nil || idValue(*p.value)
		if strings.HasPrefix(strings.ToLower(p.field), "x-") || !wire.Quotable(p.field) || !goodValue {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(wire.Quote(p.field) + " ")
		if p.value == nil {
			b.WriteString("NIL")
		} else {
			b.WriteString(wire.Quote(*p.value))
		}
	}
	if b.Len() == 0 {
		return "NIL"
	}
	return "(" + b.String() + ")"
}

// idValue says whether a value can be quoted: some clients send their names in UTF-8.
func idValue(s string) bool { return !strings.ContainsAny(s, "\x00\r\n") }
