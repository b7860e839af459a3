package lists

import (
	"slices"
	"strings"

	"postern/policy"
)

// rspamd reads a line of a map: a key, perhaps a weight, perhaps a comment.
func (i *importer) rspamd(text string) {
	if text[0] == '#' || text[0] == ';' {
		return
	}
	if text[0] == '/' {
		i.refuse(text, "a regular expression: write the addresses or domains that it means")
		return
	}
	entry, comment, _ := strings.Cut(text, " #")
	fields := strings.Fields(entry)
	note := ""
	if len(fields) > 1 {
		note = "what stands behind it was not taken over"
	}
	if strings.HasPrefix(fields[0], "!") {
		i.refuse(text, "an exception: this entry must not hold, which can't be said here")
		return
	}
	i.one(text, fields[0], Entry{Reason: strings.TrimSpace(comment)}, note)
}

// one takes the sender or the network that a text names; the entry brings the rest.
func (i *importer) one(line, text string, rest Entry, note string) {
	e, wider, why := sender(text)
	if why != "" {
		i.refuse(line, why)
		return
	}
	rest.Sender = e.Sender
	if e.Network.IsValid() {
		rest.Network = e.Network
	}
	i.take(line, rest, wider, note)
}

// spamAssassin reads a line of a configuration, of which only the lists matter.
func (i *importer) spamAssassin(text string) {
	if before, _, found := strings.Cut(text, "#"); found {
		if text = strings.TrimSpace(before); text == "" {
			return
		}
	}
	fields := strings.Fields(text)
	base := Entry{}
	if scope, of, ok := i.preferenceOf(fields); ok {
		base.Scope, base.ScopeOf = scope, of
		fields = fields[1:]
	}

	name := strings.ToLower(fields[0])
	setting, remove := strings.CutPrefix(name, "un")
	list, kind, _ := strings.Cut(setting, "_")
	switch list {
	case "def":
		i.refuse(text, "one of SpamAssassin's own defaults, which only lowers a score")
		return
	case "whitelist", "welcomelist":
		base.List = policy.Allow
	case "blacklist", "blocklist":
		base.List = policy.Block
	default:
		i.refuse(text, "not an entry of a list")
		return
	}

	values := fields[1:]
	switch {
	case len(values) == 0:
		i.refuse(text, "names nobody")
	case remove:
		i.withdraw(text, base, values)
	default:
		i.spamAssassinEntry(text, kind, base, values)
	}
}

// spamAssassinEntry takes an entry of one kind: whitelist_KIND.
func (i *importer) spamAssassinEntry(text, kind string, base Entry, values []string) {
	allow := base.List == policy.Allow
	switch {
	case kind == "from" || kind == "auth" || kind == "from_spf":
		i.proven = kind != "from"
		for _, v := range values {
			i.one(v, v, base, "")
		}
		i.proven = false
	case kind == "from_rcvd" && allow && len(values) == 2:
		i.received(text, base, values[0], values[1])
	case kind == "from_dkim" && allow && len(values) <= 2:
		i.signed(text, base, values)
	case strings.HasSuffix(kind, "to"):
		i.refuse(text, "speaks of recipients: give them thresholds of their own in the policy")
	default:
		i.refuse(text, "not an entry that can be said here")
	}
}

// preferenceOf knows the user before a preference that was kept in SQL: "ann@example.com", "%example.com", "@GLOBAL".
func (i *importer) preferenceOf(fields []string) (Scope, string, bool) {
	if len(fields) < 3 || !strings.Contains(fields[1], "list_") {
		return "", "", false
	}
	switch first := fields[0]; {
	case strings.EqualFold(first, "@GLOBAL"), strings.EqualFold(first, "$GLOBAL"):
		return Admin, "", true
	case first[0] == '%':
		return Domain, first[1:], true
	case strings.Contains(first, "@"):
		return User, first, true
	}
	return "", "", false
}

// withdraw takes back what stood above: unwhitelist_from and its like.
func (i *importer) withdraw(text string, base Entry, values []string) {
	for _, v := range values {
		e, _, why := sender(v)
		n := len(i.report.Entries)
		if why == "" {
			want, err := pattern(e.Sender)
			i.report.Entries = slices.DeleteFunc(i.report.Entries, func(o Entry) bool {
				gone := err == nil && want != "" && o.Sender == want && o.List == base.List && (base.Scope == "" || o.Scope == base.Scope)
				if gone {
					delete(i.seen, o.ID)
				}
				return gone
			})
		}
		if len(i.report.Entries) == n {
			i.refuse(text, "takes back what does not stand above")
			continue
		}
		i.tell(text, Taken, "takes back what stands above")
	}
}

// received reads whitelist_from_rcvd: a sender, and the relay that its mail must come from.
func (i *importer) received(text string, base Entry, from, relay string) {
	e, wider, why := sender(from)
	if why != "" {
		i.refuse(text, why)
		return
	}
	base.Sender = e.Sender
	if n, ok := network(relay); ok {
		base.Network = n
		i.take(text, base, wider, "")
		return
	}
	i.take(text, base, join(wider, "the relay's name can't be said here; it would hold wherever SPF or DKIM proves the sender"), "")
}

// signed reads whitelist_from_dkim: a sender, perhaps the domain that must have signed.
func (i *importer) signed(text string, base Entry, values []string) {
	e, wider, why := sender(values[0])
	if why != "" {
		i.refuse(text, why)
		return
	}
	base.Sender = e.Sender
	if len(values) == 2 {
		_, own, hasAt := strings.Cut(e.Sender, "@")
		if !hasAt {
			own = strings.TrimPrefix(e.Sender, ".")
		}
		if !strings.EqualFold(own, values[1]) {
			i.refuse(text, "the signature of another domain proves nothing about this sender")
			return
		}
	}
	i.take(text, base, join(wider, "a signature can't be asked for here; SPF would do, too"), "")
}

// assp reads a line of a whitelist ("address\x02time" or "address,recipient\x02time"), of a file of domains, or of
// assp.cfg ("name:=a|b").
func (i *importer) assp(text string) {
	if text[0] == '#' || text[0] == ';' {
		return
	}
	base := Entry{}
	if name, value, found := strings.Cut(text, ":="); found {
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "whitelisteddomains", "noprocessingdomains", "noprocessing", "noprocessingips", "whitelistedips", "noprocessingfrom":
			base.List = policy.Allow
		case "blacklisteddomains", "denysmtpconnectionsfrom", "denysmtpconnectionsfromalways":
			base.List = policy.Block
		default:
			i.refuse(text, "not a setting with a list")
			return
		}
		if text = strings.TrimSpace(value); strings.HasPrefix(text, "file:") {
			i.refuse(text, "names a file: import that one")
			return
		}
	}
	if before, _, found := strings.Cut(text, "\x02"); found {
		text = before
	} else if before, comment, found := strings.Cut(text, " #"); found {
		text, base.Reason = before, strings.TrimSpace(comment)
	}
	for one := range strings.SplitSeq(text, "|") {
		if one = strings.TrimSpace(one); one != "" {
			i.asspOne(one, base)
		}
	}
}

func (i *importer) asspOne(text string, base Entry) {
	from, to, found := strings.Cut(text, "=>")
	if !found {
		from, to, found = strings.Cut(text, ",")
	}
	if found {
		to = strings.TrimSpace(to)
		p, err := pattern(to)
		if err != nil || p == "" || p == "<>" {
			i.refuse(text, "what stands behind it is no recipient")
			return
		}
		base.Recipient = p
	}
	note := ""
	from = strings.TrimSpace(from)
	if _, is := network(from); !is && !strings.Contains(from, "@") && !strings.HasPrefix(from, "*") {
		note = "domains below it are not meant"
	}
	i.one(text, from, base, note)
}
