package relays

import (
	"regexp"
	"strings"
)

// parsed is what one field gives: a relay, or that it is to be skipped, or that it can't be read.
type parsed struct {
	relay         Relay
	skip, unknown bool
	// fetched says that a program fetched the message; scanner that a scanner wrote the field, and not a relay.
	fetched, scanner bool
	looks            bool
	// reject says that a format fits, and yet is none.
	reject bool
	text   string // behind "from"
}

// maxField is how long a field may be.
const maxField = 2000

// The parts of a field that are looked for by expressions.
var (
	dateEnd   = regexp.MustCompile(`[\s;]+(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), )?\d+ (?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d+ \d+:\d+(?::\d+)? \S+$`)
	bareBy    = regexp.MustCompile(`(?i)^from (\S+) by [^\s;]+ ?;`)
	quadOnly  = regexp.MustCompile(`^\[[\d.]+\]$`)
	idWord    = regexp.MustCompile(` id <?([^\s<>;]{3,})`)
	heloEqual = regexp.MustCompile(`\bhelo=([-A-Za-z0-9.^+_&:=?!@%*$\\/]+)`)
	heloWord  = regexp.MustCompile(`\b(?:HELO|EHLO) ([-A-Za-z0-9.^+_&:=?!@%*$\\/]+)`)
	byWord    = regexp.MustCompile(` by (\S+)(?:[^-A-Za-z0-9;.]|$)`)
	senderOf  = regexp.MustCompile(`(?i)(?:return-path:? |envelope-(?:sender|from)[ =])(\S+)\b`)
	exchanged = regexp.MustCompile(` with (?:Microsoft SMTP Server|mapi id) (?:\([^)]+\) )?\d+\.\d+\.\d+\.\d+(?:$| )`)
	bracketIP = regexp.MustCompile(`\[((?:[Ii][Pp][Vv]6:)?[0-9A-Fa-f:.]+)\]`)
	zone      = regexp.MustCompile(`%[A-Za-z0-9._~-]*$`)
	mapped    = regexp.MustCompile(`(?i)^0*:0*:(?:0*:)*ffff:(\d+\.\d+\.\d+\.\d+)$`)
	navgw     = regexp.MustCompile(`^(\S*) \[([^\]]+)\]\) by (\S+) \(NAVGW .*?\) with `)
	simta     = regexp.MustCompile(`^(\S+) \((\S+) \[([^\]]+)\]\) BY (\S+) (?:\([^)]+\) WITH SMTP )?ID <?(\S+?)>?(?: FOR <[^>]+>)?$`)
)

func contain(text, part string) bool { return strings.Contains(text, part) }

func exchange(text string) bool { return exchanged.MatchString(text) }

// parseField reads a Received field.
func parseField(field string) *parsed {
	text := strings.Join(strings.FieldsFunc(field[:min(len(field), maxField)], func(r rune) bool {
		return r == ' ' || r >= '\t' && r <= '\r'
	}), " ")
	for strings.HasSuffix(text, ";") {
		text = strings.TrimSuffix(strings.TrimSuffix(text, ";"), " ")
	}
	p := &parsed{}
	lower := strings.ToLower(text[:min(len(text), 6)])
	if !strings.HasPrefix(lower, "from ") && !strings.HasPrefix(lower, "(from ") || contain(text, " with local for ") || strings.HasSuffix(text, " with local for") {
		p.skip = true
		return p
	}
	if m := bareBy.FindStringSubmatch(text); m != nil && !quadOnly.MatchString(m[1]) {
		p.skip = true
		return p
	}
	if loc := dateEnd.FindStringIndex(text); loc != nil {
		text = text[:loc[0]]
	}
	text = strings.Replace(text, ")by ", ") by ", 1)
	p.general(text)
	p.relay.Auth = authOf(text)
	p.read(text)
	if !p.skip && !p.unknown {
		p.finish()
	}
	return p
}

// general finds what stands in fields of any format.
func (p *parsed) general(text string) {
	if m := idWord.FindStringSubmatch(text); m != nil {
		p.relay.ID = m[1]
	}
	if m := where(heloEqual, text, "helo="); m != nil {
		p.relay.Helo = m[1]
	} else if m := where(heloWord, text, "ELO ", "HLO "); m != nil {
		p.relay.Helo = m[1]
	}
	if m := byWord.FindStringSubmatch(text); m != nil {
		p.relay.By = m[1]
	}
}

// where matches an expression in a text that has one of the words that it needs.
func where(re *regexp.Regexp, text string, words ...string) []string {
	for _, word := range words {
		if contain(text, word) {
			return re.FindStringSubmatch(text)
		}
	}
	return nil
}

// read tries the formats.
func (p *parsed) read(text string) {
	switch {
	case strings.HasPrefix(text, "from "):
		if p.from(text[len("from "):]) {
			return
		}
	case strings.HasPrefix(text, "FROM "):
		if m := simta.FindStringSubmatch(text[5:]); m != nil && addressLength(m[3]) == len(m[3]) {
			p.looks = true
			p.relay.Helo, p.relay.RDNS, p.relay.IP, p.relay.By, p.relay.ID = m[1], m[2], m[3], m[4], m[5]
			if p.relay.RDNS == "unverified" {
				p.relay.RDNS = ""
			}
			return
		}
	case strings.HasPrefix(text, "(from "):
		if p.bracketed(text[len("(from "):]) {
			return
		}
	}
	if p.relay.IP == "" {
		for _, m := range bracketIP.FindAllStringSubmatch(text, 20) {
			if addressLength(m[1]) == len(m[1]) {
				p.relay.IP = m[1]
				break
			}
		}
	}
	p.unknown = p.relay.IP == "" || p.relay.By == ""
}

// bracketed reads what stands behind "(from".
func (p *parsed) bracketed(text string) bool {
	if m := navgw.FindStringSubmatch(text); m != nil && addressLength(m[2]) == len(m[2]) {
		p.relay.Helo, p.relay.IP, p.relay.By = m[1], m[2], m[3]
		return true
	}
	p.skip = fits(text, "%w@localhost) by %w ", "%w@%p) by %w(jqueuemail) id %w")
	return p.skip
}

// fits says whether a text begins with one of the patterns.
func fits(text string, patterns ...string) bool {
	for _, s := range patterns {
		if _, _, ok := try(s, text); ok {
			return true
		}
	}
	return false
}

// from reads what stands behind "from"; it says false if no format fits.
func (p *parsed) from(text string) bool {
	p.text = text
	if m := senderOf.FindStringSubmatch(text); m != nil {
		p.relay.EnvFrom, p.relay.HasEnvFrom = m[1], true
	}
	if p.webmail() {
		return true
	}
	formats, known := ownFormats(text)
	exim := known && contain(text, "Exim")
	if p.skip = within(text, exim); p.skip {
		return true
	}
	if p.any(formats) || exim && p.exim() || p.any(commonFormats()) || p.any(rareFormats()) {
		return true
	}
	if p.qmailScanner() {
		return true
	}
	if p.skip = fits(text, skipped()...) || fits(text, "%w by %w with Novell_GroupWise"); p.skip {
		return true
	}
	p.guessHelo()
	return false
}

// within says whether a handover is one within a host.
func within(text string, exim bool) bool {
	return exim && (contain(text, " with local ") || contain(text, " with local-")) || fits(text, "mail pickup service by %b with Microsoft SMTPSVC$")
}

// guessHelo takes the first word for the HELO name.
func (p *parsed) guessHelo() {
	word, _, _ := strings.Cut(p.text, " ")
	for end := len(word); end > 0 && p.relay.Helo == ""; end-- {
		if end < len(p.text) && (!isWord(p.text[end]) && p.text[end] != '-' && p.text[end] != '.' || p.text[end] == '_') {
			p.relay.Helo = p.text[:end]
		}
	}
}

// any tries formats in order.
func (p *parsed) any(formats []format) bool {
	for _, f := range formats {
		if f.has != "" && !contain(p.text, f.has) {
			continue
		}
		m, rest, ok := try(f.pattern, p.text)
		if !ok {
			continue
		}
		before := *p
		m['$'] = rest
		p.looks = f.looks
		p.apply(m, f.same)
		if f.note != nil {
			f.note(p, m)
		}
		if !p.reject {
			return true
		}
		*p = before
	}
	return false
}

// apply takes over what a pattern found.
func (p *parsed) apply(m match, same bool) {
	set := func(to *string, letter byte) {
		if v, ok := m[letter]; ok {
			*to = v
		}
	}
	set(&p.relay.IP, 'i')
	set(&p.relay.By, 'b')
	set(&p.relay.RDNS, 'r')
	set(&p.relay.Ident, 't')
	set(&p.relay.Helo, 'h')
	if same {
		p.relay.Helo = p.relay.RDNS
	}
}

// finish cleans the parts of a handover.
func (p *parsed) finish() {
	r := &p.relay
	r.RDNS = strings.TrimRight(r.RDNS, ".")
	if strings.EqualFold(r.RDNS, "unknown") || strings.HasPrefix(r.RDNS, "[") {
		r.RDNS = ""
	}
	if len(r.IP) > 5 && strings.EqualFold(r.IP[:5], "ipv6:") {
		r.IP = r.IP[5:]
	}
	r.IP = strings.TrimSuffix(strings.TrimPrefix(r.IP, "["), "]")
	r.IP = zone.ReplaceAllString(r.IP, "")
	if m := mapped.FindStringSubmatch(r.IP); m != nil {
		r.IP = m[1]
	}
	r.By = strings.TrimSuffix(r.By, ";")
	for _, s := range []*string{&r.IP, &r.RDNS, &r.Helo, &r.By, &r.Ident} {
		*s = mark(*s)
	}
	r.EnvFrom = cleanSender(r.EnvFrom)
	r.NoRDNS = r.RDNS == "" && p.looks
	r.Private = Private(r.IP)
}

// mark replaces characters that don't belong into a name.
func mark(text string) string {
	if !strings.ContainsAny(text, " \t\n\r\f\v\x00#[]()<>|") {
		return text
	}
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(" \t\n\r\f\v\x00#[]()<>|", r) {
			return '!'
		}
		return r
	}, text)
}

func cleanSender(text string) string {
	return mark(strings.TrimRight(strings.TrimRight(strings.TrimLeft(strings.TrimLeft(text, " "), "<"), " "), ">"))
}
