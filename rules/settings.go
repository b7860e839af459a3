package rules

import (
	"net/netip"
	"strconv"
	"strings"

	"postern/rules/eval"
	"postern/rules/perlre"
	"postern/rules/relays"
)

type networks = relays.Networks

// setting reads lines that are no rules: lists that functions look into, and what is of no matter here. Known says whether
// the word is known.
func (p *parser) setting(word, rest string) (why string, known bool) {
	word = presentName(word)
	c := p.set.config
	fields := strings.Fields(rest)
	if list, ok := addressLists()[word]; ok {
		return addTo(c, list, fields), true
	}
	if p.domains(word, fields) {
		return "", true
	}
	if p.names(word, fields) {
		return "", true
	}
	switch word {
	case "trusted_networks", "internal_networks", "msa_networks", "clear_trusted_networks", "clear_internal_networks", "clear_msa_networks":
		return p.network(word, fields), true
	case "enlist_addrlist", "enlist_uri_host", "delist_uri_host", "blocklist_uri_host", "welcomelist_uri_host":
		return p.enlist(word, fields), true
	case "urirhssub", "urirhsbl", "uridnsbl", "uridnssub":
		return p.uriList(word, fields), true
	case "urinsrhsbl", "urinsrhssub", "urifullnsrhsbl", "urifullnsrhssub":
		return "lists of name servers are not asked here", true
	case "include":
		return p.include(rest), true
	}
	return p.plain(word, rest, fields)
}

// names reads the settings that are lists of names.
func (p *parser) names(word string, fields []string) bool {
	switch word {
	case "freemail_domains":
		p.set.config.Freemail.Add(fields...)
	case "originating_ip_headers":
		p.set.origin = append(p.set.origin, fields...)
	case "clear_originating_ip_headers":
		p.set.origin = nil
	default:
		return false
	}
	return true
}

// domains reads the lists of names that others register under.
func (p *parser) domains(word string, fields []string) bool {
	d := p.set.config.Domains
	switch word {
	case "util_rb_tld":
		d.Add(1, fields...)
	case "util_rb_2tld":
		d.Add(2, fields...)
	case "util_rb_3tld":
		d.Add(3, fields...)
	case "clear_util_rb":
		d.Clear()
	default:
		return p.exempt(word, fields)
	}
	return true
}

// exempt reads the lists of what is not looked at.
func (p *parser) exempt(word string, fields []string) bool {
	into := map[string]map[string]bool{"uridnsbl_skip_domain": p.set.config.SkipDomains, "freemail_welcomelist": p.set.config.FreemailExempt}
	list, ok := into[strings.TrimPrefix(word, "clear_")]
	if !ok {
		return false
	}
	if strings.HasPrefix(word, "clear_") {
		clear(list)
	}
	for _, f := range fields {
		list[strings.ToLower(f)] = true
	}
	return true
}

// presentName gives a directive its name since SpamAssassin 4.
func presentName(word string) string {
	return strings.NewReplacer("whitelist", "welcomelist", "blacklist", "blocklist").Replace(word)
}

// listAction is what a line does to a list.
type listAction struct {
	name   string
	remove bool
	pairs  bool
}

func addressLists() map[string]listAction {
	all := map[string]listAction{}
	for _, n := range []string{
		"welcomelist_from", "blocklist_from", "welcomelist_to", "blocklist_to", "more_spam_to", "all_spam_to", "welcomelist_auth", "def_welcomelist_auth",
		"welcomelist_bounce_relays", "welcomelist_allows_relays", "welcomelist_from_spf", "def_welcomelist_from_spf", "welcomelist_subject", "blocklist_subject",
	} {
		all[n] = listAction{name: n}
		all["un"+n] = listAction{name: n, remove: true}
	}
	for _, n := range []string{"welcomelist_from_rcvd", "def_welcomelist_from_rcvd", "welcomelist_from_dkim", "def_welcomelist_from_dkim"} {
		all[n] = listAction{name: n, pairs: true}
		all["un"+n] = listAction{name: n, pairs: true, remove: true}
	}
	return all
}

func addTo(c *eval.Config, list listAction, fields []string) string {
	if len(fields) == 0 {
		return "want an entry"
	}
	if list.pairs {
		l := c.Received[list.name]
		if l == nil {
			l = &eval.PairList{}
			c.Received[list.name] = l
		}
		switch {
		case list.remove:
			l.Remove(fields[0])
		case len(fields) > 2:
			return "want an address and a host or a domain"
		default:
			l.Add(fields[0], strings.Join(fields[1:], ""))
		}
		return ""
	}
	l := c.Addresses[list.name]
	if l == nil {
		l = eval.NewAddressList()
		c.Addresses[list.name] = l
	}
	if strings.HasSuffix(list.name, "_subject") {
		fields = []string{strings.Join(fields, " ")}
	}
	if list.remove {
		l.Remove(fields...)
	} else {
		l.Add(fields...)
	}
	return ""
}

// network reads networks of our own; ! takes one out.
func (p *parser) network(word string, fields []string) string {
	set := map[string]*[]relays.Network{"trusted": &p.set.networks.Trusted, "internal": &p.set.networks.Internal, "msa": &p.set.networks.MSA}
	name, clearing := strings.CutPrefix(word, "clear_")
	to := set[strings.TrimSuffix(name, "_networks")]
	if clearing {
		*to = nil
		return ""
	}
	for _, f := range fields {
		text, not := strings.CutPrefix(f, "!")
		prefix, err := readNetwork(text)
		if err != nil {
			return strconv.Quote(f) + " is not a network"
		}
		*to = append(*to, relays.Network{Prefix: prefix, Not: not})
	}
	return ""
}

// readNetwork reads 192.0.2.0/24, an address, or the front of an IPv4 address.
func readNetwork(text string) (netip.Prefix, error) {
	text = strings.Trim(text, "[]")
	address, bits, ok := strings.Cut(text, "/")
	if !strings.Contains(address, ":") {
		parts := strings.Split(strings.TrimRight(address, "."), ".")
		if !ok {
			bits = strconv.Itoa(8 * len(parts))
		}
		for len(parts) < 4 {
			parts = append(parts, "0")
		}
		address = strings.Join(parts, ".")
	} else if !ok {
		bits = "128"
	}
	prefix, err := netip.ParsePrefix(address + "/" + bits)
	return prefix.Masked(), err
}

// enlist reads (LIST) entries.
func (p *parser) enlist(word string, fields []string) string {
	c := p.set.config
	name, fields := listName(word, fields)
	if name == "" || len(fields) == 0 && word != "delist_uri_host" {
		return "want the name of a list in parentheses, and entries"
	}
	if word == "enlist_addrlist" {
		return addTo(c, listAction{name: name}, fields)
	}
	list := c.Hosts[name]
	if list == nil {
		list = map[string]bool{}
		c.Hosts[name] = list
	}
	if word == "delist_uri_host" && len(fields) == 0 {
		clear(list)
	}
	for _, f := range fields {
		host, not := strings.CutPrefix(strings.ToLower(f), "!")
		if word == "delist_uri_host" {
			delete(list, host)
		} else {
			list[host] = !not
		}
	}
	return ""
}

// listName parts the name of a list of hosts from its entries. The word gives it, or the first field in parentheses.
func listName(word string, fields []string) (name string, entries []string) {
	switch word {
	case "blocklist_uri_host":
		return "BLOCK", fields
	case "welcomelist_uri_host":
		return "WELCOME", fields
	}
	if len(fields) == 0 || !strings.HasPrefix(fields[0], "(") || !strings.HasSuffix(fields[0], ")") {
		return "", fields
	}
	return strings.Trim(fields[0], "()"), fields[1:]
}

// uriList reads RULE ZONE TYPE TEST.
func (p *parser) uriList(word string, fields []string) string {
	sub := strings.HasSuffix(word, "sub")
	if len(fields) < 3 || sub && len(fields) < 4 {
		return "want a rule, a zone, a type and a test"
	}
	test := ""
	if sub {
		test = strings.Join(fields[3:], " ")
	}
	parsed, err := eval.ParseSubtest(test, func(text string) (*perlre.Regexp, error) {
		expr, err := unwrap(text)
		if err != nil {
			return nil, err
		}
		return compileExpr(expr)
	})
	if err != nil {
		return err.Error()
	}
	p.set.config.URILists[fields[0]] = eval.URIList{Zone: strings.TrimSuffix(fields[1], "."), Host: strings.HasPrefix(word, "urirhs"), Test: parsed}
	return ""
}

// plain reads single numbers and words, and knows what does not matter.
func (p *parser) plain(word, rest string, fields []string) (why string, known bool) {
	switch word {
	case "freemail_max_body_emails", "freemail_max_body_freemails", "freemail_skip_when_over_max", "freemail_skip_bulk_envfrom",
		"freemail_import_welcomelist_auth", "freemail_import_def_welcomelist_auth", "uridnsbl_skip_mailto", "uridnsbl_max_domains", "num_check_received":
		n, err := strconv.ParseFloat(rest, 64)
		if err != nil {
			return strconv.Quote(rest) + " is not a number", true
		}
		p.set.config.Numbers[word] = n
		return "", true
	case "ok_locales", "rbl_headers":
		p.set.config.Words[word] = strings.Join(fields, " ")
		return "", true
	}
	for _, front := range []string{"bayes_", "dns_", "url_shortener", "report", "unsafe_report", "clear_", "fns_", "razor_", "pyzor_", "dcc_", "txrep_", "auto_welcomelist", "asn_", "spf_", "dkim_", "hashbl_", "olemacro_"} {
		if strings.HasPrefix(word, front) {
			return "", true
		}
	}
	return "", idle(word)
}

// idle are directives about what SpamAssassin does besides rules.
func idle(word string) bool {
	switch word {
	case "test", "add_header", "remove_header", "rewrite_header", "subjprefix", "required_score", "required_hits", "require_version", "version_tag", "ok_languages",
		"normalize_charset", "adsp_override", "use_bayes", "use_bayes_rules", "use_learner", "use_auto_welcomelist", "use_txrep", "use_razor2", "use_pyzor", "use_dcc",
		"skip_rbl_checks", "skip_uribl_checks", "rbl_timeout", "uridnsbl_timeout", "time_limit", "lock_method", "fold_headers", "envelope_sender_header",
		"always_trust_envelope_sender", "allow_user_rules", "parse_dkim_uris", "body_part_scan_size", "rawbody_part_scan_size", "geodb_module", "geodb_options",
		"country_db_type", "country_db_path", "mbox_format_from_regex", "ignore_always_matching_regexps", "dmarc_save_reports", "ignore_received_spf_header",
		"use_newest_received_spf_header", "do_not_use_mail_spf", "freemail_add_describe_email", "shortcircuit", "meta_shortcircuit", "file", "ifplugin",
		"user_scores_dsn", "util_rb", "inactive_languages", "textcat_max_languages":
		return true
	}
	return false
}

// redirector takes an expression for links within links.
func (p *parser) redirector(text string) string {
	expr, err := unwrap(text)
	if err != nil {
		return err.Error()
	}
	re, err := compileExpr(expr)
	if err != nil {
		return err.Error()
	}
	p.set.redirects = append(p.set.redirects, func(uri string) string {
		m, ok := re.Find(uri, 0, perlre.NewBudget(100_000))
		if !ok {
			return ""
		}
		to, _ := m.Group(1)
		return to
	})
	return ""
}
