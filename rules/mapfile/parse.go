package mapfile

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"postern/internal/mail"
	"postern/rules/perlre"
	"postern/rules/scan"
)

// Parse reads the text of a map.
func Parse(name, file string, kind Kind, text string) *Map {
	m := &Map{
		name: name, file: file, kind: kind, sum: sumOf(kind, text),
		addresses: map[string][]int32{}, domains: map[string][]int32{}, globs: map[string][]glob{}, networks: newNetworks(),
	}
	number := 0
	for line := range strings.Lines(strings.TrimPrefix(text, "\ufeff")) { // editors of Windows put a byte order mark there
		number++
		m.line(number, strings.TrimSpace(line))
	}
	if len(m.patterns) >= worthScan {
		all := make([]*perlre.Regexp, len(m.patterns))
		for i, p := range m.patterns {
			all[i] = p.re
		}
		m.scan = scan.NewWith(all, scan.Options{Table: 256 << 10, Group: 16})
	}
	return m
}

// worthScan is from how many expressions on one pass over the text that finds candidates is worth it.
const worthScan = 8

func (m *Map) line(number int, text string) {
	if text == "" || text[0] == '#' {
		return
	}
	e, err := m.read(number, text)
	if err == nil {
		err = m.place(e)
	}
	if err == nil {
		m.entries = append(m.entries, e)
		m.expires = m.expires || e.Expires != ""
		return
	}
	if len(m.problems) < maxProblems {
		m.problems = append(m.problems, Problem{m.file, number, clip(text), "the line is left out: " + err.Error()})
	}
}

func clip(text string) string {
	if len(text) > 80 {
		text = text[:80] + "..."
	}
	return strings.ToValidUTF8(text, "?")
}

// read parts a line into its entry and what it says of it.
func (m *Map) read(number int, text string) (e Entry, err error) {
	switch {
	case len(text) > maxLine:
		return e, fmt.Errorf("it is longer than %d octets", maxLine)
	case len(m.entries) >= maxEntries:
		return e, fmt.Errorf("there are more than %d entries", maxEntries)
	}
	e = Entry{Line: number, Kind: m.kind}
	rest := ""
	if text[0] == '/' && (m.kind == Any || m.kind == Regex) {
		e.Kind = Regex
		end := endOfExpression(text)
		if end < 0 {
			return e, errors.New("the expression is not closed; write it as in /^invoice-/i, with \\/ for a slash within")
		}
		e.Text, rest = text[:end], text[end:]
	} else {
		e.Text, rest, _ = cutBlank(text)
	}
	if e.Kind == Any {
		e.Kind = looksLike(e.Text)
	}
	return e, e.notes(rest)
}

// endOfExpression finds the end of /.../flags at the front of a line, -1 if it has none.
func endOfExpression(text string) int {
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '/':
			end := i + 1
			for end < len(text) && text[end] >= 'a' && text[end] <= 'z' {
				end++
			}
			return end
		}
	}
	return -1
}

func cutBlank(text string) (word, rest string, more bool) {
	i := strings.IndexAny(text, " \t")
	if i < 0 {
		return text, "", false
	}
	return text[:i], strings.TrimLeft(text[i:], " \t"), true
}

// notes reads owner=, expires= and # comment.
func (e *Entry) notes(rest string) error {
	for rest = strings.TrimSpace(rest); rest != ""; rest = strings.TrimSpace(rest) {
		if rest[0] == '#' {
			e.Comment = strings.TrimSpace(rest[1:])
			return nil
		}
		var word string
		word, rest, _ = cutBlank(rest)
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "owner":
			e.Owner = value
		case "expires":
			if _, err := time.Parse(time.DateOnly, value); err != nil {
				return fmt.Errorf("%.40q is not a day; write it as in expires=2027-01-31", value)
			}
			e.Expires = value
		default:
			return fmt.Errorf("%.40q stands behind the entry; what may stand there is owner=NAME, expires=DAY and # with a comment", word)
		}
	}
	return nil
}

// place files an entry under what it is found by. Its number is that of the next entry.
func (m *Map) place(e Entry) error {
	n := int32(len(m.entries)) //nolint:gosec // there are no more than maxEntries
	switch e.Kind {
	case Regex:
		return m.fileRegex(e.Text, n)
	case CIDR:
		return m.networks.add(e.Text, n)
	case Domain:
		return m.fileDomain(e.Text, n)
	}
	return m.fileAddress(e.Text, n)
}

// looksLike tells what an entry is.
func looksLike(text string) Kind {
	if _, err := readPrefix(text); err == nil || errors.Is(err, errHostBits) {
		return CIDR
	}
	if strings.HasPrefix(text, "/") {
		return Regex
	}
	if text == "<>" || strings.Contains(text, "@") {
		return Address
	}
	return Domain
}

func (m *Map) fileRegex(text string, n int32) error {
	if text[0] != '/' {
		return errors.New("want an expression between slashes, as in /^invoice-/i")
	}
	end := strings.LastIndexByte(text, '/')
	var flags perlre.Flags
	for _, c := range text[end+1:] {
		flag, ok := map[rune]perlre.Flags{'i': perlre.IgnoreCase, 'm': perlre.MultiLine, 's': perlre.DotAll, 'x': perlre.Extended}[c]
		if !ok {
			return fmt.Errorf("the modifier %q is not known: i, m, s and x are", c)
		}
		flags |= flag
	}
	if len(m.patterns) >= maxPatterns {
		return fmt.Errorf("there are more than %d expressions", maxPatterns)
	}
	re, err := perlre.Compile(text[1:end], flags)
	if err != nil {
		return fmt.Errorf("not an expression: %w", err)
	}
	m.patterns = append(m.patterns, pattern{re, n})
	return nil
}

func (m *Map) fileDomain(text string, n int32) error {
	front := ""
	name := text
	if below, ok := strings.CutPrefix(strings.TrimPrefix(text, "*"), "."); ok { // .example.com and *.example.com are the same
		front, name = ".", below
	}
	ascii := mail.ASCIIDomain(name)
	if ascii == "" || !mail.ValidDomain(name) {
		return fmt.Errorf("%.80q is not a domain; write example.com, or .example.com for all names below it", text)
	}
	m.domains[front+ascii] = append(m.domains[front+ascii], n)
	return nil
}

func (m *Map) fileAddress(text string, n int32) error {
	if text == "<>" {
		m.addresses[text] = append(m.addresses[text], n)
		return nil
	}
	at := strings.LastIndexByte(text, '@')
	if at < 0 {
		return fmt.Errorf("%.80q is not an address; write user@example.com, *@example.com or <>", text)
	}
	if at == 0 {
		text, at = "*"+text, 1
	}
	local, domain := strings.ToLower(text[:at]), strings.ToLower(text[at+1:])
	if strings.ContainsAny(domain, "*?") {
		if len(m.globs[""]) >= maxPatterns {
			return fmt.Errorf("there are more than %d addresses with * in the domain", maxPatterns)
		}
		m.globs[""] = append(m.globs[""], glob{local + "@" + domain, n})
		return nil
	}
	if ascii := mail.ASCIIDomain(domain); ascii != "" && mail.ValidDomain(domain) {
		domain = ascii
	} else {
		return fmt.Errorf("%.80q is not an address: its domain can't be one", text)
	}
	if strings.ContainsAny(local, "*?") {
		m.globs[domain] = append(m.globs[domain], glob{local + "@" + domain, n})
		return nil
	}
	a, err := mail.ParseAddress(local + "@" + domain)
	if err != nil {
		return fmt.Errorf("%.80q is not an address", text)
	}
	m.addresses[a.Key()] = append(m.addresses[a.Key()], n)
	return nil
}

var errHostBits = errors.New("bits behind the prefix are set")

// readPrefix reads 192.0.2.0/24, 2001:db8::/32 or an address.
func readPrefix(text string) (netip.Prefix, error) {
	if !strings.Contains(text, "/") {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return netip.Prefix{}, err
		}
		a = a.Unmap().WithZone("")
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err == nil && p != p.Masked() {
		return p, fmt.Errorf("%w; write %s", errHostBits, p.Masked())
	}
	return p, err
}
