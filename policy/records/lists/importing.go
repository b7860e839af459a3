package lists

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/net/publicsuffix"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"

	"postern/filters"
	"postern/internal/mail"
	"postern/policy"
)

// Format is the form of lists that another program wrote.
type Format string

// The formats.
const (
	// PMG is Proxmox Mail Gateway: the JSON of "pmgsh get /config/ruledb/who/ID/objects" or of a user's quarantine list, or
	// one entry a line.
	PMG Format = "pmg"
	// SpamAssassin are lines of local.cf, of user_prefs, or of its preferences in SQL: "user name value".
	SpamAssassin Format = "spamassassin"
	// Rspamd are maps of addresses, domains or networks.
	Rspamd Format = "rspamd"
	// ASSP are its whitelist, its files of domains and addresses, or the lines of assp.cfg that name such.
	ASSP Format = "assp"
	// Exchange is the CSV of Get-TenantAllowBlockListItems, Get-TenantAllowBlockListSpoofItems or of users' safe and
	// blocked senders (Get-MailboxJunkEmailConfiguration).
	Exchange Format = "exchange"
)

// ImportOptions say how a list is read.
type ImportOptions struct {
	// List is which list is meant where the text doesn't say: Allow if it is "".
	List policy.ListName
	// Scope and ScopeOf are the entries' scope where the text doesn't say: Admin if it is "".
	Scope   Scope
	ScopeOf string
	Owner   string
	// Reason is put to entries that bring none.
	Reason string
	// Widen takes entries that can't be said as narrowly here as there; else they are refused. It is told line by line.
	Widen bool
}

// Outcome is the result for one item of an imported text.
type Outcome string

// The outcomes.
const (
	Taken   Outcome = "taken"
	Widened Outcome = "widened" // it holds for more than before: only with ImportOptions.Widen
	Refused Outcome = "refused"
)

// Line is the report on one item of the text. All is printable.
type Line struct {
	Number  int     `json:"line"`
	Text    string  `json:"text"`
	Outcome Outcome `json:"outcome"`
	// Why is why it was refused, in what it holds for more than before, or in what for less.
	Why string `json:"why,omitempty"`
}

// Report is what was read. Nothing is kept yet: that is what Store.AddAll is for.
type Report struct {
	Entries []Entry `json:"entries"`
	Lines   []Line  `json:"lines"`
	// Taken, Widened and Refused count the lines.
	Taken   int `json:"taken"`
	Widened int `json:"widened"`
	Refused int `json:"refused"`
}

// Bounds of what is imported at once: octets, things in it, octets of a line.
const (
	MaxImport  = 16 << 20
	maxThings  = 100_000
	maxLine    = 16 << 10
	shownLine  = 120
	maxRefused = 20_000 // reading has ended
)

// Import reads a list. The error says that the whole can't be read; what is wrong with a line stands in the report.
func Import(format Format, r io.Reader, o ImportOptions) (*Report, error) {
	raw, err := readImport(r)
	if err != nil {
		return nil, fmt.Errorf("import: %w", err)
	}

	o.List, o.Scope = cmp.Or(o.List, policy.Allow), cmp.Or(o.Scope, Admin)
	i := &importer{ImportOptions: o, report: &Report{}, seen: map[string]bool{}}
	switch format {
	case PMG:
		err = i.pmg(raw)
	case SpamAssassin:
		err = i.eachLine(raw, i.spamAssassin)
	case Rspamd:
		err = i.eachLine(raw, i.rspamd)
	case ASSP:
		err = i.eachLine(raw, i.assp)
	case Exchange:
		err = i.exchange(raw)
	default:
		err = fmt.Errorf("%.20q is no form of lists; it is pmg, spamassassin, rspamd, assp or exchange", format)
	}
	if err != nil {
		return nil, fmt.Errorf("import: %w", err)
	}

	return i.report, nil
}

// readImport reads a list's text. Windows writes UTF-16, and a mark before UTF-8.
func readImport(r io.Reader) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(r, MaxImport+1))
	if err != nil {
		return nil, err
	}
	if len(raw) > MaxImport {
		return nil, fmt.Errorf("the text is over %d octets; part it", MaxImport)
	}

	for _, mark := range []string{"\xff\xfe", "\xfe\xff", "\xef\xbb\xbf"} {
		if bytes.HasPrefix(raw, []byte(mark)) {
			raw, _, err = transform.Bytes(unicode.BOMOverride(transform.Nop), raw)
			return raw, err
		}
	}

	return raw, nil
}

type importer struct {
	ImportOptions
	report *Report
	seen   map[string]bool // ids of entries
	line   int
	proven bool // what is read asked for proof before, too
}

// errTooMuch ends an import that would have no end.
func errTooMuch() error { return fmt.Errorf("more than %d entries; part the text", maxThings) }

// eachLine gives the lines without white space around them. Empty ones are left out.
func (i *importer) eachLine(raw []byte, f func(string)) error {
	lines := bufio.NewScanner(bytes.NewReader(raw))
	lines.Buffer(nil, MaxImport+1)
	for lines.Scan() {
		i.line++
		text := strings.TrimSpace(lines.Text())
		switch {
		case text == "":
			continue
		case len(text) > maxLine:
			i.refuse(text, fmt.Sprintf("the line is over %d octets", maxLine))
			continue
		case !utf8.ValidString(text) || strings.ContainsRune(text, 0):
			i.refuse(text, "not text in UTF-8")
			continue
		}
		f(text)
		if i.full() {
			return errTooMuch()
		}
	}
	return lines.Err()
}

func (i *importer) full() bool {
	return len(i.report.Entries) > maxThings || i.report.Refused > maxRefused
}

func (i *importer) tell(text string, outcome Outcome, why string) {
	text = filters.Printable(text)
	if len(text) > shownLine {
		text = strings.ToValidUTF8(text[:shownLine], "") + "…"
	}
	i.report.Lines = append(i.report.Lines, Line{i.line, text, outcome, filters.Printable(why)})
	switch outcome {
	case Taken:
		i.report.Taken++
	case Widened:
		i.report.Widened++
	default:
		i.report.Refused++
	}
}

func (i *importer) refuse(text, why string) { i.tell(text, Refused, why) }

// take takes an entry in, as the options have it where it says nothing itself. wider says in what it holds for more than
// before, "" for nothing; note is what else is worth telling.
func (i *importer) take(text string, e Entry, wider, note string) {
	if e.List == "" {
		e.List = i.List
	}
	if e.Scope == "" {
		e.Scope, e.ScopeOf = i.Scope, i.ScopeOf
	}
	e.Owner, e.Reason = cmp.Or(e.Owner, i.Owner), cmp.Or(e.Reason, i.Reason)
	if wider != "" && !i.Widen {
		i.refuse(text, wider)
		return
	}
	if why := tooWide(e); why != "" {
		i.refuse(text, why)
		return
	}
	e, err := e.Normal()
	if err != nil {
		i.refuse(text, strings.TrimPrefix(err.Error(), ErrInvalid.Error()+": "))
		return
	}
	if e.List == policy.Allow && !e.Network.IsValid() && !i.proven && wider == "" {
		note = join(onlyProven, note)
	}
	if i.seen[e.ID] {
		note = join(note, "stands above already")
	} else {
		i.seen[e.ID] = true
		i.report.Entries = append(i.report.Entries, e)
	}
	if wider != "" {
		i.tell(text, Widened, join(wider, note))
		return
	}
	i.tell(text, Taken, note)
}

func join(texts ...string) string {
	var all []string
	for _, t := range texts {
		if t != "" {
			all = append(all, t)
		}
	}
	return strings.Join(all, "; ")
}

// tooWide refuses networks too wide to be intended, such as half of the internet.
func tooWide(e Entry) string {
	if n := e.Network; n.IsValid() {
		if n.Addr().Is4() && n.Bits() < 8 || n.Addr().Is6() && !n.Addr().Is4In6() && n.Bits() < 19 {
			return "a network as large as this is nobody's"
		}
	}
	domain := strings.ToLower(strings.TrimPrefix(e.Sender, "."))
	if domain == "" || strings.Contains(domain, "@") || e.Sender == "<>" {
		return ""
	}
	if suffix, _ := publicsuffix.PublicSuffix(domain); suffix == domain {
		return "anybody can register a domain below this one"
	}
	return ""
}

// onlyProven is reported for entries that applied without authentication in the other program.
const onlyProven = "holds here only where SPF or DKIM proves the sender"

// sender reads an address, a domain, a network, or one of the patterns that other programs have. wider says in what the
// entry holds for more than the pattern, why what is wrong with it.
func sender(text string) (e Entry, wider, why string) {
	text = strings.Trim(text, "<>\"'")
	if n, ok := network(text); ok {
		return Entry{Network: n}, "", ""
	}
	if why := noPattern(text); why != "" {
		return e, "", why
	}

	e.Sender, wider = plainSender(text)
	if strings.Contains(e.Sender, "*") || strings.ContainsAny(e.Sender, "?%") && !strings.Contains(e.Sender, "@") {
		return Entry{}, "", "a pattern that can't be said here: write the addresses or domains that it means"
	}
	if p, err := pattern(e.Sender); err != nil || p == "" {
		return Entry{}, "", "neither an address nor a domain nor a network"
	}

	return e, wider, ""
}

// noPattern says why a text is no pattern that can be understood, "" if it may be one.
func noPattern(text string) string {
	_, domain, hasAt := strings.Cut(text, "@")
	if !hasAt {
		domain = text
	}

	switch {
	case text == "":
		return "nothing stands there"
	case strings.HasPrefix(text, "/"), strings.ContainsAny(text, `^$\[](){}|+`) && !plain(text):
		return "a regular expression: write the addresses or domains that it means"
	case strings.Count(text, "@") > 1 && strings.ContainsAny(text, "*?%"):
		return "not an address"
	case strings.ContainsRune(domain, '?'):
		return "a \"?\" in a domain can't be said here"
	}

	return ""
}

// plainSender writes a pattern as our lists have it. Wider says in what it then holds for more.
func plainSender(text string) (plain, wider string) {
	local, domain, hasAt := strings.Cut(text, "@")
	if !hasAt {
		return belowStar(text), ""
	}

	switch {
	case local == "*" || local == "":
		return belowStar(domain), ""
	case local == "%":
		return domain, ""
	case strings.ContainsAny(local, "*?%") && !strings.Contains(domain, "*"):
		return domain, "a part of the senders of " + domain + " can't be said here; it would hold for all of them"
	}

	return text, ""
}

// belowStar writes "*.example.com" as ".example.com".
func belowStar(domain string) string {
	if strings.HasPrefix(domain, "*.") {
		return domain[1:]
	}

	return domain
}

// plain says whether a text is an address all the same: these may have a "+" and more before the "@".
func plain(text string) bool {
	_, err := mail.ParseAddress(text)
	return err == nil
}

// network reads an address or a network, in brackets too.
func network(text string) (netip.Prefix, bool) {
	text = strings.TrimSuffix(strings.TrimPrefix(text, "["), "]")
	if p, err := netip.ParsePrefix(text); err == nil {
		if p != p.Masked() {
			return netip.Prefix{}, false // bits behind the prefix: another network was meant
		}
		return p, true
	}
	a, err := netip.ParseAddr(text)
	if err != nil || a.Zone() != "" {
		return netip.Prefix{}, false
	}
	a = a.Unmap()
	return netip.PrefixFrom(a, a.BitLen()), true
}

// date reads the ends that other programs write.
func date(text string) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", time.DateTime, time.DateOnly, "1/2/2006 3:04:05 PM", "1/2/2006", "02.01.2006 15:04:05", "02.01.2006"} {
		if t, err := time.Parse(layout, text); err == nil && t.Year() >= 1970 && t.Year() < 10000 {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}
