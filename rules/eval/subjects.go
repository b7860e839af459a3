package eval

import "strings"

// Lists of subjects (plugin WelcomeListSubject).
func subjectFunctions() map[string]Func {
	in := func(list string) Func {
		return func(c *Context, _ []string) float64 {
			subject := c.lower("Subject")
			return truth(subject != "" && c.Config.Addresses[list].within(subject))
		}
	}
	return map[string]Func{
		"check_subject_in_welcomelist": in("welcomelist_subject"), "check_subject_in_whitelist": in("welcomelist_subject"),
		"check_subject_in_blocklist": in("blocklist_subject"), "check_subject_in_blacklist": in("blocklist_subject"),
	}
}

// within says whether an entry stands anywhere in a text.
func (l *AddressList) within(text string) bool {
	if l == nil {
		return false
	}
	for e := range l.exact {
		if strings.ContainsAny(e, "*?") && glob("*"+e+"*", text) || strings.Contains(text, e) {
			return true
		}
	}
	return false
}
