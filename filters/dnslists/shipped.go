package dnslists

import "postern/filters"

// ownScore is what the symbols of own lists are worth: a list's weight is a share of it.
const ownScore = 10.0

// symbols are all that can be reported. No single list is enough to reject (12 by default): several independent ones
// must agree. The names are Rspamd's where the meaning is the same.
func symbols() []filters.Symbol {
	return []filters.Symbol{
		{Name: "RBL_SPAMHAUS_SBL", Score: 5, Help: "The client is on the SBL: it sends or hosts spam"},
		{Name: "RBL_SPAMHAUS_CSS", Score: 4, Help: "The client is on the CSS: it sends spam in small amounts from many addresses"},
		{Name: "RBL_SPAMHAUS_XBL", Score: 5, Help: "The client is on the XBL: it was broken into or is infected"},
		{Name: "RBL_SPAMHAUS_PBL", Score: 3, Help: "The client is on the PBL: by its network's policy no mail server is there"},
		{Name: "RBL_SPAMHAUS_DROP", Score: 4, Help: "The client is on the DROP list: its network belongs to criminals"},
		{Name: "RBL_SPAMCOP", Score: 4, Help: "The client is on the SpamCop list: users reported spam from it"},
		{Name: "RBL_BARRACUDA", Score: 4, Help: "The client is on the Barracuda Reputation Block List"},
		{Name: "RBL_PSBL", Score: 3, Help: "The client is on the PSBL: it wrote to a spam trap"},
		{Name: "RBL_UCEPROTECT_LEVEL1", Score: 2, Help: "The client is on the UCEPROTECT level 1 list"},
		{Name: "RBL_S5H", Score: 2, Help: "The client is on the s5h list"},
		{Name: "RBL_0SPAM", Score: 2, Help: "The client is on the 0spam list: it wrote to a spam trap"},
		{Name: "RBL_MAILSPIKE_WORST", Score: 4, Help: "Mailspike: the client's reputation is the worst there is"},
		{Name: "RBL_MAILSPIKE_VERYBAD", Score: 3, Help: "Mailspike: the client's reputation is very bad"},
		{Name: "RBL_MAILSPIKE_BAD", Score: 2, Help: "Mailspike: the client's reputation is bad"},
		{Name: "RWL_MAILSPIKE_POSSIBLE", Score: 0, Help: "Mailspike: the client may be honest"},
		{Name: "RWL_MAILSPIKE_GOOD", Score: -0.5, Help: "Mailspike: the client's reputation is good"},
		{Name: "RWL_MAILSPIKE_VERYGOOD", Score: -1, Help: "Mailspike: the client's reputation is very good"},
		{Name: "RWL_MAILSPIKE_EXCELLENT", Score: -1.5, Help: "Mailspike: the client's reputation is excellent"},
		{Name: "RCVD_IN_DNSWL_NONE", Score: 0, Help: "The client is on the DNSWL allow list, without trust"},
		{Name: "RCVD_IN_DNSWL_LOW", Score: -0.5, Help: "The client is on the DNSWL allow list, low trust"},
		{Name: "RCVD_IN_DNSWL_MED", Score: -2, Help: "The client is on the DNSWL allow list, medium trust"},
		{Name: "RCVD_IN_DNSWL_HI", Score: -4, Help: "The client is on the DNSWL allow list, high trust"},
		{Name: "DBL_SPAM", Score: 6, Help: "Spamhaus DBL: a spam domain"},
		{Name: "DBL_PHISH", Score: 6.5, Help: "Spamhaus DBL: a phishing domain"},
		{Name: "DBL_MALWARE", Score: 6.5, Help: "Spamhaus DBL: a domain that spreads malware"},
		{Name: "DBL_BOTNET", Score: 6.5, Help: "Spamhaus DBL: a domain that controls a botnet"},
		{Name: "DBL_ABUSE", Score: 3, Help: "Spamhaus DBL: an honest site that was broken into, used in spam"},
		{Name: "DBL_ABUSE_REDIR", Score: 1.5, Help: "Spamhaus DBL: a redirector that spammers use"},
		{Name: "DBL_ABUSE_PHISH", Score: 5, Help: "Spamhaus DBL: an honest site that was broken into, used for phishing"},
		{Name: "DBL_ABUSE_MALWARE", Score: 5, Help: "Spamhaus DBL: an honest site that was broken into, spreads malware"},
		{Name: "DBL_ABUSE_BOTNET", Score: 5, Help: "Spamhaus DBL: an honest site that was broken into, controls a botnet"},
		{Name: "ZRD_VERY_FRESH_DOMAIN", Score: 4, Help: "Spamhaus ZRD: a domain first seen in the last four hours"},
		{Name: "ZRD_FRESH_DOMAIN", Score: 2, Help: "Spamhaus ZRD: a domain first seen in the last 24 hours"},
		{Name: "PH_SURBL_MULTI", Score: 5.5, Help: "SURBL: a phishing site"},
		{Name: "MW_SURBL_MULTI", Score: 5.5, Help: "SURBL: a site that spreads malware"},
		{Name: "ABUSE_SURBL", Score: 5, Help: "SURBL: a site that spam leads to"},
		{Name: "CRACKED_SURBL", Score: 4, Help: "SURBL: a site that was broken into"},
		{Name: "URIBL_BLACK", Score: 6, Help: "URIBL: a spammer's domain"},
		{Name: "URIBL_RED", Score: 2.5, Help: "URIBL: a young or hidden domain in much mail"},
		{Name: "URIBL_GREY", Score: 1, Help: "URIBL: a domain in mail that not all have asked for"},
		{Name: "MSBL_EBL", Score: 6, Help: "MSBL EBL: a mail address that takes the answers to spam"},
		{Name: "MSBL_EBL_GREY", Score: 0.5, Help: "MSBL EBL: a mail address that takes the answers to what may be spam"},
		{Name: blockSymbol, Score: ownScore, Help: "On block lists of your own settings; their weights add up to this score at most"},
		{Name: allowSymbol, Score: -ownScore, Help: "On allow lists of your own settings; their weights add up to this score at most"},
		{Name: timeoutSymbol, Score: 0, Help: "A list did not answer in time"},
		{Name: mutedSymbol, Score: 0, Help: "A list is not asked now, because its answers are of no use"},
		{Name: limitSymbol, Score: 0, Help: "The message has more link domains or mail addresses than lists are asked about"},
	}
}

// Shipped are the valid names in use.
func Shipped() (names []string) {
	for _, l := range shipped() {
		names = append(names, l.Name)
	}
	return names
}

// shipped are the lists whose answers are documented by their owners, with their terms as of 2026: read them before you
// use one. "Low volume" is mostly less than 100,000 questions a day and nothing that is sold.
func shipped() []List {
	client := []string{"client"}
	return []List{
		// free for low-volume, non-commercial use, not through public resolvers; else by a key: -dqs
		{Name: "spamhaus-zen", Zone: "zen.spamhaus.org", Kinds: client, shippedCodes: zen()},
		{Name: "spamhaus-zen-dqs", Zone: "{key}.zen.dq.spamhaus.net", Kinds: client, shippedCodes: zen()},
		{Name: "spamhaus-dbl", Zone: "dbl.spamhaus.org", Kinds: domains(), names: true, testPoint: "dbltest.com", shippedCodes: dbl()},
		{Name: "spamhaus-dbl-dqs", Zone: "{key}.dbl.dq.spamhaus.net", Kinds: domains(), names: true, testPoint: "dbltest.com", shippedCodes: dbl()},
		{Name: "spamhaus-zrd-dqs", Zone: "{key}.zrd.dq.spamhaus.net", Kinds: domains(), names: true, NoProbe: true, shippedCodes: codes(
			"127.0.2.2", "ZRD_VERY_FRESH_DOMAIN", "127.0.2.3", "ZRD_VERY_FRESH_DOMAIN", "127.0.2.4", "ZRD_VERY_FRESH_DOMAIN",
			"127.0.2.5", "ZRD_FRESH_DOMAIN", "127.0.2.6/31", "ZRD_FRESH_DOMAIN", "127.0.2.8/29", "ZRD_FRESH_DOMAIN",
			"127.0.2.16/29", "ZRD_FRESH_DOMAIN", "127.0.2.24", "ZRD_FRESH_DOMAIN")},
		// free
		{Name: "spamcop", Zone: "bl.spamcop.net", Kinds: client, IPv4Only: true, shippedCodes: codes("127.0.0.2", "RBL_SPAMCOP")},
		// free after registration of your resolvers' addresses at barracudacentral.org
		{Name: "barracuda", Zone: "b.barracudacentral.org", Kinds: client, IPv4Only: true, shippedCodes: codes("127.0.0.2", "RBL_BARRACUDA")},
		// free
		{Name: "psbl", Zone: "psbl.surriel.com", Kinds: client, IPv4Only: true, shippedCodes: codes("127.0.0.2", "RBL_PSBL")},
		// free; level 1 lists single addresses, the higher levels whole providers, which is why they are not here
		{Name: "uceprotect-1", Zone: "dnsbl-1.uceprotect.net", Kinds: client, IPv4Only: true, shippedCodes: codes("127.0.0.2", "RBL_UCEPROTECT_LEVEL1")},
		// free for low volume; 127.0.0.13 to 16 are neither good nor bad
		{Name: "mailspike", Zone: "rep.mailspike.net", Kinds: client, IPv4Only: true, NoProbe: true, shippedCodes: codes(
			"127.0.0.10", "RBL_MAILSPIKE_WORST", "127.0.0.11", "RBL_MAILSPIKE_VERYBAD", "127.0.0.12", "RBL_MAILSPIKE_BAD",
			"127.0.0.17", "RWL_MAILSPIKE_POSSIBLE", "127.0.0.18", "RWL_MAILSPIKE_GOOD", "127.0.0.19", "RWL_MAILSPIKE_VERYGOOD",
			"127.0.0.20", "RWL_MAILSPIKE_EXCELLENT")},
		// free for low-volume, non-commercial use; 127.0.0.255 is the answer to clients over the limit
		{Name: "dnswl", Zone: "list.dnswl.org", Kinds: client, Allow: true, Refused: []string{"127.0.0.255"}, shippedCodes: codes(
			"127.0.*.0", "RCVD_IN_DNSWL_NONE", "127.0.*.1", "RCVD_IN_DNSWL_LOW", "127.0.*.2", "RCVD_IN_DNSWL_MED", "127.0.*.3", "RCVD_IN_DNSWL_HI")},
		// free
		{Name: "s5h", Zone: "all.s5h.net", Kinds: client, shippedCodes: codes("127.0.0.2", "RBL_S5H")},
		// free; the last octet says what was seen
		{Name: "0spam", Zone: "bl.0spam.org", Kinds: client, IPv4Only: true, NoProbe: true, shippedCodes: codes("127.0.0.0/24", "RBL_0SPAM")},
		// free for low volume; bits of the last octet
		{Name: "surbl", Zone: "multi.surbl.org", Kinds: []string{"uri"}, testPoint: "surbl-org-permanent-test-point.com", shippedCodes: codes(
			"&8", "PH_SURBL_MULTI", "&16", "MW_SURBL_MULTI", "&64", "ABUSE_SURBL", "&128", "CRACKED_SURBL")},
		// free for low volume, not through public resolvers; bits of the last octet
		{Name: "uribl", Zone: "multi.uribl.com", Kinds: []string{"uri"}, testPoint: "test.uribl.com", shippedCodes: codes(
			"&2", "URIBL_BLACK", "&4", "URIBL_GREY", "&8", "URIBL_RED")},
		// free; SHA-1 of mail addresses without tags
		{Name: "msbl-ebl", Zone: "ebl.msbl.org", Kinds: []string{"hash"}, Canonical: true, NoProbe: true, shippedCodes: codes(
			"127.0.0.2", "MSBL_EBL", "127.0.0.3", "MSBL_EBL", "127.0.1.2", "MSBL_EBL_GREY", "127.0.1.3", "MSBL_EBL_GREY")},
	}
}

func domains() []string { return []string{"helo", "sender", "from", "uri"} }

// zen has the codes of docs.spamhaus.com, "Available Zones"; .5 to .7 were parts of the XBL.
func zen() []code {
	return codes("127.0.0.2", "RBL_SPAMHAUS_SBL", "127.0.0.3", "RBL_SPAMHAUS_CSS", "127.0.0.9", "RBL_SPAMHAUS_DROP",
		"127.0.0.4/30", "RBL_SPAMHAUS_XBL", "127.0.0.10/31", "RBL_SPAMHAUS_PBL")
}

// dbl knows sites that were broken into; that says something of a link to them and nothing of mail from them.
// 127.0.1.255 says that an address was asked, which is not done.
func dbl() []code {
	list := codes("127.0.1.2", "DBL_SPAM", "127.0.1.4", "DBL_PHISH", "127.0.1.5", "DBL_MALWARE", "127.0.1.6", "DBL_BOTNET",
		"127.0.1.102", "DBL_ABUSE", "127.0.1.103", "DBL_ABUSE_REDIR", "127.0.1.104", "DBL_ABUSE_PHISH",
		"127.0.1.105", "DBL_ABUSE_MALWARE", "127.0.1.106", "DBL_ABUSE_BOTNET")
	for i := range list {
		if list[i].value >= 0x7f000166 {
			list[i].kinds = kindURI
		}
	}
	return list
}

// codes makes the table from pairs of pattern and symbol.
func codes(pairs ...string) (list []code) {
	for i := 0; i < len(pairs); i += 2 {
		p, err := readPattern(pairs[i])
		if err != nil {
			panic(err) // a slip in the table above, which the tests read as a whole
		}
		list = append(list, code{pattern: p, symbol: pairs[i+1], kinds: allKinds})
	}
	return list
}
