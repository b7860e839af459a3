package relay

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"postern/internal/mail"
	"postern/proxy"
)

// path writes an address for this hop; ok is false if the hop does not support it.
func (c *conn) path(e proxy.Envelope, a mail.Address) (text string, ok bool) {
	if c.offer.smtputf8 && e.Params.UTF8 || !a.NeedsUTF8() {
		return a.WithNormalDomain().Path(), true
	}
	// RFC 6531 section 3.2: an ASCII local part may go on with its domain in A-labels.
	ascii := a.WithASCIIDomain()
	return ascii.Path(), !ascii.NeedsUTF8() && ascii.Domain != ""
}

// lacks makes a refusal for want of an extension temporary where the client was offered it: a hop that has it will be
// back. For a route that our offers don't depend on, such as a smart host, the refusal is permanent.
func (c *conn) lacks(r mail.Reply) mail.Reply {
	if !c.hop.inbound {
		return r
	}
	return mail.NewReply(451, "4"+r.Enhanced[1:], "The mail server behind us that takes this is away just now. Please try again later")
}

// narrows says whether 8-bit text has to be written in 7 bits for this hop.
func (c *conn) narrows(e proxy.Envelope) bool {
	return e.Params.Body == "8BITMIME" && !c.offer.eightBit
}

// mailLine writes MAIL with the parameters that the hop supports. A reply with a code means that this transaction is
// impossible at the hop.
func (c *conn) mailLine(e proxy.Envelope, size int64) (string, mail.Reply) {
	p := e.Params
	from, ok := c.path(e, e.From)
	switch {
	case !ok && !p.UTF8:
		return "", replyNoUTF8()
	case !ok, p.UTF8 && !c.offer.smtputf8:
		return "", c.lacks(replyNoUTF8())
	case p.RequireTLS && !(c.verified() && c.offer.requireTLS):
		return "", c.lacks(replyNoRequireTLS())
	case p.Body == "BINARYMIME":
		return "", replyBinary()
	}

	return "MAIL FROM:" + from + c.mailParams(e, size), mail.Reply{}
}

// mailParams are the parameters of MAIL that the hop knows.
func (c *conn) mailParams(e proxy.Envelope, size int64) (text string) {
	p := e.Params
	// RFC 1870 section 5.
	if c.offer.hasSize && size > 0 && !c.narrows(e) { // re-encoded content has another size
		text += " SIZE=" + strconv.FormatInt(size, 10)
	}
	// RFC 6152 section 2.
	if c.offer.eightBit && p.Body == "8BITMIME" {
		text += " BODY=8BITMIME"
	}
	// RFC 6531 section 3.4.
	if p.UTF8 {
		text += " SMTPUTF8"
	}
	if p.RequireTLS {
		text += " REQUIRETLS"
	}
	if c.offer.dsn {
		text += dsnParams(p)
	}

	return text
}

// dsnParams are those of RFC 3461 sections 4.3 and 4.4.
func dsnParams(p mail.Params) (text string) {
	if p.Ret == "FULL" || p.Ret == "HDRS" {
		text += " RET=" + p.Ret
	}
	if p.EnvID != "" && len(p.EnvID) <= 100 {
		text += " ENVID=" + xtext(p.EnvID)
	}

	return text
}

// rcptLine writes RCPT. A reply with a code means that the hop can't be asked for this recipient.
func (c *conn) rcptLine(e proxy.Envelope, r mail.Recipient) (string, mail.Reply) {
	to, ok := c.path(e, r.Address)
	switch {
	case !ok && !e.Params.UTF8:
		return "", replyNoUTF8()
	case !ok:
		return "", c.lacks(replyNoUTF8())
	}
	line := "RCPT TO:" + to
	if !c.offer.dsn {
		return line, mail.Reply{}
	}
	// RFC 3461 sections 4.1 and 4.2.
	var notify []string
	for _, word := range r.Notify {
		if slices.Contains([]string{"NEVER", "SUCCESS", "FAILURE", "DELAY"}, word) {
			notify = append(notify, word)
		}
	}
	if len(notify) > 0 {
		line += " NOTIFY=" + strings.Join(notify, ",")
	}
	if kind := strings.ToLower(r.ORcptType); isWord(kind) && r.ORcptTo != "" && len(r.ORcptTo) <= 500 {
		line += " ORCPT=" + kind + ";"
		if kind == "utf-8" {
			line += utf8xtext(r.ORcptTo)
		} else {
			line += xtext(r.ORcptTo)
		}
	}
	return line, mail.Reply{}
}

// xtext is the encoding of RFC 3461 section 4.
func xtext(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c > ' ' && c < 0x7f && c != '+' && c != '=' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "+%02X", c)
		}
	}
	return b.String()
}

// utf8xtext is utf-8-addr-xtext of RFC 6533 section 3, which is ASCII and goes through any server.
func utf8xtext(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r > ' ' && r < 0x7f && r != '+' && r != '=' && r != '\\' {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, `\x{%X}`, r)
		}
	}
	return b.String()
}

func isWord(s string) bool {
	for i := range len(s) {
		if c := s[i]; !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-') {
			return false
		}
	}
	return s != "" && len(s) <= 20
}

// tellClient sends the true client's data: by XCLIENT, where the hop then treats us as that client, and by XFORWARD,
// where it only writes it into its log. Both are of Postfix, see XCLIENT_README and XFORWARD_README.
func (c *conn) tellClient(ctx context.Context, e proxy.Envelope) error {
	if c.hop.XClient && len(c.offer.xclient) > 0 && e.Client.Addr.IsValid() {
		line := "XCLIENT" + attributes(c.offer.xclient, e, "LOGIN")
		if line != c.told {
			if err := c.xclient(ctx, line); err != nil {
				return err
			}
		}
	}
	if !c.hop.XForward || len(c.offer.xforward) == 0 || !e.Client.Addr.IsValid() {
		return nil
	}
	if err := c.reset(ctx); err != nil {
		return err
	}
	for _, line := range splitAttributes("XFORWARD", attributes(c.offer.xforward, e, "IDENT", "SOURCE")) {
		reply, err := c.command(ctx, c.times.Command, line)
		if err != nil {
			return err
		}
		if !reply.Positive() {
			c.hop.log.Warn("next hop refused XFORWARD", "hop", c.hop.Address, "reply", reply.String())
			break
		}
	}
	return nil
}

// xclient makes the hop treat us as the client. If it refuses, the mail is deferred: the hop might accept from our own
// address what it would refuse from the client's.
func (c *conn) xclient(ctx context.Context, line string) error {
	if err := c.reset(ctx); err != nil {
		return err
	}
	reply, err := c.command(ctx, c.times.Command, line)
	if err != nil {
		return err
	}
	if reply.Code != 220 || c.broken {
		return &refusal{"XCLIENT", reply}
	}
	if err := c.ehlo(ctx); err != nil {
		return err
	}
	c.told = line
	return nil
}

// reset ends an open transaction, since neither command may stand inside one.
func (c *conn) reset(ctx context.Context) error {
	if !c.dirty {
		return nil
	}
	reply, err := c.command(ctx, c.times.Command, "RSET")
	if err != nil {
		return err
	}
	if reply.Code != 250 {
		return &refusal{"RSET", reply}
	}
	c.dirty = false
	return nil
}

// attributes writes those attributes that the hop knows. more names the ones that only one of the commands has.
func attributes(offered []string, e proxy.Envelope, more ...string) string {
	var b strings.Builder
	put := func(name, value, none string) {
		if !slices.Contains(offered, name) {
			return
		}
		if value == "" {
			value = none
		}
		fmt.Fprintf(&b, " %s=%s", name, xtext(value))
	}
	const unavailable = "[UNAVAILABLE]"
	port := ""
	if e.Client.Port != 0 {
		port = strconv.Itoa(int(e.Client.Port))
	}
	put("NAME", e.Client.Name, unavailable)
	put("ADDR", clientAddr(e.Client.Addr), unavailable)
	put("PORT", port, unavailable)
	// The hop knows SMTP and ESMTP; the rest of RFC 3848 is for trace fields.
	proto := "ESMTP"
	if e.Client.Proto == "SMTP" {
		proto = "SMTP"
	}
	put("PROTO", proto, unavailable)
	put("HELO", e.Client.Helo, unavailable)
	for _, name := range more {
		switch name {
		case "LOGIN":
			put(name, e.Client.User, unavailable)
		case "IDENT":
			put(name, e.ID, unavailable)
		case "SOURCE":
			put(name, "REMOTE", unavailable)
		}
	}
	return b.String()
}

func clientAddr(a netip.Addr) string {
	a = a.Unmap().WithZone("")
	if a.Is6() {
		return "IPV6:" + a.String()
	}
	return a.String()
}

// splitAttributes keeps each line within 512 octets: RFC 5321 section 4.5.3.1.4.
func splitAttributes(verb, all string) []string {
	var lines []string
	line := verb
	for _, word := range strings.Fields(all) {
		if len(line)+1+len(word) > 510 && line != verb {
			lines = append(lines, line)
			line = verb
		}
		line += " " + word
	}
	if line != verb {
		lines = append(lines, line)
	}
	return lines
}
