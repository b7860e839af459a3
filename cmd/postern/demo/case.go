package demo

import (
	"bytes"
	"embed"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

//go:embed script/*.txt zone.txt
var files embed.FS

// Case is one message of the script: lines "key: value", a blank line, the message.
type Case struct {
	Name, Title string
	Client      string   // the address the message claims to come from
	Helo        string   //
	From        string   // reverse-path
	To          []string // forward-paths, as they are typed
	Sign        string   // domain whose DKIM key signs it
	Login       string   // "user password" at the submission door
	Via         string   // data (default), bdat, early (body with DATA), injection (text behind STARTTLS)
	Repeat      int      // how often it is sent; the last reply counts
	Fill        int      // octets of filler behind the body
	Tamper      bool     // the body is changed after signing
	Smuggle     string   // raw octets put behind the body
	WantCode    int
	WantVerdict string
	WantSymbols []string
	Message     []byte // lines ended by CRLF
}

// Cases reads the script in the order of its file names.
func Cases() ([]Case, error) {
	names, err := fs.Glob(files, "script/*.txt")
	if err != nil {
		return nil, err
	}
	var all []Case
	for _, name := range names {
		text, err := files.ReadFile(name)
		if err != nil {
			return nil, err
		}
		c, err := parseCase(strings.TrimSuffix(name[len("script/"):], ".txt"), text)
		if err != nil {
			return nil, fmt.Errorf("demo script %s: %w", name, err)
		}
		all = append(all, c)
	}
	return all, nil
}

func parseCase(name string, text []byte) (Case, error) {
	head, message, _ := bytes.Cut(text, []byte("\n\n"))
	c := Case{Name: name, Client: "198.51.100.10", Helo: "mail.friend.example", Via: "data", Repeat: 1}
	c.Message = bytes.ReplaceAll(message, []byte("\n"), []byte("\r\n"))
	for line := range strings.SplitSeq(string(head), "\n") {
		if strings.HasPrefix(line, "#") {
			continue
		}
		key, value, ok := strings.Cut(line, ": ")
		if !ok {
			return c, fmt.Errorf("line %q is no \"key: value\"", line)
		}
		if err := c.set(key, value); err != nil {
			return c, fmt.Errorf("%s: %w", key, err)
		}
	}
	return c, nil
}

func (c *Case) set(key, value string) (err error) {
	texts := map[string]*string{
		"title": &c.Title, "client": &c.Client, "helo": &c.Helo, "from": &c.From, "sign": &c.Sign, "login": &c.Login,
		"via": &c.Via, "verdict": &c.WantVerdict,
	}
	numbers := map[string]*int{"repeat": &c.Repeat, "fill": &c.Fill, "want": &c.WantCode}
	if into := texts[key]; into != nil {
		*into = value
		return nil
	}
	if into := numbers[key]; into != nil {
		*into, err = strconv.Atoi(value)
		return err
	}

	switch key {
	case "to":
		c.To = append(c.To, value)
	case "tamper":
		c.Tamper = value == "yes"
	case "smuggle":
		c.Smuggle, err = strconv.Unquote(value)
	case "symbols":
		c.WantSymbols = strings.Fields(value)
	default:
		err = fmt.Errorf("unknown key")
	}

	return err
}
