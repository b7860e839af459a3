package digest

import (
	"cmp"
	"slices"

	"postern/internal/mail"
)

// Access decides which held mail a person may see. All addresses are compared as mail.Address.Key has them.
type Access struct {
	aliases  map[string]mail.Address   // alias to person
	own      map[string][]mail.Address // person to aliases
	deputies map[string][]mail.Address // mailbox to its deputies
	looks    map[string][]mail.Address // deputy to mailboxes
	shared   map[string]bool           // mailboxes without an owner: their digests go to the deputies
}

// Rules are what an Access is made of.
type Rules struct {
	// Aliases gives for each further address of a person the person's own.
	Aliases map[mail.Address]mail.Address
	// Deputies gives for each person the mailboxes they are deputy for.
	Deputies map[mail.Address][]mail.Address
	// Shared are mailboxes without an owner.
	Shared []mail.Address
}

// NewAccess makes an Access. An alias of an alias is the last one's; aliases that go in a circle stand for themselves.
func NewAccess(r Rules) *Access {
	a := &Access{map[string]mail.Address{}, map[string][]mail.Address{}, map[string][]mail.Address{}, map[string][]mail.Address{}, map[string]bool{}}
	direct := map[string]mail.Address{}
	for alias, person := range r.Aliases {
		direct[alias.Key()] = person
	}
	for alias := range r.Aliases {
		person, seen := alias, map[string]bool{}
		for next, ok := direct[person.Key()]; ok && !seen[person.Key()]; next, ok = direct[person.Key()] {
			seen[person.Key()] = true
			person = next
		}
		if seen[person.Key()] {
			continue
		}
		a.aliases[alias.Key()] = person
		a.own[person.Key()] = append(a.own[person.Key()], alias)
	}
	for _, s := range r.Shared {
		a.shared[a.Person(s).Key()] = true
	}
	for deputy, boxes := range r.Deputies {
		deputy = a.Person(deputy)
		for _, box := range boxes {
			box = a.Person(box)
			if box.Key() != deputy.Key() {
				a.looks[deputy.Key()] = insert(a.looks[deputy.Key()], box)
				a.deputies[box.Key()] = insert(a.deputies[box.Key()], deputy)
			}
		}
	}
	for _, list := range a.own {
		slices.SortFunc(list, byKey)
	}
	return a
}

func byKey(x, y mail.Address) int { return cmp.Compare(x.Key(), y.Key()) }

// insert keeps a list sorted, each address once.
func insert(list []mail.Address, one mail.Address) []mail.Address {
	at, found := slices.BinarySearchFunc(list, one, byKey)
	if found {
		return list
	}
	return slices.Insert(list, at, one)
}

// Person is whose address this is: itself unless it is an alias.
func (a *Access) Person(address mail.Address) mail.Address {
	if person, ok := a.aliases[address.Key()]; ok {
		return person
	}
	return address
}

// Addresses are a person's own: the first is the name used here, the aliases follow.
func (a *Access) Addresses(person mail.Address) []mail.Address {
	person = a.Person(person)
	return append([]mail.Address{person}, a.own[person.Key()]...)
}

// Visible are all addresses whose held mail a person may see: their own and those they are deputy for. It is for
// quarantine.Filter.Recipients. A deputy of a deputy sees nothing.
func (a *Access) Visible(who mail.Address) []mail.Address {
	all := a.Addresses(who)
	for _, box := range a.looks[a.Person(who).Key()] {
		all = append(all, a.Addresses(box)...)
	}
	return all
}

// May reports whether a person may see and release the mail held for an address.
func (a *Access) May(who, address mail.Address) bool {
	return slices.ContainsFunc(a.Visible(who), func(v mail.Address) bool { return v.Key() == address.Key() })
}

// Addressees are the recipients of a mailbox's digest: its owner, or the deputies of a shared one.
func (a *Access) Addressees(mailbox mail.Address) []mail.Address {
	mailbox = a.Person(mailbox)
	if a.shared[mailbox.Key()] {
		return slices.Clone(a.deputies[mailbox.Key()])
	}
	return []mail.Address{mailbox}
}
