package relays

import (
	"regexp"
	"strings"
)

// What single formats say beyond their pattern.
var (
	heloIn     = regexp.MustCompile(`helo=(\S+)`)
	identIn    = regexp.MustCompile(`ident=(\S*)`)
	idAngle    = regexp.MustCompile(` id <(\S+)>`)
	fromAngle  = regexp.MustCompile(` from <(\S+)>`)
	hotmailBy  = regexp.MustCompile(`by (\S+\.hotmail\.msn\.com) `)
	qmailWith  = regexp.MustCompile(`^(?: \(.+\))* with (?:.* )?(?:SMTP|QMQP)`)
	eximName   = regexp.MustCompile(` \((\S+)\) `)
	eximIP     = regexp.MustCompile(` \[([0-9A-Fa-f:.]+?)(?:\.\d+)?\] `)
	anyBy      = regexp.MustCompile(`by (\S+) `)
	squirrel   = regexp.MustCompile(` \((?:SquirrelMail|NaSMail) authenticated user `)
	squirrelIP = regexp.MustCompile(`([0-9A-Fa-f:.]+)\b.{10,80}by (\S+) with HTTP`)
	aolWeb     = regexp.MustCompile(`([0-9A-Fa-f:.]+) by (\S+) \([0-9A-Fa-f:.]+\) with HTTP \(WebMailUI\)`)
	scanner    = regexp.MustCompile(`^\S+ by \S+ \(.{0,100}\) with qmail-scanner`)
	qmailBy    = regexp.MustCompile(` by \S+ \(qmail-\S+\) with `)
)

func skip(p *parsed, _ match) { p.skip = true }

func noID(p *parsed, _ match) { p.relay.ID = "" }

// shortNote bounds what may stand behind the address.
func shortNote(p *parsed, m match) {
	p.reject = strings.Contains(m['h'], ")") || len(p.text) == 0
	helo, _, _ := strings.Cut(p.text, " ")
	p.relay.Helo = helo
}

func xmail(p *parsed, _ match) {
	if m := idAngle.FindStringSubmatch(p.text); m != nil {
		p.relay.ID = m[1]
	}
	if m := fromAngle.FindStringSubmatch(p.text); m != nil {
		p.relay.EnvFrom, p.relay.HasEnvFrom = m[1], true
	}
}

// eximNote reads helo= and ident=.
func eximNote(p *parsed, m match) {
	note := m['p'] + m['?']
	if h := heloIn.FindStringSubmatch(note); h != nil {
		p.relay.Helo = h[1]
		note = strings.Replace(note, h[0], "", 1)
	}
	if t := identIn.FindStringSubmatch(note); t != nil {
		p.relay.Ident = t[1]
	}
}

// exim takes what it finds, wherever it stands.
func (p *parsed) exim() bool {
	if word, _, ok := strings.Cut(p.text, " "); ok && word != "" {
		p.relay.RDNS = word
	}
	if m := eximName.FindStringSubmatch(p.text); m != nil {
		p.relay.Helo = m[1]
	}
	if m := eximIP.FindStringSubmatch(p.text); m != nil && addressLength(m[1]) == len(m[1]) {
		p.relay.IP = m[1]
	}
	if m := anyBy.FindStringSubmatch(p.text); m != nil {
		p.relay.By = m[1]
		return p.relay.IP != ""
	}
	return false
}

// sendmailIdent parts the ident from the reverse name. Qmail writes alike and is read below.
func sendmailIdent(p *parsed, _ match) {
	if qmailBy.MatchString(p.text) {
		p.reject = true
		return
	}
	if user, host, ok := strings.Cut(p.relay.RDNS, "@"); ok {
		p.relay.Ident, p.relay.RDNS = strings.TrimPrefix(user, "IDENT:"), host
	}
}

func dotted(p *parsed, _ match) { p.reject = !strings.Contains(strings.Trim(p.relay.RDNS, "."), ".") }

func hotmail(p *parsed, _ match) {
	m := hotmailBy.FindStringSubmatch(p.text)
	if m == nil {
		p.reject = true
		return
	}
	p.relay.By = m[1]
	if n := addressLength(p.text); n > 0 && strings.HasPrefix(p.text[n:], " ") {
		p.relay.IP = p.text[:n]
	}
}

// qmail asks for "with SMTP" or QMQP behind the format, without an id.
func qmail(p *parsed, m match) {
	rest := m['$']
	loc := qmailWith.FindStringIndex(rest)
	if loc == nil || strings.HasPrefix(rest[loc[1]:], " id ") {
		p.reject = true
		return
	}
	if p.looks = p.relay.RDNS != "unknown"; !p.looks {
		p.relay.RDNS = ""
	}
}

// sendmail looks reverse names up, unless it says that it could not.
func sendmail(p *parsed, _ match) {
	for p.relay.By != "" && !isWord(p.relay.By[len(p.relay.By)-1]) {
		p.relay.By = p.relay.By[:len(p.relay.By)-1]
	}
	if p.relay.RDNS == "softdnserr" {
		p.relay.RDNS = ""
		return
	}
	p.looks = true
}

// fetcher skips the fields of programs that fetch mail.
func fetcher(p *parsed, _ match) {
	if contain(p.text, "with POP3") || contain(p.text, "with IMAP") {
		p.fetched, p.skip = true, true
		return
	}
	p.reject = true
}

func letterNote(p *parsed, m match) {
	c := m['p'][0] | 0x20
	p.reject = c < 'a' || c > 'z'
}

func vines(p *parsed, _ match) { p.looks = p.relay.RDNS != "UNKNOWN" }

// webmail reads fields of web mailers.
func (p *parsed) webmail() bool {
	var m []string
	switch {
	case squirrel.MatchString(p.text):
		m = squirrelIP.FindStringSubmatch(p.text)
	case contain(p.text, "aol.com") && contain(p.text, "with HTTP (WebMailUI)"):
		m = aolWeb.FindStringSubmatch(p.text)
	}
	if m == nil || addressLength(m[1]) != len(m[1]) {
		return false
	}
	p.relay.IP, p.relay.By = m[1], m[2]
	return true
}

// qmailScanner skips the scanner's own field and keeps the sender it noted.
func (p *parsed) qmailScanner() bool {
	if !scanner.MatchString(p.text) {
		return false
	}
	p.relay.EnvFrom = cleanSender(p.relay.EnvFrom)
	p.skip, p.scanner = true, p.relay.HasEnvFrom
	return true
}
