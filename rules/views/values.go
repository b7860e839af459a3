package views

import (
	"net/netip"
	"strings"

	"postern/rules/relays"
)

// Spec names a header value as rules do: a field, or one of the names that stand for more than a field, and what of it.
type Spec struct {
	Name                                 string
	Raw, Addr, Display                   bool
	Host, Domain, IP, RevIP, First, Last bool
}

// ParseSpec reads "Name:modifier:modifier"; it gives the modifier that is not known, if there is one.
func ParseSpec(text string) (s Spec, unknown string) {
	name, mods, _ := strings.Cut(text, ":")
	s.Name = name
	for mods != "" {
		var mod string
		mod, mods, _ = strings.Cut(mods, ":")
		flag := map[string]*bool{"raw": &s.Raw, "addr": &s.Addr, "name": &s.Display, "host": &s.Host, "domain": &s.Domain, "ip": &s.IP, "revip": &s.RevIP, "first": &s.First, "last": &s.Last}[mod]
		if flag == nil {
			return s, mod
		}
		*flag = true
	}
	return s, ""
}

// single says whether such a value is the first one where only one is asked for.
func (s Spec) single() bool {
	return s.Addr || s.Display || s.Host || s.Domain || s.IP || s.RevIP || s.Name == "EnvelopeFrom"
}

// Get gives all values that a name as in Spec stands for.
func (m *Message) Get(name string) []string {
	if v, ok := m.values[name]; ok {
		return v
	}
	spec, _ := ParseSpec(name)
	v := m.Values(spec)
	m.values[name] = v
	return v
}

// Value gives the values as one text, as functions of rules see it; ok says whether there is any.
func (m *Message) Value(name string) (text string, ok bool) {
	all := m.Get(name)
	if len(all) == 0 {
		return "", false
	}
	if spec, _ := ParseSpec(name); spec.single() {
		return strings.TrimSuffix(all[0], "\n"), true
	}
	return strings.Join(all, ""), true
}

// Values gives all values that a spec stands for.
func (m *Message) Values(s Spec) []string {
	if strings.HasPrefix(s.Name, "ALL") {
		if all, ok := m.allFields(s); ok {
			return all
		}
	}
	all := m.fieldValues(s)
	if len(all) == 0 {
		return nil
	}
	all = s.pick(all)
	if s.Addr || s.Display {
		all = mailboxValues(all, s)
	}
	switch {
	case s.Host || s.Domain:
		all = m.hostValues(all, s)
	case s.IP || s.RevIP:
		all = ipValues(all, s.RevIP)
	}
	return all
}

// pick gives the first or the last value alone, if that is asked for.
func (s Spec) pick(all []string) []string {
	switch {
	case s.First:
		return all[:1]
	case s.Last:
		return all[len(all)-1:]
	}
	return all
}

// allFields gives the fields of the whole header, or of what relays of ours added to it, or others.
func (m *Message) allFields(s Spec) ([]string, bool) {
	if s.Name == "ALL" {
		if s.Raw {
			return rawFields(m.head), true
		}
		return m.root.All(false), true
	}
	path := m.Path()
	switch s.Name {
	case "ALL-TRUSTED":
		return m.fieldRange(s, -1, path.LastTrusted+1), true
	case "ALL-INTERNAL":
		return m.fieldRange(s, -1, path.LastInternal+1), true
	case "ALL-UNTRUSTED":
		return m.fieldRange(s, path.LastTrusted+1, -1), true
	case "ALL-EXTERNAL":
		return m.fieldRange(s, path.LastInternal+1, -1), true
	}
	return nil, false
}

// rawFields parts a header as it came.
func rawFields(head string) []string {
	var all []string
	start := 0
	for i := 0; i < len(head); i++ {
		if head[i] != '\n' {
			continue
		}
		if i+1 < len(head) && (head[i+1] == ' ' || head[i+1] == '\t') {
			continue
		}
		if i > start {
			all = append(all, head[start:i+1])
		}
		start = i + 1
	}
	return all
}

// fieldRange gives the fields between two Received fields by index; -1 is no bound. The last one is part of it.
func (m *Message) fieldRange(s Spec, start, end int) []string {
	var fields, all []string
	if s.Raw {
		fields = rawFields(m.head)
	} else {
		fields = m.root.All(false)
	}
	at := -1
	for _, f := range fields {
		if hasPrefixFold(f, "Received:") {
			at++
		}
		switch {
		case start <= at && (end < 0 || at < end):
			all = append(all, f)
		case end >= 0 && at == end:
			return append(all, f)
		}
	}
	return all
}

// folded gives the values of a field on one line each, decoded or as they came.
func (m *Message) folded(name string, raw bool) []string {
	if !raw {
		return m.root.Values(name)
	}
	all := m.root.RawValues(name)
	for i, v := range all {
		all[i] = foldSpace(v)
	}
	return all
}

// fieldValues gives the values a name stands for.
func (m *Message) fieldValues(s Spec) []string {
	if all, ok := m.made(strings.ToLower(s.Name)); ok {
		return all
	}
	switch strings.ToLower(s.Name) {
	case "tocc":
		return append(m.folded("To", s.Raw), m.folded("Cc", s.Raw)...)
	case "messageid":
		if s.Name == "MESSAGEID" {
			var all []string
			for _, name := range []string{"X-Message-Id", "Resent-Message-Id", "X-Original-Message-ID", "Message-Id"} {
				all = append(all, m.folded(name, s.Raw)...)
			}
			return all
		}
	}
	if s.Raw || s.Addr || s.Display {
		return m.root.RawValues(s.Name)
	}
	return m.root.Values(s.Name)
}

// made gives what stands in no field: it is made of others, or known otherwise.
func (m *Message) made(name string) (values []string, ok bool) {
	switch name {
	case "envelopefrom":
		if from, ok := m.EnvelopeFrom(); ok {
			values = []string{from}
		}
	case "x-spam-relays-untrusted":
		values = []string{relays.Join(m.Path().Untrusted)}
	case "x-spam-relays-trusted":
		values = []string{relays.Join(m.Path().Trusted)}
	case "x-spam-relays-external":
		values = []string{relays.Join(m.Path().External)}
	case "x-spam-relays-internal":
		values = []string{relays.Join(m.Path().Internal)}
	case "x-senderdomain":
		values = m.Values(Spec{Name: "EnvelopeFrom", First: true, Addr: true, Host: true})
	case "x-authordomain":
		if hosts := appendNew(nil, m.Values(Spec{Name: "From", Addr: true, Host: true})...); len(hosts) > 0 {
			values = []string{strings.ToLower(strings.Join(hosts, " "))}
		}
	default:
		return nil, false
	}
	return values, true
}

// mailboxValues gives the addresses or the names of mailboxes.
func mailboxValues(fields []string, s Spec) []string {
	var all []string
	for _, f := range fields {
		for _, box := range ParseMailboxes(f) {
			switch {
			case s.Addr && box.Addressed:
				all = append(all, box.Address)
			case s.Display && !s.Addr && box.Named:
				name := box.Phrase
				if !s.Raw {
					name = displayName(name)
				}
				all = append(all, name)
			}
		}
	}
	return all
}

// displayName decodes a name, squeezes its white space, and takes off single quotes.
func displayName(phrase string) string {
	name := decodeField(phrase, "")
	if blank(name) {
		return name
	}
	name = trimSpace(squeeze(name))
	if inner, ok := strings.CutPrefix(name, "'"); ok && strings.HasSuffix(inner, "'") {
		name = strings.TrimSuffix(inner, "'")
	}
	return name
}

// hostValues gives the hosts, or the domains of them, that texts name.
func (m *Message) hostValues(texts []string, s Spec) []string {
	var all []string
	for _, t := range texts {
		host := ""
		if s.Addr {
			if i := strings.LastIndexByte(t, '@'); i >= 0 {
				host, _, _ = strings.Cut(t[i+1:], " ")
			}
		} else {
			host = m.hostIn(t)
		}
		if host == "" {
			continue
		}
		if s.Domain {
			host = m.domains.Trim(host)
		}
		all = append(all, host)
	}
	return all
}

// hostIn finds a host name in a text: behind an @ if there is one, else the first.
func (m *Message) hostIn(text string) string {
	words := strings.FieldsFunc(text, func(r rune) bool { return r >= 0x80 || !isHostByte(byte(r)) && r != '@' })
	for _, behindAt := range []bool{true, false} {
		for _, w := range words {
			i := strings.LastIndexByte(w, '@')
			if behindAt && i < 0 {
				continue
			}
			host := strings.Trim(w[i+1:], "._-")
			if ValidName(host) && m.domains.Valid(host) {
				return host
			}
		}
	}
	return ""
}

// ipValues gives the first network address of each text.
func ipValues(texts []string, reverse bool) []string {
	var all []string
	for _, t := range texts {
		for _, w := range strings.FieldsFunc(t, func(r rune) bool {
			return r >= 0x80 || hexValue(byte(r)) < 0 && r != '.' && r != ':'
		}) {
			a, err := netip.ParseAddr(strings.Trim(w, ".:"))
			if err != nil {
				continue
			}
			if reverse {
				all = append(all, ReverseIP(a))
			} else {
				all = append(all, a.String())
			}
			break
		}
	}
	return all
}

// ReverseIP writes an address as lists in the DNS are asked for it (RFC 5782 section 2).
func ReverseIP(a netip.Addr) string { return relays.ReverseIP(a) }

// Path is the way the message came.
func (m *Message) Path() *relays.Path {
	if m.path == nil {
		var origin []string
		for _, f := range m.options.OriginFields {
			if v, ok := m.root.Last(f); ok {
				origin = append(origin, ipValues([]string{v}, false)...)
			}
		}
		m.path = relays.Read(m.options.First, m.root.Values("Received"), origin, m.options.Networks)
	}
	return m.path
}

// EnvelopeFrom is the envelope sender: the one we were given, else what the last relay that is not ours noted, else what
// fields say that no relay put behind a Received field.
func (m *Message) EnvelopeFrom() (string, bool) {
	if m.options.HasEnvelope {
		return m.options.EnvelopeFrom, true
	}
	if m.envelope == nil {
		from, ok := m.guessEnvelope()
		if !ok {
			from = "\x00"
		}
		m.envelope = &from
	}
	return *m.envelope, *m.envelope != "\x00"
}

func (m *Message) guessEnvelope() (string, bool) {
	if from, ok := m.notedEnvelope(); ok {
		return from, true
	}
	if sender, _ := m.firstAddress("X-Sender"); strings.Contains(sender, "@") && m.fetchmailed() {
		return "", false
	}
	for _, field := range []string{"X-Envelope-From", "Envelope-Sender", "Return-Path"} {
		from, ok := m.firstAddress(field)
		if !ok {
			continue
		}
		if !m.behindReceived(field) {
			return from, true
		}
		if field == "X-Envelope-From" {
			return "", false
		}
	}
	return "", false
}

// notedEnvelope is the envelope sender that the last relay that is not ours noted, or the first of ours if all are.
func (m *Message) notedEnvelope() (string, bool) {
	path := m.Path()
	var last *relays.Relay
	if len(path.Untrusted) > 0 {
		last = path.Untrusted[0]
	} else if n := len(path.Trusted); n > 0 {
		last = path.Trusted[n-1]
	}
	if last == nil || !last.HasEnvFrom {
		return "", false
	}
	return last.EnvFrom, last.EnvFrom == "" || strings.Index(last.EnvFrom, "@") > 0
}

func (m *Message) firstAddress(field string) (string, bool) {
	all := m.Values(Spec{Name: field, First: true, Addr: true})
	if len(all) == 0 {
		return "", false
	}
	return all[0], true
}

// fetchmailed says whether fetchmail took the message from a mailbox.
func (m *Message) fetchmailed() bool {
	return strings.Contains(strings.Join(m.root.Values("Received"), ""), "(fetchmail")
}

// behindReceived says whether a field stands below a Received field.
func (m *Message) behindReceived(name string) bool {
	received := false
	for _, f := range m.root.fields {
		if strings.EqualFold(f.Name, "received") {
			received = true
		} else if received && strings.EqualFold(f.Name, name) {
			return true
		}
	}
	return false
}

// Fields gives the header's fields.
func (m *Message) Fields() []Field { return m.root.fields }
