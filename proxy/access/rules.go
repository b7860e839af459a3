package access

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"postern/internal/mail"
)

// Rule limits when and from where users may log in. All rules that name a user must allow the login.
type Rule struct {
	// Users are addresses or user names, "@example.com" for all of a domain, "*" for all.
	Users []string
	// Protocols are "imap" and "pop3", Networks and Countries (ISO 3166-1 codes) where the client is. Empty lists allow all.
	Protocols []mail.Protocol
	Networks  []netip.Prefix
	Countries []string
	// From and To are minutes since midnight, To is behind From or, over midnight, before it; both 0 is the whole day.
	From, To int
	Days     []time.Weekday
}

// names says whether the rule is about a user.
func (r *Rule) names(user string) bool {
	_, domain, _ := strings.Cut(user, "@")
	for _, u := range r.Users {
		if u == "*" || key(u) == user || domain != "" && strings.EqualFold(u, "@"+domain) {
			return true
		}
	}
	return false
}

// refuses gives the reason for refusing a login, "" if it is allowed.
func (r *Rule) refuses(protocol mail.Protocol, client netip.Addr, country string, now time.Time) string {
	switch {
	case len(r.Protocols) > 0 && !slices.Contains(r.Protocols, protocol):
		return "protocol"
	case len(r.Networks) > 0 && !slices.ContainsFunc(r.Networks, func(n netip.Prefix) bool { return n.Contains(client) }):
		return "network"
	case len(r.Countries) > 0 && !slices.ContainsFunc(r.Countries, func(c string) bool { return strings.EqualFold(c, country) }):
		return "country"
	case len(r.Days) > 0 && !slices.Contains(r.Days, now.Weekday()):
		return "day"
	case !r.inHours(now.Hour()*60 + now.Minute()):
		return "hour"
	}

	return ""
}

// inHours says whether a minute of the day lies between From and To, which may go over midnight; without them it does.
func (r *Rule) inHours(minute int) bool {
	switch {
	case r.From == r.To:
		return true
	case r.From < r.To:
		return minute >= r.From && minute < r.To
	}

	return minute >= r.From || minute < r.To
}
