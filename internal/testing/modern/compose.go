package modern

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/mail"
	"strings"

	"golang.org/x/net/publicsuffix"
)

// composer makes one message.
type composer struct {
	*builder
	set    Set
	shape  string
	number int
	keys   keys
	fixed  map[string]string
	random *rand.Rand
}

// slug is a shape in the name of a file.
func slug(shape string) string {
	return strings.Join(strings.FieldsFunc(strings.ToLower(shape), func(r rune) bool { return r < '0' || r > 'z' || r > '9' && r < 'a' }), "-")
}

func unknown(what, name string) error { return fmt.Errorf("no %s %q", what, name) }

func (c *composer) message(row keys, language, body string, nth int) (Message, error) {
	m := Message{Name: fmt.Sprintf("%s-%s-%d", slug(c.shape), language, nth), Set: c.set, Shape: c.shape, Language: language}
	name := strings.ReplaceAll(row["mailer"], "{m}", row["m"])
	mailer, ok := c.mailers[name]
	if !ok {
		return m, unknown("mailer", name)
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(m.Name))
	c.random = rand.New(rand.NewPCG(h.Sum64(), 1))
	defaults := c.languages[language].keys.over(keys{"lang": language, "colour": "#1a73e8", "company": "{from.name}", "postal": "{from.domain}", "pre": "{subject}", "description": "", "location": "", "brand": "{from.name}", "logo": "https://i.imgur.com/{alnum 7}.png"})
	c.keys, c.fixed = row.over(mailer.keys.over(defaults)), map[string]string{}
	if err := c.people(); err != nil {
		return m, err
	}
	text := c.fill(body)
	if c.keys["trail"] != "" {
		text = strings.TrimRight(text, "\n") + "\n\n" + c.fill(strings.ReplaceAll(c.keys["trail"], `\n`, "\n"))
	}
	mime, content, err := c.content(text)
	if err != nil {
		return m, err
	}
	m.Envelope = Envelope{Client: client(c.number), Helo: c.fill(c.keys["helo"]), To: c.keys["to.addr"], From: strings.Trim(c.fill(c.keys["envelope"]), "<>")}
	m.Octets = append(append(c.header(mailer.text, mime), '\r', '\n'), content...)
	if err := c.sign(&m); err != nil {
		return m, err
	}
	m.dns = c.names(m.Envelope)
	m.Auth = c.auth(m)
	return m, nil
}

// people takes addresses apart, so that templates can use their pieces.
func (c *composer) people() error {
	for name, fallback := range map[string]string{"from": "", "to": "Ben Carter <ben@ours.test>", "reply-to": ""} {
		if c.keys[name] == "" {
			c.keys[name] = fallback
		}
	}
	for _, name := range []string{"rt", "dom", "link", "post", "charset", "wordset", "btc"} { // what is made up is the same wherever it stands
		c.keys[name] = c.fill(c.keys[name])
	}
	for _, name := range []string{"to", "from", "reply-to"} { // the sender's may be made of the recipient's
		text := c.fill(c.keys[name])
		if text == "" {
			continue
		}
		display, address := "", text
		if at := strings.LastIndexByte(text, '<'); at >= 0 {
			display, address = strings.TrimSpace(text[:at]), strings.Trim(text[at:], "<> ")
		}
		display = strings.Trim(display, `"`)
		local, domain, _ := strings.Cut(address, "@")
		c.keys[name+".name"], c.keys[name+".addr"], c.keys[name+".local"], c.keys[name+".domain"] = display, address, local, domain
		c.keys[name+".flat"] = local + "=" + domain
	}
	if c.keys["envelope"] == "" {
		c.keys["envelope"] = "{from.addr}"
	}
	if c.keys["helo"] == "" {
		c.keys["helo"] = "mail.{from.domain}"
	}
	for name, value := range map[string]string{"from.name-ascii": c.keys["from.name"], "reply-addr": pick(c.keys["reply-to.addr"], c.keys["from.addr"])} {
		if !ascii(value) {
			value = c.keys["from.local"]
		}
		c.keys[name] = value
	}
	for _, name := range []string{"bounce", "helo", "envelope"} {
		c.keys[name] = c.fill(c.keys[name])
	}
	if c.keys["helo"] == "" { // its domain was not given
		c.keys["helo"] = "mail." + c.keys["from.domain"]
	}
	c.keys["sign"] = strings.ToLower(c.fill(pick(c.keys["sign"], "{from.domain}/s1")))
	if c.keys["from.addr"] == "" {
		return fmt.Errorf("no from")
	}
	return nil
}

// header is the mailer's fields with the values in them. A line that turns out empty isn't there.
func (c *composer) header(text, mime string) []byte {
	c.keys["f.mime"] = mime
	c.keys["f.from"] = c.address("from")
	c.keys["f.to"] = c.address("to")
	c.keys["f.subject"] = c.words(c.fill(c.keys["subject"]), 9)
	c.keys["f.reply"], c.keys["f.fields"] = "", c.keys["field"]
	if c.keys["reply-to"] != "" {
		c.keys["f.reply"] = "Reply-To: " + c.address("reply-to")
	}
	var out bytes.Buffer
	for line := range strings.SplitSeq(text, "\n") {
		filled := c.fill(line)
		if strings.TrimSpace(filled) == "" {
			continue
		}
		out.WriteString(strings.ReplaceAll(strings.ReplaceAll(filled, "\r\n", "\n"), "\n", "\r\n") + "\r\n")
	}
	return out.Bytes()
}

func (c *composer) address(name string) string {
	display, address := c.keys[name+".name"], c.keys[name+".addr"]
	switch {
	case display == "":
		return address
	case !ascii(display):
		return c.words(display, len(name)+2) + " <" + address + ">"
	case c.keys["quote"] == "never", c.keys["quote"] != "always" && !strings.ContainsAny(display, `,.@()<>:;[]"`):
		return display + " <" + address + ">"
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(display) + `" <` + address + ">"
}

// auth is what the message's signatures and the DNS data come to.
func (c *composer) auth(m Message) Auth {
	a := Auth{SPF: Result(c.keys["spf"]), DKIM: None, DMARC: None}
	if a.SPF == "" {
		a.SPF = Pass
	}
	aligned := a.SPF == Pass && m.Envelope.From != "" && organisation(domainOf(m.Envelope.From)) == organisation(m.dns.author)
	for _, d := range m.dns.signed {
		a.DKIM = Pass
		domain, _, _ := strings.Cut(d, "/")
		if c.keys["break"] != "yes" && organisation(domain) == organisation(m.dns.author) {
			aligned = true
		}
	}
	if a.DKIM == Pass && c.keys["break"] == "yes" {
		a.DKIM = Fail
	}
	switch {
	case m.dns.policy == "absent":
	case aligned:
		a.DMARC = Pass
	default:
		a.DMARC = Fail
	}
	return a
}

func organisation(domain string) string {
	org, err := publicsuffix.EffectiveTLDPlusOne(domain)
	if err != nil {
		return domain
	}
	return org
}

// parsed is a check of our own templates: what they mean to be read, is read.
func parsed(octets []byte) error {
	_, err := mail.ReadMessage(bytes.NewReader(octets))
	return err
}
