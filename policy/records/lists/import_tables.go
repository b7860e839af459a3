package lists

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"postern/policy"
)

// whoObject is an object of Proxmox Mail Gateway's "who" groups, or an entry of a user's list.
type whoObject struct {
	Type    string `json:"otype_text"`
	Comment string `json:"descr"`
	Email   string `json:"email"`
	Domain  string `json:"domain"`
	IP      string `json:"ip"`
	CIDR    string `json:"cidr"`
	Regex   string `json:"regex"`
	Address string `json:"address"`
	Profile string `json:"profile"`
	Mode    string `json:"mode"`
	Account string `json:"account"`
}

// pmg reads JSON, or one entry a line.
func (i *importer) pmg(raw []byte) error {
	if b := bytes.TrimSpace(raw); len(b) == 0 || b[0] != '[' && b[0] != '{' {
		return i.eachLine(raw, func(text string) {
			if text[0] != '#' {
				i.one(text, text, Entry{}, "")
			}
		})
	}
	in := json.NewDecoder(bytes.NewReader(raw))
	if err := i.toArray(in); err != nil {
		return err
	}
	i.line = 1
	for counted := int64(0); in.More(); {
		if i.full() {
			return errTooMuch()
		}
		var one json.RawMessage
		if err := in.Decode(&one); err != nil {
			return fmt.Errorf("line %d: not JSON: %w", i.line, err)
		}
		i.line += bytes.Count(raw[counted:in.InputOffset()], []byte("\n")) // that in which the object ends
		counted = in.InputOffset()
		var o whoObject
		if err := json.Unmarshal(one, &o); err != nil {
			i.refuse(string(one), "not an object of a who group")
			continue
		}
		i.who(string(one), o)
	}
	return nil
}

// toArray goes to the array, which the API wraps in {"data": ...}.
func (i *importer) toArray(in *json.Decoder) error {
	for depth := 0; depth < 3; depth++ {
		token, err := in.Token()
		if err != nil {
			return fmt.Errorf("not JSON: %w", err)
		}
		if token == json.Delim('[') {
			return nil
		}
		if token != json.Delim('{') && token != "data" {
			break
		}
	}
	return errors.New("no list in this JSON: it must be an array of objects, or {\"data\": [...]}")
}

func (i *importer) who(text string, o whoObject) {
	base := Entry{Reason: o.Comment}
	switch {
	case o.Email != "":
		i.one(o.Email, o.Email, base, "")
	case o.Domain != "":
		i.one(o.Domain, o.Domain, base, "")
	case o.IP != "":
		i.one(o.IP, o.IP, base, "")
	case o.CIDR != "":
		i.one(o.CIDR, o.CIDR, base, "")
	case o.Address != "":
		i.one(o.Address, o.Address, base, "")
	case o.Regex != "":
		i.refuse(o.Regex, "a regular expression: write the addresses or domains that it means")
	case o.Profile != "" || o.Mode != "" || o.Account != "":
		i.refuse(text, "asks a directory, which an entry can't")
	default:
		i.refuse(text, "names neither an address, a domain nor a network")
	}
}

// skipPreamble takes off the lines above the header row, and counts them: empty ones, and the type that PowerShell writes.
func skipPreamble(raw []byte) (rest []byte, skipped int) {
	for bytes.HasPrefix(raw, []byte("#TYPE")) || bytes.HasPrefix(raw, []byte("\r\n")) || bytes.HasPrefix(raw, []byte("\n")) {
		_, after, found := bytes.Cut(raw, []byte("\n"))
		if !found {
			break
		}
		raw = after
		skipped++
	}
	return raw, skipped
}

// separatorOf is what stands between the columns of the header row.
func separatorOf(raw []byte) rune {
	first, _, _ := bytes.Cut(raw, []byte("\n"))
	for _, comma := range []rune{',', ';', '\t'} {
		if bytes.ContainsRune(first, comma) {
			return comma
		}
	}
	return ','
}

// exchange reads CSV with a header row, whose columns say what it is.
func (i *importer) exchange(raw []byte) error {
	raw, skipped := skipPreamble(raw)
	in := csv.NewReader(bytes.NewReader(raw))
	in.Comma = separatorOf(raw)
	in.FieldsPerRecord = -1
	header, err := in.Read()
	if err != nil {
		return fmt.Errorf("no header row: %w", err)
	}
	column := map[string]int{}
	for n, name := range header {
		column[strings.ToLower(strings.TrimSpace(name))] = n
	}
	row := i.rowReader(column)
	if row == nil {
		return errors.New("not a table that we know: it needs the columns Value, Action and ListType, or SpoofedUser, SendingInfrastructure and Action, or TrustedSendersAndDomains and BlockedSendersAndDomains")
	}
	for {
		fields, err := in.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		var broken *csv.ParseError
		if errors.As(err, &broken) {
			i.line = broken.Line + skipped
			i.refuse("", "not CSV: "+broken.Err.Error())
		} else if err != nil {
			return err
		} else {
			i.line, _ = in.FieldPos(0)
			i.line += skipped
			i.row(fields, column, row)
		}
		if i.full() {
			return errTooMuch()
		}
	}
}

func (i *importer) row(fields []string, column map[string]int, read func(func(string) string)) {
	if len(fields) == 1 && strings.TrimSpace(fields[0]) == "" {
		return
	}
	for _, f := range fields {
		if len(f) > maxLine*8 || strings.ToValidUTF8(f, "") != f || strings.ContainsRune(f, 0) {
			i.refuse(fields[0], "a field is too long, or no text in UTF-8")
			return
		}
	}
	read(func(name string) string {
		if n, ok := column[name]; ok && n < len(fields) {
			return strings.TrimSpace(fields[n])
		}
		return ""
	})
}

// rowReader gives what reads a row, nil for a table that we don't know.
func (i *importer) rowReader(column map[string]int) func(func(string) string) {
	has := func(names ...string) bool {
		for _, n := range names {
			if _, ok := column[n]; !ok {
				return false
			}
		}
		return true
	}
	switch {
	case has("value", "action", "listtype"):
		return i.tenantItem
	case has("spoofeduser", "sendinginfrastructure", "action"):
		return i.spoofItem
	case has("trustedsendersanddomains"), has("blockedsendersanddomains"):
		return i.junkSettings
	}
	return nil
}

func action(text string) (policy.ListName, bool) {
	switch strings.ToLower(text) {
	case "allow":
		return policy.Allow, true
	case "block":
		return policy.Block, true
	}
	return "", false
}

func (i *importer) tenantItem(field func(string) string) {
	value := field("value")
	list, ok := action(field("action"))
	kind := strings.ToLower(field("listtype"))
	switch {
	case !ok:
		i.refuse(value, "the action is neither Allow nor Block")
		return
	case kind != "sender" && kind != "ip":
		i.refuse(value, "a list of "+field("listtype")+", which has no place here: write a rule")
		return
	}
	base := Entry{List: list, Reason: field("notes")}
	if end := field("expirationdate"); end != "" {
		if base.Expires, ok = date(end); !ok {
			i.refuse(value, "its end can't be read, and without one it would hold for ever")
			return
		}
	}
	i.one(value, value, base, "")
}

// spoofItem reads a pair of a sender and the infrastructure that may, or must not, send in its name.
func (i *importer) spoofItem(field func(string) string) {
	user, from := field("spoofeduser"), field("sendinginfrastructure")
	text := user + " from " + from
	list, ok := action(field("action"))
	n, isNetwork := network(from)
	switch {
	case !ok:
		i.refuse(text, "the action is neither Allow nor Block")
	case !isNetwork:
		i.refuse(text, "the infrastructure is no network: SPF or DKIM proves such a sender, or nothing does")
	default:
		i.one(text, user, Entry{List: list, Network: n}, "")
	}
}

// junkSettings reads one user's safe and blocked senders.
func (i *importer) junkSettings(field func(string) string) {
	user := ""
	for _, name := range []string{"primarysmtpaddress", "userprincipalname", "windowsemailaddress", "mailboxownerid", "identity"} {
		if p, err := pattern(field(name)); err == nil && strings.Contains(p, "@") {
			user = p
			break
		}
	}
	if user == "" {
		i.refuse(field("identity"), "no address of the user: add the column PrimarySmtpAddress")
		return
	}
	for _, one := range []struct {
		column string
		list   policy.ListName
	}{{"trustedsendersanddomains", policy.Allow}, {"blockedsendersanddomains", policy.Block}} {
		value := field(one.column)
		if strings.HasPrefix(value, "System.") || strings.HasPrefix(value, "Microsoft.") {
			i.refuse(user, "the list was not written out: export it with -join ';'")
			continue
		}
		for each := range strings.FieldsFuncSeq(value, func(r rune) bool { return strings.ContainsRune(",; \t\r\n{}", r) }) {
			i.one(each, each, Entry{List: one.list, Scope: User, ScopeOf: user}, "")
		}
	}
}
