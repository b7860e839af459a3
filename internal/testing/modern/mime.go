package modern

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"mime/quotedprintable"
	"strings"
)

// part is a MIME part: its fields, each ended, and its octets.
type part struct {
	fields string
	body   []byte
}

// content gives the MIME fields of the message and its body.
func (c *composer) content(text string) (fields string, body []byte, err error) {
	if c.keys["form"] == "raw" {
		return "Content-Type: " + c.fill(c.keys["content-type"]), []byte(crlf(strings.TrimRight(text, "\n") + "\n")), nil
	}
	whole, err := c.alternatives(text)
	if err != nil {
		return "", nil, err
	}
	inline, err := c.files("inline")
	if err != nil {
		return "", nil, err
	}
	if len(inline) > 0 {
		whole = c.multipart("related", append([]part{whole}, inline...))
	}
	attached, err := c.files("attach")
	if err != nil {
		return "", nil, err
	}
	if len(attached) > 0 {
		whole = c.multipart("mixed", append([]part{whole}, attached...))
	}
	return strings.TrimRight(whole.fields, "\r\n"), whole.body, nil
}

// alternatives is the text, the HTML, or both, and an invitation with them.
func (c *composer) alternatives(text string) (part, error) {
	var all []part
	form := c.keys["form"]
	if form != "html" {
		p, err := c.text("plain", c.plain(text))
		if err != nil {
			return p, err
		}
		all = append(all, p)
	}
	if form == "html" || form == "alt" {
		page, err := c.page(text)
		if err != nil {
			return part{}, err
		}
		p, err := c.text("html", page+"\n")
		if err != nil {
			return p, err
		}
		all = append(all, p)
	}
	if c.keys["invite"] != "" {
		ics, err := c.file("pages/" + c.keys["invite"])
		if err != nil {
			return part{}, err
		}
		p, err := c.text("calendar; method="+c.keys["method"], ics)
		if err != nil {
			return p, err
		}
		all = append(all, p)
	}
	if len(all) == 1 {
		return all[0], nil
	}
	return c.multipart("alternative", all), nil
}

func (c *composer) text(kind, text string) (part, error) {
	charset := c.keys["charset"]
	if charset == "" {
		charset = "utf-8"
	}
	octets, err := encoded(charset, text)
	if err != nil {
		return part{}, err
	}
	octets = []byte(crlf(string(octets)))
	name := c.keys["charset-name"]
	if name == "" {
		name = charset
	}
	p := part{fields: "Content-Type: text/" + kind + "; charset=" + c.quoted(name) + "\r\n"}
	cte := c.keys["cte"]
	if cte == "least" {
		cte = least(octets)
	}
	switch cte {
	case "qp":
		var b bytes.Buffer
		w := quotedprintable.NewWriter(&b)
		_, _ = w.Write(octets)
		_ = w.Close()
		p.fields += "Content-Transfer-Encoding: quoted-printable\r\n"
		p.body = b.Bytes()
	case "b64":
		p.fields += "Content-Transfer-Encoding: base64\r\n"
		p.body = base64Lines(octets)
	case "none": // says nothing, and old systems have octets all the same
		p.body = octets
	default:
		if cte == "" || cte == "7bit" && !ascii(string(octets)) {
			cte = "8bit"
		}
		p.fields += "Content-Transfer-Encoding: " + cte + "\r\n"
		p.body = octets
	}
	return p, nil
}

// least is the encoding that changes least, as the large providers choose it.
func least(octets []byte) string {
	if !ascii(string(octets)) {
		return "b64"
	}
	for line := range bytes.Lines(octets) {
		if len(line) > 78 {
			return "qp"
		}
	}
	return "none"
}

func (c *composer) quoted(value string) string {
	if c.keys["params"] == "bare" {
		return value
	}
	return `"` + value + `"`
}

func (c *composer) multipart(kind string, parts []part) part {
	form := c.keys["boundary"]
	if form == "" {
		form = "--_{hex 24}"
	}
	delimiter := c.fill(form)
	if kind == "mixed" || kind == "related" { // nested ones differ even if the form has nothing random
		delimiter += kind[:1]
	}
	var out bytes.Buffer
	if c.keys["preamble"] != "" {
		out.WriteString(c.keys["preamble"] + "\r\n\r\n")
	}
	for _, p := range parts {
		fmt.Fprintf(&out, "--%s\r\n%s\r\n%s", delimiter, p.fields, p.body)
		if !bytes.HasSuffix(p.body, []byte("\r\n")) {
			out.WriteString("\r\n")
		}
		out.WriteString("\r\n")
	}
	fmt.Fprintf(&out, "--%s--\r\n", delimiter)
	extra := ""
	if kind == "related" {
		inner, _, _ := strings.Cut(strings.TrimPrefix(parts[0].fields, "Content-Type: "), ";")
		extra = ` type="` + inner + `";`
	}
	return part{fields: "Content-Type: multipart/" + kind + ";" + extra + "\r\n boundary=\"" + delimiter + "\"\r\n", body: out.Bytes()}
}

func base64Lines(octets []byte) []byte {
	text := base64.StdEncoding.EncodeToString(octets)
	var b bytes.Buffer
	for at := 0; at < len(text); at += 76 {
		b.WriteString(text[at:min(at+76, len(text))] + "\r\n")
	}
	return b.Bytes()
}

func crlf(text string) string {
	return strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\n", "\r\n")
}
