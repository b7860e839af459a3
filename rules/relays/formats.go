package relays

// format is a way to write a handover, behind "from".
type format struct {
	// has are words that must stand in the text for it to be tried.
	has     string
	pattern string
	// looks says that the server looks reverse names up.
	looks bool
	// same says that the reverse name is the HELO name, too.
	same bool
	note func(*parsed, match)
}

// ownFormats gives the formats of a server that is known by what it says of itself. Only the first that fits is asked.
func ownFormats(text string) (formats []format, known bool) {
	switch {
	case contain(text, " SMTPSVC"):
		return []format{{pattern: "%H ([%i]%P) by %b with Microsoft SMTPSVC", note: shortNote}}, true
	case exchange(text):
		return []format{{pattern: "%h (~[%i~]) by %b ", note: noID}, {pattern: "%h (~[%i%%%w) by %b ", note: noID}}, true
	case contain(text, "[XMail "):
		return []format{{pattern: "%h (~[%i~]:%d) by %b with [XMail", note: xmail}, {pattern: "%h (~[%i~]:%d) by %b (%w) with [XMail", note: xmail}}, true
	case contain(text, "(ecelerity"):
		return []format{{pattern: "([%i:%d] helo=%h) by %b "}, {pattern: "%w ([%i:%d]) by %b "}}, true
	case contain(text, "Exim"):
		return []format{
			{pattern: "[%i] (%p) by %b ", note: eximNote},
			{pattern: "%r ([%i]%?) by %b ", same: true, note: eximNote},
			{pattern: "%r [%i] by %b ", same: true},
			{pattern: "%r [%i]:%d by %b ", same: true},
		}, true
	case contain(text, " (Postfix) with"):
		return []format{{pattern: "%h (%r [%i]) by %b ", looks: true}, {pattern: "%h (%r[%i]) by %b ", looks: true}}, true
	case contain(text, "(Scalix SMTP Relay"):
		return []format{{pattern: "%h (~ %i) by %b"}}, true
	case contain(text, " (Lotus Domino "):
		return []format{{pattern: "%h ([%i]) by %b (Lotus"}}, true
	}
	return nil, false
}

// commonFormats are tried one after the other.
func commonFormats() []format {
	return []format{
		{has: "with HTTP", pattern: "%i ([%I]) by %b"},
		{pattern: "%h (%r [%i]%*) by %b (", looks: true, note: sendmailIdent},
		{pattern: "%h (%r [%i]) by %b with %w (", looks: true},
		{pattern: "%r ([%i] helo=%h) by %b with "},
		{pattern: "%h (<unknown%W>[%i]) by %b "},
		{pattern: "%h (%r[%i]) by %b ", looks: true, note: dotted},
		{pattern: "%h (%T@[%i]%*) by %b (", looks: true},
		{has: ".hotmail.msn.com ", pattern: "", note: hotmail},
		{pattern: "%r (%e %H) (%i) by %b (qpsmtpd/%w) with "},
		{pattern: "%r (LHLO %H) (%i) by %b with LMTP"},
		{pattern: "%r (%e %H) [%i] by %b (%p) with "},
		{pattern: "%h ([%i]) by %b via smtpd (for %w) with SMTP("},
		{pattern: "%r (%e %H) (%T@~[%i~]) by %b", note: qmail},
		{pattern: "%r (%e %H) (%T@~[%i~]) (envelope-sender <%w>) by %b", note: qmail},
		{pattern: "%r (%e %H) (~[%i~]) by %b", note: qmail},
		{pattern: "%r (%e %H) (~[%i~]) (envelope-sender <%w>) by %b", note: qmail},
		{pattern: "%r (%T@~[%i~]) by %b", same: true, note: qmail},
		{pattern: "%r (%T@~[%i~]) (envelope-sender <%w>) by %b", same: true, note: qmail},
		{pattern: "%r (~[%i~]) by %b", same: true, note: qmail},
		{pattern: "%r (~[%i~]) (envelope-sender <%w>) by %b", same: true, note: qmail},
		{has: " via HTTP", pattern: "[%i] by %b via HTTP$"},
		{pattern: "%w ( [%i])%? by %b "},
		{pattern: "(%h [%i]) by %b "},
		{pattern: "[%i] by %b "},
		{pattern: "(~[%i~]) by %b "},
		{pattern: "%h [%i] by %b [%I] with ", looks: true},
		{pattern: "%h [(%i)] by %b (%I) "},
		{pattern: "%h ([%i]) by %b (", looks: true},
		{pattern: "%h (%r [%i])%? by %b", note: sendmail},
		{pattern: "%h ([%i])%? by %b ", looks: true},
		{pattern: "%h ([%i:%d])%? by %b ", looks: true},
		{pattern: "%h ([%i.%d])%? by %b ", looks: true},
		{has: "with ", pattern: "", note: fetcher},
		{pattern: "%r (%e %P) (%t@~[%i~])%* by %b ", looks: true},
		{pattern: "%r (%e %P) (~[%i~])%* by %b ", looks: true},
		{pattern: "%r (%t@~[%i~])%* by %b ", looks: true, same: true},
		{pattern: "%r (~[%i~])%* by %b ", looks: true, same: true},
	}
}

// rareFormats are tried behind those.
func rareFormats() []format {
	return []format{
		{has: " via smap ", pattern: "%r(%i) by %b via smap ", looks: true},
		{has: " via smap ", pattern: "%r(%i, %e %H) by %b via smap ", looks: true},
		{pattern: "%i by %b (SMTPL"},
		{pattern: "%i by %b (InterScan"},
		{has: " with BSMTP", pattern: "%w by %w with BSMTP", note: skip},
		{pattern: "%r (%e %H) (%t@%i%?) by %b with ", looks: true},
		{pattern: "%r (%e %H) (%i%?) by %b with ", looks: true},
		{pattern: "[%i] (%e %H) by %b ("},
		{pattern: "[%i] (account %w %e %H) by %b ("},
		{has: " (CommuniGate Pro", pattern: "%r ([%i] verified) by %b (", looks: true, same: true},
		{has: " (Content Technologies ", pattern: "%w (%w) by %w (Content Technologies ", note: skip},
		{pattern: "%h ([%i] [%w]) by %b with "},
		{pattern: "%i by %b with "},
		{pattern: "%h (%r[%i]) by %b ", looks: true},
		{pattern: "[%i]%w (%e %H) by %b "},
		{pattern: "%i (%e %H) by %b "},
		{pattern: "%h [%i] by %b "},
		{pattern: "%r(%i) by %b "},
		{pattern: "%i (%p) by %b with ", note: letterNote},
		{pattern: "[%i] (%p) by %b ", note: eximNote},
		{has: " via ", pattern: "%r(%i) via %w by %b,", note: vines},
		{has: ", claiming to be ", pattern: "%r(%i), claiming to be \"%h\" via %w by %b,", note: vines},
		{has: " with login) ", pattern: "%h (%w@%i with login) by %b with SMTP"},
		{pattern: "X-Originating-IP: %i$"},
	}
}

// skipped are handovers within a host, or such that say too little. They are no relays and no faults.
func skipped() []string {
	const local = "localhost"
	return []string{
		"%w (%w@" + local + ") by %w (", "%w (%w@127.0.0.1) by %w (",
		"%w %w by %w with local-esmtp ", "%w %w by %w with local-smtp ",
		"127.0.0.1 (AVG SMTP %w [%w])",
		"%w@%w by %w ",
		"Unknown/Local (",
		local + " (" + local + ")", local + " (" + local + "[", local + " (%w@" + local + ")", local + " (%w@" + local + "[",
		local + ".localdomain (" + local, local + " (%w@127.0.0.1)", local + " (127.0.0.1)",
		"%w (" + local + ") ", "%w (127.0.0.1) ", "%w (%w@" + local + ") ", "%w (%w@127.0.0.1) ",
		"%w (%w@%w [" + local + "]) ", "%w (%w@%w [127.0.0.1]) ",
		"(AUTH: %w) by %w with ",
		local + " (" + local + " [[UNIX: " + local + "]]) by ",
		"%w.amazon.com by %w.amazon.com with ESMTP (peer crosscheck: ",
		"no.name.available by %w via smtpd (for ",
		"%w by %w with local",
		"%w ([unix socket]) by %w (Cyrus v%w) with LMTPA",
		"%w by %w with", "%w by %w via", "%w by %w for", "%w by %w (",
		"%w with %w by", "%w via %w by", "%w for %w by", "%w (unverified) by",
		"%w (unknown) by %w (SG) with ",
		"%w (%w [local]) by %w (OpenSMTPD) with ",
		"%*(LSMTP for",
		"([" + local + "]) with MailEnable ", "([127.0.0.1]) with MailEnable ",
		"facebook.com (%p) by facebook.com with Thrift id %w$",
		"%w named %w by gmailapi.google.com with HTTPREST$",
		"%w id %w$",
		"[<%* (Jetsend",
	}
}
