package smtpd

import (
	"strconv"
	"strings"

	"postern/internal/mail"
	"postern/proxy"
)

// extensions gives the door's switches and what stands behind it offers. What a client was offered holds for its session, even
// if another hop serves it meanwhile: RFC 5321 section 4.1.1.1.
func (c *session) extensions() (Extensions, proxy.Extensions) {
	if c.offered == nil {
		now := c.server.gateway.Offers()
		c.offered = &now
	}
	return c.opt.Extensions, *c.offered
}

// mailFrom is MAIL: RFC 5321 section 4.1.1.2.
func (c *session) mailFrom(args string) {
	if r := c.notYet(); r != nil {
		c.fail(*r)
		return
	}
	path, ok := afterColon(args, "FROM:")
	if !ok {
		c.fail(replySyntax("MAIL FROM:<address>"))
		return
	}
	from, rest, err := mail.ParsePath(path, hasUTF8(path))
	if err != nil {
		c.fail(replyAddress(true, err))
		return
	}
	params, bad := c.mailParams(rest)
	if bad != nil {
		c.fail(*bad)
		return
	}
	// RFC 5321 section 4.1.1.3: only a forward-path may be <postmaster> without a domain
	if from.Domain == "" && !from.IsNull() {
		c.fail(replyAddress(true, mail.ErrPathSyntax))
		return
	}
	if from.NeedsUTF8() && !params.UTF8 {
		c.fail(replyAddress(true, mail.ErrNeedsSMTPUTF8))
		return
	}

	x, r := c.connection.Begin(c.Ctx, from, params, c.clientPort)
	c.transaction = x
	if !r.Positive() {
		c.fail(r)
		c.reset("refused at MAIL")
		return
	}
	c.reply(r)
}

// notYet says why MAIL can't come now, nil if it can.
func (c *session) notYet() *mail.Reply {
	var r mail.Reply
	switch {
	case c.Mail.Helo == "":
		r = replyNeedHelo()
	case c.transaction != nil:
		r = replyNested()
	case !c.opt.Submission || c.Mail.User != "" || c.Mail.Trusted:
		return nil
	case c.Mail.TLS == nil && !c.opt.AuthInClear:
		r = replyTLSFirst()
	default:
		r = replyAuthFirst()
	}

	return &r
}

// rcptTo is RCPT: RFC 5321 section 4.1.1.3.
func (c *session) rcptTo(args string) {
	if c.transaction == nil {
		c.fail(replyNeedMail())
		return
	}
	if c.chunks != nil {
		c.fail(reply(503, "5.5.1", "RCPT after BDAT"))
		return
	}
	path, ok := afterColon(args, "TO:")
	if !ok {
		c.fail(replySyntax("RCPT TO:<address>"))
		return
	}
	utf8 := c.transaction.Params().UTF8
	to, rest, err := mail.ParsePath(path, utf8)
	if err == nil && to.IsNull() {
		err = mail.ErrPathSyntax
	}
	if err != nil {
		c.fail(replyAddress(false, err))
		return
	}
	recipient, bad := c.rcptParams(to, rest)
	if bad != nil {
		c.fail(*bad)
		return
	}
	if c.transaction.Recipients() >= c.opt.MaxRecipients {
		// RFC 5321 section 4.5.3.1.10: 452, and those taken before stay; the client did nothing wrong
		c.reply(replyRecipients(c.opt.MaxRecipients))
		return
	}
	if r := c.transaction.Rcpt(c.Ctx, recipient); r.Positive() {
		c.reply(r)
	} else {
		c.fail(r)
	}
}

// afterColon gives what stands behind FROM: or TO:. White space behind the colon is tolerated, as common clients send
// it; it changes nothing in the reading.
func afterColon(args, keyword string) (string, bool) {
	if len(args) < len(keyword) || !strings.EqualFold(args[:len(keyword)], keyword) {
		return "", false
	}
	return strings.TrimLeft(args[len(keyword):], " "), true
}

// hasUTF8 says whether SMTPUTF8 is among the parameters behind a path, which must be known before the path is read.
func hasUTF8(args string) bool {
	_, params, _ := strings.Cut(args, ">")
	for p := range strings.FieldsSeq(params) {
		if strings.EqualFold(p, "SMTPUTF8") {
			return true
		}
	}
	return false
}

// parameters cuts the ESMTP parameters behind a path: RFC 5321 section 4.1.2, Mail-parameters.
func parameters(rest string, each func(name, value string, has bool) *mail.Reply) *mail.Reply {
	if rest == "" {
		return nil
	}
	if rest[0] != ' ' {
		r := replySyntax("a space between address and parameters")
		return &r
	}
	seen := map[string]bool{}
	for p := range strings.FieldsSeq(rest) {
		name, value, has := strings.Cut(p, "=")
		name = strings.ToUpper(name)
		if seen[name] {
			r := replyParameter(printable([]byte(name)), "given twice")
			return &r
		}
		seen[name] = true
		if has && (value == "" || strings.Contains(value, "=") && name != "AUTH" && name != "ENVID" && name != "ORCPT") {
			r := replyParameter(printable([]byte(name)), "bad value")
			return &r
		}
		if r := each(name, value, has); r != nil {
			return r
		}
	}
	return nil
}

func (c *session) mailParams(rest string) (params mail.Params, bad *mail.Reply) {
	bad = parameters(rest, func(name, value string, has bool) *mail.Reply {
		if !c.takes(name, has) {
			return no(replyUnknownParameter(printable([]byte(name))))
		}
		return c.mailParam(&params, name, value)
	})

	return params, bad
}

func no(r mail.Reply) *mail.Reply { return &r }

// takes says whether a parameter of MAIL belongs to an extension that is on here and at the next hop; hasValue, whether it
// came with a value.
func (c *session) takes(name string, hasValue bool) bool {
	on, hop := c.extensions()
	switch name {
	case "SIZE":
		return on.Size
	case "BODY":
		return on.EightBitMIME && hop.EightBitMIME
	case "SMTPUTF8":
		return on.SMTPUTF8 && hop.SMTPUTF8 && !hasValue
	case "REQUIRETLS":
		return on.RequireTLS && hop.RequireTLS && c.Mail.TLS != nil && !hasValue
	case "RET", "ENVID":
		return on.DSN && hop.DSN
	case "AUTH":
		return c.canTakeAuthParam()
	}

	return false
}

// mailParam takes one parameter.
func (c *session) mailParam(params *mail.Params, name, value string) *mail.Reply {
	switch name {
	case "SIZE":
		return c.size(params, value)
	case "BODY":
		params.Body = strings.ToUpper(value)
		// BINARYMIME is not offered: its octets could not go on by DATA (RFC 3030 section 3).
		if params.Body != "7BIT" && params.Body != "8BITMIME" {
			return no(replyParameter(name, "want 7BIT or 8BITMIME"))
		}
	case "SMTPUTF8":
		params.UTF8 = true
	case "REQUIRETLS":
		params.RequireTLS = true
	case "RET":
		params.Ret = strings.ToUpper(value)
		if params.Ret != "FULL" && params.Ret != "HDRS" {
			return no(replyParameter(name, "want FULL or HDRS"))
		}
	case "ENVID":
		id, ok := xtext(value)
		if !ok || len(id) > 100 {
			return no(replyParameter(name, "want xtext of up to 100 characters"))
		}
		params.EnvID = id
	case "AUTH":
		// RFC 4954 section 5: what an untrusted client says of the sender is read and not passed on.
		if _, ok := xtext(value); !ok {
			return no(replyParameter(name, "want xtext"))
		}
	}

	return nil
}

// size takes SIZE. RFC 1870 section 4: up to 20 digits.
func (c *session) size(params *mail.Params, value string) *mail.Reply {
	n, err := strconv.ParseUint(value, 10, 64)
	if err != nil && !isDigits(value) {
		return no(replyParameter("SIZE", "want a number of octets"))
	}
	if err != nil || n > uint64(c.maxSize()) {
		return no(replyTooBig(c.maxSize()))
	}
	params.Size = int64(n)

	return nil
}

func (c *session) canTakeAuthParam() bool { return c.opt.Extensions.Auth && c.opt.Login != nil }

func (c *session) rcptParams(to mail.Address, rest string) (r mail.Recipient, bad *mail.Reply) {
	r.Address = to
	on, hop := c.extensions()
	no := func(r mail.Reply) *mail.Reply { return &r }
	bad = parameters(rest, func(name, value string, _ bool) *mail.Reply {
		switch {
		case name == "NOTIFY" && on.DSN && hop.DSN:
			list, ok := notify(value)
			if !ok {
				return no(replyParameter(name, "want NEVER or a list of SUCCESS, FAILURE, DELAY"))
			}
			r.Notify = list
		case name == "ORCPT" && on.DSN && hop.DSN:
			kind, address, ok := strings.Cut(value, ";")
			decoded, valid := xtext(address)
			// RFC 3461 section 4.2: addr-type ";" xtext, 500 characters. It never changes where mail goes.
			if !ok || !valid || len(value) > 500 || !mail.ValidDomain(kind) {
				return no(replyParameter(name, "want type;address in xtext"))
			}
			r.ORcptType, r.ORcptTo = kind, decoded
		default:
			return no(replyUnknownParameter(printable([]byte(name))))
		}
		return nil
	})
	return r, bad
}

// notify reads the value of RFC 3461 section 4.1.
func notify(value string) ([]string, bool) {
	list := strings.Split(strings.ToUpper(value), ",")
	seen := map[string]bool{}
	for _, word := range list {
		switch word {
		case "NEVER":
			return list, len(list) == 1
		case "SUCCESS", "FAILURE", "DELAY":
			if seen[word] {
				return nil, false
			}
			seen[word] = true
		default:
			return nil, false
		}
	}
	return list, true
}

func isDigits(text string) bool {
	for i := range len(text) {
		if text[i] < '0' || text[i] > '9' {
			return false
		}
	}
	return text != ""
}
