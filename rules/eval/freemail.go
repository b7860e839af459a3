package eval

import (
	"cmp"
	"regexp"
	"slices"
	"strings"

	"postern/rules/views"
)

func freemailFunctions() map[string]Func {
	return map[string]Func{
		"check_freemail_from": freemailFrom, "check_freemail_header": freemailHeader, "check_freemail_body": freemailBody, "check_freemail_replyto": freemailReplyTo,
	}
}

var (
	// roles are addresses that belong to nobody in particular: offices, and those that programs make up.
	roles = regexp.MustCompile(`(?i)^(?:abuse|support|sales|info|helpdesk|[ck]onta[ck]t|(?:post|host|domain)master|undisclosed.*|request-[a-f0-9]{16}|bounced?-|` +
		`[a-f0-9]{8}(?:\.[a-f0-9]{8}|-(?:[a-f0-9]{4}-){3}[a-f0-9]{12})|.+=.+=.+)@`)
	// bulkFrom are envelope senders of lists and programs.
	bulkFrom = regexp.MustCompile(`(?i)(?:^(?:(?:post|host|domain)master|double-bounce|(?:sentto|owner|return|(?:gr)?bounced?)-.+)|-(?:request|bounces?|admin|owner)|` +
		`\b(?:do[._\-t]?)?no[._\-t]?repl(?:y|ies)|.+=.+)@`)
)

// isFreemail says whether an address is of a provider of free mailboxes.
func (c *Context) isFreemail(address string) bool {
	if address == "" || c.Config.FreemailExempt[address] {
		return false
	}
	domain := address[strings.LastIndexByte(address, '@')+1:]
	if c.Config.FreemailExempt[domain] || roles.MatchString(address) {
		return false
	}
	for _, list := range []string{"welcomelist_auth", "def_welcomelist_auth"} {
		if c.Config.number("freemail_import_"+list, 0) != 0 && c.Config.Addresses[list].Holds(address) {
			return false
		}
	}
	return c.Config.Freemail.HoldsDomain(domain)
}

// HoldsDomain says whether a domain is in a list; here * stands for text without dots.
func (l *AddressList) HoldsDomain(domain string) bool {
	if l.exact[domain] {
		return true
	}
	for _, g := range l.globs {
		if strings.Count(g, ".") == strings.Count(domain, ".") && glob(g, domain) {
			return true
		}
	}
	return false
}

func lowered(all []string) []string {
	out := make([]string, len(all))
	for i, s := range all {
		out[i] = strings.ToLower(s)
	}
	return out
}

// freemailIn finds a free address that an expression matches, if one is given.
func (c *Context) freemailIn(addresses []string, expr string) float64 {
	if c.Config.Freemail.Len() == 0 {
		return 0
	}
	for _, a := range addresses {
		if c.isFreemail(a) && (expr == "" || c.find(c.pattern(expr), a)) {
			return 1
		}
	}
	return 0
}

func freemailFrom(c *Context, args []string) float64 {
	return c.freemailIn(lowered(c.fromAddresses()), arg(args, 0))
}

func freemailHeader(c *Context, args []string) float64 {
	return c.freemailIn(lowered(c.Message.Get(arg(args, 0)+":addr")), arg(args, 1))
}

func freemailBody(c *Context, args []string) float64 {
	found, _ := c.bodyFreemails()
	return c.freemailIn(found, arg(args, 0))
}

// bulk says whether the envelope sender is that of a list or a program.
func (c *Context) bulk() bool {
	envelope, ok := c.Message.EnvelopeFrom()
	return ok && c.Config.number("freemail_skip_bulk_envfrom", 1) != 0 && bulkFrom.MatchString(envelope)
}

func freemailReplyTo(c *Context, args []string) float64 {
	if c.Config.Freemail.Len() == 0 {
		return 0
	}
	what := cmp.Or(arg(args, 0), "replyto")
	if c.bulk() {
		return 0
	}
	from, replyTo := lowered(c.Message.Get("From:addr")), lowered(c.Message.Get("Reply-To:addr"))
	fromFree, replyFree := slices.ContainsFunc(from, c.isFreemail), slices.ContainsFunc(replyTo, c.isFreemail)
	same := slices.ContainsFunc(from, func(a string) bool { return slices.Contains(replyTo, a) })
	if fromFree && replyFree && !same {
		return 1
	}
	answers := from
	if what == "replyto" || replyFree {
		answers = replyTo
	}
	if paid := len(replyTo) > 0 && !replyFree; !answersFree(what, fromFree, replyFree, paid) {
		return 0
	}
	return c.otherInBody(answers)
}

// answersFree says whether answers go to a free address, as what the rule asks for has it; paid says that there is a Reply-To
// and that it has none.
func answersFree(what string, fromFree, replyFree, paid bool) bool {
	switch what {
	case "replyto":
		return replyFree
	case "reply":
		return fromFree && !paid
	}
	return true
}

// otherInBody says whether the text names a free address besides those that answers go to.
func (c *Context) otherInBody(answers []string) float64 {
	found, ok := c.bodyFreemails()
	for _, a := range found {
		if ok && slices.ContainsFunc(answers, func(b string) bool { return a != b }) {
			return 1
		}
	}
	return 0
}

// bodyFreemails are the free addresses in the text; ok is false if there are too many to mean anything.
func (c *Context) bodyFreemails() (found []string, ok bool) {
	type result struct {
		found []string
		ok    bool
	}
	r := once(c, "bodyfree", func() result {
		most, mostFree := c.Config.number("freemail_max_body_emails", 5), c.Config.number("freemail_max_body_freemails", 3)
		skip := c.Config.number("freemail_skip_when_over_max", 1) != 0
		var r result
		for i, a := range c.bodyAddresses() {
			if skip && float64(i+1) == most {
				return result{}
			}
			if !c.isFreemail(a) {
				continue
			}
			if r.found = append(r.found, a); skip && float64(len(r.found)) == mostFree {
				return result{}
			}
		}
		r.ok = true
		return r
	})
	return r.found, r.ok
}

var (
	linkedAddress = regexp.MustCompile(`(?i)<?https?://\S{0,255}(?:@|%40)\S{0,255}`)
	plainAddress  = regexp.MustCompile("(?i)[a-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*@(?:[a-z0-9](?:[a-z0-9-]{0,59}[a-z0-9])?\\.){1,4}[a-z0-9-]+")
	quotedBehind  = regexp.MustCompile(`^\s{1,10}([a-z]{2,11}):`)
)

// bodyAddresses are the addresses in links and in the text, but for those that quote somebody.
func (c *Context) bodyAddresses() []string {
	var all []string
	add := func(a string) {
		if a = strings.ToLower(a); len(all) < 40 && !slices.Contains(all, a) {
			all = append(all, a)
		}
	}
	for _, u := range c.Message.Links() {
		if a := c.linkedAddress(u); a != "" {
			add(a)
		}
	}
	for _, line := range c.Message.Body() {
		if !strings.Contains(line, "@") {
			continue
		}
		for _, a := range c.lineAddresses(linkedAddress.ReplaceAllString(line, " ")) {
			add(a)
		}
	}
	return all
}

// lineAddresses are the addresses in a line of the text that quote nobody.
func (c *Context) lineAddresses(line string) (all []string) {
	for _, at := range plainAddress.FindAllStringIndex(line, 100) {
		address := line[at[0]:at[1]]
		local, _, _ := strings.Cut(address, "@")
		if len(local) > 64 || !c.Config.Domains.Valid(address) || isQuoting(line[:at[0]], line[at[1]:]) {
			continue
		}
		all = append(all, address)
	}
	return all
}

// isMailto says whether a link is to a mailbox.
func isMailto(uri string) bool { return len(uri) >= 7 && strings.EqualFold(uri[:7], "mailto:") }

// linkedAddress is the address that only a link in HTML leads to.
func (c *Context) linkedAddress(u *views.URI) string {
	if !slices.Contains(u.Types, "a") || slices.Contains(u.Types, "parsed") || !isMailto(u.Raw) {
		return ""
	}
	at := plainAddress.FindStringIndex(u.Raw[7:])
	if at == nil || at[0] != 0 || !c.Config.Domains.Valid(u.Raw[7:7+at[1]]) {
		return ""
	}
	return u.Raw[7 : 7+at[1]]
}

// isQuoting says whether an address stands in brackets or before "wrote:", as in the line above a quotation.
func isQuoting(before, after string) bool {
	if len(before) >= 7 && strings.EqualFold(before[len(before)-7:], "mailto:") {
		return false
	}
	if strings.HasPrefix(after, ">") {
		return true
	}
	m := quotedBehind.FindStringSubmatch(strings.ToLower(after))
	if m == nil {
		return false
	}
	for _, word := range []string{"fax", "facsi", "tel", "phone", "email", "e-mail", "mail"} {
		if strings.HasPrefix(m[1], word) {
			return false
		}
	}
	return true
}
