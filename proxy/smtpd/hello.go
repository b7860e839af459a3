package smtpd

import (
	"encoding/hex"
	"net/netip"
	"strconv"
	"strings"

	"postern/internal/mail"
)

func (c *session) helo(args string) { c.hello(args, false) }
func (c *session) ehlo(args string) { c.hello(args, true) }

// hello is RFC 5321 section 4.1.1.1. EHLO ends a group of pipelined commands (RFC 2920 section 3.1).
func (c *session) hello(args string, esmtp bool) {
	name := strings.TrimSpace(args)
	if !validHelo(name) {
		c.fail(replySyntax("EHLO your.host.name"))
		return
	}
	if !c.onlyAfterReply(c.early()) {
		return
	}
	c.reset("EHLO")
	c.offered = nil // it asks anew
	c.Mail.Helo, c.Mail.ESMTP = name, esmtp
	if r := c.connection.Helo(c.Ctx); !r.Positive() {
		c.Mail.Helo = ""
		c.fail(r)
		return
	}
	if !esmtp {
		c.reply(reply(250, "", c.opt.Hostname))
		return
	}
	// RFC 2034 section 4: no enhanced code in replies to the greeting, HELO and EHLO.
	c.reply(reply(250, "", strings.Join(append([]string{c.opt.Hostname}, c.offers()...), "\n")))
}

// validHelo wants printable ASCII without spaces; whether the name is a good one is for the filters.
func validHelo(name string) bool {
	if name == "" || len(name) > mail.MaxDomain {
		return false
	}
	for i := range len(name) {
		if name[i] <= ' ' || name[i] >= 0x7f {
			return false
		}
	}
	return true
}

// offers lists the keywords of the EHLO reply.
func (c *session) offers() []string {
	on, hop := c.extensions()
	list := make([]string, 0, 12)
	add := func(want bool, keyword string) {
		if want {
			list = append(list, keyword)
		}
	}
	add(on.Pipelining, "PIPELINING")
	add(on.Size, "SIZE "+strconv.FormatInt(c.maxSize(), 10))
	add(c.canStartTLS(), "STARTTLS")
	add(c.canAuth(), "AUTH PLAIN LOGIN")
	add(on.EnhancedStatusCodes, "ENHANCEDSTATUSCODES")
	add(on.EightBitMIME && hop.EightBitMIME, "8BITMIME")
	add(on.SMTPUTF8 && hop.SMTPUTF8, "SMTPUTF8")
	add(on.DSN && hop.DSN, "DSN")
	add(on.RequireTLS && hop.RequireTLS && c.Mail.TLS != nil, "REQUIRETLS")
	add(on.Chunking, "CHUNKING")
	// RFC 9422.
	add(on.Limits, "LIMITS RCPTMAX="+strconv.Itoa(c.opt.MaxRecipients))
	add(c.mayXClient(), "XCLIENT NAME ADDR PORT PROTO HELO LOGIN")
	return list
}

// maxSize is the limit in octets: ours or that of the hops, whichever is smaller.
func (c *session) maxSize() int64 {
	_, hop := c.extensions()
	if hop.MaxSize > 0 {
		return min(c.opt.MaxSize, hop.MaxSize)
	}
	return c.opt.MaxSize
}

func (c *session) canStartTLS() bool {
	return c.opt.Extensions.StartTLS && c.opt.TLS != nil && c.Mail.TLS == nil
}

func (c *session) canAuth() bool {
	return c.opt.Extensions.Auth && c.opt.Login != nil && c.Mail.User == "" && (c.Mail.TLS != nil || c.opt.AuthInClear)
}

// startTLS is RFC 3207. What stands in clear behind the command is never answered, and a handshake that fails ends the
// connection.
func (c *session) startTLS(args string) {
	switch {
	case args != "":
		c.fail(replySyntax("STARTTLS"))
		return
	case !c.canStartTLS():
		c.fail(reply(503, "5.5.1", "STARTTLS is not offered here"))
		return
	case c.transaction != nil:
		c.fail(reply(503, "5.5.1", "STARTTLS within a transaction"))
		return
	}
	if c.bareLine {
		c.refuseAndEnd(replyBareLine(), "STARTTLS ended by a bare LF")
		return
	}
	if c.In.Buffered() > 0 {
		// RFC 3207 section 4.2: knowledge from before the handshake is void, and such input is an attack.
		c.connection.Observe(mail.Finding{Symbol: "STARTTLS_INJECTION", Evidence: c.early()})
		c.refuseAndEnd(replyEarlyInput(), "input pipelined behind STARTTLS")
		return
	}
	c.reply(reply(220, "2.0.0", "Ready to start TLS"))
	if !c.flush() || !c.handshake() {
		return
	}
	c.Mail.Helo, c.Mail.ESMTP, c.Mail.User = "", false, ""
}

// mayXClient says whether the client may speak for others: by the address that it had before it said so, which behind a
// PROXY protocol is not the proxy's. All clients come through the proxy.
func (c *session) mayXClient() bool { return contains(c.opt.XClient, c.caller) }

// xclient is Postfix's XCLIENT: a trusted proxy says who the client is. The session then starts anew: what is not said
// of this client is not known, whatever was said of the one before.
func (c *session) xclient(args string) {
	if !c.mayXClient() {
		c.fail(reply(550, "5.7.0", "XCLIENT is not for you"))
		return
	}
	if c.transaction != nil {
		c.fail(replyNested())
		return
	}
	before, port := *c.Mail, c.clientPort
	c.Mail.Helo, c.Mail.ESMTP, c.Mail.User, c.Mail.ClientName, c.clientPort = "", false, "", "", 0
	for attribute := range strings.FieldsSeq(args) {
		name, value, ok := strings.Cut(attribute, "=")
		value, valid := xtext(value)
		if !ok || !valid || !c.xclientAttribute(strings.ToUpper(name), value) {
			*c.Mail, c.clientPort = before, port
			c.fail(replySyntax("XCLIENT NAME=... ADDR=... PORT=... PROTO=... HELO=... LOGIN=..."))
			return
		}
	}
	// a proxy that does not name its client gets no trust for it
	c.Mail.Trusted = strings.Contains(strings.ToUpper(args), "ADDR=") && contains(c.opt.Trusted, c.Mail.Client)
	c.Mail.Findings = nil
	c.reply(c.connection.Connect(c.Ctx))
}

func (c *session) xclientAttribute(name, value string) bool {
	absent := value == "[UNAVAILABLE]" || value == "[TEMPUNAVAIL]"
	if absent {
		value = ""
	}
	switch name {
	case "ADDR":
		addr, err := netip.ParseAddr(strings.TrimPrefix(strings.ToLower(value), "ipv6:"))
		if err != nil && !absent {
			return false
		}
		c.Mail.Client = addr.Unmap() // the zero Addr if the proxy does not know
	case "NAME":
		c.Mail.ClientName = value
	case "HELO":
		if value != "" && !validHelo(value) {
			return false
		}
		c.Mail.Helo = value
	case "LOGIN":
		c.Mail.User = value
	case "PORT":
		port, err := strconv.ParseUint(value, 10, 16)
		if err != nil {
			return absent
		}
		c.clientPort = uint16(port)
	case "PROTO":
		c.Mail.ESMTP = value != "SMTP"
	case "DESTADDR", "DESTPORT":
	default:
		return false
	}
	return true
}

// xtext undoes the encoding of RFC 3461 section 4: "+" and two upper-case hexadecimal digits stand for an octet.
func xtext(text string) (string, bool) {
	if strings.IndexByte(text, '+') < 0 {
		return text, printableASCII(text)
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '+' {
			b.WriteByte(text[i])
			continue
		}
		if i+2 >= len(text) {
			return "", false
		}
		octet, err := hex.DecodeString(text[i+1 : i+3])
		if err != nil {
			return "", false
		}
		b.Write(octet)
		i += 2
	}
	return b.String(), printableASCII(b.String())
}

func printableASCII(text string) bool {
	for i := range len(text) {
		if text[i] < ' ' || text[i] >= 0x7f {
			return false
		}
	}
	return true
}
