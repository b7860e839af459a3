package imapd

import (
	"slices"
	"strings"
)

// shown are the backend's capabilities that a client hears of after the login: those whose commands and responses the
// door understands. What it does not know could carry content past it.
//
// Left out on purpose: COMPRESS (RFC 4978) hides all; URLAUTH (RFC 4467), CONVERT (RFC 5259) and NOTIFY (RFC 5465) hand out
// content by other ways; UIDONLY (RFC 9586) has responses of its own; UNAUTHENTICATE (RFC 8437) and the referrals (RFC 2221,
// RFC 2193) lead past the login.
func (c capabilities) shown() []string {
	var all capabilities
	for _, one := range c {
		upper := strings.ToUpper(one)
		isLiteral := upper == "LITERAL-" || upper == "LITERAL+"
		if allowed(upper) && !isLiteral && !all.has(one) {
			all = append(all, one)
		}
	}
	return append(all, "LITERAL+") // ours: what the backend does not take so, it gets otherwise
}

// capabilities are those of a server, as it wrote them. Their names are the same in any case of letters.
type capabilities []string

func (c capabilities) has(name string) bool {
	return slices.ContainsFunc(c, func(one string) bool { return strings.EqualFold(one, name) })
}

func allowed(capability string) bool {
	name, _, _ := strings.Cut(capability, "=")
	switch name {
	case "THREAD", "SORT", "CONTEXT", "STATUS", "APPENDLIMIT", "I18NLEVEL", "QUOTA", "RIGHTS", "PREVIEW", "SNIPPET":
		return true
	}
	switch capability {
	case "IMAP4", "IMAP4REV1", "IMAP4REV2", "SASL-IR", "ID", "ENABLE", "IDLE", "NAMESPACE", "UIDPLUS", "UNSELECT", "CHILDREN", "MOVE",
		"MULTIAPPEND", "CATENATE", "BINARY", "CONDSTORE", "QRESYNC", "ESEARCH", "ESORT", "SEARCHRES", "WITHIN", "SEARCH=FUZZY",
		"LIST-EXTENDED", "LIST-STATUS", "LIST-MYRIGHTS", "LIST-METADATA", "SPECIAL-USE", "CREATE-SPECIAL-USE", "XLIST", "UTF8=ACCEPT",
		"UTF8=ONLY", "ACL", "QUOTASET", "METADATA", "METADATA-SERVER", "OBJECTID", "SAVEDATE", "REPLACE", "PARTIAL", "INPROGRESS",
		"MULTISEARCH", "LANGUAGE", "X-GM-EXT-1":
		return true
	}
	return false
}

// enableable says what a client may switch on by ENABLE (RFC 5161).
func enableable(capability string) bool {
	switch strings.ToUpper(capability) {
	case "CONDSTORE", "QRESYNC", "UTF8=ACCEPT", "IMAP4REV2", "METADATA", "METADATA-SERVER", "I18NLEVEL=1", "LANGUAGE":
		return true
	}
	return false
}
