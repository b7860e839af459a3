package policy

import (
	"fmt"
	"strings"

	"postern/filters"
	"postern/internal/config"
	"postern/policy/calendar"
)

// list makes one of the two lists of the entries of the file and of those that are kept elsewhere.
func (c *compiler) list(name ListName, entries []Entry, zone calendar.Zone) *list {
	for i, e := range entries {
		c.entry(fmt.Sprintf("%s[%d]", name, i), name, e)
	}
	all := entries[:len(entries):len(entries)]
	for i, e := range c.more {
		if e.List != Allow && e.List != Block {
			if name == Allow { // once is enough
				c.bad("", "entry %d of the lists beside the file belongs to no list; it is allow or block, not %.20q", i, e.List)
			}
			continue
		}
		if e.List == name {
			before := len(c.problems)
			c.entry(e.path(i), name, e.Entry)
			inNoFile(c.problems[before:])
			all = append(all, e.Entry)
		}
	}
	return newList(zone, all)
}

// inNoFile removes the file name from problems of entries kept elsewhere.
func inNoFile(problems []config.Problem) {
	for i := range problems {
		problems[i].File, problems[i].Line = "", 0
	}
}

// path names an entry that is not in a file.
func (e ListEntry) path(i int) string {
	if e.ID != "" {
		return fmt.Sprintf("list %s %.64q", e.List, e.ID)
	}
	return fmt.Sprintf("list %s entry %d", e.List, i)
}

// Check reports what is wrong with an entry, so that it can be refused before it is stored.
func (e ListEntry) Check() []config.Problem {
	c := compiler{more: []ListEntry{e}}
	for _, name := range []ListName{Allow, Block} {
		c.list(name, nil, calendar.Zone{})
	}
	return c.problems
}

func (c *compiler) entry(path string, list ListName, e Entry) {
	if e.Sender == "" && !e.Network.IsValid() {
		c.bad(path, "names neither sender nor network; name whom it is about")
	}
	if e.Sender != "" && pattern(e.Sender) == "" {
		c.bad(path+".sender", "%q is no sender; write \"user@example.com\", \"example.com\", \".example.com\" or \"<>\"", e.Sender)
	}
	if e.Recipient != "" && (pattern(e.Recipient) == "" || e.Recipient == "<>") {
		c.bad(path+".recipient", "%q is no recipient; write \"user@example.com\", \"example.com\" or \".example.com\"", e.Recipient)
	}

	switch list {
	case Allow:
		if e.Sender == "<>" && !e.Network.IsValid() && !e.Unauthenticated {
			c.bad(path+".sender", "nothing can prove the null sender; add a network, or unauthenticated = true")
		}
	case Block:
		if e.Unauthenticated {
			c.bad(path+".unauthenticated", "has no meaning for block; take it away")
		}
	}
	c.entryNotes(path, e)
}

// entryNotes checks what an entry says of itself.
func (c *compiler) entryNotes(path string, e Entry) {
	if e.Expires != "" {
		if _, err := calendar.EndOfDay(e.Expires, calendar.Zone{}); err != nil {
			c.bad(path+".expires", "%v", err)
		}
	}
	if len(e.ID) > 64 || strings.ContainsFunc(e.ID, func(r rune) bool { return r <= ' ' || r > '~' }) {
		c.bad(path+".id", "%.80q is no id; write up to 64 characters of ASCII without spaces", e.ID)
	}
	if filters.Printable(e.Owner) != e.Owner {
		c.bad(path+".owner", "is too long or holds characters that can't be shown; write a name or an address")
	}
}
