package wire

import (
	"strconv"
	"strings"
)

// Class says what an item of FETCH carries.
type Class uint8

// The classes. Plain carries none of the body; Whole is all octets of a message as they are, Part is any other content,
// and what is not known.
const (
	Plain Class = iota
	Whole
	Part
)

// Item is a data item of FETCH, in a command or in a response: RFC 9051 sections 6.4.5 and 7.5.2.
type Item struct {
	// Name is in upper case, without .PEEK; Section is what stands in its brackets, in upper case.
	Name, Section string
	// Sectioned says that it has brackets. Origin is the first octet of a partial one, -1 without.
	Sectioned bool
	Origin    int64
	Class     Class
}

// ParseItem reads the name of an item, as in "BODY.PEEK[1.MIME]<0.512>".
func ParseItem(name string) Item {
	it := Item{Origin: -1}
	head, rest, sectioned := strings.Cut(name, "[")
	it.Name = strings.TrimSuffix(strings.ToUpper(head), ".PEEK")
	if sectioned {
		it.Sectioned = true
		i := strings.LastIndexByte(rest, ']')
		if i < 0 {
			i = len(rest)
		}
		it.Section = strings.ToUpper(rest[:i])
		if i < len(rest) {
			it.Origin = origin(rest[i+1:])
		}
	}
	it.Class = it.class()
	return it
}

// origin reads "<0>" and "<0.512>"; what is neither begins nowhere that is known.
func origin(text string) int64 {
	inner, ok := strings.CutPrefix(text, "<")
	if !ok {
		return -1
	}
	inner, _, _ = strings.Cut(strings.TrimSuffix(inner, ">"), ".")
	n, err := strconv.ParseInt(inner, 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

func (it Item) class() Class {
	switch it.Name {
	case "BODY":
		switch {
		case !it.Sectioned || it.isHeader():
			return Plain
		case it.Section == "" && it.Origin < 0:
			return Whole
		}
	case "RFC822":
		if !it.Sectioned && it.Origin < 0 {
			return Whole
		}
	// what Dovecot has besides the standards stands at the end
	case "UID", "FLAGS", "INTERNALDATE", "ENVELOPE", "BODYSTRUCTURE", "RFC822.SIZE", "RFC822.HEADER", "BINARY.SIZE", "MODSEQ",
		"EMAILID", "THREADID", "SAVEDATE", "ALL", "FULL", "FAST", "X-GM-MSGID", "X-GM-THRID", "X-GM-LABELS",
		"X-GUID", "X-MAILBOX", "X-REAL-UID", "X-SAVEDATE":
		return Plain
	}
	return Part
}

// Front says whether it is the first octets of a message.
func (it Item) Front() bool {
	return it.Name == "BODY" && it.Sectioned && it.Section == "" && it.Origin == 0
}

// isHeader says whether the section is a header, that of the message or of a part.
func (it Item) isHeader() bool {
	s := strings.TrimLeft(it.Section, "0123456789.")
	return s == "HEADER" || s == "MIME" || strings.HasPrefix(s, "HEADER.FIELDS")
}

// Slice says whether it is a piece out of a header, not from its beginning: who sees only that can't tell where the header
// ends.
func (it Item) Slice() bool {
	return it.Name == "BODY" && it.Sectioned && it.isHeader() && it.Origin > 0
}

// HasFields says whether only some fields of a header were asked for.
func (it Item) HasFields() bool { return strings.Contains(it.Section, "HEADER.FIELDS") }

// ParseItems reads the items of a FETCH command: a single one, a macro, or a list. What stands behind them is left in the
// lexer. ok is false if they can't be read, then nobody knows what was asked for.
func ParseItems(l *Lexer) (items []Item, ok bool) {
	t := l.Next()
	if t.Kind == Atom {
		return []Item{ParseItem(t.Text)}, true
	}
	if t.Kind != Open {
		return nil, false
	}
	for depth := 1; depth > 0; {
		switch t = l.Next(); t.Kind {
		case Atom:
			if depth == 1 {
				items = append(items, ParseItem(t.Text))
			}
		case Open: // the arguments of an item: RFC 8970, PREVIEW (LAZY)
			depth++
		case Close:
			depth--
		case String:
			return nil, false
		default:
			return nil, false
		}
	}
	return items, true
}
