package eval

import (
	"regexp"
	"strings"

	"postern/rules/relays"
)

// Mail that claims to come from a large provider and has none of its marks. The marks are of many years.
func forgedFunctions() map[string]Func {
	return map[string]Func{
		"check_for_forged_hotmail_received_headers": func(c *Context, _ []string) float64 { return truth(c.hotmail() == 2) },
		"check_for_no_hotmail_received_headers":     func(c *Context, _ []string) float64 { return truth(c.hotmail() == 1) },
		"check_for_msn_groups_headers":              msnGroupsHeaders, "check_for_forged_eudoramail_received_headers": forgedEudora,
		"check_for_forged_yahoo_received_headers": forgedYahoo, "check_for_forged_juno_received_headers": forgedJuno,
		"check_for_forged_gmail_received_headers": forgedGmail, "check_for_forged_gw05_received_headers": forgedGW05,
	}
}

const ip = `[0-9A-Fa-f:.]{3,45}`

var (
	hotmailPickup  = regexp.MustCompile(`from mail pickup service by hotmail\.com with Microsoft SMTPSVC;`)
	hotmailRelay   = regexp.MustCompile(`from (?:\S*\.)?hotmail.com \(\S+\.hotmail(?:\.msn)?\.com[ )]|from \S*\.hotmail.com \(\[` + ip + `\][ ):]|from \S+ by \S+\.hotmail(?:\.msn)?\.com with HTTP;|from \[66\.218.\S+\] by \S+\.yahoo\.com`)
	outlookRelay   = regexp.MustCompile(`from \S*\.outbound\.protection\.outlook\.com \(\S+\.outbound\.protection\.outlook\.com[ )]|from \S*\.(?:eur|nam)prd\d+\.prod\.outlook\.com \(` + ip + `\)`)
	hotmailClaim   = regexp.MustCompile(`(?:from |HELO |helo=)\S*hotmail\.com\b`)
	anyIP          = regexp.MustCompile(`\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}|[0-9A-Fa-f]*:[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*`)
	outlookOrg     = regexp.MustCompile(`hotmail\.com|msonline-outlook`)
	groupsTo       = regexp.MustCompile(`(?i)<(\S+)@groups\.msn\.com>`)
	groupsPickup   = regexp.MustCompile(`from mail pickup service by (p\d\d\.groups\.msn\.com)\b`)
	yahooTrusted   = regexp.MustCompile(` rdns=\S+\.yahoo\.com `)
	yahooUntrusted = regexp.MustCompile(`^[^\]]+ rdns=\S+\.yahoo\.com `)
	yahooMarks     = regexp.MustCompile(`by web\S+\.mail\S*\.yahoo\.com via HTTP|by sonic\S+\.consmr\.mail\S*\.yahoo\.com with HTTP|by smtp\S+\.yahoo\.com with SMTP|from \[` + ip + `\] by \S+\.(?:groups|scd|dcn)\.yahoo\.com with NNFMP|by \w+\.\w+\.yahoo\.com \(\d+\.\d+\.\d+/\d+\.\d+\.\d+\)(?: with ESMTP)? id \w+`)
	yahooBulk      = regexp.MustCompile(`\bmailer\d+\.bulk\.scd\.yahoo\.com\b`)
	junoRelay      = regexp.MustCompile(`from.*\b(?:juno|untd)\.com.*[\[(]` + ip + `[\])].*by`)
	mailcomRelay   = regexp.MustCompile(`from.*\bmail\.com.*\[` + ip + `\].*by`)
	junoWeb        = regexp.MustCompile(`from (webmail\S+\.untd\.com) \((webmail\S+\.untd\.com) \[` + ip + `\]\) by`)
	gmailReceived  = regexp.MustCompile(`by 10\.\S+ with SMTP id \S+|by 2002:a\d\d:\w+:\S+ with SMTP id \S+`)
	gmailPlain     = regexp.MustCompile(`by smtp\.googlemail\.com with ESMTPSA id \S+`)
	gw05           = regexp.MustCompile(`\nfrom\s(\S+)\sby\s(\S+)\swith\sESMTP;\s+\S\S\S,\s+\d+\s+\S\S\S\s+\d{4}\s+\d\d:\d\d:\d\d\s+[-+]*\d{4}\n$`)
)

// ends says whether an address ends in a domain, at the edge of a word.
func ends(address, domain string) bool {
	address = strings.ToLower(strings.TrimSuffix(address, "\n"))
	front, ok := strings.CutSuffix(address, domain)
	if !ok || front == "" {
		return ok
	}
	c := front[len(front)-1]
	return !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_')
}

// hotmailSent says whether a relay of Hotmail's, or of Outlook's for an organisation, handed the message over.
func (c *Context) hotmailSent(received string) bool {
	if anyIP.MatchString(c.text("X-Originating-Ip")) && hotmailRelay.MatchString(received) {
		return true
	}
	return outlookOrg.MatchString(c.text("X-OriginatorOrg")) && outlookRelay.MatchString(received)
}

// hotmail gives 2 for a forged relay of Hotmail's, 1 for a sender there without its relay.
func (c *Context) hotmail() int {
	return once(c, "hotmail", func() int {
		received := spaced(c.text("Received"))
		if hotmailPickup.MatchString(received) || msnGroupsHeaders(c, nil) > 0 || gated(c, nil) > 0 {
			return 0
		}
		if c.hotmailSent(received) {
			return 0
		}
		if hotmailClaim.MatchString(received) {
			return 2
		}
		if ends(c.text("From:addr"), "hotmail.com") {
			return 1
		}
		return 0
	})
}

func msnGroupsHeaders(c *Context, _ []string) float64 {
	to := groupsTo.FindStringSubmatch(c.text("To"))
	from := groupsPickup.FindStringSubmatch(c.text("Received"))
	if to == nil || from == nil {
		return 0
	}
	id := c.text("Message-Id")
	if to[1] == "notifications" {
		return truth(c.find(made(`^<\S+@`+quote(from[1])+`>`), id))
	}
	return truth(c.find(made(`^<`+quote(to[1])+`-\S+@groups\.msn\.com>`), id) && strings.Contains(c.text("EnvelopeFrom:addr"), to[1]+"-bounce@groups.msn.com"))
}

func forgedEudora(c *Context, _ []string) float64 {
	if !ends(c.text("From:addr"), "eudoramail.com") || gated(c, nil) > 0 {
		return 0
	}
	return truth(!(anyIP.MatchString(c.text("X-Sender-Ip")) && strings.Contains(spaced(c.text("Received")), "whowhere.com;")))
}

func forgedYahoo(c *Context, _ []string) float64 {
	from := c.text("From:addr")
	if !ends(from, "yahoo.com") {
		return 0
	}
	received := c.text("Received")
	if c.text("Resent-From") != "" && c.text("Resent-To") != "" && c.text("X-Received") != "" {
		received = c.text("X-Received")
	}
	received = spaced(received)
	path := c.Message.Path()
	switch {
	case gated(c, nil) > 0,
		yahooTrusted.MatchString(relays.Join(path.Trusted)),
		yahooUntrusted.MatchString(relays.Join(path.Untrusted)),
		yahooMarks.MatchString(received),
		yahooBulk.MatchString(received) && ends(from, "@reply.yahoo.com"):
		return 0
	}
	return 1
}

func forgedJuno(c *Context, _ []string) float64 {
	if !ends(c.text("From:addr"), "juno.com") || gated(c, nil) > 0 {
		return 0
	}
	origin, mailer, received := c.text("X-Originating-IP"), c.text("X-Mailer"), c.text("Received")
	if origin != "" {
		return truth(!junoSent(received) || !strings.Contains(mailer, "Juno "))
	}
	if m := junoWeb.FindStringSubmatch(received); mailcomRelay.MatchString(received) {
		if !strings.Contains(mailer, "mail.com") {
			return 1
		}
	} else if m == nil || m[1] != m[2] || !strings.HasPrefix(mailer, "Webmail Version ") {
		return 1
	}
	return truth(!anyIP.MatchString(origin))
}

// junoSent says whether a relay of Juno's handed the message over.
func junoSent(received string) bool {
	return junoRelay.MatchString(received) || strings.Contains(received, " cookie.juno.com ") || strings.Contains(received, " cookie.untd.com ")
}

func forgedGmail(c *Context, _ []string) float64 {
	if !ends(c.text("From:addr"), "gmail.com") {
		return 0
	}
	const marks = 60
	switch {
	case gmailReceived.MatchString(c.text("X-Received")), gmailPlain.MatchString(c.text("Received")),
		len(c.text("X-Gm-Message-State")) >= marks && len(c.text("X-Google-Smtp-Source")) >= marks:
		return 0
	}
	return 1
}

func forgedGW05(c *Context, _ []string) float64 {
	m := gw05.FindStringSubmatch(c.text("Received"))
	return truth(m != nil && !strings.Contains(m[2], "."))
}
