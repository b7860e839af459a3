package policy

import (
	"postern/filters"
	"postern/internal/config"
)

// Rule is an admin's rule for some mail, applied once there is a message. It matches if all that it names matches.
type Rule struct {
	// Name is what records and the console call it; no two rules share one.
	Name string `toml:"name"`
	// When is a condition in CEL over the facts; docs/policy.md lists what it can ask for.
	When string `toml:"when"`
	// Direction is "in", "out" or "" for both.
	Direction string `toml:"direction"`
	// From and To name [who], What names [what], Time names [time]: one of the list must fit. None of the lists below
	// them may.
	From    []string `toml:"from"`
	To      []string `toml:"to"`
	What    []string `toml:"what"`
	Time    []string `toml:"time"`
	NotFrom []string `toml:"not_from"`
	NotTo   []string `toml:"not_to"`
	NotWhat []string `toml:"not_what"`
	NotTime []string `toml:"not_time"`
	// Action is accept, tag, quarantine, defer, reject, or "" for a rule that leaves the disposition as it is.
	Action filters.Action `toml:"action"`
	// Reply is the text of the reply with reject and defer.
	Reply string `toml:"reply"`
	// What else is done to a message that is delivered.
	Headers    map[string]string `toml:"headers"`
	RedirectTo string            `toml:"redirect_to"`
	CopyTo     []string          `toml:"copy_to"`
	Strip      []string          `toml:"strip"`
	Banner     string            `toml:"banner"`
	Disclaimer string            `toml:"disclaimer"`
	// Notify are addresses notified of it, whatever the disposition, except defer.
	Notify []string `toml:"notify"`
	// Monitor makes the rule only show in the verdict, without effect.
	Monitor bool `toml:"monitor"`
	// Priority orders the rules: a greater one first, then as they stand in the file.
	Priority int `toml:"priority"`
	// Stop keeps the rules behind this one from being asked where it fits.
	Stop bool `toml:"stop"`
	// Unauthenticated makes accept apply to a sender that is not authenticated.
	Unauthenticated bool `toml:"unauthenticated"`
	// Override are symbols whose actions accept overrides.
	Override []string `toml:"override"`
}

// Who is a set of people or machines. It matches if any one that it names matches.
type Who struct {
	// Addresses and Domains are those of the envelope, of the From field and of the login; ".example.com" is for all
	// names below a domain.
	Addresses []string `toml:"addresses"`
	Domains   []string `toml:"domains"`
	// Groups are those of a directory.
	Groups []string `toml:"groups"`
	// Networks are the client's.
	Networks []config.Network `toml:"networks"`
	// Maps are those of postern.toml, by name: an address is looked up in them, of a sender the client's as well.
	Maps []string `toml:"maps"`
	// Pattern is a regular expression (RE2) that an address in lower case must match somewhere.
	Pattern string `toml:"pattern"`
}

// What is a kind of content. All that it names must fit.
type What struct {
	// Symbols: one of them was found.
	Symbols []string `toml:"symbols"`
	// AttachmentNames, patterns such as "*.docm", and AttachmentTypes, such as "application/zip" or "image/*": one file
	// fits one of each.
	AttachmentNames []string `toml:"attachment_names"`
	AttachmentTypes []string `toml:"attachment_types"`
	// SubjectPattern is a regular expression (RE2); begin it with (?i) to take no notice of case.
	SubjectPattern string `toml:"subject_pattern"`
	// LargerThan is the size of the whole message.
	LargerThan config.Size `toml:"larger_than"`
}

// Window is a time of the week. Where To is before From it ends on the next day.
type Window struct {
	// Days are "mon" to "sun", all of them if there are none.
	Days []string `toml:"days"`
	// From and To are as in "08:30"; "24:00" is the end of the day. Without them it is the whole day.
	From     string `toml:"from"`
	To       string `toml:"to"`
	Timezone string `toml:"timezone"`
}
